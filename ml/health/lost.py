"""Tell what share of its diversity each column lost, wherever its values have moved to."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ml.health.hashing import MISSING
from ml.health.layout import BINS
from ml.health.sketch import Counter, Sketch

# Bins of equal width that an entropy is taken over: so it hardly changes where values shift.
COARSE = 8
SPANS = ((0.25, 0.75), (0.1, 0.9), (0.025, 0.975))


def lost_diversity(reference: Sketch, candidate: Sketch) -> dict[str, float]:
    """Return, per column, the share lost of its known values' effective number, or of their span.

    The effective number of values is the exponential of their entropy; spans lie between
    quantiles. A column that gained has lost 0, one that is constant now nearly 1.
    """
    first, second = column_entropies(reference), column_entropies(candidate)
    lost = {
        name: float(max(0.0, 1 - np.exp(min(0.0, second[name] - first[name])))) for name in first
    }
    for place, column in enumerate(reference.layout.measured):
        one, two = reference.histograms[place], candidate.histograms[place]
        shares = [lost[column.name]]
        for low, high in SPANS:
            before, after = _span(one, low, high), _span(two, low, high)
            if before > 0:
                shares.append(1 - after / before)
        lost[column.name] = float(max(shares))
    return lost


def column_entropies(sketch: Sketch) -> dict[str, float]:
    """Return, per column, the entropy of its known values in nats: of numbers, of their bins."""
    found = {}
    for place, column in enumerate(sketch.layout.measured):
        found[column.name] = _entropy(_coarse(sketch.histograms[place]))
    for place, column in enumerate(sketch.layout.coded):
        found[column.name] = _entropy(_known(sketch.counters[place]))
    return found


def _coarse(histogram: NDArray[np.int64]) -> NDArray[np.float64]:
    inner = histogram[1 : BINS + 1].reshape(-1, COARSE).sum(axis=1)
    return np.array([histogram[0], *inner, histogram[BINS + 1]], dtype=np.float64)


def _known(counter: Counter) -> NDArray[np.float64]:
    return np.array([n for level, n in counter.items() if level != int(MISSING)], dtype=np.float64)


def _entropy(counts: NDArray[np.float64]) -> float:
    """Return an entropy in nats, its bias in a sample taken off (Miller 1955)."""
    total = counts.sum()
    if total <= 0:
        return 0.0
    shares = counts[counts > 0] / total
    return float(-(shares * np.log(shares)).sum() + (len(shares) - 1) / (2 * total))


def _span(histogram: NDArray[np.int64], low: float, high: float) -> float:
    """Return the distance between two quantiles of the known values, in bins."""
    cumulated = np.cumsum(histogram[: BINS + 2]).astype(np.float64)
    if cumulated[-1] <= 0:
        return 0.0
    first, last = np.searchsorted(cumulated, np.array([low, high]) * cumulated[-1])
    return float(last - first)
