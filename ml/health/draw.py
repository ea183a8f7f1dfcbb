"""Compute what a page draws of two tables from their sketches: distributions, correlations."""

from __future__ import annotations

from math import ceil, log10

import numpy as np
from numpy.typing import NDArray

from ml.health.drawn import Bar, Correlations, Distribution, Drawing, Sides
from ml.health.encoded import RARE, Scores, score_rows
from ml.health.hashing import MISSING
from ml.health.judge import ANCHORS
from ml.health.layout import BINS, ColumnLayout, Layout
from ml.health.narrow import narrow
from ml.health.pool import pool_rows, sampled_rows
from ml.health.report import DimensionName, HealthReport
from ml.health.sketch import RESERVOIR, Sketch

# A number's bars; one with fewer values than this has a bar a value.
BARS = 32
VALUES = 24
# The most frequent categories that have a bar, and further ones that changed most.
FREQUENT = 6
CHANGED = 2
DRAWN = 24
CORRELATED = 14


def draw_tables(reference: Sketch, candidate: Sketch, report: HealthReport) -> Drawing:
    """Return what is drawn of the columns that both tables have; at most DRAWN of these."""
    changed = {difference.column for difference in report.schema_differences}
    kept = tuple(column for column in reference.layout.columns if column.name not in changed)
    shared = Layout(columns=kept, group=reference.layout.group)
    first, second = narrow(reference, shared).settle(), narrow(candidate, shared).settle()
    found = [
        *(_draw_numbers(column, first, second) for column in shared.measured),
        *(_draw_categories(column, first, second) for column in shared.coded),
    ]
    standings, named = _stand_out(report)
    ranked = sorted(
        found, key=lambda one: (-standings.get(one.column, 0.0), -one.distance, one.column)
    )
    return Drawing(
        columns=len(kept),
        distributions=tuple(
            one.model_copy(update={"dimensions": tuple(named.get(one.column, ()))})
            for one in ranked[:DRAWN]
        ),
        correlations=_correlate(first, second, report),
        floors={each.name: each.null + ANCHORS[each.name] for each in report.dimensions},
    )


def _stand_out(
    report: HealthReport,
) -> tuple[dict[str, float], dict[str, list[DimensionName]]]:
    """Return how far each column stands out in a significant dimension, and in which ones."""
    standings: dict[str, float] = {}
    named: dict[str, list[DimensionName]] = {}
    if report.verdict not in ("differs", "collapsed"):
        return standings, named
    for each in report.dimensions:
        if each.p is None or each.p > report.alpha:
            continue
        for finding in each.outstanding:
            standings[finding.column] = max(standings.get(finding.column, 0.0), finding.standing)
            named.setdefault(finding.column, []).append(each.name)
    return standings, named


def _draw_numbers(column: ColumnLayout, first: Sketch, second: Sketch) -> Distribution:
    place = first.layout.measured.index(column)
    counts = np.stack([sketch.histograms[place] for sketch in (first, second)])
    shares = counts / np.array([[max(1, first.rows)], [max(1, second.rows)]])
    width = (column.high - column.low) / BINS
    inner = shares[:, 1 : BINS + 1]
    used = np.flatnonzero(inner.any(axis=0))
    bars = [_bar(shares[:, 0], high=column.low)] if shares[:, 0].any() else []
    if len(used) <= VALUES:
        bars += [_value(inner[:, bin_], column, int(bin_), width) for bin_ in used]
    else:
        span = BINS // BARS
        bars += [
            _bar(
                inner[:, start : start + span].sum(axis=1),
                low=column.low + start * width,
                high=column.low + (start + span) * width,
            )
            for start in range(0, BINS, span)
        ]
    if shares[:, BINS + 1].any():
        bars.append(_bar(shares[:, BINS + 1], low=column.high))
    return Distribution(
        column=column.name,
        kind=column.kind,
        bars=tuple(bars),
        missing=_sides(shares[:, BINS + 2]),
        medians=(_median(counts[0], column, width), _median(counts[1], column, width)),
        distance=_distance(bars, shares[:, BINS + 2]),
    )


def _value(shares: NDArray[np.float64], column: ColumnLayout, bin_: int, width: float) -> Bar:
    """Return the bar of a bin so narrow that it holds one value, told as exactly as it is known."""
    middle = column.low + (bin_ + 0.5) * width
    if column.kind == "datetime":
        return _bar(shares, low=middle, high=middle)
    return _bar(shares, low=middle, high=middle, label=f"{_settle(middle, width):.12g}")


def _settle(value: float, width: float) -> float:
    """Return the number of fewest digits that lies within a bin's width of a value."""
    for digits in range(-ceil(log10(max(abs(value), width))), 15):
        rounded = round(value, digits)
        if abs(rounded - value) <= width:
            return rounded + 0.0
    return value


def _median(counts: NDArray[np.int64], column: ColumnLayout, width: float) -> float | None:
    known = np.cumsum(counts[: BINS + 2])
    if not known[-1]:
        return None
    place = int(np.searchsorted(known, known[-1] / 2))
    if place in (0, BINS + 1):
        return column.low if place == 0 else column.high
    before = known[place - 1]
    within = (known[-1] / 2 - before) / (known[place] - before)
    return _settle(float(column.low + (place - 1 + within) * width), width)


