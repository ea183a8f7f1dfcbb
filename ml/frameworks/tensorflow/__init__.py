from ml.core.hidden import Hidden

# TensorFlow's converter for phones would import JAX, a sixth of a worker's start.
with Hidden("jax"):
    import tensorflow  # noqa: F401 - all modules of this package use it
