"""Read tables of text in batches: delimited values, and JSON with one record a line."""

from __future__ import annotations

import csv as delimited
import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

from ml.core.errors import DataInvalid
from ml.health.layout import Layout

BLOCK = 8 << 20
SEPARATORS = ",;\t|"
RECORDS = 16_384
FIRST_LINE = 1 << 20


class NotAsTyped(Exception):
    """Tell that a column of a file of text does not hold what its first block seemed to say."""

    def __init__(self, column: str) -> None:
        super().__init__(column)
        self.column = column


class read_csv:  # noqa: N801 - called as a function, by its format
    """Read delimited text; the first line holds the names.

    The separator is the one of comma, semicolon, tab and bar that the first line has most of.
    Every number is a float64. A file of text has no types: the first block tells them, and a
    layout where there is one.
    """

    def __init__(
        self,
        file: Any,
        *,
        layout: Layout | None = None,
        as_text: set[str],
        compression: str | None = None,
    ) -> None:
        import pyarrow as pa
        from pyarrow import csv

        first = _first_line(file, compression)
        separator = max(SEPARATORS, key=first.count)
        self.names = next(delimited.reader([first], delimiter=separator), [])
        options: dict[str, Any] = {
            "read_options": csv.ReadOptions(block_size=BLOCK, use_threads=False),
            "parse_options": csv.ParseOptions(delimiter=separator, newlines_in_values=True),
        }
        types = dict.fromkeys(sorted(as_text), pa.string())
        with self._named():
            if layout is None:
                types = _float_types(file, compression, options, types) | types
            else:
                types = _layout_types(layout) | types
            options["convert_options"] = csv.ConvertOptions(
                column_types=types, strings_can_be_null=True
            )
            self.reader = csv.open_csv(_stream(file, compression), **options)

    @contextmanager
    def _named(self) -> Iterator[None]:
        import pyarrow as pa

        try:
            yield
        except pa.ArrowInvalid as problem:
            found = re.match(r"In CSV column #(\d+): ", str(problem))
            if found is None or int(found.group(1)) >= len(self.names):
                raise
            raise NotAsTyped(self.names[int(found.group(1))]) from None

    def pilot(self) -> Iterator[Any]:
        """Yield the first block; a file of text is entered at its start only."""
        with self._named():
            yield from islice(self.reader, 1)

    def batches(self) -> Iterator[Any]:
        """Yield all rows."""
        with self._named():
            yield from self.reader


def _stream(file: Any, compression: str | None) -> Any:
    import pyarrow as pa

    file.seek(0)
    # Arrow closes what it was given, and the file is read more than once.
    opened = pa.PythonFile(_Readable(file), mode="r")
    return pa.CompressedInputStream(opened, compression) if compression else opened


def _first_line(file: Any, compression: str | None) -> str:
    head = bytes(_stream(file, compression).read(FIRST_LINE))
    return head.lstrip(b"\r\n").split(b"\n", 1)[0].decode("utf-8", "replace")


def _float_types(
    file: Any, compression: str | None, options: dict[str, Any], types: dict[str, Any]
) -> dict[str, Any]:
    """Return the first block's types, wide enough for what later blocks may hold."""
    import pyarrow as pa
    from pyarrow import csv

    convert = csv.ConvertOptions(column_types=types, strings_can_be_null=True)
    found = csv.open_csv(_stream(file, compression), convert_options=convert, **options).schema
    wide = {}
    for name, type_ in zip(found.names, found.types, strict=True):
        if pa.types.is_integer(type_):
            wide[name] = pa.float64()
        elif pa.types.is_null(type_):
            wide[name] = pa.string()
        else:
            wide[name] = type_
    return wide


def _layout_types(layout: Layout) -> dict[str, Any]:
    import pyarrow as pa

    types = {"numeric": pa.float64(), "categorical": pa.string(), "text": pa.string()}
    found = {column.name: types[column.kind] for column in layout.columns if column.kind in types}
    if layout.group is not None:
        found[layout.group] = pa.string()
    return found


class read_json_lines:  # noqa: N801
    """Read one JSON record a line; a record that lacks a column misses that value."""

    def __init__(
        self,
        file: Any,
        *,
        layout: Layout | None = None,
        compression: str | None = None,
        **_: Any,
    ) -> None:
        self.lines = io.TextIOWrapper(
            io.BufferedReader(_Readable(_stream(file, compression)), BLOCK), encoding="utf-8-sig"
        )
        self.names: dict[str, None] = {}
        if layout is not None:
            self.names = dict.fromkeys(column.name for column in layout.columns)
            if layout.group is not None:
                self.names[layout.group] = None

    def pilot(self) -> Iterator[Any]:
        """Yield the first records; a file of text is entered at its start only."""
        yield from islice(self.batches(), 4)

    def batches(self) -> Iterator[Any]:
        """Yield all records."""
        number = 0
        while lines := list(islice(self.lines, RECORDS)):
            records = []
            for line in lines:
                number += 1
                if line.strip():
                    records.append(_record(line, number))
            if records:
                yield self._batch(records)

    def _batch(self, records: list[dict[str, Any]]) -> Any:
        import pyarrow as pa

        there = dict.fromkeys(name for record in records for name in record)
        self.names |= there
        columns = [_column([record.get(name) for record in records]) for name in there]
        return pa.RecordBatch.from_arrays(columns, names=list(there))


def _record(line: str, number: int) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError as problem:
        record = str(problem)
    if not isinstance(record, dict):
        raise DataInvalid(
            f"line {number} is no JSON record",
            code="source_unreadable",
            expected="one object a line",
            received=" ".join(line.split())[:60],
            remedy="save the table with one JSON object a line",
        )
    return record


def _column(values: list[Any]) -> Any:
    import pyarrow as pa

    try:
        column = pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return pa.array([None if v is None else _text(v) for v in values], pa.string())
    if pa.types.is_nested(column.type):
        return pa.array([None if v is None else _text(v) for v in values], pa.string())
    return column


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


class _Readable(io.RawIOBase):
    """Read from another stream, which stays open when this one is closed."""

    def __init__(self, stream: Any) -> None:
        super().__init__()
        self.stream = stream

    def readable(self) -> bool:
        """Say that it is to be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what is next into a buffer, and return how much it was."""
        content = self.stream.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)
