"""Hold what a reader hands on: named raw columns, and the questions asked of one column.

A raw column is a float64 array with NaN for missing, or an object array of str, int, float,
bool and None.
"""

from __future__ import annotations

import datetime
import difflib
import math
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.core.errors import DataInvalid, describe

RawColumn = NDArray[Any]
Columns = dict[str, RawColumn]


def named_columns(
    names: Sequence[Any], columns: Iterable[Sequence[Any] | NDArray[Any]], where: str
) -> Columns:
    """Pair header cells with their columns; a blank header becomes ``unnamed_<position>``.

    Raises DataInvalid naming the column that occurs twice; ``where`` names the file.
    """
    texts = [
        f"unnamed_{position}" if name is None or not str(name).strip() else text_of(name)
        for position, name in enumerate(names, start=1)
    ]
    seen: set[str] = set()
    for text in texts:
        if text in seen:
            raise duplicate_column(text, where)
        seen.add(text)
    return {
        text: raw_column(column, where=f"{where}, column {text!r}")
        for text, column in zip(texts, columns, strict=True)
    }


def duplicate_column(name: str, where: str) -> DataInvalid:
    """Return the error for a column name that a file has twice."""
    return DataInvalid(
        f"{where} has two columns named {name!r}",
        code="duplicate_column",
        field=name,
        expected="every column name once",
        remedy="rename one of them",
    )


def raw_column(values: Sequence[Any] | NDArray[Any], where: str) -> RawColumn:
    """Turn a column's values into a raw column; dates become ISO 8601 text.

    Raises DataInvalid where a value is no text, number, truth value or date.
    """
    if isinstance(values, np.ndarray) and values.dtype.kind in "iufb":
        return values.astype(np.float64)
    column = np.empty(len(values), dtype=object)
    for row, value in enumerate(values):
        if value is None or isinstance(value, str | bool | int | float):
            column[row] = value
        elif isinstance(value, np.generic):
            column[row] = value.item()
        elif isinstance(value, datetime.datetime):
            at_midnight = value.time() == datetime.time() and value.tzinfo is None
            column[row] = (value.date() if at_midnight else value).isoformat()
        elif isinstance(value, datetime.date | datetime.time):
            column[row] = value.isoformat()
        elif isinstance(value, datetime.timedelta):
            column[row] = value.total_seconds()
        else:
            raise DataInvalid(
                f"{where}, row {row + 1} holds a {type(value).__name__}",
                code="value_not_scalar",
                expected="text, numbers, true or false, dates, or nothing",
                received=describe(value),
                remedy="flatten the column before saving the file",
            )
    return column


def text_of(value: str | bool | int | float) -> str:
    """Return the one text that stands for a value as a category; 3.0 reads as ``3``."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return value if isinstance(value, str) else str(value)


def number_in(text: str) -> float | None:
    """Return the number that a text spells, or None; NaN and infinities count as numbers."""
    if "_" in text:  # Python reads 1_000 as a number; no data file means that
        return None
    try:
        return float(text)
    except ValueError:
        return None


def numbers(
    column: RawColumn, missing: frozenset[str], parse_text: bool
) -> tuple[NDArray[np.float64], int | None]:
    """Return a column as float64, NaN for missing, and the first row that is no number.

    Infinities, numbers beyond float64 and the ``missing`` markers become NaN. The values are
    meaningless from the offending row on, if there is one.
    """
    values = np.full(len(column), np.nan)
    if column.dtype != object:
        values[:] = column
    else:
        parsed: dict[str, float | None] = {}
        for row, value in enumerate(column):
            if value is None:
                continue
            if not isinstance(value, str):
                values[row] = float(value) if abs(value) <= sys.float_info.max else math.nan
                continue
            if value not in parsed:
                blank = not value.strip() or value in missing
                known = number_in(value) if parse_text else None
                parsed[value] = math.nan if blank else known
            number = parsed[value]
            if number is None:
                return values, row
            values[row] = number
    markers = [number for marker in missing if (number := number_in(marker)) is not None]
    values[~np.isfinite(values) | np.isin(values, markers)] = np.nan
    return values, None


def texts(column: RawColumn, missing: frozenset[str]) -> list[str | None]:
    """Return a column as category texts, None for missing."""
    if column.dtype != object:
        distinct, places = np.unique(column, return_inverse=True)
        known = [_category(float(value), missing) for value in distinct]
        return [known[place] for place in places]
    cached: dict[str, str | None] = {}
    result: list[str | None] = []
    for value in column:
        if isinstance(value, str):
            if value not in cached:
                cached[value] = _category(value, missing)
            result.append(cached[value])
        else:
            result.append(None if value is None else _category(value, missing))
    return result


def _category(value: str | bool | int | float, missing: frozenset[str]) -> str | None:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    text = text_of(value)
    return None if not text.strip() or text in missing else text


def indexed(labels: list[str | None], where: str) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    """Return each label's index (-1 for a missing one) into the sorted levels, and these.

    Raises DataInvalid where a label is not valid Unicode.
    """
    levels = tuple(sorted({label for label in labels if label is not None}))
    try:
        "".join(levels).encode("utf-8")
    except UnicodeEncodeError as problem:
        raise DataInvalid(
            f"{where} holds text that is not valid Unicode",
            code="text_not_unicode",
            received=describe(problem.object[problem.start : problem.end]),
            remedy="save the data as UTF-8",
        ) from None
    index: dict[str | None, int] = {level: place for place, level in enumerate(levels)}
    index[None] = -1
    return np.array([index[label] for label in labels], dtype=np.int32), levels


def text_in_numeric(where: str, field: str, value: object, remedy: str) -> DataInvalid:
    """Return the error for a value that is no number in a column of numbers."""
    return DataInvalid(
        f"{where} holds text",
        code="text_in_numeric",
        field=field,
        expected="a number or nothing",
        received=describe(value),
        remedy=remedy,
    )


def near(name: str, known: Iterable[str]) -> str:
    """Say which known names are near a wrong one, or list the first of them."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    if not close:
        close = [other for other in known if other.lower() == name.lower()]
    if close:
        return "did you mean " + " or ".join(repr(other) for other in close) + "?"
    listed = ", ".join(repr(other) for other in known[:8])
    return f"the columns are {listed}{', …' if len(known) > 8 else ''}"
