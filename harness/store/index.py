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
from pathlib import Path
from types import TracebackType
from typing import Any

from harness.store.indexing import FOLDERS, JSON_COLUMNS, has_schema, make_schema, update
from harness.store.journal import JOURNAL, read_record
from harness.store.record import End, Head, Record, State
from harness.store.rows import COLUMNS, GREATER, MEASURES, CellRow, ResultRow, RunRow
from harness.store.series import Point, Series
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
        runs = self.runs(kind)
        if not runs:
            raise MatrixError(
                f"there are no runs in {self._reports / FOLDERS['matrix']}",
                remedy="run `pytest -m slow_matrix` first, or name another folder with --reports",
            )
        found = next((run for run in runs if name in (run.name, None)), None)
        if found is None:
            names = [run.name for run in runs]
            near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
            raise MatrixError(
                f"there is no run {name!r} in {self._reports}",
                expected=f"a run's name; the newest are {', '.join(names[:5])}",
                remedy=f"did you mean {near[0]!r}?" if near else "`mlmatrix runs` lists them all",
            )
        return found

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

        A reused record has no point in a series of times or memory, nor has a training that
        went on from a checkpoint; a score has none where the metric was another than today's.
        Raises MatrixError for a cell or measure that is unknown.
        """
        found = list(self._series([measure], "WHERE cell_id = ?", (self._cell_id(cell),)))
        kind = MEASURES[measure][1]
        return found[0] if found else Series(cell, measure, kind, measure in GREATER, ())

    def all_series(self, measures: Sequence[str] = tuple(MEASURES)) -> Iterator[Series]:
        """Yield the series of all cells in these measures, without those that have no point."""
        yield from (one for one in self._series(measures, "", ()) if one.points)

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
        self, measures: Iterable[str], where: str, values: tuple[Any, ...]
    ) -> Iterator[Series]:
        for measure in measures:
            if measure not in MEASURES:
                near = difflib.get_close_matches(measure, MEASURES, n=1)
                raise MatrixError(
                    f"there is no measure {measure!r}",
                    expected=f"one of {', '.join(MEASURES)}",
                    remedy=f"did you mean {near[0]!r}?" if near else None,
                )
        runs = self._runs_by_id()
        cells = dict(self._connection.execute("SELECT id, cell FROM cells").fetchall())
        names = ", ".join(dict.fromkeys(MEASURES[one][0] for one in measures))
        rows = self._connection.execute(
            'SELECT cell_id, run_id, outcome, timed, started, "commit", metric, '  # noqa: S608
            "greater_is_better, replicates, splits, calibration, data, entry, device, "
            f"{names} FROM results {where} ORDER BY cell_id",
            values,
        )
        for cell_id, group in groupby(rows, key=lambda row: int(row["cell_id"])):
            found = [row for row in group if row["outcome"] == "ok"]
            found.sort(key=lambda row: runs[row["run_id"]].name)
            for measure in measures:
                yield _make_series(cells[cell_id], measure, found, runs)

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


def _make_series(
    cell: str, measure: str, rows: Sequence[sqlite3.Row], runs: dict[int, RunRow]
) -> Series:
    column, kind = MEASURES[measure]
    rows = [row for row in rows if row[column] is not None]
    greater = measure in GREATER
    if kind == "metric":
        newest = rows[-1]["metric"] if rows else None
        rows = [row for row in rows if row["metric"] == newest]
        greater = bool(rows and rows[-1]["greater_is_better"])
    else:
        rows = [row for row in rows if row["timed"]]
    points = []
    for row in rows:
        run = runs[row["run_id"]]
        environment = run.environment
        if row["device"] not in (None, "cpu", "unknown"):
            environment += f"@{row['device']}"
        scored = kind == "metric" and row["replicates"] is not None
        points.append(
            Point(
                run=run.name,
                started=row["started"],
                commit=row["commit"],
                dirty=bool(run.dirty),
                environment=environment,
                data=row["data"],
                entry=row["entry"],
                value=row[column],
                replicates=tuple(json.loads(row["replicates"])) if scored else (),
                splits=tuple(json.loads(row["splits"])) if scored else (),
                calibration=row["calibration"],
            )
        )
    return Series(cell, measure, kind, greater, tuple(points))


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
    values["timed"] = bool(values["timed"])
    if values["greater_is_better"] is not None:
        values["greater_is_better"] = bool(values["greater_is_better"])
    return ResultRow(**values)
