"""Answer questions about all runs: an index in SQLite, derived from the journals.

The journals are the truth; `reports/index.sqlite` can be deleted at any time and is made again. It
is also made again where it is damaged, or of another version.
"""

from __future__ import annotations

import difflib
import fcntl
import json
import os
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from types import TracebackType

from harness.store.indexing import FOLDERS, JSON_COLUMNS, has_schema, make_schema, update
from harness.store.journal import JOURNAL, read_record
from harness.store.points import Facts, make_series
from harness.store.record import End, Head, Record, State
from harness.store.rows import (
    COLUMNS,
    GREATER,
    MEASURES,
    Brief,
    CellRow,
    RerunRow,
    ResultRow,
    RunRow,
    Sketch,
)
from harness.store.series import Series
from ml.core.contracts import Outcome
from ml.core.errors import MatrixError

INDEX = "index.sqlite"
WAIT_SECONDS = 60.0
# What SQLite says where it may not write here, as in a folder that is read-only or full.
NO_PLACE = ("unable to open", "readonly", "disk I/O error", "is full", "locking protocol")


class Index:
    """Hold an index that is up to date with the journals; use it as a context, or close it."""

    def __init__(self, reports: Path, connection: sqlite3.Connection) -> None:
        self._reports = reports
        self._connection = connection

    def __enter__(self) -> Index:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def refresh(self) -> None:
        """Read what the journals have more than the index."""
        update(self._connection, self._reports)

    def runs(self, kind: str | None = None) -> list[RunRow]:
        """Return all runs, or those of a kind, the newest first."""
        rows = self._connection.execute("SELECT * FROM runs ORDER BY name DESC, kind")
        return [_run_of(row) for row in rows if kind in (None, row["kind"])]

    def run(self, name: str | None, kind: str | None = None) -> RunRow:
        """Return a run by its name, the newest for None; MatrixError lists the newest."""
        query = "SELECT * FROM runs WHERE name = ? AND kind = coalesce(?, kind) ORDER BY kind"
        known = self._connection.execute(query, (name, kind)).fetchone()
        if known is not None:
            return _run_of(known)
        runs = self.runs(kind)
        if not runs:
            raise MatrixError(
                f"there are no runs in {self._reports / FOLDERS['matrix']}",
                remedy="run `pytest -m slow_matrix` first, or name another folder with --reports",
            )
        if name is not None:
            names = [run.name for run in runs]
            near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
            raise MatrixError(
                f"there is no run {name!r} in {self._reports}",
                expected=f"a run's name; the newest are {', '.join(names[:5])}",
                remedy=f"did you mean {near[0]!r}?" if near else "`mlmatrix runs` lists them all",
            )
        return runs[0]

    def sketch(self, run: str) -> Sketch:
        """Return a run of the matrix without its records; MatrixError where it is unknown."""
        query = "SELECT * FROM runs WHERE kind = 'matrix' AND name = ?"
        row = self._connection.execute(query, (self.run(run, "matrix").name,)).fetchone()
        failing = json.loads(row["failing"]).values()
        return Sketch(
            name=run,
            head=Head.model_validate_json(row["head"]) if row["head"] else None,
            end=End.model_validate_json(row["end"]) if row["end"] else None,
            resumed=len(json.loads(row["resumed"])),
            failing=tuple(cell for _, cells in failing for cell in cells),
        )

    def totals(self) -> dict[str, Counter[tuple[State, Outcome]]]:
        """Return per run how many of its cells ended in each state and outcome."""
        found: dict[str, Counter[tuple[State, Outcome]]] = {}
        for name, state, outcome, number in self._connection.execute(
            "SELECT name, state, outcome, count(*) FROM results JOIN runs ON runs.id = run_id "
            "GROUP BY run_id, state, outcome"
        ):
            found.setdefault(name, Counter())[state, outcome] += number
        return found

    def cells(self) -> list[CellRow]:
        """Return all cells that any run has a record of, by name."""
        query = (
            "SELECT cell, dataset, algorithm, framework, mode, task FROM cells "
            "WHERE EXISTS (SELECT 1 FROM results WHERE cell_id = id) ORDER BY cell"
        )
        return [CellRow(*row) for row in self._connection.execute(query)]

    def results_of_cell(self, cell: str) -> dict[str, ResultRow]:
        """Return how a cell did, by run, the oldest first; MatrixError names near misses."""
        query = (
            "SELECT name, results.* FROM results JOIN runs ON runs.id = run_id "
            "WHERE cell_id = ? ORDER BY name"
        )
        found = self._connection.execute(query, (self._cell_id(cell),))
        return {row["name"]: _result_of(row) for row in found}

    def results_of_run(self, run: str) -> dict[str, ResultRow]:
        """Return how the cells of a run did, by cell; MatrixError for an unknown run."""
        query = (
            "SELECT cell, results.* FROM results JOIN cells ON cells.id = cell_id WHERE run_id "
            "IN (SELECT id FROM runs WHERE name = ?) ORDER BY cell"
        )
        found = self._connection.execute(query, (self.run(run).name,))
        return {row["cell"]: _result_of(row) for row in found}

    def briefs_of_run(self, run: str) -> list[Brief]:
        """Return what a list of a run's cells shows, by cell; it is quick, for many runs."""
        query = (
            f"SELECT {', '.join(Brief._fields)} FROM results JOIN cells ON cells.id = cell_id "  # noqa: S608
            "WHERE run_id IN (SELECT id FROM runs WHERE name = ? AND kind = 'matrix')"
        )
        cursor = self._connection.cursor()
        cursor.row_factory = None
        return sorted(map(Brief._make, cursor.execute(query, (run,))))

    def results(self) -> Iterator[tuple[CellRow, RunRow, ResultRow]]:
        """Yield all that the index has, cell by cell, within a cell the oldest run first."""
        runs = self._runs_by_id()
        cells = {cell.cell: cell for cell in self.cells()}
        query = "SELECT cell, results.* FROM results JOIN cells ON cells.id = cell_id"
        rows = self._connection.execute(f"{query} ORDER BY cell_id")
        for name, group in groupby(rows, key=lambda row: str(row["cell"])):
            for row in sorted(group, key=lambda row: runs[row["run_id"]].name):
                yield cells[name], runs[row["run_id"]], _result_of(row)

    def series(self, cell: str, measure: str) -> Series:
        """Return a cell's measure over runs.

        All points have the scale of the newest: its budget and replicates. A reused record has no
        point in a series of times or memory, nor has a training that went on from a checkpoint; a
        score has none where the metric was another than today's, or the clock stopped a replicate.
        Raises MatrixError for a cell or measure that is unknown.
        """
        found = list(self._series([measure], self._cell_id(cell), None))
        kind = MEASURES[measure][1]
        return found[0] if found else Series(cell, measure, kind, measure in GREATER, ())

    def all_series(
        self, measures: Sequence[str] = tuple(MEASURES), last: int | None = None
    ) -> Iterator[Series]:
        """Yield the series of all cells in these measures, without those that have no point.

        ``last`` is how many runs of each kind are looked at, the newest ones; None for all.
        """
        yield from (one for one in self._series(measures, None, last) if one.points)

    def reruns(self) -> dict[str, list[RerunRow]]:
        """Return what was rerun of suspect cells, by cell, in the order in which it was."""
        query = (
            "SELECT cell, name, measure, value, calibration FROM reruns JOIN cells ON cells.id = "
            "cell_id JOIN runs ON runs.id = run_id ORDER BY name, start"
        )
        found: dict[str, list[RerunRow]] = {}
        for cell, *values in self._connection.execute(query):
            found.setdefault(cell, []).append(RerunRow(*values))
        return found

    def record(self, cell: str, run: str) -> Record:
        """Read a cell's full record from its run's journal; MatrixError where there is none."""
        query = (
            "SELECT kind, results.start, results.size FROM results JOIN runs ON runs.id = run_id "
            "WHERE cell_id = ? AND name = ?"
        )
        found = self._connection.execute(query, (self._cell_id(cell), self.run(run).name))
        place = found.fetchone()
        if place is None:
            raise MatrixError(
                f"run {run} has no record of {cell}",
                remedy=f"`mlmatrix history {cell}` lists the runs that have one",
            )
        path = self._reports / FOLDERS[place["kind"]] / run / JOURNAL
        return read_record(path, place["start"], place["size"])

    def _series(
        self, measures: Iterable[str], cell_id: int | None, last: int | None
    ) -> Iterator[Series]:
        for measure in measures:
            if measure not in MEASURES:
                near = difflib.get_close_matches(measure, MEASURES, n=1)
                raise MatrixError(
                    f"there is no measure {measure!r}",
                    expected=f"one of {', '.join(MEASURES)}",
                    remedy=f"did you mean {near[0]!r}?" if near else None,
                )
        runs = self._number_runs(last)
        cells = dict(map(tuple, self._connection.execute("SELECT id, cell FROM cells")))
        columns = [MEASURES[measure][0] for measure in measures]
        names = ", ".join(f'"{name}"' for name in (*Facts._fields, *columns))
        where = "" if cell_id is None else "AND cell_id = ?"
        query = f"SELECT {names} FROM results WHERE outcome = 'ok' {where} ORDER BY cell_id"  # noqa: S608
        cursor = self._connection.cursor()
        cursor.row_factory = None
        rows = cursor.execute(query, () if cell_id is None else (cell_id,))
        width = len(Facts._fields)
        for key, group in groupby(rows, key=itemgetter(0)):
            found = [
                (*runs[row[1]], Facts._make(row[:width]), row[width:])
                for row in group
                if row[1] in runs
            ]
            found.sort(key=itemgetter(0))
            for place, measure in enumerate(measures):
                valued = [
                    (run, facts, values[place])
                    for _, run, facts, values in found
                    if values[place] is not None
                ]
                yield make_series(cells[key], measure, valued)

    def _number_runs(self, last: int | None) -> dict[int, tuple[int, RunRow]]:
        """Return the newest runs of each kind by their key, each with its place in time."""
        known = sorted(self._runs_by_id().items(), key=lambda entry: entry[1].name)
        if last is not None:
            kinds = [[one for one in known if one[1].kind == kind] for kind in FOLDERS]
            kept = {key for found in kinds for key, _ in found[max(0, len(found) - last) :]}
            known = [one for one in known if one[0] in kept]
        return {key: (place, run) for place, (key, run) in enumerate(known)}

    def _runs_by_id(self) -> dict[int, RunRow]:
        return {row["id"]: _run_of(row) for row in self._connection.execute("SELECT * FROM runs")}

    def _cell_id(self, cell: str) -> int:
        query = "SELECT id FROM cells WHERE cell = ?"
        found = self._connection.execute(query, (cell,)).fetchone()
        if found is None:
            names = [one.cell for one in self.cells()]
            near = difflib.get_close_matches(cell, names, n=3, cutoff=0.6)
            raise MatrixError(
                f"there is no record of a cell {cell!r} in {self._reports}",
                expected="a cell's id, as dataset-algorithm-framework-mode",
                remedy=f"did you mean {' or '.join(map(repr, near))}?"
                if near
                else "run it first, or name another folder with --reports",
            )
        return int(found[0])


