"""Settle how a table's columns are looked at: their kinds, and the range of their bins."""

from __future__ import annotations

from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.core.errors import DataInvalid
from ml.core.specs import Contract
from ml.health.columns import Kind, kind_of, numbers_of, words_of

BINS = 1024
# Quantiles of the reference between which the bins lie.
TAIL = 0.001
# A column of strings is text where this share of its values, and so many, are distinct.
TEXT_SHARE = 0.5
TEXT_LEAST = 50
TEXT_MOST = 4096


class ColumnLayout(Contract):
    """Say what a column is; ``low`` and ``high`` bound its bins, ``center`` and ``scale`` its sums.

    Those of a text are of its length in characters. A column of categories has none of them.
    """

    name: str
    kind: Kind
    low: float = 0.0
    high: float = 1.0
    center: float = 0.0
    scale: float = 1.0


class Layout(Contract):
    """Say how a reference's columns are looked at, and with it every candidate's."""

    columns: tuple[ColumnLayout, ...]
    group: str | None = None

    def named(self, kinds: tuple[Kind, ...]) -> tuple[ColumnLayout, ...]:
        """Return the columns of these kinds, in order."""
        return tuple(column for column in self.columns if column.kind in kinds)

    @property
    def measured(self) -> tuple[ColumnLayout, ...]:
        """Return the columns that have a number a row: numeric, datetime, and texts by length."""
        return self.named(("numeric", "datetime", "text"))

    @property
    def coded(self) -> tuple[ColumnLayout, ...]:
        """Return the columns that have a category a row."""
        return self.named(("categorical", "boolean"))

    @property
    def texts(self) -> tuple[ColumnLayout, ...]:
        """Return the columns of text."""
        return self.named(("text",))


def lay_out(pilot: Any, group: str | None) -> Layout:
    """Return the layout of a table by a pilot of its rows, an Arrow record batch or table.

    Raises DataInvalid where the pilot has no column, two of one name, or not the group column.
    """
    names = list(pilot.schema.names)
    if not names:
        raise DataInvalid("the reference has no columns", remedy="give a table with columns")
    check_names(names)
    if group is not None and group not in names:
        raise DataInvalid(
            f"the reference has no column {group!r} to group its rows by",
            code="group_unknown",
            field="group",
            expected=f"one of {', '.join(names[:12])}",
            received=group,
        )
    kept = sorted(name for name in names if name != group)
    return Layout(columns=tuple(_lay(name, pilot.column(name)) for name in kept), group=group)


def check_names(names: list[str]) -> None:
    """Raise DataInvalid where two columns have one name."""
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataInvalid(
            f"the table has two columns {twice!r}",
            code="column_twice",
            field=twice,
            remedy="rename one of them",
        )


def _lay(name: str, column: Any) -> ColumnLayout:
    kind = kind_of(column.type)
    if kind == "categorical":
        words = words_of(column)
        known = len(words.codes) - int((words.codes < 0).sum())
        distinct = len(np.unique(words.codes[words.codes >= 0]))
        share = max(TEXT_LEAST, TEXT_SHARE * known)
        if distinct <= min(share, TEXT_MOST):
            return ColumnLayout(name=name, kind="categorical")
        kind = "text"
        lengths = np.array([len(label) for label in words.labels], dtype=np.float64)
        return ColumnLayout(name=name, kind=kind, **bin_bounds(lengths))
    if kind == "boolean":
        return ColumnLayout(name=name, kind=kind)
    return ColumnLayout(name=name, kind=kind, **bin_bounds(numbers_of(column, kind)))


def bin_bounds(values: NDArray[np.float64]) -> dict[str, float]:
    """Return ``low``, ``high``, ``center`` and ``scale`` of numbers, nothing if none is known."""
    known = values[np.isfinite(values)]
    if not len(known):
        return {}
    low, high = (float(edge) for edge in np.quantile(known, [TAIL, 1 - TAIL]))
    inner = np.clip(known, low, high)
    # Halved, so that the width between huge values stays finite.
    width = high / 2 - low / 2
    if not width > abs(low) * 1e-12:
        width = max(abs(low), 1.0) * 1e-6
        low, high = low - width, low + width
    with np.errstate(over="ignore"):
        scale = float((inner / 2 - low / 2).std() * 2) or 1.0
        center = float((inner / 2).mean() * 2)
    if not (isfinite(scale) and isfinite(center)):
        share = (inner / 2 - low / 2) / width
        scale = float(share.std()) * width * 2 or 1.0
        center = (low / 2 + width * float(share.mean())) * 2
    return {"low": low, "high": high, "center": center, "scale": scale}
