"""Show how diverse two tables are: measures side by side, and patterns that were lost."""

from __future__ import annotations

from dataclasses import dataclass

from harness.report.healthcolumns import write_share
from harness.report.text import write_number
from ml.health.diversity_report import Diversity, LostPattern, Measure

COLUMNS = 8
PATTERNS = 10
# A change of less than this share of the reference's measure is not marked.
MARKED = 0.1
# Nor is one of a column told that is less than this.
TOLD = 0.05


@dataclass(frozen=True)
class MeasureLine:
    """Hold one measure of both sides; ``worse`` tells that the candidate's is clearly so."""

    name: str
    column: str
    meaning: str
    before: str
    after: str
    worse: bool


@dataclass(frozen=True)
class PatternLine:
    """Hold a level, or two columns' levels, that is no more."""

    values: tuple[tuple[str, str], ...]
    share: str
    expected: str


@dataclass(frozen=True)
class DiversityPart:
    """Hold the part of the page on diversity: of whole rows, of columns, and patterns lost."""

    whole: tuple[MeasureLine, ...]
    columns: tuple[MeasureLine, ...]
    patterns: tuple[PatternLine, ...]
    lost: int
    reasons: tuple[str, ...]


def build_diversity(found: Diversity) -> DiversityPart:
    """Return the measures, of columns those that lost most, and the patterns that were lost."""
    of_columns = [one for one in found.measures if one.column is not None]
    of_columns.sort(key=lambda one: (-_loss(one), one.column or "", one.name))
    return DiversityPart(
        whole=tuple(_build_line(one) for one in found.measures if one.column is None),
        columns=tuple(_build_line(one) for one in of_columns[:COLUMNS] if _loss(one) >= TOLD),
        patterns=tuple(_build_pattern(one) for one in found.lost[:PATTERNS]),
        lost=found.lost_patterns,
        reasons=tuple(text[:1].upper() + text[1:] for text in found.reasons),
    )


def _loss(one: Measure) -> float:
    """Return the share of diversity that is gone, or what is repeated more."""
    if one.more_is == "repeated":
        return one.candidate - one.reference
    return 1 - one.candidate / one.reference if one.reference > 0 else 0.0


def _build_line(one: Measure) -> MeasureLine:
    is_share = one.unit.startswith("share")
    before, after = (
        write_share(value) if is_share else write_number(value)
        for value in (one.reference, one.candidate)
    )
    return MeasureLine(
        name=one.name,
        column=one.column or "",
        meaning=one.meaning,
        before=before,
        after=after,
        worse=_loss(one) >= MARKED,
    )


def _build_pattern(one: LostPattern) -> PatternLine:
    return PatternLine(
        values=tuple(zip(one.columns, one.values, strict=True)),
        share=write_share(one.share),
        expected=write_number(one.expected),
    )
