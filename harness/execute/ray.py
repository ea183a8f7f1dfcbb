"""Run cells on a Ray cluster: each as a task that hands it to a local executor of its node."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from harness.cell import Cell
from harness.execute.executor import Execution, Executor
from ml.core import contracts
from ml.core.contracts import DescriptorData, ErrorInfo, Failure, Outcome, TrainResult
from ml.core.errors import MatrixError, Unavailable

RETRIES = 3
_LOST = "node_lost"
CONNECT_SECONDS = 5.0
REMOVALS = 50
OBJECT_STORE_BYTES = 100 * 2**20
ML_FOLDER = Path(contracts.__file__).parents[1]
# Ray reads these when it starts or joins: a cluster of ours sends nothing home, and what answers
# at an address, but not as Ray, is asked once.
_STARTING = {"RAY_USAGE_STATS_ENABLED": "0"}
_JOINING = {"RAY_gcs_server_port_wait_time_s": "1"}


def check_installed() -> None:
    """Raise Unavailable, with the pip line, where there is no Ray."""
    if find_spec("ray") is None:
        raise Unavailable(
            "--matrix-executor ray: the module 'ray' is not installed",
            remedy="run: pip install 'pytest-mlmatrix[ray]'",
        )


@dataclass(frozen=True)
class Task:
    """Hold what a node needs beside the cell: how it makes its executor, and for whom.

    ``logs`` is None where they go among those of Ray's session on the node; ``ml_folder`` is
    where the submitting process has our own datasets, and ``paths`` where it looks for modules.
    """

    owner: str
    make: Callable[[Path], Executor]
    logs: Path | None
    ml_folder: Path
    paths: tuple[str, ...]


class RayExecutor:
    """Submit cells to a Ray cluster and wait for their results.

    Ray places each where its resources are free; it is submitted again, up to ``retries`` times,
    when its node or Ray's process there is lost. Without an address a cluster is started on this
    machine, with its files in ``folder``, and both go at the end; any other is left running.
    """

    def __init__(
        self,
        make: Callable[[Path], Executor],
        logs: Path,
        address: str | None = None,
        retries: int = RETRIES,
        cpus: int | None = None,
    ) -> None:
        """Take ``make``, which makes a node's executor with its folder of logs; it is pickled.

        ``cpus`` are those of a cluster of ours, all of the machine's unless told.
        """
        self._make = make
        self._logs = logs
        self._address = address
        self._retries = retries
        self._cpus = cpus
        self._task: Task | None = None
        self._submit_task: Any = None
        self._submitted: dict[str, tuple[Cell, Any]] = {}
        self.folder: Path | None = None
        self._joined = False

    def submit(self, cells: Iterable[Cell]) -> None:
        """Submit the cells; raises MatrixError where there is no cluster to submit them to."""
        nodes = self._find_nodes()
        for cell in cells:
            if cell.id not in self._submitted:
                self._submitted[cell.id] = cell, self._send(cell, nodes)

    def run(self, cell: Cell) -> Execution:
        """Wait for the cell's result; one that was not submitted, or was taken, is submitted."""
        lost: list[Failure] = []
        while True:
            _, task = self._submitted.pop(cell.id, (cell, None))
            task = task or self._send(cell, self._find_nodes())
            execution = self._take(cell, task)
            failure = execution.response
            if isinstance(failure, TrainResult) or failure.error.code != _LOST:
                break
            if len(lost) == self._retries:
                break
            lost.append(failure)
        return replace(execution, lost=tuple(lost))

    def take_ended(self) -> list[tuple[Cell, Execution]]:
        """Return the submitted cells that have ended and their executions, without waiting.

        One that was lost is not among them: it would be submitted again.
        """
        if self._task is None:
            return []
        import ray

        tasks = {task: cell for cell, task in self._submitted.values() if _is_task(task)}
        ended, _ = ray.wait([*tasks], num_returns=len(tasks), timeout=0) if tasks else ([], [])
        taken = []
        for task in ended:
            with suppress(ray.exceptions.RayError):
                taken.append((tasks[task], ray.get(task)))
                del self._submitted[tasks[task].id]
        return taken

    def _take(self, cell: Cell, task: Any) -> Execution:
        if isinstance(task, Failure):
            return Execution(task, 0.0)
        import ray

        try:
            execution: Execution = ray.get(task)
        except ray.exceptions.OutOfMemoryError as problem:
            return _lost(cell, "out_of_memory", "node_memory", f"Ray ended it: {_first(problem)}")
        except ray.exceptions.RayTaskError as problem:
            text = f"the node could not run it: {_describe(problem)}"
            remedy = "every node needs the same Python, packages and files as this machine"
            return _lost(cell, "error", "node_raised", text, remedy)
        except ray.exceptions.RayError as problem:
            text = f"its node or Ray's process there was lost: {_first(problem)}"
            return _lost(cell, "crashed", _LOST, text)
        return execution

    def resources(self) -> dict[str, float]:
        """Return what the cluster has in all: nodes, CPU, GPU, and memory in bytes."""
        self._connect()
        import ray

        total = ray.cluster_resources()
        nodes = sum(name.startswith("node:") and "__" not in name for name in total)
        return {"nodes": nodes, **{k: total[k] for k in ("CPU", "GPU", "memory") if k in total}}

    def close(self) -> None:
        """Cancel what has not been waited for; stop a cluster of ours, leave any other."""
        if self._task is None:
            return
        import ray

        for _, task in self._submitted.values():
            if _is_task(task):
                with suppress(ray.exceptions.RayError):
                    ray.cancel(task, force=True)
        self._submitted.clear()
        self._task = None
        if self._joined:
            self._leave(ray)

    def _find_nodes(self) -> list[dict[str, float]]:
        """Return what each node that is alive has in all."""
        self._connect()
        import ray

        return [node["Resources"] for node in ray.nodes() if node["Alive"]]

    def _send(self, cell: Cell, nodes: list[dict[str, float]]) -> Any:
        """Return the reference to the submitted cell, or the Failure of one that fits no node."""
        needs = claim(cell)
        # Ray would wait for a node that can hold it, and the test with it, for ever.
        if not any(all(n.get(name, 0) >= much for name, much in needs.items()) for n in nodes):
            words = ", ".join(f"{name} {much:g}" for name, much in needs.items() if much)
            unfit = f"no node of the Ray cluster has {words}"
            remedy = "start a node that has them, or lower the algorithm's resources or the threads"
            return Failure(
                id=cell.id,
                outcome="unavailable",
                error=ErrorInfo(code="no_node", message=unfit, remedy=remedy),
            )
        return self._submit_task.options(
            num_cpus=needs["CPU"],
            num_gpus=needs["GPU"],
            memory=int(needs["memory"]) or None,
            name=cell.id,
        ).remote(self._task, cell)

    def _connect(self) -> None:
        """Join the cluster or start one, once; a connection that this process has is used."""
        if self._task is not None:
            return
        check_installed()
        joined = "ray" in sys.modules and sys.modules["ray"].is_initialized()
        if not joined and self._address is not None:
            _knock(self._address)
        import ray

        if not joined:
            self._join(ray)
        self._submit_task = ray.remote(max_retries=0)(run_on_node)
        logs = self._logs.resolve() if self.folder else None
        self._task = Task(uuid.uuid4().hex, self._make, logs, ML_FOLDER, tuple(sys.path))

    def _join(self, ray: Any) -> None:
        options: dict[str, Any] = {"address": self._address}
        if self._address is None:
            self.folder = Path(tempfile.mkdtemp(prefix="mlmatrix-ray-"))
            options = {
                "address": "local",
                "num_cpus": self._cpus,
                "include_dashboard": False,
                "object_store_memory": OBJECT_STORE_BYTES,
                "_temp_dir": str(self.folder),
            }
        wanted = _JOINING if self._address else _STARTING
        unset = {name: value for name, value in wanted.items() if name not in os.environ}
        os.environ.update(unset)
        try:
            ray.init(**options, log_to_driver=False, logging_level="ERROR")
            self._joined = True
        except Exception as problem:
            self._leave(ray)
            raise _unreachable(self._address, _first(problem)) from problem
        except BaseException:
            self._leave(ray)
            raise
        finally:
            for name in unset:
                del os.environ[name]

    def _leave(self, ray: Any) -> None:
        ray.shutdown()
        self._joined = False
        if self.folder is not None:
            _remove(self.folder)
            self.folder = None


