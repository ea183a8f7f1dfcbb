"""Run on the far side of the wall, before anything of ml is imported; standard library only.

As a program it is a worker's two processes: a guard, which this file starts as, and the worker,
which it forks. The guard trains nothing. It ends when the worker does or when the harness is
gone, however that ended, and takes with it every process that the worker has left.
"""

from __future__ import annotations

import ctypes
import faulthandler
import importlib
import json
import os
import resource
import select
import signal
import socket
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

SETUP_OPERATIONS = ("warm", "status")
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)
_DIE_WITH_PARENT = 1
_ADOPT_ORPHANS = 36
# The kernel takes the process with the highest score first, and should take no pytest.
_OOM_SCORE = "500"
_LISTS_CHILDREN = Path(f"/proc/self/task/{os.getpid()}/children").exists()


class WorkerRaised(RuntimeError):
    """Carry the text of an exception that left the worker module, and its stack as ``detail``."""

    def __init__(self, text: str, detail: str) -> None:
        super().__init__(text)
        self.detail = detail


def set_variables(threads: int) -> None:
    """Set the environment that a framework reads when it is imported."""
    for name in _THREAD_VARIABLES:
        os.environ[name] = str(threads)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    # A third of TensorFlow's start is the import of Keras, which no worker needs.
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")


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
    set_variables(threads)
    sink = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(sink, 1)
    os.dup2(sink, 2)
    os.close(sink)
    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    faulthandler.enable(sys.stderr)


def serve(
    module: str, framework: str, operation: str, payload: str, surfacing: bool = False
) -> str:
    """Hand a JSON payload to the worker module and return its JSON answer.

    The working folder and the environment are afterwards as they were before. ``surfacing``
    asks the module to let through what it did not expect, for a debugger.
    """
    extra = {"surfacing": True} if surfacing else {}
    with _surroundings(kept=operation in SETUP_OPERATIONS):
        answer = importlib.import_module(module).serve(framework, operation, payload, **extra)
    if not isinstance(answer, str):
        raise TypeError(f"{module}.serve returned {type(answer).__name__}, not a JSON text")
    return answer


def call(module: str, framework: str, operation: str, payload: str) -> str:
    """Serve in a worker: only plain text crosses back.

    An exception of any kind becomes a WorkerRaised, its stack goes to the log; an exit ends
    this process.
    """
    try:
        return serve(module, framework, operation, payload)
    except SystemExit as problem:
        code = problem.code if isinstance(problem.code, int) else problem.code is not None
        _exit(int(code))
    except BaseException as problem:  # noqa: BLE001 - nothing of a worker may cross but text
        detail = "".join(traceback.format_exception(problem))
        with suppress(Exception):  # The log may be closed, or its disk full.
            print(detail, file=sys.stderr)
        raise WorkerRaised(_describe(problem), detail) from None


def descendants(pid: int) -> list[int]:
    """Return the processes below this one, zombies among them; empty where it is gone."""
    found, waiting = [], [pid]
    while waiting:
        below = children_of(waiting.pop())
        found += below
        waiting += below
    return found


def children_of(pid: int) -> list[int]:
    """Return the processes that this one has started or adopted, zombies among them."""
    if not _LISTS_CHILDREN:
        import psutil

        try:
            return [child.pid for child in psutil.Process(pid).children()]
        except psutil.Error:
            return []
    found: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):  # A thread may end while it is looked at.
                found += map(int, (task / "children").read_text().split())
    return found


def main() -> None:
    """Start as the guard of a worker; the one argument is the descriptor of the wall's socket."""
    harness = os.getppid()
    wall = socket.socket(fileno=int(sys.argv[1]))
    wall.set_inheritable(False)
    reader = wall.makefile("rb")
    first = reader.readline()
    if not first:
        return
    setup = json.loads(first)
    sys.path[:] = setup["path"]
    _control(_ADOPT_ORPHANS, 1)
    guard, worker = os.getpid(), os.fork()
    if worker == 0:
        _work(guard, wall, reader, setup)
    _watch(harness, wall, worker)


def _work(guard: int, wall: socket.socket, reader: BinaryIO, setup: dict[str, Any]) -> None:
    _control(_DIE_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != guard:
        os._exit(1)
    # In a session of its own, a signal to its group reaches what it has started, not the guard.
    os.setsid()
    start(setup["log"], setup["threads"], setup["project"])
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE)
    if setup["data_limit"] is not None:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_DATA, (setup["data_limit"],) * 2)
    try:
        for line in reader:
            token, *parts = json.loads(line)
            wall.sendall(f"{token}\n".encode())
            answer: dict[str, Any]
            try:
                answer = {"answer": call(*parts)}
            except WorkerRaised as problem:
                answer = {"raised": str(problem), "detail": problem.detail}
            answer["children"] = _has_children()
            wall.sendall(f"{token} {json.dumps(answer)}\n".encode())
    except BaseException:  # noqa: BLE001 - no frame of the guard's may run in this process
        traceback.print_exc()
        _exit(1)
    _exit(0)


def _watch(harness: int, wall: socket.socket, worker: int) -> None:
    """Wait for the worker's end or the harness', end all below, and end as the worker did."""
    bell, ring = os.pipe()
    os.set_blocking(bell, False)
    os.set_blocking(ring, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(ring)
    poll = select.poll()
    poll.register(wall, 0)  # No event but the other side's end is waited for.
    poll.register(bell, select.POLLIN)
    while (status := _reap(worker)) is None and os.getppid() == harness:
        if any(descriptor != bell for descriptor, _ in poll.poll(1000)):
            break
        with suppress(BlockingIOError):
            os.read(bell, 4096)
    while True:
        for pid in descendants(os.getpid()):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            pid, ended = os.waitpid(-1, 0)
        except ChildProcessError:
            break
        status = ended if pid == worker and status is None else status
    code = os.waitstatus_to_exitcode(status or 0)
    if code < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with suppress(OSError):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def _reap(worker: int) -> int | None:
    """Collect the children that have ended; return the worker's status if it is among them."""
    found = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        found = status if pid == worker else found


@contextmanager
def _surroundings(kept: bool) -> Iterator[None]:
    """Put the working folder and the environment back; what sets a framework up is ``kept``."""
    folder, variables = os.open(".", os.O_RDONLY), dict(os.environ)
    try:
        yield
    finally:
        if not kept and dict(os.environ) != variables:
            os.environ.clear()
            os.environ.update(variables)
        with suppress(OSError):  # A cell may have closed what is not its own.
            os.fchdir(folder)
            os.close(folder)


def _has_children() -> bool:
    """Tell whether this process has children, ended ones too; also where that is not known."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    except (AttributeError, OSError):
        pass
    return True


def _control(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _exit(code: int) -> NoReturn:
    with suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def _describe(problem: BaseException) -> str:
    try:
        return f"{type(problem).__name__}: {problem}".removesuffix(": ")
    except Exception:  # noqa: BLE001 - a foreign __str__ may raise anything
        return f"{type(problem).__name__} (it could not be printed)"


if __name__ == "__main__":
    main()
