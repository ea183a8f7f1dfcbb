"""Do an action on a sample of a candidate's rows, to see what a model makes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ml.core.recommendations import Action, ActionName
from ml.health.cells import Cells, Column
from ml.health.nearest import nearest_donors

Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]
TAILS = (0.001, 0.999)
# A value is stuck where its share exceeds the reference's by this much.
STUCK = 0.05
# A level is lost where its share is below this part of the reference's.
LOST = 0.2
BINS = 10
# Fewer of the reference's values tell neither a range nor a neighbour.
LEAST_DONORS = 20


@dataclass(frozen=True)
class Case:
    """Hold a candidate's sampled rows and the reference's that it may learn from or take.

    ``repeated`` and ``copied`` mark the rows that repeat others, or the reference's; ``flagged``
    has the columns that surprise by the place of a flagged row. ``trusted`` are the columns that
    nothing is wrong with.
    """

    cells: Cells
    donors: Cells
    repeated: Mask
    copied: Mask
    target: str | None = None
    flagged: dict[int, tuple[str, ...]] = field(default_factory=dict)
    unfit: dict[str, Column] = field(default_factory=dict)
    trusted: tuple[str, ...] = ()


@dataclass(frozen=True)
class Mended:
    """Hold what an action made of the rows: ``touched`` marks those changed or dropped.

    ``added`` counts the rows that were taken from the reference.
    """

    cells: Cells
    touched: Mask
    added: int = 0


def mend(case: Case, action: Action) -> Mended | None:
    """Return the rows after an action, None where it has nothing to do.

    The order of the rows that stay is kept, and rows that are added lie among them evenly.
    """
    mended = _MENDERS[action.action](case, action.columns[0] if action.columns else "")
    if mended is None or not (mended.touched.any() or mended.added):
        return None
    return mended if mended.cells.rows else None


def _drop(case: Case, dropped: Mask) -> Mended:
    return Mended(case.cells.take(np.flatnonzero(~dropped)), dropped)


def _drop_repeated(case: Case, column: str) -> Mended:
    return _drop(case, case.repeated)


def _drop_copies(case: Case, column: str) -> Mended:
    return _drop(case, case.copied)


def _drop_flagged(case: Case, column: str) -> Mended:
    return _drop(case, _flagged(case))


def _flagged(case: Case) -> Mask:
    marked = np.zeros(case.cells.rows, dtype=bool)
    marked[list(case.flagged)] = True
    return marked


def _mend_flagged(case: Case, column: str) -> Mended:
    """Take the value that surprises most out of each flagged row."""
    cells, touched = case.cells, np.zeros(case.cells.rows, dtype=bool)
    places: dict[str, list[int]] = {}
    for place, columns in case.flagged.items():
        if columns and columns[0] in cells.columns and columns[0] != case.target:
            places.setdefault(columns[0], []).append(place)
    for name, rows in places.items():
        values = cells.columns[name].copy()
        values[rows] = _nothing(values)
        touched[rows] = True
        cells = cells.replaced(name, values)
    return Mended(cells, touched)


def _rescale(case: Case, column: str) -> Mended | None:
    """Move and stretch a column so that its median and quartile range are the reference's."""
    values, donors = _numbers(case, column)
    if values is None or donors is None:
        return None
    known = ~np.isnan(values)
    found = np.quantile(values[known], [0.25, 0.5, 0.75])
    wanted = np.quantile(donors[~np.isnan(donors)], [0.25, 0.5, 0.75])
    spread, wide = found[2] - found[0], wanted[2] - wanted[0]
    if not spread > 0 or not wide > 0:
        spread = float(np.std(values[known]))
        wide = float(np.nanstd(donors))
    if not spread > 0:
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        moved = (values - found[1]) * (wide / spread) + wanted[1]
    changed = known & np.isfinite(moved) & (np.abs(moved - values) > 1e-9 * (abs(wide) or 1.0))
    return Mended(case.cells.replaced(column, np.where(changed, moved, values)), changed)


def _winsorise(case: Case, column: str) -> Mended | None:
    """Bound a column by the reference's 0.1 and 99.9 % quantiles (Tukey 1962)."""
    values, donors = _numbers(case, column)
    if values is None or donors is None:
        return None
    low, high = np.quantile(donors[~np.isnan(donors)], TAILS)
    bounded = np.where(np.isnan(values), values, np.clip(values, low, high))
    changed = ~np.isnan(values) & (bounded != values)
    return Mended(case.cells.replaced(column, bounded), changed)


def _numbers(case: Case, column: str) -> tuple[Column | None, Column | None]:
    values, donors = case.cells.columns.get(column), case.donors.columns.get(column)
    if values is None or donors is None or values.dtype == object:
        return None, None
    if np.isnan(values).all() or np.count_nonzero(~np.isnan(donors)) < LEAST_DONORS:
        return None, None
    return values, donors


def _fill_missing(case: Case, column: str) -> Mended | None:
    """Fill a column's gaps beyond the reference's from its nearest rows (hot deck)."""
    values = case.cells.columns.get(column)
    return None if values is None else _from_donors(case, column, is_missing(values))


def _restore_column(case: Case, column: str) -> Mended | None:
    """Take a column from the reference's nearest rows: where one value is stuck, or everywhere."""
    values, donors = case.cells.columns.get(column), case.donors.columns.get(column)
    if values is None or donors is None:
        return None
    stuck = _stuck(values, donors)
    return _from_donors(case, column, np.ones(len(values), bool) if stuck is None else stuck)


