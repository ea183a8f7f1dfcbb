"""Draw loss curves: epochs to the coordinates of an SVG path, with the scale in words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from harness.report.text import write_number
from ml.core.contracts import History

WIDTH = 220
HEIGHT = 72
LOGARITHMIC_FROM = 20.0


@dataclass(frozen=True)
class Curve:
    """Hold one replicate's losses as SVG paths in a box of ``WIDTH`` × ``HEIGHT``.

    ``best`` is the x coordinate of the best epoch, None where there is none to mark.
    """

    title: str
    train: str
    validation: str
    best: int | None


@dataclass(frozen=True)
class Curves:
    """Hold a cell's curves, drawn on one scale: losses from ``low`` to ``high``, and epochs."""

    curves: tuple[Curve, ...]
    high: str
    low: str
    logarithmic: bool
    epochs: int


def draw_curves(histories: Sequence[tuple[str, History, int]]) -> Curves | None:
    """Draw one curve per (title, history, best epoch) that has losses; None where none has.

    The best epoch counts from 1, 0 says that there is none. The scale is logarithmic where
    all losses are positive and the largest is more than ``LOGARITHMIC_FROM`` times the
    smallest.
    """
    shown = [entry for entry in histories if entry[1].train or entry[1].validation]
    losses = [loss for _, history, _ in shown for loss in (*history.train, *history.validation)]
    if not losses:
        return None
    high, low = max(losses), min(losses)
    logarithmic = low > 0 and high / low > LOGARITHMIC_FROM
    epochs = max(max(len(h.train), len(h.validation)) for _, h, _ in shown)

    def y(loss: float) -> int:
        if high == low:
            return HEIGHT // 2
        if logarithmic:
            return round(HEIGHT * math.log(high / loss) / math.log(high / low))
        # Halves keep the difference of two huge losses finite.
        return round(HEIGHT * ((high / 2 - loss / 2) / (high / 2 - low / 2)))

    def x(epoch: int) -> int:
        return round(WIDTH * epoch / max(1, epochs - 1))

    def path(values: tuple[float, ...]) -> str:
        return "".join(_steps([(x(epoch), y(loss)) for epoch, loss in enumerate(values)]))

    return Curves(
        curves=tuple(
            Curve(
                title=title,
                train=path(history.train),
                validation=path(history.validation),
                best=x(best - 1) if history.validation and 0 < best <= epochs else None,
            )
            for title, history, best in shown
        ),
        high=write_number(high),
        low=write_number(low),
        logarithmic=logarithmic,
        epochs=epochs,
    )


def _steps(points: list[tuple[int, int]]) -> Iterator[str]:
    # Relative steps with the fewest separators: a page holds hundreds of these paths.
    if not points:
        return
    yield f"M{points[0][0]} {points[0][1]}"
    yield "h0" if len(points) == 1 else "l"
    for number, ((x0, y0), (x1, y1)) in enumerate(pairwise(points)):
        dx, dy = x1 - x0, y1 - y0
        yield f"{' ' if number else ''}{dx}{'' if dy < 0 else ' '}{dy}"
