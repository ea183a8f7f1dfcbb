"""Judge metrics: to the digit where everything is the same, by intervals where it is not.

Between two runs of one environment, data and entry a training repeats itself, so any difference
of any replicate is real. Between runs where one of these differs, the replicates' noise counts:
those of shared splits are compared in pairs (Student 1908, the paired t interval), others by
Welch's interval (Welch 1947), and a change is told when the interval excludes zero and the
difference passes the minimum effect. One replicate has no interval; nothing is told then.
"""

from __future__ import annotations

import math
import statistics
from bisect import bisect_right
from dataclasses import dataclass, replace

from harness.store.series import Point, Series
from harness.trends.ledger import Change, Ledger
from harness.trends.rule import Rule
from harness.trends.trend import Segment, Since, Trend


@dataclass(frozen=True)
class Comparison:
    """Hold how a run differs from the one before: the difference, its interval, and in words."""

    difference: float
    low: float
    high: float
    told: bool
    text: str


def compare_exactly(before: Point, after: Point) -> Comparison | None:
    """Compare two runs in which everything was the same; None where every value is equal."""
    if before.value == after.value and before.replicates == after.replicates:
        return None
    difference = after.value - before.value
    pairs = list(zip(before.replicates, after.replicates, strict=False))
    unequal = [second - first for first, second in pairs if first != second]
    text = f"{before.value:.6g} → {after.value:.6g} in the same environment, data and entry"
    if unequal:
        text += (
            f"; {len(unequal)} of {len(pairs)} replicates differ, "
            f"by {max(map(abs, unequal)):.3g} at most"
        )
    return Comparison(difference, difference, difference, True, text)


def compare_by_interval(before: Point, after: Point, confidence: float) -> Comparison:
    """Compare two runs that differ in environment, data or entry, by their replicates."""
    parts = [
        name
        for name in ("environment", "data", "entry")
        if getattr(before, name) != getattr(after, name)
    ]
    other = f"another {' and '.join(parts)} since {after.run}"
    old = dict(zip(before.splits, before.replicates, strict=False))
    new = dict(zip(after.splits, after.replicates, strict=False))
    shared = [split for split in new if split in old]
    # Another table makes other rows of a split, even where its name is the same.
    if len(shared) > 1 and before.data == after.data:
        differences = [new[split] - old[split] for split in shared]
        difference = statistics.fmean(differences)
        error = statistics.stdev(differences) / math.sqrt(len(differences))
        freedom = float(len(differences) - 1)
        how = f"paired over {len(differences)} shared splits"
    elif len(before.replicates) > 1 and len(after.replicates) > 1:
        difference = after.value - before.value
        errors = [
            statistics.variance(found) / len(found)
            for found in (before.replicates, after.replicates)
        ]
        error = math.sqrt(sum(errors))
        freedom = _welch(errors, before, after)
        how = f"Welch, {len(before.replicates)} and {len(after.replicates)} replicates"
    else:
        difference = after.value - before.value
        text = f"{other}: {difference:+.4g}; a single replicate has no interval, so nothing is told"
        return Comparison(difference, math.nan, math.nan, False, text)
    half = _quantile(freedom, confidence) * error if error > 0.0 else 0.0
    low, high = difference - half, difference + half
    text = (
        f"{other}: {difference:+.4g}, {confidence:.0%} interval {low:+.4g} to {high:+.4g} ({how})"
    )
    return Comparison(difference, low, high, low > 0.0 or high < 0.0, text)


def _welch(errors: list[float], before: Point, after: Point) -> float:
    counts = (len(before.replicates), len(after.replicates))
    parts = sum(error**2 / (count - 1) for error, count in zip(errors, counts, strict=True))
    return sum(errors) ** 2 / parts if parts > 0.0 else float(sum(counts) - 2)


def _quantile(freedom: float, confidence: float) -> float:
    # Imported late: most series are exact and need no quantile.
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + confidence) / 2))


def is_bounded(series: Series) -> bool:
    """Tell whether a metric is a score of at most 1, such as accuracy, of which more is better."""
    return series.greater_is_better and all(point.value <= 1.0 for point in series.points)


def minimum_difference(bounded: bool, rule: Rule, level: float) -> float:
    """Return the least difference from a level that is told, in the series' units."""
    return rule.minimum_effect * (1.0 if bounded else abs(level))


@dataclass
class Level:
    """Hold the newest level: where it began, its value, and how it came about."""

    first: int
    value: float
    found: Comparison | None = None


