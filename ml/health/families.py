"""Judge many statistics at once: each beside its own permutations, the largest beside theirs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from ml.health.report import DimensionName

DIMENSIONS: tuple[DimensionName, ...] = get_args(DimensionName)
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Family:
    """Hold one statistic of many columns: float64 [columns, 1 + permutations].

    Greater means more damage; column 0 is the truth. ``signed`` families also count where all
    columns agree in their sign, whichever it is.
    """

    dimension: DimensionName
    name: str
    values: Values
    columns: tuple[str, ...]
    signed: bool = False


@dataclass(frozen=True)
class Judged:
    """Hold the permutation p of every dimension and of all together, and what stood out.

    ``standings`` has, per family, how far each column's statistic lies from its permutations'
    mean, in their standard deviations. ``broken`` names the statistics that are no numbers.
    ``scales`` has, per family, what it takes to invert its way into the overall maximum.
    """

    p: float
    dimensions: dict[DimensionName, float]
    standings: dict[tuple[DimensionName, str], Values]
    broken: tuple[str, ...]
    scales: dict[tuple[DimensionName, str], Values]
    whole: Values

    def critical(self, dimension: DimensionName, name: str, alpha: float) -> float:
        """Return how far a column of a family must stand out to be significant by itself."""
        value = float(np.quantile(self.whole, 1 - alpha))
        for median, length in self.scales[dimension, name]:
            value = value * length + median
        return value


def standardise(values: Values) -> Values:
    """Return each row less its mean in units of its standard deviation; a constant row is 0."""
    centered = values - values.mean(axis=1, keepdims=True)
    spread = centered.std(axis=1, keepdims=True)
    tiny = 1e-9 * np.maximum(np.abs(values).max(axis=1, keepdims=True, initial=0.0), 1e-300)
    return np.where(spread > tiny, centered / np.where(spread > tiny, spread, 1.0), 0.0)


def level(values: Values) -> tuple[Values, float, float]:
    """Return a statistic [permutations] less its median, in units of its upper tail's length.

    So statistics of long and of short tails weigh alike in a maximum. It looks at all
    permutations alike, the truth among them, which keeps a permutation test exact. The median
    and the length come with it.
    """
    median, high = (float(quantile) for quantile in np.quantile(values, [0.5, 0.95]))
    length = high - median
    if length <= 1e-9 * max(abs(high), abs(median), 1e-300):
        length = float(values.std())
    if length <= 0:
        return np.zeros_like(values), median, 0.0
    return (values - median) / length, median, length


def judge_families(families: list[Family]) -> Judged:
    """Take maxima over columns, families and dimensions, and return their permutation p.

    Every step treats all permutations alike (Westfall and Young 1993, single step). A statistic
    that is not a number in any permutation is left out, and named.
    """
    standings: dict[tuple[DimensionName, str], Values] = {}
    broken: list[str] = []
    lines: dict[DimensionName, list[Values]] = {}
    scales: dict[tuple[DimensionName, str], list[float]] = {}
    for family in families:
        key = family.dimension, family.name
        sound: NDArray[np.bool_] = np.asarray(np.isfinite(family.values).all(axis=1))
        if not sound.all():
            broken.append(f"{family.dimension}: {family.name}")
        if not sound.any():
            continue
        scores = standardise(family.values[sound])
        observed = np.full(len(sound), -np.inf)
        observed[sound] = scores[:, 0]
        standings[key] = observed
        largest = (np.abs(scores) if family.signed else scores).max(axis=0)
        leveled, *scales[key] = level(largest)
        several = lines.setdefault(family.dimension, [])
        several.append(leveled)
        if len(scores) > 1:
            total = scores.sum(axis=0)
            several.append(level(np.abs(total) if family.signed else total)[0])
    maxima = {}
    for dimension, several in lines.items():
        maxima[dimension], *of_dimension = level(np.max(several, axis=0))
        for key in scales:
            if key[0] == dimension:
                scales[key] = [*of_dimension, *scales[key]]
    whole = np.max(list(maxima.values()), axis=0) if maxima else np.zeros(1)
    return Judged(
        p=_share(whole),
        dimensions={name: _share(values) for name, values in maxima.items()},
        standings=standings,
        broken=tuple(broken),
        scales={key: np.array(pairs).reshape(2, 2) for key, pairs in scales.items()},
        whole=whole,
    )


def _share(values: Values) -> float:
    # The truth is one of the permutations; equals count against it.
    return float((values >= values[0] - 1e-12).mean())
