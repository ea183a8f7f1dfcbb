"""Give a settled table's rows in Arrow batches, for a sketch of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.core.table import Table
from ml.health.batches import BATCH
from ml.health.layout import Layout

# No feature can have these names: a file's columns are stripped of nothing, but settled by name.
TARGET, GROUP = "(target)", "(group)"


class SettledSource:
    """Give the features and the target of a table.

    Rows that belong together, by the split's group or time, have one value of ``GROUP``. Past
    values of the target and the time itself are left out: they tell nothing that is not there.
    """

    def __init__(self, table: Table, target: str) -> None:
        self._table = table
        self._target = TARGET if target in _features(table) else target
        self.group = GROUP if table.group is not None or table.time is not None else None

    def pilot(self) -> Any:
        """Return rows at even distances, at most about BATCH."""
        rows = self._table.rows
        return self._batch(np.arange(rows) if rows <= BATCH else np.arange(BATCH) * rows // BATCH)

    def batches(self, layout: Layout) -> Iterator[Any]:
        """Yield the rows, at most BATCH at once."""
        for start in range(0, self._table.rows, BATCH):
            yield self._batch(np.arange(start, min(start + BATCH, self._table.rows)))

    def _batch(self, rows: NDArray[np.int64]) -> Any:
        import pyarrow as pa

        table = self._table
        columns = {
            name: pa.array(values[rows])
            for name, values in zip(table.numeric_names, table.numeric.T, strict=True)
            if name not in table.window
        }
        for name, codes, levels in zip(
            table.categorical_names, table.categorical.T, table.levels, strict=True
        ):
            columns[name] = _words(pa, codes[rows], levels)
        target = table.target[rows]
        columns[self._target] = (
            _words(pa, target.astype(np.int32), table.classes)
            if table.classes
            else pa.array(target.astype(np.float64))
        )
        if table.time is not None:
            columns[GROUP] = _texts(pa, table.time[rows], "")
        elif table.group is not None:
            # Its numbers are this table's own: those of another table name other groups.
            columns[GROUP] = _texts(pa, table.group[rows], f"{table.content_sha256[:16]} ")
        return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def _features(table: Table) -> tuple[str, ...]:
    return (*table.numeric_names, *table.categorical_names)


def _words(pa: Any, codes: NDArray[np.int32], levels: tuple[str, ...]) -> Any:
    indices = pa.array(codes, pa.int32(), mask=codes < 0)
    return pa.DictionaryArray.from_arrays(indices, pa.array(levels, pa.string()))


def _texts(pa: Any, values: NDArray[np.int64], prefix: str) -> Any:
    known, place = np.unique(values, return_inverse=True)
    return _words(pa, place.astype(np.int32), tuple(f"{prefix}{value}" for value in known))
