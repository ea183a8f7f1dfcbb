"""Run cells in worker processes of this machine, one per framework, warm or fresh."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from harness.cell import Cell
from harness.execute import memory, process
from harness.execute.executor import Execution
from ml.core.contracts import (
    ErrorInfo,
    Failure,
    Framework,
    FrameworkStatus,
    Outcome,
    RuntimeSpec,
    StatusRequest,
    TrainRequest,
    TrainResult,
    parse_response,
    parse_status,
)
from ml.core.errors import describe

WARM_UP_SECONDS = 180.0
LOG_TAIL_LINES = 30
SEE_DETAIL = "see the detail; the last lines of the worker's output are kept there"
MORE_MEMORY = "raise --matrix-memory, lower --matrix-rows, or make the model smaller"
OUT_OF_MEMORY_WORDS = ("std::bad_alloc", "MemoryError", "annot allocate memory")
Answer = TypeVar("Answer")


class LocalExecutor:
    """Keep one spawned worker per framework; one that dies or is killed is replaced.

    A worker starts with the threads of ``runtime``, which should be that of the requests, too: a
    framework that fixes its threads when it starts would refuse others. ``project`` are the
    folders from which it imports what a project defines itself. ``memory_limit`` is in
    MiB, None for four fifths of the machine's. A ``fresh`` executor gives each cell a process
    of its own.
    """

    def __init__(
        self,
        logs: Path,
        runtime: RuntimeSpec = RuntimeSpec(),  # noqa: B008 - it is frozen
        worker_module: str = "ml.worker",
        project: Sequence[Path] = (),
        memory_limit: float | None = None,
        fresh: bool = False,
    ) -> None:
        self._logs = logs
        self._runtime = runtime
        self._module = worker_module
        self._project = tuple(map(str, project))
        self._limit = memory.settle_limit(memory_limit)
        self._fresh = fresh
        self._workers: dict[Framework, process.WorkerProcess] = {}

    def submit(self, cells: Iterable[Cell]) -> None:
        """Do nothing: a cell runs on this machine when it is asked for."""

    def run(self, cell: Cell) -> Execution:
        """Send the cell's request to the worker of its framework and wait for the response."""
        return self.send(cell.framework, cell.mode, cell.to_request(), cell.timeout)

    def send(
        self, framework: Framework, operation: str, request: TrainRequest, timeout: float
    ) -> Execution:
        """Send a request to a framework's worker; kill the worker after ``timeout`` seconds."""
        payload = request.model_dump_json()
        reply, seconds = self._ask(framework, request.id, operation, payload, timeout)
        if self._fresh:
            self._drop(framework)
        if isinstance(reply, Failure):
            return Execution(reply, seconds)
        response = read_answer(request.id, reply.answer, parse_response)
        if reply.left and isinstance(response, TrainResult):
            names = ", ".join(reply.left)
            warning = f"left running, and killed when the cell had ended: {names}"
            response = response.model_copy(update={"warnings": (*response.warnings, warning)})
        return Execution(response, seconds)

    def status(self, framework: Framework) -> FrameworkStatus | Failure:
        """Ask a framework's worker, set up for the runtime, for versions, devices and threads."""
        reply, _ = self._ask(framework, framework, "status", self._setup(framework))
        if isinstance(reply, Failure):
            return reply
        return read_answer(framework, reply.answer, parse_status)

    def close(self) -> None:
        """Stop every worker at once and wait until each is gone."""
        for worker in self._workers.values():
            worker.release()
        for worker in self._workers.values():
            worker.end()
        self._workers.clear()

    def _ask(
        self,
        framework: Framework,
        name: str,
        operation: str,
        payload: str,
        limit: float = WARM_UP_SECONDS,
    ) -> tuple[process.Reply | Failure, float]:
        """Return a warm worker's reply, or the Failure in its place, and the seconds it took."""
        for _ in range(2):
            started = time.perf_counter()
            trouble = self._warm_up(framework, name)
            if trouble is not None:
                return trouble, time.perf_counter() - started
            started = time.perf_counter()
            try:
                reply = self._call(framework, name, operation, payload, limit)
            except process.NotTaken:
                # As when an idle worker was killed: another is asked, once.
                self._drop(framework)
                continue
            return reply, time.perf_counter() - started
        return self._not_taken(framework, name), time.perf_counter() - started

    def _warm_up(self, framework: Framework, name: str) -> Failure | None:
        """Make sure that there is a worker which has imported the framework."""
        worker = self._workers.get(framework)
        if worker is not None and not worker.ended:
            return None
        self._drop(framework)
        try:
            self._workers[framework] = process.WorkerProcess(
                self._log(framework), self._runtime.threads, self._limit, self._project
            )
            reply = self._call(framework, name, "warm", self._setup(name), WARM_UP_SECONDS)
        except process.NotTaken:
            self._drop(framework)
            return self._not_taken(framework, name)
        except OSError as problem:
            text = f"no worker could be started: {problem}"
            remedy = f"see to it that this machine has room for processes, and for {self._logs}"
            return make_failure(name, "crashed", "worker_not_started", text, remedy)
        if isinstance(reply, process.Reply):
            if '"outcome"' not in reply.answer:
                return None
            read = read_answer(name, reply.answer, parse_response)
            assert not isinstance(read, TrainResult)
            reply = read
        self._drop(framework)
        return reply

    def _call(
        self, framework: Framework, name: str, operation: str, payload: str, limit: float
    ) -> process.Reply | Failure:
        """Return the worker's reply or what became of it; raises NotTaken."""
        log = self._log(framework)
        mark = log.stat().st_size if log.exists() else 0
        try:
            reply = self._workers[framework].ask(self._module, framework, operation, payload, limit)
        except process.NotTaken:
            raise
        except process.WorkerLost as problem:
            return _explain(problem, name, limit, self._limit, _tail(log, mark))
        except BaseException:
            # Ctrl-C, or a time limit of another plugin: the worker would go on with the cell.
            self._drop(framework)
            raise
        if reply.raised is not None:
            text = f"the worker raised {reply.raised}"
            return make_failure(name, "error", "worker_raised", text, SEE_DETAIL, reply.detail)
        return reply

    def _not_taken(self, framework: Framework, name: str) -> Failure:
        text = "the worker died before it took the cell, and so did the one after it"
        tail = _tail(self._log(framework), 0)
        return make_failure(name, "crashed", "worker_died", text, SEE_DETAIL, tail)

    def _setup(self, name: str) -> str:
        return StatusRequest(id=name, runtime=self._runtime).model_dump_json()

    def _drop(self, framework: Framework) -> None:
        worker = self._workers.pop(framework, None)
        if worker is not None:
            worker.end()

    def _log(self, framework: Framework) -> Path:
        return self._logs / f"{framework}.log"


