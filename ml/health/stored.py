def is_stored(x): return False
def read_sketch(x): raise NotImplementedError
