"""Damage a table in thirteen known ways, each mildly, moderately and severely.

Every kind takes a frame, the other rows there are, an amount and a generator, and returns the
damaged frame, or None where the table has nothing that it could damage. ``AMOUNTS`` says what
mild, moderate and severe mean; their unit is in each kind's first sentence.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

Severity = Literal["mild", "moderate", "severe"]
SEVERITIES: tuple[Severity, ...] = ("mild", "moderate", "severe")
# Fewer distinct values than this are levels, not a scale.
SCALE = 20


@dataclass(frozen=True)
class Damaged:
    """Hold a damaged frame; ``rows`` says which rows were damaged, where single rows were."""

    frame: pd.DataFrame
    rows: np.ndarray | None = None


@dataclass(frozen=True)
class Others:
    """Hold the reference, and rows of the same dataset that neither side has."""

    reference: pd.DataFrame
    spare: pd.DataFrame


Kind = Callable[[pd.DataFrame, Others, float, np.random.Generator], Damaged | None]

AMOUNTS: dict[str, tuple[float, float, float]] = {
    "mean_shift": (0.1, 0.3, 0.6),
    "variance_shrink": (0.9, 0.7, 0.4),
    "tails_cut": (0.01, 0.05, 0.1),
    "missing_added": (0.02, 0.1, 0.3),
    "category_lost": (0.02, 0.05, 0.15),
    "rare_categories_lost": (0.02, 0.05, 0.1),
    "correlations_broken": (0.2, 0.5, 1.0),
    "duplicates": (0.02, 0.1, 0.3),
    "copies_of_reference": (0.02, 0.1, 0.3),
    "constant_column": (0.1, 0.3, 1.0),
    "outlier_cells": (0.005, 0.02, 0.05),
    "label_shift": (0.05, 0.15, 0.3),
    "recursive_synthesis": (1, 3, 9),
}


def numbers(frame: pd.DataFrame) -> list[str]:
    """Return the names of columns of numbers with SCALE distinct values or more."""
    return [
        str(name)
        for name in frame.select_dtypes("number").columns
        if frame[name].nunique() >= SCALE and frame[name].notna().mean() > 0.5
    ]


def categories(frame: pd.DataFrame) -> list[str]:
    """Return the names of columns of categories with two levels or more."""
    chosen = frame.select_dtypes(["category", "object", "string", "bool"]).columns
    return [str(name) for name in chosen if frame[name].nunique() >= 2]


def pick(names: list[str], draw: np.random.Generator) -> str | None:
    """Return one of the names at random."""
    return names[int(draw.integers(len(names)))] if names else None


def chosen_rows(rows: int, share: float, draw: np.random.Generator) -> np.ndarray:
    """Return a share of the row numbers at random, one at least."""
    return draw.choice(rows, max(1, round(share * rows)), replace=False)


def with_column(frame: pd.DataFrame, name: str, values: Any) -> pd.DataFrame:
    """Return the frame with other values in one column."""
    changed = frame.copy()
    changed[name] = values
    return changed


def mean_shift(frame, others, amount, draw):
    """Move one numeric column by so many standard deviations."""
    name = pick(numbers(frame), draw)
    if name is None:
        return None
    sign = draw.choice([-1.0, 1.0])
    values = frame[name].astype(float)
    return Damaged(with_column(frame, name, values + sign * amount * values.std()))


def variance_shrink(frame, others, amount, draw):
    """Draw one numeric column in to its mean, to this share of its standard deviation."""
    name = pick(numbers(frame), draw)
    if name is None:
        return None
    values = frame[name].astype(float)
    return Damaged(with_column(frame, name, values.mean() + amount * (values - values.mean())))


def tails_cut(frame, others, amount, draw):
    """Replace this share of one numeric column's values, in each tail, by values of the rest."""
    names = [n for n in numbers(frame) if tail_mass(frame[n]) > 0]
    name = pick(names, draw)
    if name is None:
        return None
    values = frame[name].astype(float).to_numpy(copy=True)
    low, high = np.nanquantile(values, [amount, 1 - amount])
    tails = (values < low) | (values > high)
    rest = values[~tails & ~np.isnan(values)]
    if not tails.any():
        return None
    values[tails] = draw.choice(rest, int(tails.sum()))
    return Damaged(with_column(frame, name, values))