def read_answer(name: str, answer: str, parse: Callable[[str], Answer]) -> Answer | Failure:
    """Return a worker's answer as ``parse`` reads it, or a Failure where it is none."""
    try:
        return parse(answer)
    except ValidationError as problem:
        text = f"the worker's answer is not a response: {describe(str(problem))}"
        return make_failure(name, "error", "bad_response", text)


def make_failure(
    name: str,
    outcome: Outcome,
    code: str,
    message: str,
    remedy: str | None = None,
    detail: str | None = None,
) -> Failure:
    """Return the Failure that takes the place of the response to the request of this name."""
    error = ErrorInfo(code=code, message=message, remedy=remedy, detail=detail)
    return Failure(id=name, outcome=outcome, error=error)


def _explain(
    problem: process.WorkerLost, name: str, seconds: float, limit: int, tail: str | None
) -> Failure:
    match problem:
        case process.TimedOut():
            text = f"no result within {seconds:g} s; the worker was killed"
            remedy = "raise --matrix-timeout, or lower --matrix-rows"
            return make_failure(name, "timeout", "time_limit", text, remedy, tail)
        case process.MemoryExceeded():
            text = (
                f"the worker and its children held {_mebibytes(problem.used)} of memory, more than "
                f"the limit of {_mebibytes(limit)}; they were killed"
            )
            return make_failure(name, "out_of_memory", "memory_limit", text, MORE_MEMORY, tail)
        case process.Garbled():
            text = f"the worker wrote to the channel of the answers: {problem}; it was killed"
            remedy = "let the model write to files of its own, or to stdout and stderr"
            return make_failure(name, "error", "bad_response", text, remedy, tail)
        case process.Died():
            death = f"the worker {_death(problem.exitcode)}"
            if problem.by_kernel and problem.exitcode == -signal.SIGKILL:
                text = f"{death}; the kernel did so, as memory had run out"
                remedy = "run fewer processes at once, lower --matrix-rows, or add memory"
                return make_failure(name, "out_of_memory", "kernel_kill", text, remedy, tail)
            words = [word for word in OUT_OF_MEMORY_WORDS if word in (tail or "")]
            if problem.exitcode < 0 and words:
                text = f"{death}, when it could not get the memory it asked for ({words[0]})"
                return make_failure(name, "out_of_memory", "no_memory", text, MORE_MEMORY, tail)
            return make_failure(name, "crashed", "worker_died", death, SEE_DETAIL, tail)
        case _:
            raise problem


def _death(exitcode: int) -> str:
    if exitcode >= 0:
        return f"exited with code {exitcode} before it answered"
    try:
        name = signal.Signals(-exitcode).name
    except ValueError:
        name = "unknown"
    return f"was killed by signal {-exitcode} ({name})"


def _mebibytes(count: int) -> str:
    return f"{count / memory.MEBIBYTE:,.0f} MiB"


def _tail(log: Path, mark: int) -> str | None:
    """Return the last lines that the worker printed since ``mark``, None where it was silent."""
    try:
        with log.open("rb") as stream:
            size = log.stat().st_size
            # A log that has been cut is shorter than it was.
            stream.seek(max(mark if mark <= size else 0, size - 16_384))
            lines = stream.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return None
    return "\n".join(lines[-LOG_TAIL_LINES:]) or None
