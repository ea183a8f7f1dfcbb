"""Declare by what rule series are judged; every number that decides stands here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """Hold the numbers by which series are judged.

    Metrics: ``minimum_effect`` is the least difference that is told: absolute where greater is
    better and no value passes 1 (accuracy, area under the curve, R²), else relative. A thousandth
    is ten rows of ten thousand; less is what rounding and ties make. ``confidence`` is that of
    the intervals of seed-noisy metrics: at 0.99 one cell in 200 is told a regression by chance
    when an environment changes, if it passes the minimum effect as well.

    Timing and memory, natural logarithms: ``floor`` is the least change that is sought, relative;
    a steady series must show it, one with a spread above two thirds of it is asked for
    ``least_step`` spreads instead, as less would drown. Changes under half of it are never told.
    ``minimum_history`` is the number of runs before the first judgement, ``window`` the number
    of newest runs that make the reference, without the newest ``recent``. ``suspicion`` and
    ``suspicion_better`` are log-likelihood ratios at which a night is suspect: the second is
    higher, as nobody is harmed by hearing of an improvement some nights later. A first night needs
    ``haste`` more and each next one 1 less, for single nights stand out often. ``told`` is the
    log-likelihood ratio at which reruns confirm (Wald: by chance once in exp(told) suspicions at
    most), ``told_alone`` that at which later nights do where no cell was rerun, ``cleared`` that
    at which either clears.
    ``reruns`` is the most reruns of one suspicion; if they do not decide, it is cleared.

    ``holds`` is the number of runs for which an improvement, or a change too small to matter, is
    spoken of. A regression stands until the value returns or the new level is accepted.
    """

    minimum_effect: float = 0.001
    confidence: float = 0.99
    floor: float = 0.05
    least_step: float = 1.5
    minimum_history: int = 20
    window: int = 60
    recent: int = 6
    suspicion: float = 0.3
    suspicion_better: float = 4.0
    haste: float = 1.0
    told: float = 6.4
    told_alone: float = 9.0
    cleared: float = 4.8
    reruns: int = 24
    holds: int = 14
