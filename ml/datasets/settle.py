"""Settle raw columns into a table: one set of rules for files and for inline data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ml.core.contracts import ForecastRule, SplitRule, TableRules, Task
from ml.core.descriptor import Descriptor
from ml.core.errors import DataInvalid, describe
from ml.core.table import Table
from ml.datasets.columns import (
    Columns,
    RawColumn,
    indexed,
    near,
    numbers,
    text_in_numeric,
    texts,
)
from ml.datasets.fingerprint import content_sha256
from ml.datasets.periods import calendar_features, lagged, parse_periods

ABOVE = ("no", "yes")
PARTS = ("train", "test")
LARGEST_TARGET = 1e150


@dataclass(frozen=True)
class Rules:
    """Say how raw columns become a table; ``parse_text`` reads text that spells numbers."""

    id: str
    task: Task
    target: str
    split: SplitRule
    forecast: ForecastRule | None
    positive: str | None
    target_above: float | None = None
    classes: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    numeric: tuple[str, ...] = ()
    missing: frozenset[str] = frozenset()
    parse_text: bool = True


def rules_of(source: Descriptor | TableRules) -> Rules:
    """Take the settling rules out of a descriptor or of those for values that are typed.

    Text in a file may spell numbers; typed values' texts may not.
    """
    shared = Rules(
        id=source.id,
        task=source.task,
        target=source.target,
        split=source.split,
        forecast=source.forecast,
        positive=source.positive,
        parse_text=False,
    )
    if isinstance(source, TableRules):
        return shared
    return replace(
        shared,
        target_above=source.target_above,
        classes=source.classes,
        drop=tuple(source.drop),
        categorical=source.categorical,
        numeric=source.numeric,
        missing=frozenset(source.missing),
        parse_text=True,
    )


def settle(columns: Columns, rules: Rules) -> Table:
    """Return the table that these columns and rules make, its content hash computed.

    Rows without a target, or with a label outside ``classes``, are left out; an infinite number
    and one beyond float64 count as missing. The column of a
    ``time``, ``group`` or ``given`` split is no feature, the series column is a categorical one; a
    forecast gains calendar features and lags. Every other column is numeric where all its
    values are numbers, else categorical, unless the rules name its kind. Raises DataInvalid.
    """
    _check_names(columns, rules)
    target, classes, rows = _target(columns[rules.target], rules)
    columns = {name: column[rows] for name, column in columns.items()}
    time = None
    if rules.split.rule == "time":
        name = str(rules.split.column)
        period = "step" if rules.forecast is None else rules.forecast.period
        time = parse_periods(columns[name], period, _where(rules, name), rows + 1)
        order = np.argsort(time, kind="stable")
        target, time, rows = target[order], time[order], rows[order]
        columns = {name: column[order] for name, column in columns.items()}
    group = None
    if rules.split.rule == "group":
        name = str(rules.split.column)
        group = _complete(_codes(columns[name], rules, name)[0], rules, name, rows).astype(np.int64)
    if rules.split.rule == "given":
        group = _given(columns[str(rules.split.column)], rules, rows)
    numeric, categorical = _features(columns, rules, rows + 1)
    series = None
    if rules.forecast is not None and time is not None:
        if rules.forecast.series is not None:
            name = rules.forecast.series
            series = _complete(categorical[name][0], rules, name, rows)
        computed = calendar_features(time, rules.forecast.period, str(rules.split.column))
        for name, lag in rules.forecast.lag_features(rules.target).items():
            computed[name] = lagged(target.astype(np.float64), time, series, lag)
        for name in computed:
            if name in columns:
                raise DataInvalid(
                    f"{_where(rules, name)} has the name of a computed feature",
                    code="duplicate_column",
                    remedy=f"put {name} in [drop], or rename it",
                )
        numeric |= computed
    if not numeric and not categorical:
        raise DataInvalid(
            f"dataset {rules.id} has no feature column left beside the target {rules.target!r}",
            code="no_features",
            expected="at least one feature",
            remedy="take a column out of [drop]",
        )
    count = len(target)
    table = Table(
        id=rules.id,
        task=rules.task,
        content_sha256="",
        numeric=np.column_stack([np.empty((count, 0)), *numeric.values()]),
        numeric_names=tuple(numeric),
        categorical=np.column_stack(
            [np.empty((count, 0), np.int32), *(codes for codes, _ in categorical.values())]
        ),
        categorical_names=tuple(categorical),
        levels=tuple(levels for _, levels in categorical.values()),
        target=target,
        classes=classes,
        split=rules.split,
        time=time,
        series=series,
        group=group,
        season=1 if rules.forecast is None else rules.forecast.season,
        horizon=1 if rules.forecast is None else rules.forecast.horizon,
        window=() if rules.forecast is None else rules.forecast.window(rules.target),
    )
    return replace(table, content_sha256=content_sha256(table))


def _where(rules: Rules, column: str) -> str:
    return f"dataset {rules.id}, column {column!r}"


def _complete(
    codes: NDArray[np.int32], rules: Rules, name: str, rows: NDArray[np.int64]
) -> NDArray[np.int32]:
    if (codes < 0).any():
        raise DataInvalid(
            f"{_where(rules, name)}, row {int(rows[np.argmax(codes < 0)]) + 1} is missing",
            code="group_missing",
            field=name,
            expected="a value in every row, since it says which rows belong together",
            remedy="mend the value, or leave the row out",
        )
    return codes


def _given(column: RawColumn, rules: Rules, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return 1 for each row that is to be tested on, 0 for those that train."""
    for row, part in zip(rows, column, strict=True):
        if part not in PARTS:
            raise DataInvalid(
                f"{_where(rules, str(rules.split.column))}, row {int(row) + 1} is of no part",
                code="part_unknown",
                field="split.column",
                expected="train or test in every row",
                received=describe(part),
                remedy="mend the value, or leave the row out",
            )
    return np.array([PARTS.index(part) for part in column], dtype=np.int64)


