"""Run inside a worker process, before anything of ml is imported; standard library only."""

from __future__ import annotations

import faulthandler
import importlib
import os
import sys
import traceback
from collections.abc import Sequence

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)


class WorkerRaised(RuntimeError):
    """Carry the text of an exception that left the worker module."""


def open_project(folders: Sequence[str]) -> None:
    """Let requests name what these folders define; see ``ml.core.imported``."""
    os.environ["MLMATRIX_PROJECT"] = os.pathsep.join(folders)
    sys.path[:0] = [folder for folder in folders if folder not in sys.path]


def start(log: str, threads: int = 1, project: Sequence[str] = ()) -> None:
    """Set thread counts before a framework reads them, and send all output to ``log``.

    Output goes to a file by descriptor, since frameworks print from C; a segfault leaves its
    Python stack there.
    """
    open_project(project)
    for name in _THREAD_VARIABLES:
        os.environ[name] = str(threads)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    # A third of TensorFlow's start is the import of Keras, which no worker needs.
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    sink = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(sink, 1)
    os.dup2(sink, 2)
    os.close(sink)
    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    faulthandler.enable(sys.stderr)


def call(module: str, framework: str, operation: str, payload: str) -> str:
    """Hand a JSON payload to the worker module and return its JSON answer.

    Only plain text crosses back: an exception of any kind becomes a WorkerRaised, its stack
    goes to the log; an exit ends this process.
    """
    try:
        answer: str = importlib.import_module(module).serve(framework, operation, payload)
    except SystemExit as problem:
        code = problem.code if isinstance(problem.code, int) else problem.code is not None
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(int(code))
    except BaseException as problem:  # noqa: BLE001 - nothing of a worker may cross but text
        traceback.print_exc()
        raise WorkerRaised(_describe(problem)) from None
    return answer


def _describe(problem: BaseException) -> str:
    try:
        return f"{type(problem).__name__}: {problem}"
    except Exception:  # noqa: BLE001 - a foreign __str__ may raise anything
        return f"{type(problem).__name__} (it could not be printed)"