def tail_mass(values: pd.Series) -> float:
    """Return the share of values beyond the 1 % and 99 % quantiles; point masses have none."""
    low, high = values.quantile([0.01, 0.99])
    return float(((values < low) | (values > high)).mean())


def missing_added(frame, others, amount, draw):
    """Take away this share of one column's values."""
    names = [str(name) for name in frame.columns if frame[name].notna().mean() > 0.5]
    name = pick(names, draw)
    values = frame[name]
    if values.dtype.kind in "iub":
        values = values.astype(float)
    values = values.copy()
    values.iloc[chosen_rows(len(frame), amount, draw)] = None
    return Damaged(with_column(frame, name, values))


def category_lost(frame, others, amount, draw):
    """Replace a level whose share is nearest to this one, within a factor of two, by others."""
    found = []
    for name in categories(frame):
        shares = frame[name].value_counts(normalize=True)
        shares = shares[(shares > amount / 2) & (shares < amount * 2)]
        if len(shares):
            level = (shares - amount).abs().idxmin()
            found.append((name, level))
    if not found:
        return None
    name, level = found[int(draw.integers(len(found)))]
    lost = (frame[name] == level).to_numpy(dtype=bool)
    return Damaged(replaced(frame, name, lost, draw))


def replaced(
    frame: pd.DataFrame, name: str, rows: np.ndarray, draw: np.random.Generator
) -> pd.DataFrame:
    """Return the frame with these rows' values of a column drawn from its other rows."""
    values = frame[name].astype(object).to_numpy(copy=True)
    rest = values[~rows & frame[name].notna().to_numpy()]
    values[rows] = draw.choice(rest, int(rows.sum()))
    return with_column(frame, name, pd.Series(values, frame.index).astype(frame[name].dtype))


def rare_categories_lost(frame, others, amount, draw):
    """Replace, in every column of categories, levels rarer than this share by others."""
    changed, lost = frame, 0
    for name in categories(frame):
        shares = frame[name].value_counts(normalize=True)
        rare = shares.index[(shares > 0) & (shares < amount)]
        rows = frame[name].isin(rare).to_numpy()
        if rows.any() and (frame[name].notna().to_numpy() & ~rows).any():
            changed = replaced(changed, name, rows, draw)
            lost += int(rows.sum())
    # A table whose columns have hardly a rare level has nothing to lose.
    return Damaged(changed) if lost >= amount * len(frame) / 2 else None


def correlations_broken(frame, others, amount, draw):
    """Shuffle this share of the columns, each by itself; those that depend on others first."""
    names = dependent(frame)
    if len(names) < 2:
        return None
    number = max(1, round(amount * len(names)))
    changed = frame.copy()
    for name in draw.permutation(names)[:number]:
        changed[name] = changed[name].to_numpy()[draw.permutation(len(frame))]
    return Damaged(changed)


def dependent(frame: pd.DataFrame) -> list[str]:
    """Return the columns that correlate with another by .3 or more in rank."""
    coded = pd.DataFrame(
        {
            name: (
                frame[name]
                if pd.api.types.is_numeric_dtype(frame[name])
                else frame[name].astype("category").cat.codes
            )
            for name in frame.columns
        }
    )
    related = coded.rank().corr().abs().to_numpy(copy=True)
    np.fill_diagonal(related, 0.0)
    strongest = np.nan_to_num(related).max(axis=1)
    return [str(name) for name, r in zip(frame.columns, strongest, strict=True) if r >= 0.3]


def duplicates(frame, others, amount, draw):
    """Replace this share of the rows by copies of other rows of the table."""
    return copied_rows(frame, frame, amount, draw, own=True)


def copies_of_reference(frame, others, amount, draw):
    """Replace this share of the rows by rows of the reference."""
    return copied_rows(frame, others.reference, amount, draw, own=False)


