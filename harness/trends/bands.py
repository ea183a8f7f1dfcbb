"""Learn bands from history, propose them beside the accepted ones, and say what would change."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass

from harness.store.baselines import Band, Bands
from harness.store.series import Point, Series
from harness.trends.exact import is_bounded
from harness.trends.judge import judge_series
from harness.trends.rule import Rule
from harness.trends.steps import measured_alike
from harness.trends.trend import Confirmation
from harness.trends.watch import condense


@dataclass(frozen=True)
class BandRule:
    """Hold how wide bands are.

    A band is a gate of single runs and has no reruns to ask, so it is wide: ``spreads`` robust
    spreads to either side, and at least a floor: relative for timing and memory; for metrics
    absolute where greater is better and no value passes 1, else relative. A metric's spread is
    its replicates' standard error, as its runs repeat themselves. ``minimum_runs`` of the newest
    level are needed for timing and memory, one for a metric. Numbers are rounded to ``digits``.
    """

    spreads: float = 5.0
    floor: float = 0.15
    metric_floor: float = 0.01
    minimum_runs: int = 5
    digits: int = 4


def learn_band(
    series: Series,
    rule: BandRule | None = None,
    judging: Rule | None = None,
    confirmations: Iterable[Confirmation] = (),
) -> Band | None:
    """Return the band of a series' newest level; None while it is suspect or too young."""
    rule = rule or BandRule()
    if not series.points:
        return None
    trend = judge_series(series, judging, tuple(confirmations))
    if trend.state == "suspect":
        return None
    newest, last = series.points[-1], trend.segments[-1]
    # Machines that take turns cut a level into many segments, of the same level and band.
    points = [
        point
        for segment in trend.segments
        if (segment.level, segment.low, segment.high) == (last.level, last.low, last.high)
        for point in series.points[segment.first : segment.last + 1]
        if measured_alike(point) == measured_alike(newest)
    ]
    if series.kind == "metric":
        level, low, high = _around_metric(series, newest, rule)
    elif len(points) < rule.minimum_runs:
        return None
    else:
        units = [math.log(max(p.value, 1e-12) / (p.calibration or 1.0)) for p in points]
        found = condense(sorted(units), judging or Rule())
        width = max(math.log1p(rule.floor), rule.spreads * found.spread)
        level = math.exp(found.level)
        low, high = level * math.exp(-width), level * math.exp(width)
    return Band(
        level=_round(level, rule.digits),
        low=_round(low, rule.digits),
        high=_round(high, rule.digits),
        runs=len(points),
        since=points[0].run,
        environment=newest.environment,
        entry=newest.entry,
        calibrated=series.kind != "metric" and newest.calibration is not None,
    )


def _around_metric(series: Series, point: Point, rule: BandRule) -> tuple[float, float, float]:
    width = rule.metric_floor * (1.0 if is_bounded(series) else abs(point.value))
    if len(point.replicates) > 1:
        error = statistics.stdev(point.replicates) / math.sqrt(len(point.replicates))
        width = max(width, rule.spreads * error)
    return point.value, point.value - width, point.value + width


def _round(value: float, digits: int) -> float:
    return float(f"{value:.{digits}g}")


def propose(
    series: Iterable[Series],
    old: Bands,
    rule: BandRule | None = None,
    judging: Rule | None = None,
    confirmations: Iterable[Confirmation] = (),
) -> dict[tuple[str, str], Band]:
    """Return the accepted bands, with those that these series outgrew replaced by learned ones.

    A band stays as it is while its environment does and the learned level lies within the middle
    half of it: a file that changes every night is not reviewed. Bands of other series, and of those
    that are suspect or too young, are kept.
    """
    proposed = dict(old)
    reruns = tuple(confirmations)
    for each in series:
        learned = learn_band(each, rule, judging, reruns)
        if learned is None:
            continue
        accepted = old.get((each.cell, each.measure))
        if accepted is None or not _holds(accepted, learned):
            proposed[each.cell, each.measure] = learned
    return dict(sorted(proposed.items()))


def _holds(accepted: Band, learned: Band) -> bool:
    alike = [(band.environment, band.entry, band.calibrated) for band in (accepted, learned)]
    if alike[0] != alike[1]:
        return False
    low = (accepted.low + accepted.level) / 2
    high = (accepted.high + accepted.level) / 2
    return low <= learned.level <= high


def describe_proposal(old: Bands, new: Bands) -> list[str]:
    """Return what a proposal would change, one line a band: + new, - gone, ~ another."""
    lines = []
    for cell, measure in sorted({*old, *new}):
        before, after = old.get((cell, measure)), new.get((cell, measure))
        if before == after:
            continue
        if before is None and after is not None:
            lines.append(f"+ {cell} {measure}: {_describe(after)}")
        elif after is None and before is not None:
            lines.append(f"- {cell} {measure}: {_describe(before)}")
        elif before is not None and after is not None:
            text = f"~ {cell} {measure}: {_describe(before)} → {_describe(after)}"
            if before.level and before.calibrated == after.calibrated:
                text += f", level {(after.level - before.level) / abs(before.level):+.1%}"
            if before.entry != after.entry:
                text += ", another request"
            if before.environment != after.environment:
                text += f", another environment ({before.environment} → {after.environment})"
            lines.append(text)
    return lines


def _describe(band: Band) -> str:
    unit = " × calibration" if band.calibrated else ""
    runs = "1 run" if band.runs == 1 else f"{band.runs} runs"
    return f"{band.level:g} [{band.low:g}, {band.high:g}]{unit} ({runs} since {band.since})"
