"""Say how diverse a candidate is beside its reference: the contract of an analysis."""

from __future__ import annotations

from typing import Literal

from ml.core.specs import Contract, NotNegative
from ml.health.report import Share

SCHEMA_VERSION = 1
Part = Literal["statistical", "structural", "semantic", "rare"]


class Measure(Contract):
    """Hold one measure of both sides, ``reference`` beside ``candidate``, in its ``unit``.

    ``column`` is None where it is of whole rows. ``meaning`` is one sentence for a reader. More
    of it means that a table is more ``diverse``, or more ``repeated``.
    """

    name: str
    part: Part
    column: str | None
    reference: float
    candidate: float
    unit: str
    meaning: str
    more_is: Literal["diverse", "repeated"]


class LostPattern(Contract):
    """Tell a level, or a combination of two columns' levels, that the candidate has lost.

    ``share`` is that of the reference's rows that have it, ``expected`` the number of the
    candidate's rows that would. No row of the candidate has it; ``p`` is the chance of that in a
    draw of the same rows, not corrected for the number of patterns that were looked at.
    """

    columns: tuple[str, ...]
    values: tuple[str, ...]
    share: Share
    expected: NotNegative
    p: Share


class Looked(Contract):
    """Say how many rows a table has, and how many of them were looked at for what is joint."""

    rows: int
    sampled: int


class Diversity(Contract):
    """Hold an analysis of the diversity of a candidate beside its reference.

    ``lost`` are the patterns that the candidate lost, those expected most often first;
    ``lost_patterns`` is how many there are, of which ``lost`` may be the first only. ``reasons``
    say what was not measured, and why.
    """

    schema_version: Literal[1] = 1
    seed: int
    reference: Looked
    candidate: Looked
    measures: tuple[Measure, ...]
    lost: tuple[LostPattern, ...]
    lost_patterns: int
    reasons: tuple[str, ...]
