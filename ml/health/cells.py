"""Read a sample of a table's rows as plain columns, and the hashes of all rows, in one pass."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.health.batches import open_source
from ml.health.columns import numbers_of, words_of
from ml.health.files import Reread
from ml.health.hashing import Hashes, sampling_keys
from ml.health.layout import ColumnLayout, Layout
from ml.health.prepared import Preparer, fits

Column = NDArray[Any]


@dataclass(frozen=True)
class Cells:
    """Hold rows by column: float64 with NaN for missing, or objects, text with None for it.

    Dates are seconds since 1970. Texts of free form are not among the columns.
    """

    columns: dict[str, Column]
    rows: int

    def take(self, rows: NDArray[Any]) -> Cells:
        """Return these rows only, by index, in this order."""
        return Cells({name: values[rows] for name, values in self.columns.items()}, len(rows))

    def replaced(self, name: str, values: Column) -> Cells:
        """Return the cells with other values in one column."""
        return Cells({**self.columns, name: values}, self.rows)

    def joined(self, others: Cells) -> Cells:
        """Return these rows and then the others."""
        columns = {
            name: np.concatenate([values, others.columns[name]])
            for name, values in self.columns.items()
        }
        return Cells(columns, self.rows + others.rows)


@dataclass(frozen=True)
class Sampled:
    """Hold a random sample of a table's rows, in the random order of their keys.

    ``positions`` are the rows' places in the table. ``hashes`` and ``groups`` are uint64 of all
    rows. ``unfit`` has the text of the columns that are of another kind than the layout's.
    """

    cells: Cells
    positions: NDArray[np.int64]
    hashes: Hashes
    groups: Hashes
    unfit: dict[str, Column] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Return the number of rows of the whole table."""
        return len(self.hashes)


def sample_cells(table: Any, layout: Layout, *, most: int, seed: int = 0, part: int = 0) -> Sampled:
    """Read at most ``most`` random rows of a DataFrame, path or URL, by the layout's columns.

    Raises DataInvalid for what is no table, Unavailable for a missing package.
    """
    source = open_source(table)
    while True:
        try:
            return _read(source, layout, most, seed, part)
        except Reread:
            continue


def _read(source: Any, layout: Layout, most: int, seed: int, part: int) -> Sampled:
    import pyarrow as pa

    preparer = Preparer(layout)
    hashes, groups, kept = [], [], []
    first = 0
    for batch in source.batches(layout):
        rows = preparer.prepare(batch)
        hashes.append(rows.hashes)
        groups.append(rows.groups)
        keys = sampling_keys(seed, part, first, batch.num_rows)
        places = np.argsort(keys, kind="stable")[:most]
        taken = pa.Table.from_batches([batch]).take(places)
        kept.append((keys[places], places + first, taken))
        first += batch.num_rows
        if sum(len(one[0]) for one in kept) > 4 * most:
            kept = [_smallest(kept, most)]
    if not kept:
        nothing = np.zeros(0, dtype=np.uint64)
        return Sampled(_no_cells(layout), np.zeros(0, np.int64), nothing, nothing)
    _, positions, rows_kept = _smallest(kept, most)
    columns, unfit = {}, {}
    for column in layout.columns:
        if column.kind == "text":
            continue
        columns[column.name], raw = _column(rows_kept, column, preparer)
        if raw is not None:
            unfit[column.name] = raw
    cells = Cells(columns, len(positions))
    return Sampled(cells, positions, np.concatenate(hashes), np.concatenate(groups), unfit)


def _smallest(kept: list[Any], most: int) -> tuple[Hashes, NDArray[np.int64], Any]:
    import pyarrow as pa

    keys = np.concatenate([one[0] for one in kept])
    positions = np.concatenate([one[1] for one in kept]).astype(np.int64)
    order = np.argsort(keys, kind="stable")[:most]
    rows = pa.concat_tables([one[2] for one in kept], promote_options="permissive").take(order)
    return keys[order], positions[order], rows


def _no_cells(layout: Layout) -> Cells:
    columns: dict[str, Column] = {}
    for column in layout.columns:
        if column.kind != "text":
            columns[column.name] = _missing(column, 0)
    return Cells(columns, 0)


def _column(rows: Any, column: ColumnLayout, preparer: Preparer) -> tuple[Column, Column | None]:
    """Return a column by its layout's kind, and as text where it is of another kind."""
    if column.name not in rows.column_names:
        return _missing(column, rows.num_rows), None
    if not fits(preparer.kinds[column.name], column.kind):
        return _missing(column, rows.num_rows), _words(rows.column(column.name))
    if is_number(column):
        return numbers_of(rows.column(column.name), column.kind).copy(), None
    return _words(rows.column(column.name)), None


def is_number(column: ColumnLayout) -> bool:
    """Tell whether a column's cells are numbers here, and not words."""
    return column.kind in ("numeric", "datetime", "empty")


def _missing(column: ColumnLayout, rows: int) -> Column:
    return np.full(rows, np.nan) if is_number(column) else np.full(rows, None, dtype=object)


def _words(column: Any) -> Column:
    words = words_of(column)
    labels = np.array([*words.labels, None], dtype=object)
    return labels[words.codes]
