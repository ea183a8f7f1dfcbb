"""Judge timing and memory: follow each environment's level, and say what was told and why.

Values are divided by the calibration kernel's seconds where it was measured, and compared as
logarithms. Points of another environment, data, entry, or without the calibration, are another
level: each such group is followed by itself (see :mod:`harness.trends.watch`), and the trend is
that of the newest point's group. As long as that group is too young to be judged, a regression of
the group before it stands.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from harness.store.series import Point, Series
from harness.trends.ledger import Change
from harness.trends.rule import Rule
from harness.trends.trend import Confirmation, Segment, Since, Trend
from harness.trends.watch import TRIMMED_ERROR, Watch, condense

# Memory and seconds are positive; a zero that a clock too coarse gave is taken as this.
LEAST = 1e-12
# Nine in ten single values of a level are expected within its band.
BAND = 1.645


@dataclass
class Group:
    """Hold the points measured alike: their places in the series, and the watch over them."""

    watch: Watch
    places: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)


def measured_alike(point: Point) -> tuple[str, str, str, bool]:
    """Return what two points must share for their values to be compared."""
    return point.environment, point.data, point.entry, point.calibration is not None


def judge_steps(
    series: Series, rule: Rule, confirmations: Sequence[Confirmation], accepted: int
) -> Trend:
    """Judge a timing or memory series of at least one point; ``accepted`` is a place, or -1."""
    sign = -1.0 if series.greater_is_better else 1.0
    reruns = {
        found.run: found
        for found in confirmations
        if found.cell == series.cell and found.measure == series.measure
    }
    groups: dict[tuple[str, str, str, bool], Group] = {}
    for place, point in enumerate(series.points):
        key = measured_alike(point)
        if key not in groups:
            groups[key] = Group(Watch(rule))
        group = groups[key]
        value = _log(point.value, point.calibration)
        group.places.append(place)
        group.values.append(value)
        found = reruns.get(point.run)
        # A rerun with the calibration says nothing of a series without, and the reverse.
        new, old = ([], []) if found is None else _reruns(found, point, sign)
        group.watch.step(place, sign * value, new, old)
        if place == accepted:
            for each in groups.values():
                each.watch.ledger.accept(place)
    # A change that was accepted may have been told later only.
    for each in groups.values():
        each.watch.ledger.accept(accepted)
    newest = groups[measured_alike(series.points[-1])]
    segments = _segments(series, groups, rule)
    trend = _read(series, newest, segments, rule, sign)
    if newest.watch.reference is None and trend.state == "unchanged":
        for group in sorted(groups.values(), key=lambda each: -each.places[-1]):
            before = _read(series, group, segments, rule, sign)
            if group is not newest and before.state == "regressed":
                return replace(
                    before,
                    evidence=f"{trend.evidence}; measured as before, until "
                    f"{series.points[group.places[-1]].run}: {before.evidence}",
                )
    return trend


def _log(value: float, calibration: float | None) -> float:
    return math.log(max(value, LEAST)) - math.log(max(calibration or 1.0, LEAST))


def _reruns(found: Confirmation, point: Point, sign: float) -> tuple[list[float], list[float]]:
    def logs(values: tuple[float, ...], calibrations: tuple[float, ...]) -> list[float]:
        if point.calibration is None:
            return [sign * _log(value, None) for value in values]
        return [
            sign * _log(value, calibration)
            for value, calibration in zip(values, calibrations, strict=False)
        ]

    return (
        logs(found.values, found.calibrations),
        logs(found.old, found.old_calibrations),
    )


def _segments(
    series: Series, groups: dict[tuple[str, str, str, bool], Group], rule: Rule
) -> tuple[Segment, ...]:
    """Cover the series by stretches of one group and one level, each with the level's band."""
    levels: dict[int, tuple[float, float, float]] = {}
    for group in groups.values():
        cuts = {0, *(group.places.index(start) for start in group.watch.starts)}
        for first, last in pairwise([*sorted(cuts), len(group.places)]):
            places = group.places[first:last]
            found = condense(sorted(group.values[first:last]), rule)
            unit = statistics.median([series.points[place].calibration or 1.0 for place in places])
            level, width = unit * math.exp(found.level), math.exp(BAND * found.spread)
            # Points of one level share one object, by which they are known to belong together.
            levels.update(dict.fromkeys(places, (level, level / width, level * width)))
    segments: list[Segment] = []
    first = 0
    for place in range(1, len(levels) + 1):
        if place == len(levels) or levels[place] is not levels[first]:
            segments.append(Segment(first, place - 1, *levels[first]))
            first = place
    return tuple(segments)


