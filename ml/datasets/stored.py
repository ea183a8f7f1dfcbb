"""Keep a settled table as one Parquet file, and read it back verified."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ml.core.descriptor import Descriptor, FileSource
from ml.core.errors import Unavailable
from ml.core.table import Table
from ml.datasets.fingerprint import content_sha256
from ml.datasets.readers import INSTALL
from ml.datasets.sources import cache_folder, write_atomically

FORMAT = 1
# Not of the content: changing one of these fields must not settle the table anew.
DESCRIPTION = {
    "title",
    "provenance",
    "tags",
    "expected_failures",
    "rows",
    "columns",
    "table_schema",
    "expected_breaches",
}


def table_path(descriptor: Descriptor, folder: Path) -> tuple[Path, bool]:
    """Return where the settled table of a descriptor in ``folder`` is kept, and if it is there.

    The name carries a digest of all that defines the content, and of a source file's size and
    time, so that a changed descriptor or file makes a new table. Tables lie in ``tables``
    beside the descriptor, or in the user's cache folder where that cannot be written.
    """
    places = table_paths(descriptor, folder)
    found = next((path for path in places if path.is_file()), None)
    return (places[0], False) if found is None else (found, True)


def table_paths(descriptor: Descriptor, folder: Path) -> tuple[Path, Path]:
    """Return both places a table may be kept at: beside the descriptor, and in the cache."""
    content = descriptor.model_dump(mode="json", exclude=DESCRIPTION | {"drop"})
    content |= {"drop": sorted(descriptor.drop), "format": FORMAT}
    if isinstance(descriptor.source, FileSource):
        file = folder / descriptor.source.path
        if file.is_file():
            content["file"] = [file.stat().st_size, file.stat().st_mtime_ns]
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    name = f"{descriptor.id}-{digest[:16]}.parquet"
    return folder / "tables" / name, cache_folder() / "tables" / name


def store_table(table: Table, descriptor: Descriptor, folder: Path) -> Path | None:
    """Write a table to the first of its places that can be written; None if none can.

    The file is a plain Parquet table: numeric features as doubles, categorical features and
    class labels as dictionaries of text, then the target, time, series and group.
    """
    pa, pq = _parquet()

    def words(codes: NDArray[Any], levels: tuple[str, ...]) -> Any:
        indices = pa.array(codes, pa.int32(), mask=codes < 0)
        return pa.DictionaryArray.from_arrays(indices, pa.array(levels, pa.string()))

    arrays = [pa.array(column) for column in table.numeric.T]
    arrays += [
        words(codes, levels)
        for codes, levels in zip(table.categorical.T, table.levels, strict=True)
    ]
    arrays.append(words(table.target, table.classes) if table.classes else pa.array(table.target))
    extras = {"time": table.time, "series": table.series, "group": table.group}
    kept = {name: values for name, values in extras.items() if values is not None}
    arrays += [pa.array(values) for values in kept.values()]
    layout = {
        "numeric": table.numeric_names,
        "categorical": table.categorical_names,
        "classes": table.classes,
        "extras": list(kept),
    }
    names = [*table.numeric_names, *table.categorical_names, descriptor.target, *kept]
    stored = pa.Table.from_arrays(arrays, names=names).replace_schema_metadata(
        {"mlmatrix": json.dumps(layout)}
    )

    def write(file: BinaryIO) -> None:
        pq.write_table(
            stored,
            file,
            compression="zstd",
            row_group_size=max(len(table.target), 1),
            use_dictionary=[
                name
                for name, array in zip(names, arrays, strict=True)
                if pa.types.is_dictionary(array.type)
            ],
            write_page_checksum=True,
        )

    for path in table_paths(descriptor, folder):
        try:
            write_atomically(path, write)
        except OSError:
            continue
        return path
    return None


def read_stored(path: Path, descriptor: Descriptor) -> Table | None:
    """Read a stored table; None if the file is damaged or not the table that was declared.

    The content hash is computed anew, so a table that comes back is the declared one. Raises
    Unavailable without pyarrow.
    """
    pa, pq = _parquet()
    try:
        # Not read_table: its dataset layer imports pandas, which costs more than the reading.
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            stored = file.read(use_threads=False)
        layout = json.loads(stored.schema.metadata[b"mlmatrix"])
        table = _assembled(stored.columns, layout, descriptor)
        settled = content_sha256(table)
    except (OSError, pa.ArrowException, ValueError, LookupError, TypeError, AttributeError):
        return None
    return table if settled == descriptor.content_sha256 else None


def _assembled(columns: list[Any], layout: dict[str, Any], descriptor: Descriptor) -> Table:
    wide = len(layout["numeric"])
    split = wide + len(layout["categorical"])
    rows = len(columns[split])
    numeric = np.empty((rows, wide))
    for place, column in enumerate(columns[:wide]):
        numeric[:, place] = _values(column)
    categorical = np.empty((rows, split - wide), np.int32)
    levels = []
    for place, column in enumerate(columns[wide:split]):
        words, codes = _decoded(column)
        levels.append(tuple(sorted(words)))
        categorical[:, place] = _recoded(words, codes, levels[-1])
    classes = tuple(layout["classes"])
    if classes:
        target = _recoded(*_decoded(columns[split]), classes).astype(np.int64)
    else:
        target = _values(columns[split])
    extras = {
        name: _values(column)
        for name, column in zip(layout["extras"], columns[split + 1 :], strict=True)
    }
    return Table(
        id=descriptor.id,
        task=descriptor.task,
        content_sha256=descriptor.content_sha256,
        numeric=numeric,
        numeric_names=tuple(layout["numeric"]),
        categorical=categorical,
        categorical_names=tuple(layout["categorical"]),
        levels=tuple(levels),
        target=target,
        classes=classes,
        split=descriptor.split,
        season=1 if descriptor.forecast is None else descriptor.forecast.season,
        horizon=1 if descriptor.forecast is None else descriptor.forecast.horizon,
        window=() if descriptor.forecast is None else descriptor.forecast.window(descriptor.target),
        **extras,
    )


def _values(column: Any) -> NDArray[Any]:
    # Not to_numpy, which imports pandas; copied, since pyarrow's memory is read-only.
    return np.array(np.from_dlpack(column.combine_chunks()))


def _decoded(column: Any) -> tuple[list[str], NDArray[np.int32]]:
    whole = column.combine_chunks()
    indices = whole.indices
    rows = slice(indices.offset, indices.offset + len(indices))
    validity, values = indices.buffers()
    codes = np.frombuffer(values, np.int32)[rows]
    if indices.null_count:
        known = np.unpackbits(np.frombuffer(validity, np.uint8), bitorder="little")[rows]
        codes = np.where(known, codes, np.int32(-1))
    return whole.dictionary.to_pylist(), codes


def _recoded(
    words: list[str], codes: NDArray[np.int32], levels: tuple[str, ...]
) -> NDArray[np.int32]:
    index = {level: place for place, level in enumerate(levels)}
    places = np.array([*(index[word] for word in words), -1], dtype=np.int32)
    return np.asarray(places[codes], dtype=np.int32)


def _parquet() -> tuple[Any, Any]:
    """Return pyarrow and its Parquet module; raises Unavailable where they are not installed."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as problem:
        text = f"tables are kept as Parquet, and {problem.name} is missing"
        raise Unavailable(text, remedy=INSTALL) from None
    return pa, pq