def _check_names(columns: Columns, rules: Rules) -> None:
    named: list[tuple[str, Iterable[str | None]]] = [
        ("target", [rules.target]),
        ("split.column", [rules.split.column]),
        ("forecast.series", [None if rules.forecast is None else rules.forecast.series]),
        ("drop", rules.drop),
        ("categorical", rules.categorical),
        ("numeric", rules.numeric),
    ]
    for field, names in named:
        for name in names:
            if name is not None and name not in columns:
                raise DataInvalid(
                    f"dataset {rules.id} has no column {name!r}, which {field} names",
                    code="missing_column",
                    field=field,
                    received=describe(name),
                    remedy=near(name, columns),
                )
    both = sorted(set(rules.categorical) & set(rules.numeric))
    if both:
        raise DataInvalid(
            f"{_where(rules, both[0])} is declared both categorical and numeric",
            code="kind_conflict",
            field="categorical",
            remedy="name it in one of the two lists",
        )
    series = rules.forecast and rules.forecast.series
    if series is not None and (series == rules.split.column or series in rules.numeric):
        other = "the time" if series == rules.split.column else "declared numeric"
        raise DataInvalid(
            f"{_where(rules, series)} is the series and also {other}",
            code="kind_conflict",
            field="forecast.series",
            expected="a column that only names the series",
            received=describe(series),
            remedy="name another column, or leave forecast.series out where there is one series",
        )
    for place in (rules.split.column, series):
        if place == rules.target:
            raise DataInvalid(
                f"{_where(rules, rules.target)} is the target and also the split or series column",
                code="target_leak",
                field="split.column",
                remedy="name another column",
            )


