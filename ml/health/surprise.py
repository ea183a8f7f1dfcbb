"""Tell how surprising every value is in its own column, by the reference's values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.health.hashing import Hashes
from ml.health.layout import Layout
from ml.health.pool import Pool

Surprises = NDArray[np.float64]
# Beyond this share of the reference's values, in each direction, a tail is extrapolated.
TAIL = 0.025
LEAST_TAIL = 5
# A heavier tail than this has no variance, and cannot be told from outliers.
HEAVIEST = 0.5
LEAST_SHARE = 1e-300
# The scale of a tail of too few values, as a share of the column's width.
SPAN = 0.1
FOLDS = 5
Sampled = tuple[NDArray[np.float64], Hashes, NDArray[np.bool_]]


@dataclass(frozen=True)
class Tail:
    """Hold an upper tail: a generalised Pareto distribution of what lies above ``start``."""

    start: float
    weight: float
    scale: float
    shape: float

    def shares(self, values: NDArray[np.float64]) -> Surprises:
        """Return the share of values at or above each of these, which lie above ``start``."""
        with np.errstate(over="ignore"):
            distance = (values - self.start) / self.scale
            if self.shape > 1e-3:
                return np.asarray(self.weight * (1.0 + self.shape * distance) ** (-1 / self.shape))
            return np.asarray(self.weight * np.exp(-distance))


def fit_tail(known: NDArray[np.float64]) -> Tail:
    """Fit the upper tail of sorted values by two moments (Hosking and Wallis 1987).

    Its shape lies between that of an exponential and HEAVIEST.
    """
    start = float(np.quantile(known, 1.0 - TAIL, method="inverted_cdf"))
    excess = known[known > start] - start
    if len(excess) < LEAST_TAIL:
        # Too few lie beyond to tell: what is farther is measured by how wide the column is.
        width = float(known[-1] / 2 - known[0] / 2) * 2.0
        scale = SPAN * width or abs(start) or 1.0
        return Tail(float(known[-1]), 1.0 / len(known), scale, 0.0)
    mean, variance = float(excess.mean()), float(excess.var())
    ratio = mean * mean / variance if variance > 0 else 1.0
    shape = float(np.clip(0.5 * (1.0 - ratio), 0.0, HEAVIEST))
    return Tail(start, len(excess) / len(known), mean * (1.0 - shape), shape)


@dataclass(frozen=True)
class Numbers:
    """Hold a column of numbers: its known values sorted, and its two tails."""

    known: NDArray[np.float64]
    upper: Tail
    lower: Tail

    def shares(self, values: NDArray[np.float64]) -> Surprises:
        """Return the share of known values as far out as each, in either direction."""
        sides = []
        for sign, known, tail in (
            (1.0, self.known, self.upper),
            (-1.0, -self.known[::-1], self.lower),
        ):
            turned = sign * values
            shares = 1.0 - np.searchsorted(known, turned, side="left") / len(known)
            beyond = turned > tail.start
            shares[beyond] = tail.shares(turned[beyond])
            sides.append(shares)
        return np.clip(2.0 * np.minimum(*sides), LEAST_SHARE, 1.0)


@dataclass(frozen=True)
class Counted:
    """Hold the shares of a column's values, sorted by value."""

    levels: Hashes
    shares: NDArray[np.float64]

    def of(self, codes: Hashes) -> NDArray[np.float64]:
        """Return each value's share, 0 of one that never occurred."""
        place = np.searchsorted(self.levels, codes).clip(max=len(self.levels) - 1)
        return np.where(self.levels[place] == codes, self.shares[place], 0.0)


def count_codes(codes: Hashes) -> Counted:
    """Count the values of a column, one row or more."""
    levels, counts = np.unique(codes, return_counts=True)
    return Counted(levels, counts / len(codes))


