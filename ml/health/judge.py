"""Come from statistics to effects, scores and a verdict."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ml.health.families import DIMENSIONS, Family, Judged, Values
from ml.health.report import Dimension, DimensionName, Finding
from ml.health.tested import Tested

WORST = 5
# A loss below this is a difference, and no collapse.
LEAST_LOSS = 0.1
LEAST_REPEATED = 0.05
# What must be visible, or a table is too small to be called healthy.
SEVERE_SHIFT = 0.6
SEVERE_SHARE = 0.25
POWER_80 = 0.84


Unit = Literal["standard deviations", "share of rows"]
Detectable = tuple[float, Unit]


def _largest(values: Values) -> NDArray[np.float64]:
    return np.asarray(np.abs(values).max(axis=0))


def _lost(values: Values) -> NDArray[np.float64]:
    """Return the share lost where values are differences of logarithms; a gain is no loss."""
    return np.asarray(1 - np.exp(-np.maximum(values, 0.0).max(axis=0)))


def _changed(values: Values) -> NDArray[np.float64]:
    return np.asarray(1 - np.exp(-np.abs(values).max(axis=0)))


# Each dimension's effect: the families it is the largest of, and how these come to its unit.
# distribution: W1 in standard deviations; composition: total variation; diversity: share of the
# effective number of values, or of the standard deviation, lost; dependence: difference of
# normal-score correlations; information: of mutual information in nats; spectrum: share of the
# effective rank that changed; coverage: neighbours of one's own side beyond chance; uniqueness:
# share of rows repeated or copied beyond the reference's.
EFFECTS: dict[DimensionName, dict[str, Callable[[Values], NDArray[np.float64]]]] = {
    "distribution": {"w1": _largest},
    "composition": {"tv": _largest, "words": _largest},
    "diversity": {"entropy": _lost, "spread": _lost},
    "dependence": {"correlation": _largest},
    "information": {"mutual": _largest},
    "spectrum": {"rank": _changed},
    "coverage": {"mixing": _largest},
    "uniqueness": {"duplicates": _largest, "copies": _largest},
}
# Effects beyond the null at which a score is 0: about what severe damage does, and not to change.
ANCHORS: dict[DimensionName, float] = {
    "distribution": 0.4,
    "composition": 0.5,
    "diversity": 0.5,
    "dependence": 0.5,
    "information": 0.4,
    "spectrum": 0.2,
    "coverage": 0.2,
    "uniqueness": 0.3,
}


@dataclass(frozen=True)
class Effects:
    """Hold what was measured: each dimension's effect and null, and one number a statistic."""

    dimensions: dict[DimensionName, tuple[float, float]]
    statistics: dict[str, float]


def measure_effects(tested: Tested, whole: list[Family]) -> Effects:
    """Return effects of the whole tables where these were measured, of the sample elsewhere.

    What a statistic is by chance alone, its median over the permutations, is taken off
    ``coverage`` and ``uniqueness``, which are not 0 between equals.
    """
    entire = {(family.dimension, family.name): family for family in whole}
    sample = {(family.dimension, family.name): family for family in tested.families}
    dimensions: dict[DimensionName, tuple[float, float]] = {}
    for dimension in DIMENSIONS:
        found, nulls = [0.0], [0.0]
        for name, unit in EFFECTS[dimension].items():
            family = sample.get((dimension, name))
            if family is None:
                continue
            null = unit(family.values)
            chance = float(np.median(null)) if dimension in ("coverage", "uniqueness") else 0.0
            of_whole = entire.get((dimension, name))
            effect = float(null[0] if of_whole is None else unit(of_whole.values)[0])
            found.append(max(0.0, effect - chance))
            nulls.append(max(0.0, float(np.quantile(null[1:], 0.95)) - chance))
        dimensions[dimension] = (_finite(max(found)), _finite(max(nulls)))
    statistics = {}
    for key, family in (sample | entire).items():
        values = family.values[:, 0]
        statistics[".".join(key)] = _finite(float(values[np.argmax(np.abs(values))]))
    for dimension, (effect, _) in dimensions.items():
        statistics[dimension] = effect
    return Effects(dimensions, dict(sorted(statistics.items())))


def _finite(value: float) -> float:
    return value if math.isfinite(value) else 0.0