def _target(
    column: RawColumn, rules: Rules
) -> tuple[NDArray[np.int64] | NDArray[np.float64], tuple[str, ...], NDArray[np.int64]]:
    """Return the target, its classes, and the positions of the rows that have one."""
    if len(column) == 0:
        raise DataInvalid(
            f"dataset {rules.id} has no rows",
            code="no_rows",
            expected="at least one row",
            remedy="check that the file holds more than its header",
        )
    if rules.task != "classification" or rules.target_above is not None:
        values = _numbers_or_refuse(column, rules, rules.target, np.arange(len(column)) + 1)
        rows = np.flatnonzero(~np.isnan(values))
        _check_some_target(rows, rules)
        if rules.target_above is None:
            _check_size(values, rows, rules)
            return values[rows], (), rows
        found: list[str | None] = [ABOVE[int(value > rules.target_above)] for value in values[rows]]
        positive = rules.positive or ABOVE[1]
    else:
        labels = _labels(column, rules)
        kept = [
            row
            for row, label in enumerate(labels)
            if label is not None and (not rules.classes or label in rules.classes)
        ]
        rows = np.array(kept, dtype=np.int64)
        _check_some_target(rows, rules)
        found = [labels[row] for row in kept]
        positive = rules.positive or ""
    codes, classes = indexed(found, _where(rules, rules.target))
    if len(classes) < 2:
        raise DataInvalid(
            f"{_where(rules, rules.target)} has one class only",
            code="one_class",
            field="target",
            expected="at least two classes",
            received=describe(classes[0]),
            remedy="name another target, or bring rows of another class",
        )
    if positive:
        if len(classes) > 2 or positive not in classes:
            raise DataInvalid(
                f"dataset {rules.id} names the positive class {positive!r}, "
                f"which is not one of two classes",
                code="positive_unknown",
                field="positive",
                expected="one of two classes",
                received=describe(classes),
                remedy="name one of two classes, or leave positive out",
            )
        if positive != classes[-1]:
            codes, classes = 1 - codes, classes[::-1]
    return codes.astype(np.int64), classes, rows


def _labels(column: RawColumn, rules: Rules) -> list[str | None]:
    if rules.parse_text and all(value is None or isinstance(value, str) for value in column):
        values, offending = numbers(column, rules.missing, parse_text=True)
        if offending is None:  # 1 and 1.0 in a text file are one class
            return texts(values, rules.missing)
    return texts(column, rules.missing)


def _check_some_target(rows: NDArray[np.int64], rules: Rules) -> None:
    if len(rows) == 0:
        raise DataInvalid(
            f"{_where(rules, rules.target)} has no usable value: every row lacks its target",
            code="target_missing",
            field="target",
            expected="at least one row with a target",
            remedy="name another target, or check missing and classes",
        )


def _check_size(values: NDArray[np.float64], rows: NDArray[np.int64], rules: Rules) -> None:
    huge = rows[np.abs(values[rows]) > LARGEST_TARGET]
    if huge.size:
        raise DataInvalid(
            f"{_where(rules, rules.target)}, row {int(huge[0]) + 1} is too large to be scored",
            code="target_too_large",
            field="target",
            expected=f"values within ±{LARGEST_TARGET:g}, whose squares are numbers too",
            received=describe(float(values[huge[0]])),
            remedy="give the target in a larger unit, or mend the value",
        )


def _features(
    columns: Columns, rules: Rules, row_numbers: NDArray[np.int64]
) -> tuple[dict[str, NDArray[np.float64]], dict[str, tuple[NDArray[np.int32], tuple[str, ...]]]]:
    numeric: dict[str, NDArray[np.float64]] = {}
    categorical: dict[str, tuple[NDArray[np.int32], tuple[str, ...]]] = {}
    series = None if rules.forecast is None else rules.forecast.series
    aside = {rules.target, *rules.drop} - {series}
    if rules.split.rule != "random":
        aside.add(str(rules.split.column))
    for name, column in columns.items():
        if name in aside:
            continue
        if name in rules.numeric:
            numeric[name] = _numbers_or_refuse(column, rules, name, row_numbers)
            continue
        if name not in rules.categorical and name != series:
            values, offending = numbers(column, rules.missing, rules.parse_text)
            if offending is None:
                numeric[name] = values
                continue
        categorical[name] = _codes(column, rules, name)
    return numeric, categorical


def _numbers_or_refuse(
    column: RawColumn, rules: Rules, name: str, row_numbers: NDArray[np.int64]
) -> NDArray[np.float64]:
    values, offending = numbers(column, rules.missing, rules.parse_text)
    if offending is not None:
        place = f"{_where(rules, name)}, row {int(row_numbers[offending])}"
        remedy = "mend the value, list it in missing, or declare the column categorical"
        raise text_in_numeric(place, name, column[offending], remedy)
    return values


def _codes(column: RawColumn, rules: Rules, name: str) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    return indexed(texts(column, rules.missing), _where(rules, name))