def judge_metric(series: Series, rule: Rule, accepted: int) -> Trend:
    """Judge a metric's series of at least one point; ``accepted`` is a place, or -1."""
    points, sign = series.points, -1.0 if series.greater_is_better else 1.0
    bounded = is_bounded(series)
    ledger = Ledger(minimum_difference(bounded, rule, points[0].value))
    levels = [Level(0, points[0].value)]
    # What is told is measured from here, so that small steps in one direction add up.
    reference = Level(0, points[0].value)
    told: dict[int, Comparison] = {}
    for place in range(1, len(points)):
        before, point = points[place - 1], points[place]
        exact = (before.environment, before.data, before.entry) == (
            point.environment,
            point.data,
            point.entry,
        )
        found = (
            compare_exactly(before, point)
            if exact
            else compare_by_interval(before, point, rule.confidence)
        )
        if found is None:
            continue
        if not exact and found.difference == 0.0 and before.replicates == point.replicates:
            continue
        levels.append(Level(place, point.value, found))
        difference = point.value - reference.value if exact else found.difference
        least = minimum_difference(bounded, rule, reference.value)
        if found.told and difference != 0.0 and abs(difference) >= least:
            ledger.tolerance = least
            ledger.enter(
                Change(
                    worse=sign * difference > 0.0,
                    before=sign * reference.value,
                    after=sign * point.value,
                    first=place,
                    earliest=_left(levels, reference),
                    latest=place,
                    at=place,
                )
            )
            told[place] = found
            reference = Level(place, point.value)
        elif not exact:
            reference = Level(place, point.value)
        if place <= accepted:
            ledger.accept(place)
    ledger.accept(accepted)
    return _read(series, rule, levels, ledger, told)


def _left(levels: list[Level], reference: Level) -> int:
    """Return the place at which the reference's level was first left."""
    return levels[bisect_right(levels, reference.first, key=lambda level: level.first)].first


def _read(
    series: Series,
    rule: Rule,
    levels: list[Level],
    ledger: Ledger,
    told: dict[int, Comparison],
) -> Trend:
    points, last = series.points, len(series.points) - 1
    bounded = is_bounded(series)
    sign = -1.0 if series.greater_is_better else 1.0
    ends = [level.first - 1 for level in levels[1:]] + [last]
    widths = [minimum_difference(bounded, rule, level.value) for level in levels]
    trend = Trend(
        cell=series.cell,
        measure=series.measure,
        state="unchanged",
        changed=levels[-1].first == last and last > 0 and levels[-1].found is not None,
        since=None,
        effect=None,
        interval=None,
        evidence=f"the same to the digit in {last + 1} {'runs' if last else 'run'}",
        segments=tuple(
            Segment(level.first, end, level.value, level.value - width, level.value + width)
            for level, end, width in zip(levels, ends, widths, strict=True)
        ),
    )
    change = ledger.newest(range(last + 1), rule.holds)
    newest = levels[-1]
    if change is not None:
        before, after = sign * change.before, sign * change.after
        found = told[change.at]
        effect, interval = _effect(before, after, found)
        evidence = (
            f"{'worse' if change.worse else 'better'}: {before:.6g} → {after:.6g} since "
            f"{points[change.first].run}; {found.text}"
        )
        if newest.first != change.at and newest.found is not None:
            evidence += f"; newest level since {points[newest.first].run}: {newest.found.text}"
        return replace(
            trend,
            state="regressed" if change.worse else "improved",
            since=_since(points, change.earliest, change.latest),
            evidence=evidence,
            effect=effect,
            interval=interval,
        )
    if newest.found is None or last - newest.first >= rule.holds:
        if newest.found is not None:
            same = last - newest.first + 1
            return replace(trend, evidence=f"the same to the digit in the newest {same} runs")
        return trend
    found = newest.found
    least = minimum_difference(bounded, rule, points[newest.first - 1].value)
    evidence = found.text
    effect, interval = _effect(points[newest.first - 1].value, newest.value, found)
    if ledger.returned is not None and sign * ledger.returned.before == newest.value:
        evidence += f"; back on the level before {points[ledger.returned.first].run}"
    elif abs(found.difference) < least:
        evidence += f"; less than the minimum effect of {least:.3g}"
    return replace(
        trend,
        since=_since(points, newest.first, newest.first),
        evidence=evidence,
        effect=effect,
        interval=interval,
    )


def _effect(
    before: float, after: float, found: Comparison
) -> tuple[float | None, tuple[float, float] | None]:
    """Return a change relative to the level before, with its interval."""
    if before == 0.0:
        return None, None
    effect = (after - before) / abs(before)
    if math.isnan(found.low):
        return effect, None
    # The interval is that of the last step; what added up before it was exact.
    rest = (after - before) - found.difference
    return effect, ((rest + found.low) / abs(before), (rest + found.high) / abs(before))


def _since(points: tuple[Point, ...], earliest: int, latest: int) -> Since:
    before, after = points[max(earliest - 1, 0)], points[latest]
    return Since(before.run, after.run, before.commit, after.commit)
