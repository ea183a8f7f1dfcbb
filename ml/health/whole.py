"""Take effects from the whole tables, by their sketches, where the test looks at a sample."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ml.health.encoded import pair_columns, score_rows
from ml.health.families import Family
from ml.health.hashing import MISSING, Hashes
from ml.health.joint import compare_correlations, compare_information, compare_repeats
from ml.health.layout import BINS, ColumnLayout
from ml.health.marginal import Shares, compare_columns
from ml.health.pool import LEVELS, QUANTILES, TESTED, Binned, Pool
from ml.health.sketch import Counter, Sketch


def whole_families(
    reference: Sketch, candidate: Sketch, pool: Pool, tolerance: float
) -> list[Family]:
    """Return the statistics of both whole tables, [columns, 1] each; coverage is not among them.

    Where all rows are tested, the sample's statistics are the whole's, and only what the test has
    none of is returned. Else columns are compared by the sketches' counts, and what they show
    together by ``pool``, the rows that the sketches keep. ``tolerance`` smooths the counts of
    numbers as it does the sample's.
    """
    if max(reference.rows, candidate.rows) <= TESTED:
        return _pearson(reference, candidate)
    measured, numbers = [], []
    for place, column in enumerate(reference.layout.measured):
        sides = reference.histograms[place], candidate.histograms[place]
        binned, shares = _share_bins(column, *sides, tolerance)
        measured.append(binned)
        numbers.append(shares)
    coded, categories = [], []
    for place, column in enumerate(reference.layout.coded):
        binned, shares = _share_levels(
            column, reference.counters[place], candidate.counters[place], reference, candidate
        )
        coded.append(binned)
        categories.append(shares)
    families = compare_columns(measured, numbers, coded, categories)
    gaps = np.abs(reference.words / reference.rows - candidate.words / candidate.rows)
    if gaps.size:
        names = [column.name for column in reference.layout.texts for _ in range(gaps.shape[1])]
        families.append(Family("composition", "words", gaps.reshape(-1, 1), tuple(names)))
    labels = np.zeros((pool.rows, 1), dtype=np.float32)
    labels[: pool.reference] = 1.0
    families += compare_correlations(score_rows(pool), labels)
    families += compare_information(pair_columns(pool), labels)
    families += _repeats(reference, candidate, pool)
    return families + _pearson(reference, candidate)


def _share_bins(
    column: ColumnLayout, first: NDArray[np.int64], second: NDArray[np.int64], tolerance: float
) -> tuple[Binned, Shares]:
    width = (column.high - column.low) / BINS
    sides = [_smoothed(side, tolerance * column.scale / width) for side in (first, second)]
    pooled = sides[0] + sides[1]
    known = pooled[:-1]
    cumulated = np.cumsum(known) / (known.sum() or 1.0)
    edges = np.unique(np.searchsorted(cumulated, QUANTILES - 1e-12))
    starts = np.unique([0, *(edges + 1)])
    starts = np.append(starts[starts < BINS + 2], BINS + 2)
    one, two, both = (np.add.reduceat(side, starts) for side in (*sides, pooled))
    places = (np.arange(BINS + 2) - 0.5) * width / column.scale
    counts = np.maximum(both[:-1], 1e-300)
    centers = np.add.reduceat(known * places, starts[:-1]) / counts
    centers = np.maximum.accumulate(np.where(both[:-1] > 0, centers, -np.inf)).clip(places[0])
    return _shared(column.name, one, two, both, centers)


def _smoothed(counts: NDArray[np.int64], width: float) -> NDArray[np.float64]:
    values = counts.astype(np.float64)
    if width < 0.05:
        return values
    reach = min(int(np.ceil(4 * width)), BINS)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    spread = np.convolve(values[:-1], weights / weights.sum())
    kept = spread[reach : reach + BINS + 2]
    kept[0] += spread[:reach].sum()
    kept[-1] += spread[reach + BINS + 2 :].sum()
    return np.append(kept, values[-1])


def _shared(
    name: str,
    one: NDArray[np.float64],
    two: NDArray[np.float64],
    both: NDArray[np.float64],
    centers: NDArray[np.float64] | None,
) -> tuple[Binned, Shares]:
    shares = [(side / (side.sum() or 1.0))[:, None] for side in (one, two)]
    binned = Binned(name, np.zeros(0, dtype=np.int64), len(both), centers)
    return binned, Shares(shares[0], shares[1], both / (both.sum() or 1.0))


def _share_levels(
    column: ColumnLayout, one: Counter, two: Counter, first: Sketch, second: Sketch
) -> tuple[Binned, Shares]:
    missing = int(MISSING)
    pooled = {level: one.get(level, 0) + two.get(level, 0) for level in {*one, *two} - {missing}}
    kept = sorted(pooled, key=lambda level: (-pooled[level], level))[:LEVELS]
    sides = []
    for counter, sketch in ((one, first), (two, second)):
        counts = [counter.get(level, 0) for level in kept]
        gone = counter.get(missing, 0)
        sides.append(np.array([*counts, sketch.rows - sum(counts) - gone, gone], dtype=np.float64))
    return _shared(column.name, sides[0], sides[1], sides[0] + sides[1], None)


def hash_sample(
    reference: Sketch, candidate: Sketch, smaller: int, larger: int
) -> tuple[Hashes, int] | None:
    """Return the hashes of all rows of both sides below one bound, and how many are the first's.

    The bound leaves the smaller side at most ``smaller`` rows and the other at most ``larger``.
    A row that occurs twice, or on both sides, is there as often. None where the sketches do not
    know their rows' hashes.
    """
    limit = np.uint64(min(reference.limit, candidate.limit))
    sides = []
    for sketch in (reference, candidate):
        within = sketch.distinct <= limit
        sides.append((sketch.distinct[within], np.cumsum(sketch.repeats[within])))
    if any(not len(counts) for _, counts in sides):
        return None
    most = sorted(range(2), key=lambda side: sides[side][1][-1])
    for side, bound in zip(most, (smaller, larger), strict=True):
        distinct, counts = sides[side]
        place = int(np.searchsorted(counts, bound, side="right"))
        if place < len(distinct):
            limit = min(limit, distinct[place] - np.uint64(1))
    found = []
    for sketch in (reference, candidate):
        within = sketch.distinct <= limit
        found.append(np.repeat(sketch.distinct[within], sketch.repeats[within]))
    return np.concatenate(found), len(found[0])


def same_rows(reference: Sketch, candidate: Sketch) -> bool:
    """Tell whether both tables hold the same rows, as often each, in whatever order."""
    return (
        reference.rows == candidate.rows
        and reference.limit == candidate.limit > 0
        and np.array_equal(reference.distinct, candidate.distinct)
        and np.array_equal(reference.repeats, candidate.repeats)
    )


def _repeats(reference: Sketch, candidate: Sketch, pool: Pool) -> list[Family]:
    everything = 2**62
    found = hash_sample(reference, candidate, everything, everything)
    hashes, first = found if found is not None else (pool.hashes, pool.reference)
    if not 0 < first < len(hashes):
        return []
    labels = np.zeros((len(hashes), 1), dtype=np.float32)
    labels[:first] = 1.0
    return compare_repeats(hashes, labels)


def _pearson(reference: Sketch, candidate: Sketch) -> list[Family]:
    one, two = (_correlation(sketch) for sketch in (reference, candidate))
    upper = np.triu_indices(len(one), 1)
    names = [column.name for column in reference.layout.measured]
    pairs = tuple(f"{names[i]} × {names[j]}" for i, j in zip(*upper, strict=True))
    gap = np.abs(one - two)[upper]
    return [Family("dependence", "pearson", gap[:, None], pairs)] if pairs else []


def _correlation(sketch: Sketch) -> NDArray[np.float64]:
    known = np.maximum(sketch.known, 1.0)
    means = sketch.sums / known
    covariance = sketch.products / known - means * means.T
    variance = np.diag(covariance)
    scale = np.where(variance > 1e-12, 1 / np.sqrt(np.maximum(variance, 1e-12)), 0.0)
    return np.asarray(np.clip(covariance * np.outer(scale, scale), -1.0, 1.0))
