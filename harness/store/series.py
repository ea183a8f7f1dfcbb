"""Define a series: a cell's measure over runs, and what a trend must know of each value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# How a series is judged: to the digit, by intervals from replicates, or after calibration.
Kind = Literal["metric", "timing", "memory"]


@dataclass(frozen=True)
class Point:
    """Hold one run's value of a measure, and the circumstances under which it was measured.

    ``value`` is the mean over ``replicates``, whose splits are named by ``splits`` in the same
    order; a measure without replicates has none. ``environment`` is a short hash of hardware,
    platform, threads and package versions, ``data`` that of the table's content, ``entry`` that
    of the request (the catalog's entry, its budget and its replicates). ``calibration`` is the
    seconds that the calibration kernel took beside the cell, None where it was not measured.
    """

    run: str
    started: str
    commit: str | None
    dirty: bool
    environment: str
    data: str
    entry: str
    value: float
    replicates: tuple[float, ...] = ()
    splits: tuple[str, ...] = ()
    calibration: float | None = None


@dataclass(frozen=True)
class Series:
    """Hold a cell's measure over runs, oldest first; runs without a value have no point."""

    cell: str
    measure: str
    kind: Kind
    greater_is_better: bool
    points: tuple[Point, ...]
