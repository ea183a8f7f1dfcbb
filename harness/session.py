"""Hold one pytest session's matrix: its cells, their single run each, and its journal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property, partial

import pytest

from harness.catalog.datasets import BrokenDataset
from harness.catalog.frameworks import FRAMEWORKS, SEARCH
from harness.catalog.product import load_catalog, select_cells
from harness.cell import Cell
from harness.execute.executor import Execution, Executor
from harness.execute.inprocess import InProcessExecutor
from harness.execute.local import LocalExecutor
from harness.execute.ray import RayExecutor
from harness.extensions import Extensions
from harness.gates.band import Accepted
from harness.markers import MatrixMarker
from harness.options import Settings
from harness.recording import as_attempt, judge_again, make_record, response_of, stopped_execution
from harness.store.baselines import BASELINES, read_baselines
from harness.store.fingerprint import Cache, Lookup
from harness.store.journal import Journal, now
from harness.store.record import Attempt, Record
from harness.store.sources import Sources, project_roots
from harness.store.trials import UNUSABLE, place_trials, set_trials_aside
from ml.core.contracts import ErrorInfo, Failure, Framework, SketchSpec, TrainResult
from ml.core.errors import MatrixError

# Where the tables of earlier runs are remembered, below the reports.
SKETCHES = "sketches"


class NotRecorded(MatrixError):
    """Say that a cell's record could not be kept."""

    code = "not_recorded"


