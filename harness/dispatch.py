"""Order cells by how long they took before, and keep a dataset's cells in one process of xdist."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pytest

from harness.catalog.product import entry_of
from harness.cell import Cell
from harness.reporter import RUN, cells_in, open_history

if TYPE_CHECKING:
    from harness.store.history import Durations


def make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Return a scheduler of xdist that hands out a dataset's cells together.

    A mark for xdist's own would append the group to the names of all cells, so that `--lf` did
    not find them without `-n`.
    """
    from xdist.scheduler import LoadGroupScheduling

    class DatasetScheduling(LoadGroupScheduling):  # type: ignore[misc]  # xdist has no types
        def _split_scope(self, nodeid: str) -> str:
            scope: str = super()._split_scope(nodeid)
            cells = cells_in(nodeid) if scope == nodeid else []
            return cells[0].partition("-")[0] if cells else scope

    # The groups stand in their order, the longest first, and not by their number of tests.
    config.option.loadscopereorder = False
    return DatasetScheduling(config, log)


def order_cells(
    config: pytest.Config, items: list[pytest.Item], ranks: dict[pytest.Item, int]
) -> None:
    """Put the longest cells first, by earlier runs, among those of one track and one file.

    Where datasets stay together, the one that takes longest comes first. Tests without a cell
    keep their places, and so do all where another plugin has given an order already.
    """
    durations = open_history(config)
    if not durations.runs:
        return
    ordered: list[pytest.Item] = []
    for _, group in itertools.groupby(items, key=lambda item: (ranks[item], item.path)):
        block = list(group)
        cells = {item: cell for item in block if (cell := _cell_of(item)) is not None}
        if _is_as_collected(list(cells)):
            moved = iter(_sort(cells, durations, config.stash[RUN]["together"]))
            block = [next(moved) if item in cells else item for item in block]
        ordered += block
    items[:] = ordered


def _sort(
    cells: dict[pytest.Item, Cell], durations: Durations, together: bool
) -> list[pytest.Item]:
    seconds = {item: durations.seconds(cell.id) or 0.0 for item, cell in cells.items()}
    totals: dict[str, float] = {}
    for item, cell in cells.items():
        totals[cell.dataset] = totals.get(cell.dataset, 0.0) + seconds[item]

    def place(item: pytest.Item) -> tuple[Any, ...]:
        group = (-totals[cells[item].dataset], cells[item].dataset) if together else ()
        return (*group, -seconds[item])

    return sorted(cells, key=place)


def _is_as_collected(items: Sequence[pytest.Item]) -> bool:
    last: dict[Any, int] = {}
    for item in items:
        function = (item.parent, getattr(item, "originalname", item.name))
        index = item.callspec.indices["cell"]  # type: ignore[attr-defined]  # it has a cell
        if index < last.get(function, 0):
            return False
        last[function] = index
    return True


def _cell_of(item: pytest.Item) -> Cell | None:
    entry = entry_of(item)
    return entry if isinstance(entry, Cell) else None