def open_index(reports: Path) -> Index:
    """Return the index of a folder of reports, up to date with its journals.

    It lies in ``reports/index.sqlite``; where none can be written there, as in a folder that is
    read-only, it is made in memory. Several processes may open it at once. Raises MatrixError
    where another process holds it for longer than a minute.
    """
    if not reports.is_dir():
        return _open_in_memory(reports)
    try:
        with _locked(reports):
            connection = _connect(reports / INDEX)
        return _update(reports, connection)
    except sqlite3.OperationalError as problem:
        if "locked" in str(problem):
            raise MatrixError(
                f"{reports / INDEX} is held by another process",
                remedy=f"try again, or delete {reports / INDEX}: it is made of the journals",
            ) from None
        if not any(text in str(problem) for text in NO_PLACE):
            raise
        return _open_in_memory(reports)
    except sqlite3.DatabaseError:
        # It is damaged, and nothing is lost with it.
        with _locked(reports):
            _remove(reports / INDEX)
            connection = _connect(reports / INDEX)
        return _update(reports, connection)


def _connect(path: Path | str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=WAIT_SECONDS, isolation_level=None)
    connection.row_factory = sqlite3.Row
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA cache_size = -65536")
        if not has_schema(connection):
            make_schema(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _update(reports: Path, connection: sqlite3.Connection) -> Index:
    try:
        update(connection, reports)
    except BaseException:
        connection.close()
        raise
    return Index(reports, connection)


def _open_in_memory(reports: Path) -> Index:
    connection = _connect(":memory:")
    return _update(reports, connection)


def _remove(path: Path) -> None:
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
        path.with_name(name).unlink(missing_ok=True)


@contextmanager
def _locked(reports: Path) -> Iterator[None]:
    """Let one process at a time make the file or remove it."""
    handle = os.open(reports, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):  # a file system without locks on folders
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _run_of(row: sqlite3.Row) -> RunRow:
    head = Head.model_validate_json(row["head"]) if row["head"] else None
    end = End.model_validate_json(row["end"]) if row["end"] else None
    torn = [row["torn"]] if row["torn"] else []
    return RunRow(
        name=row["name"],
        kind=row["kind"],
        started=head.started if head else None,
        commit=head.git_commit if head else None,
        branch=head.git_branch if head else None,
        dirty=head.git_dirty if head else None,
        command=head.command if head else (),
        environment=row["environment"],
        parts=json.loads(row["parts"]),
        exit_status=end.exit_status if end else None,
        finished=end.finished if end else None,
        seconds=row["seconds"],
        resumed=tuple((one["started"], one["git_commit"]) for one in json.loads(row["resumed"])),
        damage=(*json.loads(row["damage"]), *torn),
    )


def _result_of(row: sqlite3.Row) -> ResultRow:
    values = {name: row[name] for name in COLUMNS}
    for name in JSON_COLUMNS:
        values[name] = json.loads(values[name]) if values[name] else None
    values["replicates"] = tuple(values["replicates"] or ())
    values["splits"] = tuple(values["splits"] or ())
    values["timed"], values["cut"] = bool(values["timed"]), bool(values["cut"])
    if values["greater_is_better"] is not None:
        values["greater_is_better"] = bool(values["greater_is_better"])
    return ResultRow(**values)