@dataclass(frozen=True)
class Columns:
    """Hold what is known of a reference's columns, in the order measured, then coded.

    ``least`` is added to the share of a category, a gap or a word, as one may never have occurred.
    """

    layout: Layout
    numbers: tuple[Numbers | None, ...]
    gaps: tuple[Counted, ...]
    codes: tuple[Counted, ...]
    words: tuple[NDArray[np.float64], ...]
    least: float

    @property
    def names(self) -> tuple[str, ...]:
        """Return the columns' names."""
        both = (*self.layout.measured, *self.layout.coded)
        return tuple(column.name for column in both)

    def surprises(
        self, numbers: NDArray[np.float64], codes: Hashes, tokens: NDArray[np.bool_]
    ) -> Surprises:
        """Return each value's surprise in nats, [columns, n].

        It is −ln of the share of the reference's values that are as far out or, of a category, a
        gap or a text's rarest word, as rare.
        """
        rows = [self._of_numbers(place, values) for place, values in enumerate(numbers)]
        rows += [
            self._of_shares(known.of(each)) for known, each in zip(self.codes, codes, strict=True)
        ]
        texts = [column.name for column in self.layout.texts]
        for name, shares, words in zip(texts, self.words, tokens, strict=True):
            at = self.names.index(name)
            rare = (self._of_shares(shares) * words).max(axis=1)
            rows[at] = np.maximum(rows[at], rare)
        return np.stack(rows) if rows else np.zeros((0, numbers.shape[1]))

    def _of_shares(self, shares: NDArray[np.float64]) -> Surprises:
        return np.maximum(-np.log(shares + self.least), 0.0)

    def _of_numbers(self, place: int, values: NDArray[np.float64]) -> Surprises:
        missing = np.isnan(values)
        surprise = self._of_shares(self.gaps[place].of(missing.astype(np.uint64)))
        fitted = self.numbers[place]
        if fitted is not None:
            # A known value is as surprising as that it is known, and how far out it lies.
            far = np.nan_to_num(values[~missing], posinf=1e300, neginf=-1e300)
            surprise[~missing] -= np.log(fitted.shares(far))
        return surprise


def fit_columns(layout: Layout, rows: Sampled, least: float) -> Columns:
    """Return what the reference's rows tell of its columns; there is one row at least."""
    numbers, codes, tokens = rows
    fitted = []
    for values in numbers:
        known = np.sort(values[np.isfinite(values)])
        both = (fit_tail(known), fit_tail(-known[::-1])) if len(known) > 1 else None
        fitted.append(None if both is None else Numbers(known, *both))
    return Columns(
        layout=layout,
        numbers=tuple(fitted),
        gaps=tuple(count_codes(np.isnan(values).astype(np.uint64)) for values in numbers),
        codes=tuple(count_codes(each) for each in codes),
        words=tuple(each.mean(axis=0) for each in tokens),
        least=least,
    )


def fit_surprises(pool: Pool, *, grouped: bool) -> tuple[Columns, Surprises]:
    """Return the reference's columns, and the surprises of all pooled rows, [columns, n].

    Those of the reference's own rows are by columns that were fitted without them, a fold at
    once; with groups, without their whole group.
    """
    first = pool.reference
    own, others = _take(pool, slice(0, first)), _take(pool, slice(first, pool.rows))
    least = 0.5 / first
    columns = fit_columns(pool.layout, own, least)
    fold = np.arange(first)
    if grouped:
        _, fold = np.unique(pool.groups[:first], return_inverse=True)
    fold = fold % FOLDS
    # What cannot be held out is as surprising as can be, and so helps to flag nothing.
    unknown = np.full((len(columns.names), first), np.inf)
    surprises = np.concatenate([unknown, columns.surprises(*others)], axis=1)
    for number in range(FOLDS):
        held = np.flatnonzero(fold == number)
        rest = np.flatnonzero(fold != number)
        if len(held) and len(rest):
            without = fit_columns(pool.layout, _take(pool, rest), least)
            surprises[:, held] = without.surprises(*_take(pool, held))
    return columns, surprises


def _take(pool: Pool, rows: Any) -> Sampled:
    return pool.numbers[:, rows], pool.codes[:, rows], pool.tokens[:, rows]
