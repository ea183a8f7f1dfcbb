"""Hold one pytest session's matrix: its cells, their single run each, and its journal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

from harness.catalog.datasets import BrokenDataset
from harness.catalog.frameworks import FRAMEWORKS
from harness.catalog.product import load_catalog, select_cells
from harness.cell import Cell
from harness.execute.executor import Execution, Executor
from harness.execute.local import LocalExecutor
from harness.execute.ray import RayExecutor
from harness.gates.judge import judge_cell
from harness.gates.parity import compare_siblings
from harness.gates.score import score_result
from harness.markers import MatrixMarker
from harness.options import Settings
from harness.store.journal import Journal, now
from harness.store.record import Record
from ml.core.contracts import ErrorInfo, Failure, Framework, TrainResult


class MatrixSession:
    """Run each cell once, judge it, and append its record to the run's journal at once."""

    def __init__(self, settings: Settings, journal: Journal, shared: bool) -> None:
        """Load the catalog; ``shared`` says that other processes run cells of this run too."""
        self.settings = settings
        self.catalog = load_catalog(settings)
        self._journal = journal
        self._shared = shared
        self._executor: Executor | None = None
        self._records: dict[str, Record] = {}

    def select(self, marker: MatrixMarker) -> list[Cell | BrokenDataset]:
        """Return the marker's cells, then the descriptors that are broken, to be reported."""
        return [*select_cells(self.catalog, marker, self.settings), *self.catalog.broken]

    def missing(self, cell: Cell) -> tuple[Framework, str] | None:
        """Return the first framework that the cell lacks here, and why; None where it has all."""
        for framework in cell.frameworks:
            missing = FRAMEWORKS[framework].missing
            if missing is not None:
                return framework, missing
        return None

    def submit(self, cells: Iterable[Cell]) -> None:
        """Announce cells that will run, in their order; raises MatrixError without a cluster."""
        self._start().submit(cell for cell in cells if self.missing(cell) is None)

    def cluster(self) -> dict[str, float]:
        """Return what the cluster has in all, empty where cells run on this machine."""
        return self._executor.resources() if isinstance(self._executor, RayExecutor) else {}

    def record(self, cell: Cell) -> Record:
        """Return the cell's record, running it now unless it has been run."""
        if cell.id not in self._records:
            if self._shared:
                with self._journal.claim(cell.id):
                    self._records[cell.id] = self._journal.find(cell.id) or self._run(cell)
            else:
                self._records[cell.id] = self._run(cell)
        return self._records[cell.id]

    def known(self, cell: Cell) -> Record | None:
        """Return the cell's record if the cell has been run."""
        return self._records.get(cell.id)

    def close(self) -> None:
        """Stop the workers."""
        if self._executor is not None:
            self._executor.close()
            self._executor = None

    def _run(self, cell: Cell) -> Record:
        started = now()
        execution = self._execute(cell)
        return self._journal.append_judged(
            cell.dataset,
            cell.algorithm,
            lambda before: make_record(self._journal.run, cell, execution, started, before),
        )

    def _execute(self, cell: Cell) -> Execution:
        missing = self.missing(cell)
        if missing is not None:
            error = ErrorInfo(code="not_installed", message=missing[1])
            return Execution(Failure(id=cell.id, outcome="unavailable", error=error), 0.0)
        return self._start().run(cell)

    def _start(self) -> Executor:
        if self._executor is None:
            logs = self._journal.folder / "workers"
            make = partial(LocalExecutor, runtime=self.settings.runtime)
            on_ray = self.settings.executor == "ray"
            address = self.settings.ray_address
            self._executor = RayExecutor(make, logs, address) if on_ray else make(logs)
        return self._executor


class CellRun:
    """Give a test its cell: ``run()`` trains it, once for all tests, and returns the record."""

    def __init__(self, session: MatrixSession, cell: Cell) -> None:
        self._session = session
        self.cell = cell

    def __repr__(self) -> str:
        return f"<cell {self.cell.id}>"

    @property
    def id(self) -> str:
        """Return the cell's id, ``dataset-algorithm-framework-mode``."""
        return self.cell.id

    @property
    def known(self) -> Record | None:
        """Return the record if the cell has been run, by this test or another."""
        return self._session.known(self.cell)

    def run(self) -> Record:
        """Return the cell's record: its outcome, score, verdicts and result.

        A cell that crashes, hangs or fails gives a record too, with the outcome and its
        reason. When the test ends, a gate that fails the cell fails the test.
        """
        return self._session.record(self.cell)


def make_record(
    run: str, cell: Cell, execution: Execution, started: str, before: Sequence[Record]
) -> Record:
    """Judge how a cell ended, beside the records that its run has already."""
    response = execution.response
    result = response if isinstance(response, TrainResult) else None
    failure = response if isinstance(response, Failure) else None
    score = score_result(result) if result else None
    comparisons = compare_siblings(cell, result, before) if result else ()
    verdicts = judge_cell(cell, response, score, comparisons)
    broken = [verdict for verdict in verdicts if verdict.breaks]
    reason = failure.error.message if failure else "; ".join(v.text for v in broken)
    return Record(
        run=run,
        cell=cell.id,
        dataset=cell.dataset,
        algorithm=cell.algorithm,
        framework=cell.framework,
        mode=cell.mode,
        task=cell.task,
        outcome=failure.outcome if failure else "ok",
        reason=reason,
        started=started,
        seconds=execution.seconds,
        limit_seconds=cell.timeout,
        error=failure.error if failure else None,
        score=score,
        verdicts=verdicts,
        comparisons=comparisons,
        request=cell.to_request().model_dump(mode="json"),
        result=result,
    )
