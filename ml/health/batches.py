"""Give a table's rows in Arrow batches: a DataFrame's, or a file's by its format."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ml.core.errors import DataInvalid, Unavailable, describe
from ml.health.files import open_file
from ml.health.layout import Layout

BATCH = 65_536
INSTALL = "pip install 'pytest-mlmatrix[datasets]'"


@runtime_checkable
class Source(Protocol):
    """Give the rows of one table, in order, as often as asked."""

    def pilot(self) -> Any:
        """Return about BATCH rows that stand for the table, as an Arrow record batch or table."""

    def batches(self, layout: Layout) -> Iterator[Any]:
        """Yield the rows as Arrow record batches; the layout tells what an untyped file holds."""


def open_source(table: Any) -> Source:
    """Return the source of a DataFrame, path or URL, or a source itself.

    Raises DataInvalid for anything else.
    """
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise Unavailable(
            "tables are read as Arrow batches, and pyarrow is missing", remedy=INSTALL
        ) from None
    if isinstance(table, str | Path):
        return open_file(str(table))
    if isinstance(table, Source):
        return table
    if hasattr(table, "iloc") and hasattr(table, "columns"):
        return FrameSource(table)
    raise DataInvalid(
        "this is no table",
        expected="a pandas DataFrame, a path or URL, or a sketch",
        received=describe(table, 60),
    )


class FrameSource:
    """Give a pandas DataFrame's rows; its index is no column."""

    def __init__(self, frame: Any) -> None:
        self.frame = frame
        # Names may be anything in pandas, and are text in Arrow.
        self.names = [str(name) for name in frame.columns]

    def pilot(self) -> Any:
        """Return rows at even distances, at most about BATCH."""
        rows = len(self.frame)
        places = np.arange(rows) if rows <= BATCH else np.arange(BATCH) * rows // BATCH
        return self._batch(self.frame.iloc[places])

    def batches(self, layout: Layout) -> Iterator[Any]:
        """Yield the rows, at most BATCH at once."""
        for start in range(0, len(self.frame), BATCH):
            yield self._batch(self.frame.iloc[start : start + BATCH])

    def _batch(self, part: Any) -> Any:
        import pyarrow as pa

        columns = [self._column(part.iloc[:, place]) for place in range(len(self.names))]
        return pa.RecordBatch.from_arrays(columns, names=self.names)

    def _column(self, values: Any) -> Any:
        import pyarrow as pa

        try:
            column = pa.Array.from_pandas(values)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
            # Values of several types in one column are categories by their text.
            texts = [None if value is None or value != value else str(value) for value in values]
            column = pa.array(texts, pa.string())
        return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
