"""Tell which part of what a cell depends on has changed since its last record."""

from __future__ import annotations

import contextlib
import io
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.catalog.product import entry_of
from harness.cell import Cell
from harness.markers import near_miss
from harness.options import without_resume
from harness.report.text import count
from harness.reporter import SETTINGS
from harness.store.fingerprint import REUSABLE, Cache, Lookup
from harness.store.history import RUNS_REUSED, list_sizes, read_past
from harness.store.journal import read_record, read_run
from harness.store.record import Record
from harness.store.sources import Sources, project_roots
from ml.core.errors import MatrixError

SHORT = 60


class _Collected:
    """Take the cells that pytest collects, and where it looks for their modules."""

    def __init__(self) -> None:
        self.cells: dict[str, Cell] = {}
        self.roots: tuple[Path, ...] = ()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Take them while the paths of the project are still there to import from."""
        self.roots = project_roots(session.config.stash[SETTINGS].root)
        for item in session.items:
            entry = entry_of(item)
            if isinstance(entry, Cell):
                self.cells[entry.id] = entry


def explain_cell(name: str, reports: Path, arguments: Sequence[str] | None) -> list[str]:
    """Return what has changed for a cell since its last record, and what reuse would do.

    The cell is that which `pytest` collects here with ``arguments``, by default those of the run
    that has its last record. Raises MatrixError for a cell without a record, or that is not
    collected.
    """
    last, run = _find_last(name, reports)
    if arguments is None:
        head = read_run(run).head
        arguments = without_resume(head.command[1:]) if head else []
    collected = _collect(arguments)
    if name not in collected.cells:
        command = shlex.join(["pytest", *arguments])
        raise MatrixError(
            f"`{command}` collects no cell {name!r} here",
            expected=f"one of the {len(collected.cells)} cells that it collects"
            + near_miss(name, collected.cells),
            remedy=f"name options that collect it: mlmatrix why {name} -- -m slow_matrix",
        )
    cell = collected.cells[name]
    sources = Sources(collected.roots)
    lookup = Cache(reports, sources).look_up(cell.to_request(), cell.frameworks, find=True)
    title = f"{name}: the last record is of run {run.name}, outcome {last.outcome}"
    if last.reused:
        title += f", reused of run {last.reused}"
    return [title, *_describe(last, lookup, cell, sources), _tell_reuse(last, lookup)]


def _find_last(name: str, reports: Path) -> tuple[Record, Path]:
    seen: set[str] = set()
    for past in read_past(reports, list_sizes(reports, RUNS_REUSED)):
        if past.cell == name:
            return read_record(*past.place), reports / "runs" / past.run
        seen.add(past.cell)
    raise MatrixError(
        f"there is no record of a cell {name!r} in {reports / 'runs'}",
        expected="a cell's id, as dataset-algorithm-framework-mode" + near_miss(name, seen),
        remedy="run it first, or name another folder with --reports",
    )


def _collect(arguments: Sequence[str]) -> _Collected:
    collected = _Collected()
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        status = pytest.main([*arguments, "--collect-only", "-q"], plugins=[collected])
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        raise MatrixError(
            f"`{shlex.join(['pytest', *arguments, '--collect-only'])}` fails",
            received=output.getvalue().strip()[-1000:],
            remedy="mend what it says, or give other arguments after --",
        )
    return collected


def _describe(last: Record, lookup: Lookup, cell: Cell, sources: Sources) -> Iterator[str]:
    if not last.fingerprint:
        yield "  it has no fingerprint, so what has changed since is not known"
        return
    changes = list(_compare(last, lookup, cell, sources))
    total = len(lookup.parts | last.fingerprint)
    if not changes:
        yield f"  none of {total} parts has changed"
        return
    yield f"  {len(changes)} of {count(total, 'part')} changed:"
    yield from (f"    {line}" for line in changes)


def _compare(last: Record, lookup: Lookup, cell: Cell, sources: Sources) -> Iterator[str]:
    before, now = last.fingerprint, lookup.parts
    for part in sorted(before.keys() | now.keys()):
        old, new = before.get(part), now.get(part)
        if old == new:
            continue
        kind, _, name = part.partition(" ")
        if part == "request":
            fields = list(_differ("", last.request, cell.to_request().model_dump(mode="json")))
            yield "request: " + "; ".join(fields)
        elif old is None:
            yield f"{part} is new: {sources.path_of(name) if kind == 'module' else new}"
        elif new is None:
            yield f"{part} is no longer used" if kind == "module" else f"{part} is gone: {old}"
        elif kind == "module":
            yield f"{part}: {sources.path_of(name)}"
        else:
            yield f"{part}: {old} → {new}"


def _differ(place: str, old: Any, new: Any) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted(old.keys() | new.keys()):
            if not (place == "" and name == "data"):
                yield from _differ(f"{place}.{name}".lstrip("."), old.get(name), new.get(name))
    elif old != new:
        yield f"{place}: {str(old)[:SHORT]} → {str(new)[:SHORT]}"


def _tell_reuse(last: Record, lookup: Lookup) -> str:
    if lookup.unknown is not None:
        return f"--matrix-reuse runs it again: {lookup.unknown}"
    if lookup.record is not None:
        return f"--matrix-reuse takes the record of run {lookup.record.reused or lookup.record.run}"
    if last.fingerprint == lookup.parts:
        if last.outcome not in REUSABLE:
            return f"--matrix-reuse runs it again: the outcome {last.outcome} is never reused"
        if last.key is None:
            return "--matrix-reuse runs it again: a source changed while it ran"
        return "--matrix-reuse runs it again: its training was cut short by the time budget"
    return "--matrix-reuse runs it again"
