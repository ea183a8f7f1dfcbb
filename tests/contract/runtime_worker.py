"""Prepare one framework for several runtimes in a fresh process; print what came of each."""

import json
import sys
from contextlib import suppress
from pathlib import Path

from ml.registry import adapter_of
from ml.worker import serve


def threads_of(framework):
    """Return the threads that a framework really has, None where it cannot be seen here."""
    if framework == "tensorflow":
        import tensorflow as tf

        return tf.config.threading.get_intra_op_parallelism_threads()
    names = []
    for task in Path("/proc/self/task").glob("*"):
        with suppress(FileNotFoundError):  # A thread may end before its name is read.
            names.append((task / "comm").read_text())
    return sum(name.startswith("tf_XLAEigen") for name in names) or None


def work(framework):
    """Make the framework fix what it fixes at its start."""
    if framework == "tensorflow":
        import tensorflow as tf

        tf.zeros(1)
    else:
        import jax

        jax.devices()


def main(framework, first, *runtimes):
    """Prepare for each runtime; a ``used`` framework has been in use before."""
    if first == "used":
        work(framework)
    found = []
    for runtime in runtimes:
        answer = json.loads(serve(framework, "status", f'{{"runtime": {runtime}}}'))
        if answer["status"] == "ok":
            work(framework)
        found.append({**answer, "seen": threads_of(framework)})
    # An estimator of ours in such a process takes the framework as it is.
    adapter_of(framework).prepare_in_place()
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
