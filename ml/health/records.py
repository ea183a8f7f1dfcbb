"""Read binary tables in batches: Parquet, Arrow IPC and Feather, HDF5."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ml.core.errors import DataInvalid
from ml.health.layout import Layout

BATCH = 65_536
# Places in a file that a pilot looks at.
PILOTS = 16


class Reader(Protocol):
    """Give an open file's rows as Arrow record batches."""

    def pilot(self) -> Iterator[Any]:
        """Yield batches from all over the file where it can be entered anywhere."""

    def batches(self) -> Iterator[Any]:
        """Yield all batches, in order."""


def _spread(number: int) -> list[int]:
    return sorted({place * (number - 1) // (PILOTS - 1) for place in range(PILOTS)})


class read_parquet:  # noqa: N801 - called as a function, by its format
    """Read Parquet; a row group at a time, its columns through small buffers."""

    def __init__(self, file: Any, *, layout: Layout | None = None, **_: Any) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        # A local file is read without a detour through Python.
        name = getattr(file, "name", None)
        source = pa.OSFile(name) if isinstance(name, str) and Path(name).is_file() else file
        columns = [] if layout is None else [column.name for column in layout.coded]
        self.file = pq.ParquetFile(
            source, pre_buffer=False, buffer_size=1 << 20, read_dictionary=columns
        )

    def pilot(self) -> Iterator[Any]:
        """Yield the first rows of row groups from all over the file."""
        groups = [
            place
            for place in range(self.file.num_row_groups)
            if self.file.metadata.row_group(place).num_rows
        ]
        chosen = [groups[place] for place in _spread(len(groups))] if groups else []
        for group in chosen:
            size = max(1, BATCH // len(chosen))
            yield next(self.file.iter_batches(size, row_groups=[group], use_threads=False))

    def batches(self) -> Iterator[Any]:
        """Yield all rows."""
        yield from self.file.iter_batches(BATCH, use_threads=False)


class read_ipc:  # noqa: N801
    """Read an Arrow IPC file, such as Feather's second version."""

    def __init__(self, file: Any, **_: Any) -> None:
        import pyarrow as pa

        self.file = pa.ipc.open_file(file)

    def pilot(self) -> Iterator[Any]:
        """Yield the first rows of batches from all over the file."""
        number = self.file.num_record_batches
        chosen = _spread(number) if number else []
        for place in chosen:
            yield self.file.get_batch(place).slice(0, max(1, BATCH // len(chosen)))

    def batches(self) -> Iterator[Any]:
        """Yield all rows."""
        for place in range(self.file.num_record_batches):
            yield from _sliced(self.file.get_batch(place))


class read_ipc_stream:  # noqa: N801
    """Read an Arrow IPC stream."""

    def __init__(self, file: Any, **_: Any) -> None:
        import pyarrow as pa

        self.file = pa.ipc.open_stream(file)

    def pilot(self) -> Iterator[Any]:
        """Yield the first batch; a stream is entered at its start only."""
        for batch in self.file:
            yield batch.slice(0, BATCH)
            return

    def batches(self) -> Iterator[Any]:
        """Yield all rows."""
        for batch in self.file:
            yield from _sliced(batch)


def _sliced(batch: Any) -> Iterator[Any]:
    for start in range(0, batch.num_rows, BATCH):
        yield batch.slice(start, BATCH)


class read_hdf5:  # noqa: N801
    """Read HDF5 through h5py, which has no way to unpickle.

    A table is a compound dataset, as pandas writes one by ``to_hdf(format="table",
    data_columns=True)``, or a group of equally long one-dimensional datasets.
    """

    def __init__(self, file: Any, **_: Any) -> None:
        import h5py

        self.file = h5py.File(file, "r")
        self.columns = _find_table(self.file, h5py)
        lengths = {len(dataset) for dataset, _ in self.columns.values()}
        if len(lengths) != 1:
            raise DataInvalid(
                "the HDF5 file's columns are of unequal length",
                code="ragged",
                expected="one value a row in every column",
                received=", ".join(map(str, sorted(lengths))) or "no columns",
            )
        self.rows = lengths.pop()

    def pilot(self) -> Iterator[Any]:
        """Yield rows from all over the file."""
        size = max(1, BATCH // PILOTS)
        if self.rows <= BATCH:
            yield from self.batches()
            return
        for place in _spread(self.rows - size):
            yield self._batch(place, place + size)

    def batches(self) -> Iterator[Any]:
        """Yield all rows."""
        for start in range(0, self.rows, BATCH):
            yield self._batch(start, min(start + BATCH, self.rows))

    def _batch(self, start: int, stop: int) -> Any:
        import pyarrow as pa

        read: dict[str, Any] = {}
        columns = []
        for dataset, field in self.columns.values():
            if dataset.name not in read:
                read[dataset.name] = dataset[start:stop]
            values = read[dataset.name]
            values = np.ascontiguousarray(values if field is None else values[field])
            if values.dtype.kind not in "iufb":
                values = [
                    value.decode("utf-8") if isinstance(value, bytes) else str(value)
                    for value in values.tolist()
                ]
            columns.append(pa.array(values, from_pandas=True))
        return pa.RecordBatch.from_arrays(columns, names=list(self.columns))


def _find_table(node: Any, h5py: Any) -> dict[str, tuple[Any, str | None]]:
    """Return each column's dataset, and its field where the dataset is compound."""
    while isinstance(node, h5py.Group):
        inside = [child for name, child in node.items() if name != "_i_table"]
        if "pandas_type" in node.attrs and "table" not in node:
            raise _no_plain_table("a layout that pandas would have to unpickle")
        flat = [child for child in inside if isinstance(child, h5py.Dataset) and child.ndim == 1]
        if len(flat) == len(inside) and flat and all(each.dtype.names is None for each in flat):
            return {child.name.split("/")[-1]: (child, None) for child in flat}
        if len(inside) != 1:
            raise _no_plain_table(f"{len(inside)} parts in {node.name}")
        node = inside[0]
    fields = node.dtype.names
    if fields is None or node.ndim != 1 or any(node.dtype[field].shape for field in fields):
        raise _no_plain_table(f"{node.name} of {node.dtype} {node.shape}")
    index = "index" if "index_kind" in node.attrs else None
    return {field: (node, field) for field in fields if field != index}


def _no_plain_table(received: str) -> DataInvalid:
    return DataInvalid(
        "the HDF5 file holds no table of plain columns",
        code="source_unreadable",
        expected="one compound dataset, or one group of 1-D datasets",
        received=received,
        remedy="write it with to_hdf(path, key=…, format='table', data_columns=True)",
    )
