"""Select cells by the names of their sides, and list which run and which were left out, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import pytest

from harness.catalog.datasets import BrokenDataset
from harness.catalog.product import Catalog, entry_of
from harness.cell import Cell
from harness.markers import near_miss
from harness.report.text import count
from harness.terminal import lay_out

if TYPE_CHECKING:
    from harness.options import Selection
    from harness.session import MatrixSession

COLUMNS = ("dataset", "algorithm", "framework", "mode", "task", "tests")


def check_selection(selection: Selection, catalog: Catalog) -> None:
    """Raise ValueError for a pattern that matches no name of the catalog, naming the choices."""
    for side, patterns in selection.items():
        names = catalog.names[side]
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in names):
                raise ValueError(
                    f"--matrix-{side}: {pattern!r} matches no {side}{near_miss(pattern, names)}; "
                    f"choose from {', '.join(names)}"
                )


def is_selected(item: pytest.Item, selection: Selection) -> bool:
    """Tell whether an item's cell matches a pattern of every side; one without a cell does."""
    entry = entry_of(item)
    if isinstance(entry, BrokenDataset):
        return _matches(entry.path.stem, selection.get("dataset", ()))
    return entry is None or all(
        _matches(getattr(entry, side), patterns) for side, patterns in selection.items()
    )


class Listing:
    """Run nothing, and print which cells would run instead."""

    def __init__(self, session: MatrixSession) -> None:
        self._session = session
        self._items: list[pytest.Item] = []
        self._deselected: list[pytest.Item] = []

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        """Take what -k, -m or an option of ours leaves out."""
        self._deselected += items

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Take what would run."""
        self._items = list(session.items)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self) -> bool:
        """Say that all has been run."""
        return True

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print the list."""
        terminalreporter.section("cells")
        for line in describe_selection(self._items, self._deselected, self._session):
            terminalreporter.write_line(line)


def describe_selection(
    items: Sequence[pytest.Item], deselected: Sequence[pytest.Item], session: MatrixSession
) -> list[str]:
    """Return the table of the cells that would run, then what was left out and why."""
    cells: dict[str, Cell] = {}
    tests: Counter[str] = Counter()
    for item in items:
        entry = entry_of(item)
        if isinstance(entry, Cell):
            cells[entry.id] = entry
            tests[entry.id] += 1
    missing = {name: session.missing(cell) for name, cell in cells.items()}
    entries = [*cells.values(), *_cells_of(deselected)]
    running = [cell for name, cell in cells.items() if missing[name] is None]
    rows = [
        (cell.dataset, cell.algorithm, cell.framework, cell.mode, cell.task, str(tests[cell.id]))
        for cell in running
    ]
    lines = [*lay_out([COLUMNS, *rows], left=5), "", count(len(running), "cell")]
    left_out = [
        *_deselected(set(cells), deselected),
        *_by_hooks(session.left_out - set(cells)),
        *_unavailable([found for found in missing.values() if found]),
        *(f"descriptor {entry.path}: {entry.reason}" for entry in session.catalog.broken),
        *_not_made(session.catalog, {cell.dataset for cell in cells.values()}),
        *_not_swept(session.catalog, cells.values(), entries),
    ]
    return [*lines, *(["left out:"] if left_out else []), *(f"  {line}" for line in left_out)]


def _deselected(selected: set[str], items: Iterable[pytest.Item]) -> list[str]:
    gone = {cell.id for cell in _cells_of(items)} - selected
    return (
        [f"{count(len(gone), 'cell')}: deselected by -k, -m or a --matrix option"] if gone else []
    )


def _cells_of(items: Iterable[pytest.Item]) -> list[Cell]:
    entries = (entry_of(item) for item in items)
    return [entry for entry in entries if isinstance(entry, Cell)]


def _by_hooks(left_out: set[str]) -> list[str]:
    return [f"{count(len(left_out), 'cell')}: left out by pytest_matrix_cells"] if left_out else []


def _unavailable(missing: Sequence[tuple[str, str]]) -> list[str]:
    return [
        f"{count(missing.count(found), 'cell')}: {found[0]} is not available: {found[1]}"
        for found in dict.fromkeys(missing)
    ]


def _not_made(catalog: Catalog, datasets: set[str]) -> list[str]:
    """Name the algorithms that are not made for the tasks of these datasets."""
    tasks: dict[str, dict[str, None]] = {}
    for entry in catalog.algorithms:
        tasks.setdefault(entry.id, {}).update(dict.fromkeys(entry.tasks))
    lines = []
    for name, made_for in tasks.items():
        others = [
            dataset.id
            for dataset in catalog.datasets
            if dataset.id in datasets and dataset.task not in made_for
        ]
        if others:
            lines.append(f"{name} on {', '.join(others)}: it is made for {' and '.join(made_for)}")
    return lines


def _not_swept(catalog: Catalog, running: Iterable[Cell], known: Iterable[Cell]) -> list[str]:
    """Name the sweeps that no marker asks for, and the algorithms that cannot be swept."""
    asked = {(c.algorithm, c.framework) for c in known if c.mode == "sweep"}
    trained = {(c.algorithm, c.framework) for c in running if c.mode == "train"}
    swept = {(entry.id, entry.framework) for entry in catalog.algorithms if entry.space}
    lines = []
    if unasked := (trained & swept) - asked:
        names = dict.fromkeys(name for name, _ in sorted(unasked))
        lines.append(f'sweeps of {", ".join(names)}: no marker asks for them with mode="sweep"')
    if asked and (without := sorted({name for name, _ in trained - swept})):
        lines.append(f"sweeps of {', '.join(without)}: there is no space to search")
    return lines


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)