def _draw_categories(column: ColumnLayout, first: Sketch, second: Sketch) -> Distribution:
    place = first.layout.coded.index(column)
    one, two = first.counters[place], second.counters[place]
    rows = max(1, first.rows), max(1, second.rows)
    gap = int(MISSING)
    levels = sorted((one.keys() | two.keys()) - {gap})
    shares = {
        level: np.array([one.get(level, 0) / rows[0], two.get(level, 0) / rows[1]])
        for level in levels
    }
    frequent = sorted(levels, key=lambda level: (-shares[level].sum(), level))
    chosen = frequent[:FREQUENT]
    rest = frequent[FREQUENT:]
    most = sorted(rest, key=lambda level: (-abs(shares[level][0] - shares[level][1]), level))
    chosen += most[: CHANGED if len(rest) > CHANGED else len(rest)]
    chosen.sort(key=lambda level: (-shares[level][0], -shares[level][1], level))
    texts = {
        code: text
        for sketch in (second, first)
        for text, code in sketch.labels.get(column.name, {}).items()
    }
    bars = [_bar(shares[level], label=texts.get(level, "?")) for level in chosen]
    left = [level for level in levels if level not in set(chosen)]
    dropped = np.array([first.dropped[place] / rows[0], second.dropped[place] / rows[1]])
    if left or dropped.any():
        others = sum((shares[level] for level in left), dropped)
        bars.append(_bar(others, levels=max(1, len(left))))
    missing = np.array([one.get(gap, 0) / rows[0], two.get(gap, 0) / rows[1]])
    every = [*shares.values(), dropped]
    return Distribution(
        column=column.name,
        kind=column.kind,
        bars=tuple(bars),
        missing=_sides(missing),
        distance=_distance([_bar(each) for each in every], missing),
    )


def _bar(
    shares: NDArray[np.float64],
    *,
    low: float | None = None,
    high: float | None = None,
    label: str | None = None,
    levels: int = 0,
) -> Bar:
    return Bar(shares=_sides(shares), low=low, high=high, label=label, levels=levels)


def _sides(shares: NDArray[np.float64]) -> Sides:
    # Four digits are more than a bar shows, and keep a page small.
    first, second = (round(min(1.0, max(0.0, float(share))), 5) for share in shares)
    return first, second


def _distance(bars: list[Bar], missing: NDArray[np.float64]) -> float:
    apart = sum(abs(bar.shares[0] - bar.shares[1]) for bar in bars)
    return round(min(1.0, (apart + abs(float(missing[0] - missing[1]))) / 2), 5)


def _correlate(first: Sketch, second: Sketch, report: HealthReport) -> Correlations | None:
    if not first.layout.columns:
        return None
    tolerance, seed = report.tolerance, report.seed
    rows = sampled_rows(first, RESERVOIR), sampled_rows(second, RESERVOIR)
    pool = pool_rows(first.layout, *rows, tolerance, seed)
    scores = _without_rare(score_rows(pool))
    names = list(dict.fromkeys(scores.columns))
    if len(names) < 2:
        return None
    sides = [
        _correlations(scores.values[: pool.reference]),
        _correlations(scores.values[pool.reference :]),
    ]
    return _reduce(scores, names, *sides)


def _without_rare(scores: Scores) -> Scores:
    """Leave out scores that are constant but for a few rows, which alone make its correlations."""
    varied = []
    for place, values in enumerate(scores.values.T):
        _, counts = np.unique(values, return_counts=True)
        if counts.max() <= (1 - RARE) * len(values):
            varied.append(place)
    return Scores(scores.values[:, varied], tuple(scores.columns[place] for place in varied))


def _correlations(values: NDArray[np.float32]) -> NDArray[np.float64]:
    centered = values.astype(np.float64) - values.mean(axis=0, dtype=np.float64)
    spread = centered.std(axis=0)
    # What does not vary on a side correlates with nothing there.
    scaled = np.where(spread > 1e-6, centered / np.where(spread > 1e-6, spread, 1.0), 0.0)
    return np.asarray(np.clip(scaled.T @ scaled / max(1, len(values)), -1.0, 1.0))


def _reduce(
    scores: Scores,
    names: list[str],
    first: NDArray[np.float64],
    second: NDArray[np.float64],
) -> Correlations:
    """Keep one value a pair of columns, and the columns of the largest differences."""
    places = {name: [i for i, each in enumerate(scores.columns) if each == name] for name in names}
    values: dict[tuple[str, str], tuple[float, float]] = {}
    for at, one in enumerate(names):
        for other in names[at + 1 :]:
            block = np.ix_(places[one], places[other])
            left, right = first[block], second[block]
            most = np.unravel_index(int(np.abs(left - right).argmax()), left.shape)
            values[one, other] = values[other, one] = (float(left[most]), float(right[most]))
    apart = {
        name: max(abs(a - b) for (one, _), (a, b) in values.items() if one == name)
        for name in names
    }
    kept = sorted(names, key=lambda name: (-apart[name], name))[:CORRELATED]

    def side(which: int) -> tuple[tuple[float | None, ...], ...]:
        return tuple(
            tuple(None if one == other else round(values[one, other][which], 4) for other in kept)
            for one in kept
        )

    return Correlations(columns=tuple(kept), reference=side(0), candidate=side(1))
