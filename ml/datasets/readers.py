"""Read one file of any supported format into raw columns, executing nothing in it."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ml.core.descriptor import Format
from ml.core.errors import DataInvalid, MatrixError, Unavailable, describe
from ml.datasets.columns import Columns, duplicate_column, named_columns, near
from ml.datasets.frame_xz import read_frame_xz

SUFFIXES: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".xls": "xls",
    ".xlsx": "xlsx",
    ".parquet": "parquet",
    ".json": "json",
    ".jsonl": "json",
    ".h5": "hdf5",
    ".hdf5": "hdf5",
    ".hdf": "hdf5",
}
COMPRESSIONS = {".gz": gzip.decompress, ".bz2": bz2.decompress, ".xz": lzma.decompress}
SEPARATORS = ",;\t|"
INSTALL = "pip install 'pytest-mlmatrix[datasets]'"


def read_columns(
    content: bytes, format: Format, name: str, sheet: str | None = None, key: str | None = None
) -> Columns:
    """Read a file's bytes into raw columns; ``name`` is the file's, for errors and its suffix.

    CSV and JSON may be compressed (.gz, .bz2, .xz). ``sheet`` names an Excel sheet, ``key``
    an HDF5 dataset or group; without them the first sheet, or the only table, is read.
    Raises DataInvalid for what is no such table, Unavailable for a missing library.
    """
    try:
        if format == "csv":
            return read_csv(_decompressed(content, name), name)
        if format == "json":
            return read_json(_decompressed(content, name), name)
        if format in ("xls", "xlsx"):
            return read_excel(content, name, sheet)
        if format == "parquet":
            return read_parquet(content, name)
        if format == "hdf5":
            return read_hdf5(content, name, key)
        return read_frame_xz(content, name)
    except MatrixError:
        raise
    except ImportError as problem:
        raise Unavailable(
            f"reading {name} needs {problem.name}, which is not installed", remedy=INSTALL
        ) from None
    except Exception as problem:  # noqa: BLE001 - a foreign reader may raise anything on a bad file
        raise DataInvalid(
            f"{name} cannot be read as {format}: {type(problem).__name__}: {problem}",
            code="source_unreadable",
            expected=f"a {format} file",
            remedy="mend the file, or correct source.format in its descriptor",
        ) from None


def _decompressed(content: bytes, name: str) -> str:
    expand = COMPRESSIONS.get(Path(name).suffix)
    if expand is not None:
        content = expand(content)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        line = content[: problem.start].count(b"\n") + 1
        raise DataInvalid(
            f"{name}, line {line} is not UTF-8 text",
            code="text_not_unicode",
            received=describe(content[problem.start : problem.start + 1]),
            remedy="save the file as UTF-8",
        ) from None


def read_csv(text: str, name: str) -> Columns:
    """Read delimited text, every value as text; the first line holds the names.

    The separator is the one of comma, semicolon, tab and bar that the first line has most of.
    Raises DataInvalid for a line with more or fewer values than there are names.
    """
    first = text.lstrip("\r\n").split("\n", 1)[0]
    separator = max(SEPARATORS, key=first.count)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    names: list[str] = []
    rows: list[list[str]] = []
    for line in lines:
        if not line:
            continue
        if not names:
            names = line
            continue
        if len(line) != len(names):
            raise DataInvalid(
                f"{name}, line {lines.line_num} is ragged",
                code="ragged",
                expected=f"{len(names)} values parted by {separator!r}",
                received=str(len(line)),
                remedy="mend that line",
            )
        rows.append(line)
    return _from_rows(names, rows, name)


def _from_rows(names: Sequence[Any], rows: Sequence[Sequence[Any]], name: str) -> Columns:
    if not names:
        raise DataInvalid(
            f"{name} is empty",
            code="no_rows",
            expected="a line of column names and at least one row",
            remedy="check that the file was saved",
        )
    columns = zip(*rows, strict=True) if rows else ([] for _ in names)
    return named_columns(names, columns, name)


def read_json(text: str, name: str) -> Columns:
    """Read a list of records, an object of columns, or one record a line.

    A record that lacks a column misses that value; columns of unequal length, and a name that
    stands twice in one object, are DataInvalid.
    """

    def paired(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(pairs)
        if len(values) < len(pairs):
            names = [key for key, _ in pairs]
            raise duplicate_column(next(key for key in names if names.count(key) > 1), name)
        return values

    try:
        document = json.loads(text, object_pairs_hook=paired)
        if isinstance(document, dict) and not all(isinstance(v, list) for v in document.values()):
            document = [document]
    except json.JSONDecodeError:
        if "\n" not in text.strip():
            raise
        lines = [line for line in text.splitlines() if line.strip()]
        document = [json.loads(line, object_pairs_hook=paired) for line in lines]
    if isinstance(document, dict):
        lengths = {column: len(values) for column, values in document.items()}
        check_lengths(lengths, name)
        return named_columns(list(document), document.values(), name)
    if not isinstance(document, list) or not all(isinstance(record, dict) for record in document):
        raise DataInvalid(
            f"{name} holds no table",
            code="source_unreadable",
            expected="a list of records, an object of columns, or one record a line",
            received=describe(document, 60),
        )
    names = list(dict.fromkeys(key for record in document for key in record))
    return _from_rows(names, [[record.get(key) for key in names] for record in document], name)


def check_lengths(lengths: dict[str, int], where: str) -> None:
    """Raise DataInvalid naming the columns whose lengths differ."""
    if len(set(lengths.values())) > 1:
        shortest, longest = min(lengths, key=lengths.__getitem__), max(lengths, key=lengths.get)  # type: ignore[arg-type]  # every key is there
        raise DataInvalid(
            f"{where} has columns of unequal length",
            code="ragged",
            field=shortest,
            expected=f"{lengths[longest]} values, as in {longest!r}",
            received=f"{lengths[shortest]} in {shortest!r}",
            remedy="give every column one value a row",
        )


def read_excel(content: bytes, name: str, sheet: str | None) -> Columns:
    """Read one sheet of an XLS or XLSX workbook; the first row that is not blank has the names."""
    from python_calamine import CalamineWorkbook

    book = CalamineWorkbook.from_filelike(io.BytesIO(content))
    if sheet is not None and sheet not in book.sheet_names:
        raise DataInvalid(
            f"{name} has no sheet {sheet!r}",
            code="sheet_unknown",
            field="source.sheet",
            received=describe(sheet),
            remedy=near(sheet, book.sheet_names).replace("columns", "sheets"),
        )
    found = book.get_sheet_by_name(sheet) if sheet is not None else book.get_sheet_by_index(0)
    rows = [row for row in found.to_python(skip_empty_area=True) if any(cell != "" for cell in row)]
    return _from_rows(rows[0] if rows else [], rows[1:], name)


def read_parquet(content: bytes, name: str) -> Columns:
    """Read a Parquet file; an index that pandas saved is a column like any other."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.ParquetFile(pa.BufferReader(content)).read(use_threads=False)
    columns = []
    for column in table.columns:
        if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
            column = column.cast(pa.float64(), safe=False)
            columns.append(column.to_numpy().astype(np.float64))
        elif pa.types.is_decimal(column.type):
            columns.append(column.cast(pa.float64()).to_numpy().astype(np.float64))
        else:
            columns.append(column.to_pylist())
    return named_columns(table.column_names, columns, name)


