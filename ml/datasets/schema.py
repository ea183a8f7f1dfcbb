"""Hold a settled table to what its columns are declared to be, and propose such a declaration."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.core.contracts import Breach, ColumnRule
from ml.core.errors import describe
from ml.core.table import Table
from ml.datasets.columns import near

# Columns with more categories are proposed without naming them.
MOST_CATEGORIES = 30
NAMED = 5


def check_schema(table: Table, target: str, rules: Mapping[str, ColumnRule]) -> list[Breach]:
    """Return what of a table is not as declared, in the order of the declaration."""
    return [
        Breach(check="schema", column=name, message=message, severity="breach")
        for name, rule in rules.items()
        for message in _judge(table, target, name, rule)
    ]


def propose_schema(table: Table, target: str) -> dict[str, dict[str, Any]]:
    """Return a rule for each column of a table that it keeps, as TOML's types.

    Bounds are those that were found. The most missing share is twice the found one.
    """
    proposed: dict[str, dict[str, Any]] = {}
    for name in (target, *table.numeric_names, *table.categorical_names):
        values, levels = _column(table, target, name)
        missing = _missing(values)
        rule: dict[str, Any] = {"kind": "numeric" if levels is None else "categorical"}
        if levels is None:
            known = values[~missing]
            if len(known):
                rule |= {"low": float(known.min()), "high": float(known.max())}
        elif len(levels) <= MOST_CATEGORIES:
            rule["categories"] = list(levels)
        share = float(missing.mean())
        rule["missing"] = min(1.0, math.ceil(200 * share) / 100)
        proposed[name] = rule
    return proposed


def _column(table: Table, target: str, name: str) -> tuple[NDArray[Any], tuple[str, ...] | None]:
    if name == target:
        return table.target, table.classes or None
    if name in table.numeric_names:
        return table.numeric[:, table.numeric_names.index(name)], None
    place = table.categorical_names.index(name)
    return table.categorical[:, place], table.levels[place]


def _missing(values: NDArray[Any]) -> NDArray[np.bool_]:
    return np.isnan(values) if values.dtype.kind == "f" else values < 0


def _judge(table: Table, target: str, name: str, rule: ColumnRule) -> Iterator[str]:
    names = (target, *table.numeric_names, *table.categorical_names)
    if name not in names:
        yield f"there is no column {name!r}; {near(name, names)}"
        return
    values, levels = _column(table, target, name)
    kind = "numeric" if levels is None else "categorical"
    if kind != rule.kind:
        yield f"column {name!r} is {kind}, and is declared {rule.kind}"
        return
    missing = _missing(values)
    share = float(missing.mean())
    if rule.missing is not None and share > rule.missing:
        most = f"of {rule.missing:.1%} at most"
        yield f"column {name!r}: {share:.1%} of the values are missing, {most}"
    if levels is None:
        yield from _judge_range(name, values[~missing], rule)
    elif rule.categories:
        yield from _judge_categories(name, values[~missing], levels, rule, name == target)


def _judge_range(name: str, known: NDArray[np.float64], rule: ColumnRule) -> Iterator[str]:
    below = known[known < rule.low] if rule.low is not None else known[:0]
    above = known[known > rule.high] if rule.high is not None else known[:0]
    if below.size:
        yield f"column {name!r}: {_count(below)} below {rule.low:g}, down to {below.min():g}"
    if above.size:
        yield f"column {name!r}: {_count(above)} above {rule.high:g}, up to {above.max():g}"


def _count(values: NDArray[np.float64]) -> str:
    return "1 value is" if values.size == 1 else f"{values.size:,} values are"


def _judge_categories(
    name: str,
    codes: NDArray[Any],
    levels: tuple[str, ...],
    rule: ColumnRule,
    is_target: bool,
) -> Iterator[str]:
    counts = np.bincount(codes, minlength=len(levels))
    there = {level for level, count in zip(levels, counts, strict=True) if count}
    unknown = sorted(there - set(rule.categories))
    if unknown:
        shown = ", ".join(describe(level, 40) for level in unknown[:NAMED])
        more = f" and {len(unknown) - NAMED} more" if len(unknown) > NAMED else ""
        yield f"column {name!r} has categories that are not declared: {shown}{more}"
    absent = [level for level in rule.categories if level not in there]
    if is_target and absent:
        shown = ", ".join(describe(level, 40) for level in absent[:NAMED])
        yield f"the target {name!r} has no row of {shown}"
