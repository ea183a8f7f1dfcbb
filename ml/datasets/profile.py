"""Describe a table for a reader: its first rows, and each column's type, gaps and distribution."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ml.core.descriptor import Descriptor
from ml.core.seeding import stream
from ml.core.table import Table
from ml.datasets.periods import Period, write_period

VERSION = 1
PREVIEW_ROWS = 10
PREVIEW_COLUMNS = 60
# What the statistics look at, so that a large table takes no longer than about a second.
MOST_VALUES = 5_000_000
LEAST_ROWS = 1_000
BINS = 16
TOP = 5


def profile_table(table: Table, descriptor: Descriptor) -> dict[str, Any]:
    """Return what a page shows of a table, as JSON's types.

    ``columns`` has the target first, then what the split needs, then the features. Statistics
    stand on ``sampled`` rows: all of them, or a sample drawn by the table's content hash where
    there are more than ``MOST_VALUES`` values. ``preview`` holds the first rows of the first
    columns. Infinities do not occur; a missing value is None.
    """
    columns = list(_columns(table, descriptor))
    most = max(LEAST_ROWS, MOST_VALUES // len(columns))
    rows = np.arange(table.rows)
    if table.rows > most:
        draw = stream(0, "profile", table.content_sha256)
        rows = np.sort(draw.choice(table.rows, size=most, replace=False))
    shown = columns[:PREVIEW_COLUMNS]
    first = range(min(PREVIEW_ROWS, table.rows))
    return {
        "version": VERSION,
        "id": descriptor.id,
        "title": descriptor.title,
        "task": descriptor.task,
        "target": descriptor.target,
        "rows": table.rows,
        "sampled": len(rows),
        "content_sha256": table.content_sha256,
        "origin": descriptor.provenance.origin,
        "licence": descriptor.provenance.licence,
        "note": descriptor.provenance.note,
        "split": descriptor.split.rule,
        "split_column": descriptor.split.column,
        "test_fraction": descriptor.split.test_fraction,
        "columns": [_describe(column, rows) for column in columns],
        "preview": [[column.value(row) for column in shown] for row in first],
    }


@dataclass(frozen=True)
class Column:
    """Hold one column; ``levels`` name its codes, None where its values are numbers."""

    name: str
    role: Literal["target", "time", "series", "group", "feature"]
    values: NDArray[Any]
    levels: tuple[str, ...] | None = None
    period: Period = "step"

    def value(self, row: int) -> str | float | None:
        """Return a row's value as a reader knows it, None for a missing one."""
        value = self.values[row].item()
        if self.role == "time":
            return write_period(value, self.period)
        if self.levels is not None:
            return None if value < 0 else self.levels[value]
        return None if math.isnan(value) else float(f"{value:.12g}")


def _columns(table: Table, descriptor: Descriptor) -> Iterator[Column]:
    split, forecast = descriptor.split.column, descriptor.forecast
    yield Column(descriptor.target, "target", table.target, table.classes or None)
    if table.time is not None:
        period = forecast.period if forecast else "step"
        yield Column(split or "time", "time", table.time, period=period)
    if table.series is not None:
        yield Column((forecast and forecast.series) or "series", "series", table.series)
    if table.group is not None:
        yield Column(split or "group", "group", table.group)
    for name, values in zip(table.numeric_names, table.numeric.T, strict=True):
        yield Column(name, "feature", values)
    for name, codes, levels in zip(
        table.categorical_names, table.categorical.T, table.levels, strict=True
    ):
        yield Column(name, "feature", codes, levels)


def _describe(column: Column, rows: NDArray[np.int64]) -> dict[str, Any]:
    described: dict[str, Any] = {"name": column.name, "role": column.role}
    taken = column.values[rows]
    if column.levels is not None:
        return described | _describe_levels(taken, column.levels)
    if column.role == "time":
        first, last = (write_period(int(end), column.period) for end in (taken.min(), taken.max()))
        described |= {"first": first, "last": last}
    elif column.role != "feature" and column.role != "target":
        # Codes: which number a series or a group has means nothing.
        return described | {"type": "code", "missing": 0, "distinct": len(np.unique(taken))}
    return described | _describe_numbers(taken.astype(np.float64))


def _describe_levels(codes: NDArray[Any], levels: tuple[str, ...]) -> dict[str, Any]:
    counts = np.bincount(codes[codes >= 0], minlength=len(levels))
    order = np.argsort(-counts, kind="stable")[:TOP]
    top = [[levels[place], int(counts[place])] for place in order if counts[place]]
    return {
        "type": "categorical",
        "missing": int((codes < 0).sum()),
        "distinct": int((counts > 0).sum()),
        "top": top,
        "others": int(counts.sum()) - sum(number for _, number in top),
    }


def _describe_numbers(values: NDArray[np.float64]) -> dict[str, Any]:
    known = values[~np.isnan(values)]
    described: dict[str, Any] = {
        "type": "numeric",
        "missing": len(values) - len(known),
        "distinct": len(np.unique(known)),
    }
    if not len(known):
        return described
    low, high = float(known.min()), float(known.max())
    # Halved, so that the width between huge values stays finite.
    share = (known / 2 - low / 2) / (high / 2 - low / 2) if high > low else np.zeros(len(known))
    bins = np.minimum((share * BINS).astype(np.int64), BINS - 1)
    with np.errstate(over="ignore"):
        mean, median = float(known.mean()), float(np.median(known))
    return described | {
        "min": low,
        # The sum of huge values is infinite, and their mean is then not known.
        "mean": mean if math.isfinite(mean) else None,
        "median": median if math.isfinite(median) else None,
        "max": high,
        "histogram": np.bincount(bins, minlength=BINS).tolist(),
    }
