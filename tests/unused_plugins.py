"""Name what the sessions that our tests start can do without."""

# Plugins of others that the tests' own projects do not use; to import them is most of a start.
UNUSED = (
    "-p no:hypothesispytest -p no:anyio -p no:randomly -p no:rerunfailures -p no:timeout"
    " -p no:benchmark"
)
