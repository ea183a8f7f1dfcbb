"""Run cells in this process, to debug them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from harness.cell import Cell
from harness.execute import remote
from harness.execute.executor import Execution
from harness.execute.local import read_answer
from ml.core.contracts import RuntimeSpec, parse_response


class InProcessExecutor:
    """Run each cell where it is asked for: breakpoints hold, and what it prints is captured.

    What a cell did not expect is raised, so that a debugger stops where that was. No limit of
    time or memory applies, and a crash ends this process.
    """

    def __init__(
        self,
        runtime: RuntimeSpec = RuntimeSpec(),  # noqa: B008 - it is frozen
        worker_module: str = "ml.worker",
        project: Sequence[Path] = (),
    ) -> None:
        self._module = worker_module
        remote.open_project([*map(str, project)])
        remote.set_variables(runtime.threads)

    def submit(self, cells: Iterable[Cell]) -> None:
        """Do nothing: a cell runs when it is asked for."""

    def run(self, cell: Cell) -> Execution:
        """Answer the cell's request; raises whatever its training did not expect."""
        request = cell.to_request()
        started = time.perf_counter()
        answer = remote.serve(
            self._module, cell.framework, cell.mode, request.model_dump_json(), surfacing=True
        )
        seconds = time.perf_counter() - started
        return Execution(read_answer(request.id, answer, parse_response), seconds)

    def close(self) -> None:
        """End; nothing was started."""