def _read(
    series: Series, group: Group, segments: tuple[Segment, ...], rule: Rule, sign: float
) -> Trend:
    watch = group.watch
    trend = Trend(
        cell=series.cell,
        measure=series.measure,
        state="unchanged",
        changed=False,
        since=None,
        effect=None,
        interval=None,
        evidence="",
        segments=segments,
    )
    change = watch.ledger.newest(group.places, rule.holds)
    if watch.suspicion is not None and watch.reference is not None:
        reference, suspicion = watch.reference, watch.suspicion
        nights = [y for place, y in watch.pending if place >= suspicion.first]
        distance = statistics.fmean(nights) - reference.level
        effect = math.expm1(sign * distance)
        error = reference.spread * math.hypot(reference.error, 1 / math.sqrt(len(nights)))
        text = (
            f"{_count(len(nights), 'run')} since {_run(series, suspicion.first)} "
            f"{'worse' if suspicion.worse else 'better'} by {effect:+.1%} than the "
            f"{reference.count} runs before, whose spread is {reference.spread:.1%}; "
            f"log-likelihood ratio {suspicion.ratio:.1f}; not yet confirmed by reruns"
        )
        if change is not None and change.worse:
            told = _tell(trend, series, group, change, rule, sign)
            return replace(told, evidence=f"{told.evidence}; suspect again: {text}")
        return replace(
            trend,
            state="suspect",
            since=_since(series, group, suspicion.first, suspicion.first),
            effect=effect,
            interval=_interval(distance, error, reference.count, sign),
            evidence=text,
        )
    if change is not None:
        return _tell(trend, series, group, change, rule, sign)
    if watch.reference is None:
        known = len(group.places)
        return replace(
            trend,
            evidence=f"{_count(known, 'run')} in this environment, judged from "
            f"{rule.minimum_history + rule.recent + 1} on",
        )
    reference = watch.reference
    text = f"level of {reference.count} runs, spread {reference.spread:.1%}"
    if watch.settled is not None and watch.settled[1].verdict == "cleared":
        place, test = watch.settled
        how = f"{_count(test.used, 'rerun')}" if test.used else "the nights that followed"
        text += (
            f"; {_run(series, place)} was suspect and cleared by {how}, "
            f"log-likelihood ratio {test.ratio:.1f}"
        )
    if watch.ledger.returned is not None:
        gone = watch.ledger.returned
        text += f"; the change of {_run(series, gone.first)} is undone"
    return replace(trend, evidence=text)


def _tell(
    trend: Trend, series: Series, group: Group, change: Change, rule: Rule, sign: float
) -> Trend:
    """Return the trend of a told change, with its size by what is known of the level by now."""
    effect = math.expm1(sign * (change.after - change.before))
    error = math.hypot(change.error, TRIMMED_ERROR * change.spread / math.sqrt(change.count))
    low, high = _interval(change.after - change.before, error, change.count, sign)
    needed = rule.told if change.reruns else rule.told_alone
    by = _count(change.count, "rerun") if change.reruns else "the nights that followed alone"
    return replace(
        trend,
        state="regressed" if change.worse else "improved",
        changed=change.at == group.places[-1],
        since=_since(series, group, change.earliest, change.latest),
        effect=effect,
        interval=(low, high),
        evidence=f"{effect:+.1%} (95 % interval {low:+.1%} to {high:+.1%}) since "
        f"{_run(series, change.first)}, confirmed after {_run(series, change.at)} by {by}, "
        f"log-likelihood ratio {change.ratio:.1f} of {needed} needed; spread "
        f"of single runs {change.spread:.1%}",
    )


def _interval(distance: float, error: float, values: int, sign: float) -> tuple[float, float]:
    """Return the 95 % interval of a relative change, from a difference of logarithms."""
    # Imported late: the module takes a second, and most series have nothing to tell.
    from scipy.special import stdtrit

    half = float(stdtrit(max(values - 1, 1), 0.975)) * error
    low, high = sorted(math.expm1(sign * distance + side * half) for side in (-1, 1))
    return low, high


def _since(series: Series, group: Group, earliest: int, latest: int) -> Since:
    """Name the runs between which a change came: the last surely before, the first surely after."""
    at = group.places.index(earliest)
    before = series.points[group.places[max(at - 1, 0)]]
    after = series.points[latest]
    return Since(before.run, after.run, before.commit, after.commit)


def _run(series: Series, place: int) -> str:
    return series.points[place].run


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
