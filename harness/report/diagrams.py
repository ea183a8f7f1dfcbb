"""Draw rankings: mean ranks with what is not told apart, and speed against scores, as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.report.text import write_seconds
from harness.trends.ranks import Ranking, Standing

WIDTH = 400
LEFT = 10
RIGHT = 390
ROW = 36
HEAD = 40
GROUP = 15
PLOT = (46, 16, 380, 236)
PLOT_HEIGHT = 276


@dataclass(frozen=True)
class RankRow:
    """Hold one line of the diagram: a mean rank as a dot, its interval from ``low`` to ``high``."""

    name: str
    text: str
    y: int
    x: float
    low: float
    high: float


@dataclass(frozen=True)
class GroupBar:
    """Hold a bar that joins those not told apart; only a dot at ``ys`` says who belongs to it."""

    x: int
    top: int
    bottom: int
    ys: tuple[int, ...]
    title: str


@dataclass(frozen=True)
class RankDiagram:
    """Hold the critical-difference diagram, turned: the ranks run across, a row for each.

    ``ticks`` are places and words of the axis. The bars stand to the right of the rows.
    """

    width: int
    height: int
    ticks: tuple[tuple[float, str], ...]
    rows: tuple[RankRow, ...]
    bars: tuple[GroupBar, ...]


@dataclass(frozen=True)
class SpeedPoint:
    """Hold one point of speed against score; ``place`` is its number in the standings, from 1."""

    place: int
    name: str
    x: float
    y: float
    front: bool
    title: str


@dataclass(frozen=True)
class SpeedDiagram:
    """Hold speed against score; ``front`` is the path through those that none dominates."""

    points: tuple[SpeedPoint, ...]
    front: str
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]


def draw_ranks(ranking: Ranking) -> RankDiagram:
    """Draw mean ranks with their intervals and groups; rank 1, the best, stands at the left."""
    standings = ranking.standings
    count = len(standings)
    bars = _place_bars(ranking.groups)
    right = RIGHT - (GROUP * (1 + max(column for column, _ in bars)) + 6 if bars else 0)

    def x(rank: float) -> float:
        return round(LEFT + (right - LEFT) * (rank - 1) / max(count - 1, 1), 1)

    def y(place: int) -> int:
        return HEAD + ROW * place + ROW - 10

    step = math.ceil(count / 8)
    ticks = [*range(1, count + 1, step)]
    return RankDiagram(
        width=WIDTH,
        height=HEAD + ROW * count + 4,
        ticks=tuple((x(rank), str(rank)) for rank in ticks),
        rows=tuple(
            RankRow(
                name=one.name,
                text=f"{one.rank:.2f}, {one.low:.2f} to {one.high:.2f}",
                y=y(place),
                x=x(one.rank),
                low=x(one.low),
                high=x(one.high),
            )
            for place, one in enumerate(standings)
        ),
        bars=tuple(
            GroupBar(
                x=right + 6 + GROUP * (column + 1) - GROUP // 2,
                top=y(group[0]),
                bottom=y(group[-1]),
                ys=tuple(y(place) for place in group),
                title="not told apart: " + ", ".join(standings[place].name for place in group),
            )
            for column, group in bars
        ),
    )


def _place_bars(groups: Sequence[tuple[int, ...]]) -> list[tuple[int, tuple[int, ...]]]:
    """Give each group a column in which no other group covers the same rows."""
    ends: list[int] = []
    placed = []
    for group in sorted(groups):
        column = next((n for n, end in enumerate(ends) if end < group[0]), len(ends))
        ends[column : column + 1] = [group[-1]]
        placed.append((column, group))
    return placed


def draw_speed(standings: Sequence[Standing]) -> SpeedDiagram | None:
    """Draw normalised scores against seconds, on a logarithmic scale; None without two times."""
    timed = [(place, one) for place, one in enumerate(standings, 1) if one.seconds]
    if len(timed) < 2:
        return None
    logs = {place: math.log10(one.seconds or 1) for place, one in timed}
    low, high = min(logs.values()), max(logs.values())
    middle, half = (low + high) / 2, max((high - low) / 2 * 1.12, 0.1)
    low, high = middle - half, middle + half
    left, top, right, bottom = PLOT
    scores = [one.score for _, one in timed]
    floor = max(0.0, math.floor(min(scores) * 10 - 0.2) / 10)
    ceiling = max(floor + 0.2, math.ceil(max(scores) * 10 - 1e-9) / 10)

    def x(log: float) -> float:
        return round(left + (right - left) * (log - low) / (high - low), 1)

    def y(score: float) -> float:
        return round(bottom - (bottom - top) * (score - floor) / (ceiling - floor), 1)

    points = tuple(
        SpeedPoint(
            place=place,
            name=one.name,
            x=x(logs[place]),
            y=y(one.score),
            front=one.front,
            title=f"{one.name}: score {one.score:.3f}, fit {write_seconds(one.seconds)}"
            + (", on the front" if one.front else ""),
        )
        for place, one in timed
    )
    tenths = range(round(floor * 10), round(ceiling * 10) + 1)
    steps = [n / 10 for n in tenths[:: math.ceil(len(tenths) / 6)]]
    front = sorted((p for p in points if p.front), key=lambda p: (p.x, -p.y))
    path = "".join(
        f"M{p.x:g} {p.y:g}" if number == 0 else f"H{p.x:g}V{p.y:g}"
        for number, p in enumerate(front)
    )
    return SpeedDiagram(
        points=points,
        front=path,
        x_ticks=tuple((x(log), write_seconds(10**log)) for log in _choose_decades(low, high)),
        y_ticks=tuple((y(score), f"{score:g}") for score in steps),
    )


def _choose_decades(low: float, high: float) -> list[float]:
    """Return the logarithms of round numbers between two logarithms, five at most."""
    for steps in ((1,), (1, 3), (1, 2, 5)):
        found = [
            decade + math.log10(step)
            for decade in range(math.floor(low), math.ceil(high) + 1)
            for step in steps
            if low <= decade + math.log10(step) <= high
        ]
        if len(found) >= 3:
            return found[:: math.ceil(len(found) / 5)]
    return found if len(found) > 1 else [low, (low + high) / 2, high]
