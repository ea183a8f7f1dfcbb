"""Encode pooled rows for what columns show together: as scores, as bins, by neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from ml.health.pool import Binned, Pool, bin_codes, bin_numbers

# The most score columns; permutations cost by their square.
WIDTH = 64
PAIRED = 40
PAIRS = 60
COARSE = np.array([0.2, 0.4, 0.6, 0.8])
COARSE_LEVELS = 5
NEIGHBOURS = 5
RARE = 0.01


@dataclass(frozen=True)
class Scores:
    """Hold rows as float32 [n, w] of mean 0 and variance 1, and which column each score is of."""

    values: NDArray[np.float32]
    columns: tuple[str, ...]


@lru_cache(maxsize=8)
def _normal_quantiles(number: int) -> NDArray[np.float64]:
    normal = NormalDist()
    return np.array([normal.inv_cdf((2 * place + 1) / (4 * number)) for place in range(2 * number)])


def normal_scores(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the normal quantile of each value's mid-rank; 0 for a missing one."""
    missing = np.isnan(values)
    scores = np.zeros(len(values))
    known = values[~missing]
    if len(known):
        _, place, counts = np.unique(known, return_inverse=True, return_counts=True)
        ends = np.cumsum(counts)
        # Twice the mid-rank, so that it is an index.
        middles = 2 * ends - counts
        scores[~missing] = _normal_quantiles(len(known))[np.minimum(middles, 2 * len(known) - 1)][
            place
        ]
    return scores


def score_rows(pool: Pool) -> Scores:
    """Return numbers as normal scores, and frequent categories and gaps as indicators.

    Where there are more than WIDTH, those that correlate most with another one are kept, by
    both sides together, so that the choice is blind to which row is whose.
    """
    found, names = [], []
    for column, values in zip(pool.layout.measured, pool.numbers, strict=True):
        found.append(normal_scores(values))
        names.append(column.name)
        found.append(np.isnan(values).astype(np.float64))
        names.append(column.name)
    for column, codes in zip(pool.layout.coded, pool.codes, strict=True):
        binned = bin_codes(column.name, codes, 8)
        for place in range(binned.bins):
            found.append((binned.codes == place).astype(np.float64))
            names.append(column.name)
    if not found:
        return Scores(np.zeros((pool.rows, 0), dtype=np.float32), ())
    matrix = np.stack(found, axis=1)
    spread = matrix.std(axis=0)
    indicator = ((matrix == 0) | (matrix == 1)).all(axis=0)
    share = matrix.mean(axis=0)
    kept = (spread > 0) & (~indicator | ((share > RARE) & (share < 1 - RARE)))
    matrix = (matrix[:, kept] - share[kept]) / spread[kept]
    columns = [name for name, keep in zip(names, kept, strict=True) if keep]
    if len(columns) > WIDTH:
        related = np.abs(matrix.T @ matrix / len(matrix))
        same = np.array(columns)
        related[same[:, None] == same[None, :]] = 0.0
        best = np.sort(np.argsort(-related.max(axis=1), kind="stable")[:WIDTH])
        matrix, columns = matrix[:, best], [columns[place] for place in best]
    return Scores(np.ascontiguousarray(matrix, dtype=np.float32), tuple(columns))


@dataclass(frozen=True)
class Pair:
    """Hold two columns' joint bins: int64 [n], and how many each has."""

    name: str
    codes: NDArray[np.int64]
    first: int
    second: int


def pair_columns(pool: Pool) -> list[Pair]:
    """Return the pairs of coarsely binned columns that tell most about each other.

    The choice looks at both sides together, and so is blind to which row is whose.
    """
    columns = [
        bin_numbers(column.name, values, COARSE)
        for column, values in zip(pool.layout.measured, pool.numbers, strict=True)
    ]
    columns += [
        bin_codes(column.name, codes, COARSE_LEVELS)
        for column, codes in zip(pool.layout.coded, pool.codes, strict=True)
    ]
    columns = [column for column in columns if len(np.unique(column.codes)) > 1]
    columns = _varied(columns)
    if len(columns) < 2:
        return []
    information = pooled_information(columns)
    upper = np.triu_indices(len(columns), 1)
    order = np.argsort(-information[upper], kind="stable")[:PAIRS]
    pairs = []
    for place in order:
        one, two = columns[upper[0][place]], columns[upper[1][place]]
        codes = one.codes * two.bins + two.codes
        pairs.append(Pair(f"{one.name} × {two.name}", codes, one.bins, two.bins))
    return pairs


def _varied(columns: list[Binned]) -> list[Binned]:
    if len(columns) <= PAIRED:
        return columns
    entropies = []
    for column in columns:
        shares = np.bincount(column.codes, minlength=column.bins) / len(column.codes)
        entropies.append(-(shares * np.log(np.where(shares > 0, shares, 1.0))).sum())
    best = np.sort(np.argsort(-np.array(entropies), kind="stable")[: 3 * PAIRED])
    return [columns[place] for place in best]


def pooled_information(columns: list[Binned]) -> NDArray[np.float64]:
    """Return the mutual information of every two columns in nats, [columns, columns]."""
    rows = np.arange(len(columns[0].codes))
    starts = np.cumsum([0, *(column.bins for column in columns)])
    hot = np.zeros((starts[-1], len(rows)), dtype=np.float32)
    for start, column in zip(starts, columns, strict=False):
        hot[start + column.codes, rows] = 1.0
    joint = (hot @ hot.T).astype(np.float64) / len(rows)
    alone = np.diag(joint)
    expected = alone[:, None] * alone[None, :]
    ratio = np.where(joint > 0, joint, 1.0) / np.where(joint > 0, expected, 1.0)
    terms = joint * np.log(ratio)
    sums = np.add.reduceat(np.add.reduceat(terms, starts[:-1], axis=0), starts[:-1], axis=1)
    return np.asarray(sums)


def nearest(scores: Scores, draw: np.random.Generator) -> NDArray[np.int64]:
    """Return each row's nearest other rows, int64 [n, NEIGHBOURS], nearest first.

    Which of equally near rows comes first is random, and so is blind to which row is whose.
    """
    order = draw.permutation(len(scores.values))
    values = scores.values[order]
    rows = np.arange(len(values))
    squares = (values * values).sum(axis=1)
    distances = values @ values.T
    distances *= -2.0
    distances += squares
    distances += squares[:, None]
    distances[rows, rows] = np.inf
    found = np.empty((len(values), NEIGHBOURS), dtype=np.int64)
    for place in range(NEIGHBOURS):
        close = distances.argmin(axis=1)
        distances[rows, close] = np.inf
        found[order, place] = order[close]
    return found