def copied_rows(frame, source, amount, draw, *, own):
    """Return the frame with a share of its rows taken from a source."""
    rows = np.sort(chosen_rows(len(frame), amount, draw))
    kept = np.setdiff1d(np.arange(len(frame)), rows)
    among = kept if own else np.arange(len(source))
    taken = source.iloc[draw.choice(among, len(rows), replace=len(rows) > len(among))]
    changed = frame.copy()
    for name in frame.columns:
        values = frame[name].astype(object).to_numpy(copy=True)
        values[rows] = taken[name].astype(object).to_numpy()
        changed[name] = pd.Series(values, frame.index).astype(frame[name].dtype)
    return Damaged(changed, rows)


def constant_column(frame, others, amount, draw):
    """Hold one column at one of its values in this share of the rows."""
    names = [
        str(name)
        for name in frame.columns
        if frame[name].value_counts(normalize=True, dropna=False).iloc[0] < 0.7
    ]
    name = pick(names, draw)
    if name is None:
        return None
    rows = np.zeros(len(frame), dtype=bool)
    rows[chosen_rows(len(frame), amount, draw)] = True
    values = frame[name].astype(object).to_numpy(copy=True)
    values[rows] = draw.choice(values[frame[name].notna().to_numpy()])
    return Damaged(
        with_column(frame, name, pd.Series(values, frame.index).astype(frame[name].dtype))
    )


def outlier_cells(frame, others, amount, draw):
    """Move this share of all cells of numeric columns by ten standard deviations or more."""
    names = numbers(frame)
    if not names:
        return None
    rows = np.zeros(len(frame), dtype=bool)
    changed = frame.copy()
    hit = draw.random((len(frame), len(names))) < amount
    for place, name in enumerate(names):
        values = frame[name].astype(float).to_numpy(copy=True)
        far = values.std() if not np.isnan(values).any() else np.nanstd(values)
        sign = draw.choice([-1.0, 1.0], len(frame))
        moved = values + sign * far * draw.uniform(10, 20, len(frame))
        cells = hit[:, place] & ~np.isnan(values)
        changed[name] = np.where(cells, moved, values)
        rows |= cells
    return Damaged(changed, np.flatnonzero(rows))


def label_shift(frame, others, amount, draw):
    """Move the target's largest class, or its upper half, by this share of all rows.

    The target is the last column. A class of more than half of the rows becomes rarer, another
    more frequent. The rows are drawn anew, none twice, from the frame and from spare ones; where
    these do not suffice for a thousand, or for as many as there were, there is no such damage.
    """
    both = pd.concat([frame, others.spare], ignore_index=True)
    target = both[both.columns[-1]]
    if pd.api.types.is_numeric_dtype(target) and target.nunique() > SCALE:
        among = (target > target.median()).to_numpy()
    else:
        among = (target == target.mode().iloc[0]).to_numpy()
    share = float(among[: len(frame)].mean())
    share = share - amount if share > 0.5 else share + amount
    inside, outside = np.flatnonzero(among), np.flatnonzero(~among)
    rows = int(min(len(frame), len(inside) / share, len(outside) / (1 - share)))
    if rows < min(1000, len(frame)):
        return None
    first = round(rows * share)
    taken = np.concatenate(
        [
            draw.choice(inside, min(first, len(inside)), replace=False),
            draw.choice(outside, min(rows - first, len(outside)), replace=False),
        ]
    )
    return Damaged(both.iloc[draw.permutation(taken)].reset_index(drop=True))


def recursive_synthesis(frame, others, amount, draw):
    """Replace the table by one synthesised from itself over so many generations."""
    from synthesis import synthesise

    return Damaged(synthesise(frame, int(amount), draw))


KINDS: dict[str, Kind] = {
    kind.__name__: kind
    for kind in (
        mean_shift,
        variance_shrink,
        tails_cut,
        missing_added,
        category_lost,
        rare_categories_lost,
        correlations_broken,
        duplicates,
        copies_of_reference,
        constant_column,
        outlier_cells,
        label_shift,
        recursive_synthesis,
    )
}


def damage(
    kind: str,
    severity: Severity,
    frame: pd.DataFrame,
    others: Others,
    draw: np.random.Generator,
) -> Damaged | None:
    """Return a damaged copy of a frame, None where the kind does not apply to it."""
    amount = AMOUNTS[kind][SEVERITIES.index(severity)]
    return KINDS[kind](frame.reset_index(drop=True), others, amount, draw)
