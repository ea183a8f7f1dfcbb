"""Pool a sample of both tables and cut every column into bins, blind to which row is whose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml.core.seeding import stream
from ml.health.columns import BUCKETS
from ml.health.hashing import MISSING, Hashes
from ml.health.layout import Layout
from ml.health.prepared import Rows, join_rows
from ml.health.sketch import Sketch

# Rows of each side that are tested; so a test's sensitivity does not grow with the tables.
TESTED = 2000
QUANTILES = np.array(
    [0.0025, 0.005, 0.01, 0.025, *np.linspace(0.05, 0.95, 25), 0.975, 0.99, 0.995, 0.9975]
)
LEVELS = 100


@dataclass(frozen=True)
class Pool:
    """Hold the sampled rows of both sides, reference first.

    ``numbers`` is float64 [measured, n], NaN for missing and never an infinity; ``codes`` uint64
    [coded, n]; ``tokens`` bool [texts, n, BUCKETS]; ``hashes`` and ``groups`` uint64 [n].
    """

    layout: Layout
    numbers: NDArray[np.float64]
    codes: Hashes
    tokens: NDArray[np.bool_]
    hashes: Hashes
    groups: Hashes
    reference: int
    candidate: int

    @property
    def rows(self) -> int:
        """Return the number of rows of both sides."""
        return self.reference + self.candidate


@dataclass(frozen=True)
class Binned:
    """Hold a column cut into bins: int64 [n] in [0, bins), the last bin missing values.

    ``centers`` are the bins' places in standard deviations where the bins have an order, else
    None; ``labels`` tell categories apart.
    """

    name: str
    codes: NDArray[np.int64]
    bins: int
    centers: NDArray[np.float64] | None
    levels: Hashes | None = None


def sampled_rows(sketch: Sketch, most: int = TESTED) -> Rows:
    """Return the sampled rows of a sketch with the smallest random keys, at most so many."""
    return sketch.settle().sample.take(np.arange(min(most, len(sketch.keys))))


def pool_rows(
    layout: Layout, reference: Rows, candidate: Rows, tolerance: float, seed: int
) -> Pool:
    """Return both sides' rows pooled; numbers are smoothed by ``tolerance`` standard deviations.

    Rows' hashes are those before smoothing.
    """
    both = join_rows([reference, candidate])
    numbers = np.where(np.isinf(both.numbers), np.nan, both.numbers)
    if len(numbers):
        # An infinity is the greatest or least of its column, one step beyond the others.
        numbers = np.stack([_bounded(*pair) for pair in zip(numbers, both.numbers, strict=True)])
    if tolerance:
        draw = stream(seed, "health", "tolerance")
        noise = draw.standard_normal(numbers.shape)
        numbers = numbers + noise * (tolerance * _spreads(numbers))[:, None]
    return Pool(
        layout=layout,
        numbers=numbers,
        codes=both.codes,
        tokens=np.unpackbits(both.tokens, axis=2).astype(bool)[:, :, :BUCKETS],
        hashes=both.hashes,
        groups=both.groups,
        reference=len(reference.hashes),
        candidate=len(candidate.hashes),
    )


def _bounded(finite: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    if not np.isinf(values).any():
        return finite
    known = finite[~np.isnan(finite)]
    low, high = (known.min(), known.max()) if len(known) else (0.0, 0.0)
    step = (high - low) or 1.0
    bounded = np.where(values == np.inf, high + step, finite)
    return np.where(values == -np.inf, low - step, bounded)


def _spreads(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    spreads = np.zeros(len(numbers))
    for place, values in enumerate(numbers):
        known = values[~np.isnan(values)]
        if len(known):
            spreads[place] = np.clip(known, *np.quantile(known, [0.005, 0.995])).std()
    return spreads


def bin_columns(pool: Pool) -> tuple[list[Binned], list[Binned]]:
    """Return the columns with an order, then the categories, each cut into bins.

    A number's bins lie between quantiles of both sides together, or hold one value each where
    there are few; the most frequent categories have a bin each, the others share one.
    """
    measured = [
        bin_numbers(column.name, values)
        for column, values in zip(pool.layout.measured, pool.numbers, strict=True)
    ]
    coded = [
        bin_codes(column.name, codes, LEVELS)
        for column, codes in zip(pool.layout.coded, pool.codes, strict=True)
    ]
    return measured, coded


def bin_numbers(
    name: str, values: NDArray[np.float64], quantiles: NDArray[np.float64] = QUANTILES
) -> Binned:
    """Cut numbers at their quantiles; values of equal rank share a bin."""
    missing = np.isnan(values)
    known = values[~missing]
    edges = np.unique(np.quantile(known, quantiles, method="inverted_cdf")) if len(known) else known
    if len(edges) < len(quantiles) // 2 and len(known):
        distinct = np.unique(known)
        edges = distinct[:-1] if len(distinct) <= len(quantiles) + 1 else edges
    codes = np.searchsorted(edges, values, side="left")
    bins = len(edges) + 1
    codes = np.where(missing, bins, codes)
    return Binned(name, codes, bins + 1, _centers(known, codes[~missing], bins))


def _centers(
    known: NDArray[np.float64], codes: NDArray[np.int64], bins: int
) -> NDArray[np.float64]:
    if not len(known):
        return np.zeros(bins)
    low, high = np.quantile(known, [0.005, 0.995])
    drawn = np.clip(known, low, high) / 2 - low / 2
    spread = float(drawn.std()) or 1.0
    counts = np.bincount(codes, minlength=bins)
    sums = np.bincount(codes, weights=drawn / spread, minlength=bins)
    centers = sums / np.maximum(counts, 1)
    # A bin that no value fell into lies with its neighbour.
    return np.maximum.accumulate(np.where(counts > 0, centers, -np.inf)).clip(0.0)


def bin_codes(name: str, codes: Hashes, most: int) -> Binned:
    """Give each of the most frequent categories a bin; those left over share the last but one."""
    levels, place, counts = np.unique(codes, return_inverse=True, return_counts=True)
    counts = np.where(levels == MISSING, 0, counts)
    order = np.lexsort((levels, -counts))
    order = order[levels[order] != MISSING]
    kept = order[:most]
    rank = np.full(len(levels), len(kept), dtype=np.int64)
    rank[kept] = np.arange(len(kept))
    rank[levels == MISSING] = len(kept) + 1
    return Binned(name, rank[place], len(kept) + 2, None, levels[kept])