def claim(cell: Cell) -> dict[str, float]:
    """Return the cell's resources in Ray's names and units."""
    needs, runtime = cell.resources, cell.runtime
    return {
        "CPU": max(needs.cpus, runtime.threads),
        "GPU": needs.gpus if runtime.device == "cuda" else 0,
        "memory": (needs.memory_mib or 0) * 2**20,
    }


def run_on_node(task: Task, cell: Cell) -> Execution:
    """Run a cell in a process of Ray, through an executor that stays warm for the next one."""
    return _executor_of(task).run(move_home(cell, task.ml_folder))


def move_home(cell: Cell, ml_folder: Path) -> Cell:
    """Return the cell with the descriptor of one of our own datasets where this machine has it."""
    if not isinstance(cell.data, DescriptorData):
        return cell
    path = Path(cell.data.path)
    if not path.is_relative_to(ml_folder):
        return cell
    return replace(cell, data=DescriptorData(path=str(ML_FOLDER / path.relative_to(ml_folder))))


# The executor of this process of Ray, and whose it is: there is one at a time.
_kept: dict[tuple[str, str], Executor] = {}


def _executor_of(task: Task) -> Executor:
    import ray

    if not ray.get_runtime_context().get_accelerator_ids().get("GPU"):
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    # A worker sees the devices that were visible when it started.
    key = (task.owner, os.environ.get("CUDA_VISIBLE_DEVICES", ""))
    if key not in _kept:
        for executor in _kept.values():
            executor.close()
        _kept.clear()
        sys.path += [path for path in task.paths if path not in sys.path]
        # A spawned worker would import the main module of this process, and so all of Ray.
        vars(sys.modules["__main__"]).pop("__file__", None)
        _kept[key] = task.make((task.logs or _logs_of_node()) / f"ray-{os.getpid()}")
    return _kept[key]


