"""Define a trend: what a series' newest values mean, since when, and on what evidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.trends.blame import Blame

State = Literal["unchanged", "improved", "regressed", "suspect"]


@dataclass(frozen=True)
class Segment:
    """Hold a stretch of a series on one level; ``first`` and ``last`` are places of its points.

    ``low`` and ``high`` are the band in which a single value of that level is expected. Level
    and band are in the series' own units.
    """

    first: int
    last: int
    level: float
    low: float
    high: float


@dataclass(frozen=True)
class Since:
    """Hold between which two runs, and so which commits, a change came."""

    run_before: str
    run_after: str
    commit_before: str | None
    commit_after: str | None


@dataclass(frozen=True)
class Confirmation:
    """Hold the reruns of one suspect cell, made right after the run, on the same code.

    ``values`` are those of the measure, in the order of the reruns, and ``calibrations`` the
    seconds of the calibration kernel beside each, empty where none was measured. ``old`` and
    ``old_calibrations`` are the same of the old side, if it was rerun too: they then are what
    the new side is compared with, in place of the series' past.
    """

    run: str
    cell: str
    measure: str
    values: tuple[float, ...]
    calibrations: tuple[float, ...] = ()
    old: tuple[float, ...] = ()
    old_calibrations: tuple[float, ...] = ()


@dataclass(frozen=True)
class Trend:
    """Hold the judgement of one series.

    ``effect`` is the size of the change, relative to the level before, positive where the
    value grew, and ``interval`` its confidence interval; both None where nothing changed. An
    exact series' interval has no width; a level of zero before leaves both None.
    ``changed`` says that the newest value is another, however little; an exact series may be
    changed and ``unchanged`` in its state, as too little to matter. ``evidence`` says in words,
    with numbers, what was seen and how it was judged. ``segments`` cover the series. ``blame`` has
    what else changed between the runs of ``since``, None where that was not looked up.
    """

    cell: str
    measure: str
    state: State
    changed: bool
    since: Since | None
    effect: float | None
    interval: tuple[float, float] | None
    evidence: str
    segments: tuple[Segment, ...]
    blame: Blame | None = None