def read_hdf5(content: bytes, name: str, key: str | None) -> Columns:
    """Read an HDF5 table: a compound dataset, or a group of equally long 1-D datasets.

    The file is read through h5py, which has no way to unpickle. So pandas' layouts are read
    where they hold plain columns (``format="table", data_columns=True``) and refused where
    they would need a pickle.
    """
    import h5py

    with h5py.File(io.BytesIO(content), "r") as file:
        if key is not None and key not in file:
            raise DataInvalid(
                f"{name} has no key {key!r}",
                code="key_unknown",
                field="source.key",
                received=describe(key),
                remedy=near(key, file).replace("columns", "keys"),
            )
        node = file if key is None else file[key]
        while isinstance(node, h5py.Group):
            if "pandas_type" in node.attrs and "table" not in node:
                raise _pickled(name)
            inside = list(node.values())
            if all(isinstance(child, h5py.Dataset) and child.ndim == 1 for child in inside) and (
                len(inside) > 1 or (inside and inside[0].dtype.names is None)
            ):
                check_lengths({child.name.split("/")[-1]: len(child) for child in inside}, name)
                return named_columns(list(node), (_hdf5_values(child) for child in inside), name)
            tables = [child for child in inside if child.name.split("/")[-1] != "_i_table"]
            if len(tables) != 1:
                raise DataInvalid(
                    f"{name} holds {len(tables)} tables",
                    code="key_unknown",
                    field="source.key",
                    expected="the key of one of them",
                    received=", ".join(child.name for child in tables[:8]) or "none",
                    remedy="name one in source.key",
                )
            node = tables[0]
        fields = node.dtype.names
        if fields is None or node.ndim != 1:
            raise DataInvalid(
                f"{name}, {node.name} is no table",
                code="source_unreadable",
                expected="a compound dataset, or a group of 1-D datasets",
                received=f"{node.dtype} {node.shape}",
            )
        if any(node.dtype[field].shape for field in fields):
            raise _pickled(name)
        pandas_index = "index" if "index_kind" in node.attrs else None
        values = node[()]
        kept = [field for field in fields if field != pandas_index]
        return named_columns(kept, (_texts_decoded(values[field]) for field in kept), name)


def _pickled(name: str) -> DataInvalid:
    return DataInvalid(
        f"{name} is laid out so that pandas would have to unpickle it, which runs code",
        code="unsafe_pickle",
        expected="plain columns",
        remedy="write it with to_hdf(path, key=…, format='table', data_columns=True)",
    )


def _hdf5_values(dataset: Any) -> Any:
    return _texts_decoded(dataset[()])


def _texts_decoded(values: Any) -> Any:
    if values.dtype.kind in "iufb":
        return values
    return [value.decode("utf-8") if isinstance(value, bytes) else value for value in values]