class MatrixSession:
    """Run each cell once, judge it, and append its record to the run's journal at once."""

    def __init__(
        self,
        settings: Settings,
        journal: Journal,
        shared: bool,
        extensions: Extensions = Extensions(),  # noqa: B008 - it is frozen
    ) -> None:
        """Load the catalog; ``shared`` says that other processes run cells of this run too.

        Raises ValueError where the project's own part of the catalog is wrong, or its baselines.
        """
        self.settings = settings
        self.extensions = extensions
        self.catalog = load_catalog(
            settings, extensions.places, extensions.datasets, extensions.algorithms
        )
        self._journal = journal
        try:
            self._bands = read_baselines(settings.reports / BASELINES)
        except MatrixError as problem:
            raise ValueError(str(problem)) from None
        self._shared = shared
        self._executor: Executor | None = None
        self._records: dict[str, Record] = {}
        self._again: dict[str, list[Attempt]] = {}
        self.left_out: set[str] = set()
        roots = (*extensions.project, *project_roots(settings.root))
        self._cache = Cache(settings.reports, Sources(tuple(dict.fromkeys(roots))))

    @cached_property
    def _accepted(self) -> Accepted | None:
        """Return the accepted bands; what a run's head tells of the machine is read for them."""
        return Accepted(self._bands, self._journal.environment) if self._bands else None

    def select(self, marker: MatrixMarker) -> list[Cell | BrokenDataset]:
        """Return the marker's cells, then the descriptors that are broken, to be reported."""
        cells = select_cells(self.catalog, marker, self.settings)
        arranged = self.extensions.arrange(cells)
        kept = {cell.id for cell in arranged}
        self.left_out.update(cell.id for cell in cells if cell.id not in kept)
        return [*arranged, *self.catalog.broken]

    def missing(self, cell: Cell) -> tuple[Framework, str] | None:
        """Return the first framework that the cell lacks here, and why; None where it has all."""
        for framework in cell.frameworks:
            missing = FRAMEWORKS[framework].missing
            if missing is not None:
                return framework, missing
        if cell.sweep is not None and SEARCH.missing is not None:
            return cell.framework, f"for a sweep: {SEARCH.missing}"
        return None

    def submit(self, cells: Iterable[Cell]) -> None:
        """Announce cells that will run, in their order; raises MatrixError without a cluster."""
        self._start().submit(cell for cell in cells if self._will_run(cell))

    def cluster(self) -> dict[str, float]:
        """Return what the cluster has in all, empty where cells run on this machine."""
        return self._executor.resources() if isinstance(self._executor, RayExecutor) else {}

    def record(self, cell: Cell) -> Record:
        """Return the cell's record, running it now unless it has been run."""
        if cell.id in self._again:
            return self._run(cell)
        if cell.id not in self._records:
            if self._shared:
                with self._journal.claim(cell.id):
                    found = self._journal.find(cell.id)
                    if found is None:
                        return self._settle(cell)
                    self._records[cell.id] = found
            else:
                return self._settle(cell)
        return self._records[cell.id]

    def repeat(self, cell: Cell) -> None:
        """Let the cell run once more although it has a record, which becomes an attempt."""
        record = self._records.pop(cell.id, None)
        if record is not None:
            last = as_attempt(response_of(record), record.seconds, record.reason)
            self._again[cell.id] = [*record.attempts, last]

    def known(self, cell: Cell) -> Record | None:
        """Return the cell's record if the cell has been run."""
        return self._records.get(cell.id)

    def record_ended(self) -> None:
        """Record the cells that have ended on a cluster and that no test has asked for yet."""
        if isinstance(self._executor, RayExecutor):
            for cell, execution in self._executor.take_ended():
                # A full disk has been told of by the test that found it so.
                with suppress(NotRecorded):
                    self._append(cell, execution, now(), self.look_up(cell, find=False))

    def close(self) -> None:
        """Stop the workers."""
        if self._executor is not None:
            self._executor.close()
            self._executor = None

    def look_up(self, cell: Cell, find: bool = True) -> Lookup:
        """Return the cell's fingerprint and, where ``find`` asks, the record that may be reused."""
        return self._cache.look_up(cell.to_request(), cell.frameworks, find)

    def find_final(self, cell: Cell) -> Record | None:
        """Return the record that a cell of a resumed run has already, None where it has to run.

        A record of another request, as after a change of options, is not the cell's.
        """
        record = self._journal.find_earlier(cell.id)
        if record is None or not record.is_final:
            return None
        return record if record.request == cell.to_request().model_dump(mode="json") else None

    def _settle(self, cell: Cell) -> Record:
        final = self.find_final(cell)
        if final is None:
            return self._run(cell)
        record = judge_again(cell, final, self.extensions.gates, self._accepted)
        if record != final:
            self._journal.append(record)
        self._records[cell.id] = record
        return record

    def _run(self, cell: Cell) -> Record:
        started = now()
        # Before the cell runs: what its worker is going to import is what is hashed.
        lookup = self.look_up(cell, find=self.settings.reuse and self.missing(cell) is None)
        past = lookup.record
        attempts = self._again.pop(cell.id, [])
        stop: BaseException | None = None
        if past:
            execution = Execution(response_of(past), past.seconds)
        else:
            execution, stop = self._attempt(cell, attempts)
        record = self._append(cell, execution, started, lookup, attempts)
        if stop is not None:
            raise stop
        return record

    def _append(
        self,
        cell: Cell,
        execution: Execution,
        started: str,
        lookup: Lookup,
        attempts: Sequence[Attempt] = (),
    ) -> Record:
        """Judge an execution, append its record and show it to the project; raises NotRecorded."""
        past = lookup.record
        origin = {
            "fingerprint": lookup.parts,
            "key": lookup.key if lookup.is_current() else None,
            "reused": (past.reused or past.run) if past else None,
            "attempts": tuple(attempts),
        }

        def judge(before: Sequence[Record]) -> Record:
            gates = self.extensions.gates
            record = make_record(
                self._journal.run, cell, execution, started, before, gates, self._accepted
            )
            return record.model_copy(update=origin)

        try:
            record = self._journal.append_judged(cell.dataset, cell.algorithm, judge)
        except OSError as problem:
            raise NotRecorded(
                f"{cell.id} has run, and its record cannot be written: {problem}",
                field=str(self._journal.folder),
                remedy="free space there, or name another folder with --matrix-reports",
            ) from None
        self._records[cell.id] = record
        self.extensions.observe(record)
        return record

    def _attempt(
        self, cell: Cell, attempts: list[Attempt]
    ) -> tuple[Execution, BaseException | None]:
        """Run a cell as often as the policy says, noting the attempts before the last one.

        What stopped it, to be raised once that is recorded, comes too: an exception in this
        process, for the debugger, or the time limit of another plugin.
        """
        left = dict(self.settings.retry)
        while True:
            try:
                execution = self._execute(cell)
            except (Exception, pytest.fail.Exception) as problem:  # noqa: BLE001 - raised later
                return stopped_execution(cell, problem), problem
            attempts += [as_attempt(failure, 0.0) for failure in execution.lost]
            failure = execution.response
            if isinstance(failure, TrainResult) or not left.get(failure.outcome):
                return execution, None
            left[failure.outcome] -= 1
            attempts.append(as_attempt(failure, execution.seconds))

    def _execute(self, cell: Cell) -> Execution:
        missing = self.missing(cell)
        if missing is not None:
            error = ErrorInfo(code="not_installed", message=missing[1])
            return Execution(Failure(id=cell.id, outcome="unavailable", error=error), 0.0)
        if self.settings.executor != "local":
            return self._start().run(cell)
        # No part of what is asked for, as the file of a sweep is not: records lack it.
        spec = SketchSpec(folder=str(self.settings.reports / SKETCHES), run=self._journal.run)
        cell = replace(cell, sketches=spec)
        if cell.sweep is None:
            return self._start().run(cell)
        # A run that is killed in its first search can be resumed, too.
        self._journal.begin()
        path = place_trials(self._journal.folder, cell.id)
        # The file is no part of what is asked for: records, and what is looked up, lack it.
        keeping = replace(cell, sweep=cell.sweep.model_copy(update={"journal": str(path)}))
        execution = self._start().run(keeping)
        failure = execution.response
        if isinstance(failure, Failure) and failure.error.code in UNUSABLE:
            # As after an upgrade, or with other options, since the run was cut off.
            set_trials_aside(path)
            execution = self._start().run(keeping)
        return execution

    def _start(self) -> Executor:
        if self._executor is None:
            self._executor = self._make_executor()
        return self._executor

    def _make_executor(self) -> Executor:
        settings, project = self.settings, self.extensions.project
        if settings.isolation == "none":
            return InProcessExecutor(settings.runtime, project=project)
        logs = self._journal.folder / "workers"
        make = partial(
            LocalExecutor,
            runtime=settings.runtime,
            project=project,
            memory_limit=settings.memory,
            fresh=settings.isolation == "fresh",
        )
        if settings.executor == "ray":
            return RayExecutor(make, logs, settings.ray_address)
        return make(logs)

    def _will_run(self, cell: Cell) -> bool:
        """Tell whether the cell has to run: not where its framework is missing or its record is."""
        if self.missing(cell) is not None or self.find_final(cell) is not None:
            return False
        return not self.settings.reuse or self.look_up(cell).record is None


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
