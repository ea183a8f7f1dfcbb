"""Draw each column of two tables side by side, and how their correlations differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

from harness.report.text import NOTHING, count, write_number
from ml.health.drawn import Bar, Correlations, Distribution

WIDTH, HEIGHT = 240, 84
# The space that parts the bars of values beyond the bins from the others.
GAP = 6
STEPS = 4
# Differences of correlations from which on a square has the next colour.
BOUNDS = (0.05, 0.15, 0.3, 0.5)
PAIRS = 6


@dataclass(frozen=True)
class Level:
    """Hold a category; ``before`` and ``after`` are lengths of bars, 100 for the longest."""

    name: str
    before: float
    after: float
    text: str
    state: str


@dataclass(frozen=True)
class ColumnFigure:
    """Hold one column's small figure: a histogram of paths and its ends, or levels."""

    name: str
    kind: str
    distance: str
    dimensions: tuple[str, ...]
    title: str
    facts: tuple[tuple[str, str, bool], ...]
    before: str
    after: str
    ends: tuple[str, str]
    levels: tuple[Level, ...]


@dataclass(frozen=True)
class Difference:
    """Hold a square: the difference in words, its colour from -STEPS to STEPS, and both values."""

    text: str
    step: int
    title: str


@dataclass(frozen=True)
class CorrelationGrid:
    """Hold the lower triangle of the differences, and the pairs that changed most."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Difference, ...], ...]
    pairs: tuple[tuple[str, str, str, str, str], ...]


def draw_column(one: Distribution) -> ColumnFigure:
    """Return the figure of a column: bars of the reference, an outline of the candidate."""
    is_ordered = one.kind in ("numeric", "datetime", "text")
    before, after = _draw_histogram(one.bars) if is_ordered else ("", "")
    facts = []
    if is_ordered:
        old, new = (_write_value(value, one.kind) for value in one.medians)
        facts.append(("median", *_write_change(old, new)))
    if any(one.missing):
        facts.append(("missing", *_write_change(*(write_share(share) for share in one.missing))))
    distance = write_share(one.distance)
    told = "; ".join(f"{name} {text}" for name, text, _ in facts)
    return ColumnFigure(
        name=one.column,
        kind="length of text" if one.kind == "text" else one.kind,
        distance=distance,
        dimensions=tuple(one.dimensions),
        title=f"{one.column}: {distance} of the rows lie elsewhere{'; ' if told else ''}{told}",
        facts=tuple(facts),
        before=before,
        after=after,
        ends=_write_ends(one) if is_ordered else ("", ""),
        levels=() if is_ordered else _draw_levels(one.bars),
    )


def _draw_histogram(bars: Sequence[Bar]) -> tuple[str, str]:
    if not bars:
        return "", ""
    peak = max(max(bar.shares) for bar in bars) or 1.0
    gaps = [_is_outer(one) or _is_outer(two) for one, two in pairwise(bars)]
    width = (WIDTH - GAP * sum(gaps)) / len(bars)
    parts, steps = [], []
    x = 0.0
    for place, bar in enumerate(bars):
        apart = place == 0 or gaps[place - 1]
        x += GAP if place and gaps[place - 1] else 0
        old, new = (round(HEIGHT - HEIGHT * share / peak, 1) for share in bar.shares)
        left, right = round(x, 1), round(x + width, 1)
        if old < HEIGHT:
            parts.append(f"M{left:g} {HEIGHT}V{old:g}H{right:g}V{HEIGHT}Z")
        steps.append(f"{f'M{left:g} {HEIGHT}' if apart else ''}V{new:g}H{right:g}")
        if place == len(bars) - 1 or gaps[place]:
            steps.append(f"V{HEIGHT}")
        x += width
    return "".join(parts), "".join(steps)


def _is_outer(bar: Bar) -> bool:
    return (bar.low is None) != (bar.high is None)


def _write_ends(one: Distribution) -> tuple[str, str]:
    if not one.bars:
        return "", ""
    first, last = one.bars[0], one.bars[-1]
    low = f"< {_write_value(first.high, one.kind)}" if first.low is None else ""
    high = f"≥ {_write_value(last.low, one.kind)}" if last.high is None else ""
    return (
        low or first.label or _write_value(first.low, one.kind),
        high or last.label or _write_value(last.high, one.kind),
    )


def _write_value(value: float | None, kind: str) -> str:
    if value is None:
        return NOTHING
    if kind == "datetime":
        try:
            return f"{datetime.fromtimestamp(value, UTC):%Y-%m-%d}"
        except (ValueError, OverflowError, OSError):
            return f"{value:.6g} s"
    sign = "−" if value < 0 else ""
    # A year, and a count, is not written in thousands.
    size = abs(value)
    return sign + (f"{size:.4g}" if 1 <= size < 10_000 else write_number(size))


def _write_change(old: str, new: str) -> tuple[str, bool]:
    return (old, False) if old == new else (f"{old} → {new}", True)


def write_share(share: float) -> str:
    """Return a share in percent, to two digits where it is small."""
    if not share:
        return "0 %"
    if share < 0.001:
        return "< 0.1 %"
    return f"{share * 100:.1f} %" if share < 0.1 else f"{share * 100:.0f} %"


def _draw_levels(bars: Sequence[Bar]) -> tuple[Level, ...]:
    peak = max((max(bar.shares) for bar in bars), default=0.0) or 1.0
    levels = []
    for bar in bars:
        before, after = bar.shares
        state = "lost" if before and not after else "new" if after and not before else ""
        old, new = (write_share(share) if share else "none" for share in bar.shares)
        levels.append(
            Level(
                name=count(bar.levels, "other") if bar.levels else bar.label or "",
                before=round(100 * before / peak, 1),
                after=round(100 * after / peak, 1),
                text=_write_change(old, new)[0],
                state=state,
            )
        )
    return tuple(levels)


def draw_correlations(found: Correlations) -> CorrelationGrid:
    """Return the differences of correlations below the diagonal, a row a column."""
    rows = []
    pairs = []
    for at, name in enumerate(found.columns):
        squares = []
        for place in range(at):
            old, new = found.reference[at][place], found.candidate[at][place]
            assert old is not None
            assert new is not None
            other = found.columns[place]
            squares.append(_square(f"{other} × {name}", old, new))
            pairs.append((abs(new - old), other, name, old, new))
        rows.append(tuple(squares))
    pairs.sort(key=lambda pair: (-pair[0], pair[1], pair[2]))
    return CorrelationGrid(
        columns=found.columns,
        rows=tuple(rows),
        pairs=tuple(
            (one, other, _signed(old), _signed(new), _signed(new - old))
            for size, one, other, old, new in pairs[:PAIRS]
            if size >= BOUNDS[0]
        ),
    )


def _square(name: str, old: float, new: float) -> Difference:
    change = new - old
    step = sum(abs(change) >= bound for bound in BOUNDS)
    return Difference(
        text=_signed(change) if step >= 2 else "",
        step=step if change > 0 else -step,
        title=f"{name}: {_signed(old)} before, {_signed(new)} now",
    )


def _signed(value: float) -> str:
    text = f"{abs(value):.2f}"
    return text if text == "0.00" else f"{'−' if value < 0 else '+'}{text}"