def _logs_of_node() -> Path:
    """Return a folder among the logs that Ray keeps of its session on this node."""
    import ray

    here = ray.get_runtime_context().get_node_id()
    [socket_name] = [n["ObjectStoreSocketName"] for n in ray.nodes() if n["NodeID"] == here]
    return Path(socket_name).parents[1] / "logs" / "mlmatrix"


def _knock(address: str) -> None:
    """Raise MatrixError unless something listens there: Ray itself would try for minutes."""
    place = address.rpartition("//")[2]
    host, _, port = place.rpartition(":")
    if not host:
        return
    try:
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
    except (OSError, ValueError) as problem:
        raise _unreachable(address, str(problem)) from problem


def _remove(folder: Path) -> None:
    """Remove a cluster's folder, where a process that is ending may still write."""
    for _ in range(REMOVALS):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.1)


def _unreachable(address: str | None, why: str) -> MatrixError:
    if address is None:
        return MatrixError(
            f"--matrix-executor ray: no Ray cluster could be started on this machine: {why}",
            remedy="try `ray start --head`, which tells more",
        )
    return MatrixError(
        f"--matrix-ray-address / matrix_ray_address: there is no Ray cluster at {address}: {why}",
        remedy="look with `ray status --address ADDRESS`; where it wants a token, set "
        "RAY_AUTH_MODE=token; without an address a cluster is started on this machine",
    )


def _is_task(submitted: Any) -> bool:
    return not isinstance(submitted, Failure)


def _lost(
    cell: Cell, outcome: Outcome, code: str, message: str, remedy: str | None = None
) -> Execution:
    error = ErrorInfo(code=code, message=message, remedy=remedy)
    return Execution(Failure(id=cell.id, outcome=outcome, error=error), 0.0)


def _describe(problem: Any) -> str:
    cause = getattr(problem, "cause", None) or problem
    return f"{type(cause).__name__}: {_first(cause)}"


def _first(problem: BaseException) -> str:
    lines = str(problem).strip().splitlines()
    return lines[0] if lines else type(problem).__name__