def judge_dimensions(
    judged: Judged, effects: Effects, tested: Tested, whole: list[Family], alpha: float
) -> tuple[Dimension, ...]:
    """Return every dimension that could be judged, or for which a statistic was no number.

    What is not significant costs no score: an effect of the whole tables may lie beyond the
    null of the sample by a few rare rows.
    """
    broken = {text.split(":")[0] for text in judged.broken}
    found = []
    for name in DIMENSIONS:
        if name not in judged.dimensions and name not in broken:
            continue
        effect, null = effects.dimensions[name]
        p = None if name in broken else judged.dimensions[name]
        counts = p is None or p <= alpha
        beyond = max(0.0, effect - null) / ANCHORS[name] if counts else 0.0
        found.append(
            Dimension(
                name=name,
                effect=effect,
                null=null,
                p=p,
                score=round(100 * (1 - min(1.0, beyond)), 1),
                worst=_worst(name, judged, tested, whole),
            )
        )
    return tuple(found)


def _worst(
    dimension: DimensionName, judged: Judged, tested: Tested, whole: list[Family]
) -> tuple[Finding, ...]:
    entire = {(family.dimension, family.name): family for family in whole}
    best: dict[str, Finding] = {}
    for family in tested.families:
        key = family.dimension, family.name
        if family.dimension != dimension or key not in judged.standings:
            continue
        standing = judged.standings[key]
        standing = np.abs(standing) if family.signed else standing
        for place in np.argsort(-standing, kind="stable")[: 2 * WORST]:
            column, far = family.columns[place], float(standing[place])
            if not math.isfinite(far) or far <= 0:
                continue
            if column in best and best[column].standing >= far:
                continue
            values = _of_column(entire.get(key), column)
            effect = float(family.values[place, 0]) if values is None else values
            best[column] = Finding(
                column=column, statistic=family.name, effect=_finite(effect), standing=far
            )
    ranked = sorted(best.values(), key=lambda finding: (-finding.standing, finding.column))
    return tuple(ranked[:WORST])


def _of_column(family: Family | None, column: str) -> float | None:
    if family is None:
        return None
    values = [
        float(value)
        for name, value in zip(family.columns, family.values[:, 0], strict=True)
        if name == column
    ]
    return max(values, key=abs) if values else None


def find_losses(
    dimensions: tuple[Dimension, ...], effects: Effects, lost: dict[str, float], alpha: float
) -> tuple[str, ...]:
    """Return the dimensions in which the candidate significantly has less than the reference.

    ``lost`` has the share of its diversity that each column lost; only those count that stand
    out in that dimension.
    """
    significant = {
        each.name: each.worst for each in dimensions if each.p is not None and each.p <= alpha
    }
    statistics = effects.statistics
    worst = [finding.column for finding in significant.get("diversity", ())]
    losses = []
    if max((lost.get(column, 0.0) for column in worst), default=0.0) >= LEAST_LOSS:
        losses.append("diversity")
    rank_lost = 1 - math.exp(-max(0.0, statistics.get("spectrum.rank_loss", 0.0)))
    if "spectrum" in significant and rank_lost >= LEAST_LOSS:
        losses.append("spectrum")
    if "coverage" in significant and statistics.get("coverage.density", 0.0) >= LEAST_LOSS:
        losses.append("coverage")
    repeated = statistics.get("uniqueness.duplicates", 0.0)
    if "uniqueness" in significant and repeated >= LEAST_REPEATED:
        losses.append("uniqueness")
    return tuple(losses)


def find_detectable(tested: Tested, alpha: float) -> Detectable | None:
    """Return the least change of one column that is seen in 4 of 5 cases, and its unit.

    It is the smallest at which one statistic of a typical column, alone, is significant: by what
    the permutations themselves spread, and so larger where rows come in groups.
    """
    units: tuple[tuple[str, Unit], ...] = (
        ("mean", "standard deviations"),
        ("tv", "share of rows"),
    )
    for name, unit in units:
        dimension: DimensionName = "distribution" if name == "mean" else "composition"
        family = next(
            (f for f in tested.families if (f.dimension, f.name) == (dimension, name)), None
        )
        if family is None or (dimension, name) not in tested.judged.scales:
            continue
        critical = tested.judged.critical(dimension, name, alpha)
        values = family.values[np.isfinite(family.values).all(axis=1)]
        spread = values.std(axis=1)
        varied = spread > 1e-9
        if not varied.any():
            continue
        # An absolute value spreads less than what it is of.
        power = POWER_80 * np.sqrt(
            (values[varied] ** 2).mean(axis=1) if name == "mean" else spread[varied] ** 2
        )
        needed = values[varied].mean(axis=1) + critical * spread[varied] + power
        return float(np.median(needed)), unit
    return None


def is_visible(detectable: Detectable | None) -> bool:
    """Tell whether a severe change would probably be seen."""
    if detectable is None:
        return False
    value, unit = detectable
    return value <= (SEVERE_SHIFT if unit == "standard deviations" else SEVERE_SHARE)
