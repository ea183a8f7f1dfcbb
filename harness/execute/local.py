"""Run cells in warm worker processes of this machine, one per framework."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterable
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TypeVar

import pebble
from pydantic import ValidationError

from harness.cell import Cell
from harness.execute import remote
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
Answer = TypeVar("Answer")


class LocalExecutor:
    """Keep one spawned worker per framework; a worker that dies or is killed is replaced.

    Workers are spawned, never forked: TensorFlow hangs in a forked child. They start with the
    threads of ``runtime``, which should be that of the requests, too: a framework that fixes
    its threads when it starts would refuse others.
    """

    def __init__(
        self,
        logs: Path,
        runtime: RuntimeSpec = RuntimeSpec(),  # noqa: B008 - it is frozen
        worker_module: str = "ml.worker",
    ) -> None:
        self._logs = logs
        self._runtime = runtime
        self._module = worker_module
        self._pools: dict[Framework, pebble.ProcessPool] = {}
        self._warm: set[Framework] = set()

    def submit(self, cells: Iterable[Cell]) -> None:
        """Do nothing: a cell runs on this machine when it is asked for."""

    def run(self, cell: Cell) -> Execution:
        """Send the cell's request to the worker of its framework and wait for the response."""
        return self.send(cell.framework, cell.mode, cell.to_request(), cell.timeout)

    def send(
        self, framework: Framework, operation: str, request: TrainRequest, timeout: float
    ) -> Execution:
        """Send a request to a framework's worker; kill the worker after ``timeout`` seconds."""
        if framework not in self._warm:
            started = time.perf_counter()
            trouble = self._call(framework, request.id, "warm", "{}", WARM_UP_SECONDS)
            if isinstance(trouble, Failure):
                return Execution(trouble, time.perf_counter() - started)
            self._warm.add(framework)
        payload = request.model_dump_json()
        started = time.perf_counter()
        answer = self._call(framework, request.id, operation, payload, timeout)
        seconds = time.perf_counter() - started
        if isinstance(answer, Failure):
            self._warm.discard(framework)
            return Execution(answer, seconds)
        return Execution(_read(request.id, answer, parse_response), seconds)

    def status(self, framework: Framework) -> FrameworkStatus | Failure:
        """Ask a framework's worker, set up for the runtime, for versions, devices and threads."""
        request = StatusRequest(id=framework, runtime=self._runtime).model_dump_json()
        answer = self._call(framework, framework, "status", request, WARM_UP_SECONDS)
        if isinstance(answer, Failure):
            return answer
        self._warm.add(framework)
        return _read(framework, answer, parse_status)

    def close(self) -> None:
        """Stop every worker at once and wait until each is gone."""
        for pool in self._pools.values():
            pool.stop()  # type: ignore[no-untyped-call]
        for pool in self._pools.values():
            pool.join()
        self._pools.clear()
        self._warm.clear()

    def _call(
        self, framework: Framework, name: str, operation: str, payload: str, limit: float
    ) -> str | Failure:
        """Return the worker's answer, or the Failure that takes its place, under this name."""
        for _ in range(2):
            try:
                return self._ask(framework, name, operation, payload, limit)
            except BrokenProcessPool:
                # No worker was known to have the call, as when an idle one was killed before
                # it: another is asked, once.
                self._drop(framework)
        text = "the worker died as soon as it was given the cell, and so did the one after it"
        tail = _tail(self._log(framework), 0)
        return _failure(name, "crashed", "worker_died", text, SEE_DETAIL, tail)

    def _ask(
        self, framework: Framework, name: str, operation: str, payload: str, limit: float
    ) -> str | Failure:
        pool = self._pool(framework)
        log = self._log(framework)
        mark = log.stat().st_size if log.exists() else 0
        future = pool.schedule(
            remote.call, args=(self._module, framework, operation, payload), timeout=limit
        )
        try:
            answer: str = future.result()
        except TimeoutError:
            text = f"no result within {limit:g} s; the worker was killed"
            remedy = "raise --matrix-timeout, or lower --matrix-rows"
            return _failure(name, "timeout", "time_limit", text, remedy, _tail(log, mark))
        except pebble.ProcessExpired as problem:
            text = f"the worker {_death(problem.exitcode)}"
            return _failure(name, "crashed", "worker_died", text, SEE_DETAIL, _tail(log, mark))
        except remote.WorkerRaised as problem:
            text = f"the worker raised {problem}"
            return _failure(name, "error", "worker_raised", text, SEE_DETAIL, _tail(log, mark))
        if operation == "warm" and "outcome" in answer:
            failed = parse_response(answer)
            assert not isinstance(failed, TrainResult)
            return failed
        return answer

    def _drop(self, framework: Framework) -> None:
        pool = self._pools.pop(framework)
        pool.stop()  # type: ignore[no-untyped-call]
        pool.join()

    def _pool(self, framework: Framework) -> pebble.ProcessPool:
        pool = self._pools.get(framework)
        if pool is None or not pool.active:
            self._logs.mkdir(parents=True, exist_ok=True)
            pool = self._pools[framework] = pebble.ProcessPool(
                max_workers=1,
                initializer=remote.start,
                initargs=(str(self._log(framework)), self._runtime.threads),
                context=multiprocessing.get_context("spawn"),
            )
        return pool

    def _log(self, framework: Framework) -> Path:
        return self._logs / f"{framework}.log"


def _death(exitcode: int) -> str:
    if exitcode >= 0:
        return f"exited with code {exitcode} before it answered"
    try:
        name = signal.Signals(-exitcode).name
    except ValueError:
        name = "unknown"
    hint = "; the kernel does so when memory runs out" if -exitcode == signal.SIGKILL else ""
    return f"was killed by signal {-exitcode} ({name}){hint}"


def _read(name: str, answer: str, parse: Callable[[str], Answer]) -> Answer | Failure:
    try:
        return parse(answer)
    except ValidationError as problem:
        text = f"the worker's answer is not a response: {describe(str(problem))}"
        return _failure(name, "error", "bad_response", text)


def _failure(
    name: str,
    outcome: Outcome,
    code: str,
    message: str,
    remedy: str | None = None,
    detail: str | None = None,
) -> Failure:
    error = ErrorInfo(code=code, message=message, remedy=remedy, detail=detail)
    return Failure(id=name, outcome=outcome, error=error)


def _tail(log: Path, mark: int) -> str | None:
    """Return the last lines that the worker printed since ``mark``, None where it was silent."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(mark, log.stat().st_size - 16_384))
            lines = stream.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return None
    return "\n".join(lines[-LOG_TAIL_LINES:]) or None