def _stuck(values: Column, donors: Column) -> Mask | None:
    known = values[~is_missing(values)]
    if not len(known):
        return None
    levels, counts = np.unique(known, return_counts=True)
    value = levels[np.argmax(counts)]
    excess = counts.max() / len(values) - np.count_nonzero(donors == value) / max(len(donors), 1)
    mask: Mask = np.asarray(values == value)
    return mask if excess > STUCK else None


def _from_donors(case: Case, column: str, rows: Mask) -> Mended | None:
    if column == case.target or not rows.any():
        return None
    giving = case.donors.take(np.flatnonzero(~is_missing(case.donors.columns[column])))
    if giving.rows < LEAST_DONORS:
        return None
    by = [name for name in case.trusted if name not in (column, case.target)]
    by = by or [name for name in case.cells.columns if name not in (column, case.target)]
    values = case.cells.columns[column].copy()
    places = np.flatnonzero(rows)
    values[places] = giving.columns[column][nearest_donors(case.cells.take(places), giving, by)]
    return Mended(case.cells.replaced(column, values), rows)


def _drop_column(case: Case, column: str) -> Mended | None:
    values = case.cells.columns.get(column)
    if values is None or column == case.target:
        return None
    gone = np.full_like(values, _nothing(values))
    return Mended(case.cells.replaced(column, gone), ~is_missing(values))


def _convert_column(case: Case, column: str) -> Mended | None:
    """Read numbers out of a column's text."""
    raw = case.unfit.get(column)
    values = case.cells.columns.get(column)
    if raw is None or values is None:
        return None
    converted = raw if values.dtype == object else np.array([_number(text) for text in raw])
    return Mended(case.cells.replaced(column, converted), ~is_missing(converted))


def _number(text: str | None) -> float:
    try:
        value = float("nan" if text is None else text)
    except ValueError:
        return float("nan")
    return value if np.isfinite(value) else float("nan")


def _restore_levels(case: Case, column: str) -> Mended | None:
    """Add the reference's rows whose level of a column the candidate has lost."""
    values, donors = case.cells.columns.get(column), case.donors.columns.get(column)
    if values is None or donors is None:
        return None
    known, wanted = values[~is_missing(values)], donors[~is_missing(donors)]
    levels, counts = np.unique(wanted, return_counts=True)
    have = dict(zip(*np.unique(known, return_counts=True), strict=True))
    added: list[Rows] = []
    for level, count in zip(levels, counts, strict=True):
        usual = count / max(len(wanted), 1) * len(known)
        lacking = round(usual - have.get(level, 0))
        if have.get(level, 0) < LOST * usual and lacking > 0:
            added.append(np.flatnonzero(donors == level)[:lacking])
    return _add(case, np.concatenate(added)) if added else None


def _add_reference(case: Case, column: str) -> Mended:
    return _add(case, np.arange(min(case.donors.rows, case.cells.rows)))


def _add(case: Case, donors: Rows) -> Mended:
    """Lay rows of the reference among the candidate's, at even distances."""
    rows = case.cells.rows
    joined = case.cells.joined(case.donors.take(donors))
    places = np.concatenate(
        [(np.arange(rows) + 0.5) / max(rows, 1), (np.arange(len(donors)) + 0.5) / len(donors)]
    )
    order = np.argsort(places, kind="stable")
    return Mended(joined.take(order), np.zeros(rows, dtype=bool), len(donors))


def _reweight_target(case: Case, column: str) -> Mended | None:
    """Drop and repeat rows so that the target's classes, or tenths, have the reference's shares."""
    values, donors = case.cells.columns[column], case.donors.columns[column]
    if values.dtype == object:
        levels = np.unique(_texts(donors[~is_missing(donors)]))
        codes, wanted = (np.searchsorted(levels, _texts(side)) for side in (values, donors))
        known = np.isin(_texts(values), levels) & ~is_missing(values)
        bins = max(len(levels), 1)
    else:
        edges = np.unique(np.nanquantile(donors, np.linspace(0, 1, BINS + 1)[1:-1]))
        bins = len(edges) + 1
        codes, wanted = (np.searchsorted(edges, side) for side in (values, donors))
        known = ~np.isnan(values)
    shares = np.bincount(wanted[~is_missing(donors)].clip(0, bins - 1), minlength=bins)
    shares = shares / max(shares.sum(), 1)
    chosen = []
    for place in range(bins):
        rows = np.flatnonzero(known & (codes == place))
        if len(rows):
            chosen.append(np.resize(rows, round(shares[place] * int(known.sum()))))
    kept = np.sort(np.concatenate(chosen)) if chosen else np.zeros(0, np.int64)
    times = np.bincount(kept, minlength=len(values))
    return Mended(case.cells.take(kept), times != 1)


def _texts(values: Column) -> NDArray[np.str_]:
    return np.array(["" if value is None else value for value in values], dtype=str)


def is_missing(values: Column) -> Mask:
    """Tell which cells of a column are missing, bool [n]."""
    if values.dtype == object:
        return np.array([value is None for value in values], dtype=bool)
    return np.asarray(np.isnan(values))


def _nothing(values: Column) -> float | None:
    return None if values.dtype == object else float("nan")


_MENDERS: dict[ActionName, Callable[[Case, str], Mended | None]] = {
    "drop_repeated": _drop_repeated,
    "drop_copies": _drop_copies,
    "drop_flagged": _drop_flagged,
    "mend_flagged": _mend_flagged,
    "rescale": _rescale,
    "winsorise": _winsorise,
    "fill_missing": _fill_missing,
    "restore_levels": _restore_levels,
    "restore_column": _restore_column,
    "drop_column": _drop_column,
    "convert_column": _convert_column,
    "reweight_target": _reweight_target,
    "add_reference": _add_reference,
}
