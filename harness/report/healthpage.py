"""Build the page of a check of tables: dimensions, columns, correlations, how it was made."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import Any

from harness.report.files import STATIC
from harness.report.frame import render
from harness.report.healthcolumns import (
    HEIGHT,
    WIDTH,
    ColumnFigure,
    CorrelationGrid,
    draw_column,
    draw_correlations,
)
from harness.report.healthdiversity import DiversityPart, build_diversity
from harness.report.healthfindings import (
    AdviceLine,
    FlaggedPart,
    MatchLine,
    build_advice,
    build_matches,
    build_rows,
    name_statistic,
    tell_reason,
)
from harness.report.text import count, write_number, write_seconds
from ml.health.exchange import HealthCheck
from ml.health.report import Dimension, DimensionName, SchemaDifference, Verdict

STYLES = ("report.css", "site.css", "health.css")
WORST = 4
# Columns that are not folded away.
SHOWN = 12
ADVISED = 6
TITLES: dict[Verdict, tuple[str, str]] = {
    "healthy": ("good", "Healthy"),
    "differs": ("warn", "Differs"),
    "collapsed": ("bad", "Collapsed"),
    "insufficient_power": ("warn", "Too few rows to tell"),
}
MEANINGS: dict[Verdict, str] = {
    "healthy": "Nothing differs significantly, and a severe change would have been seen.",
    "differs": "Something changed, and nothing was lost beyond what versions of a table differ by.",
    "collapsed": "Something changed, and the candidate significantly has less than its reference.",
    "insufficient_power": "Nothing differs significantly, but a severe change might go unseen.",
}
ABOUT: dict[DimensionName, tuple[str, str]] = {
    "distribution": ("where numbers lie", "W1, standard deviations"),
    "composition": ("shares of values, categories and gaps", "total variation"),
    "diversity": ("entropy, spread and levels that were lost", "share lost"),
    "dependence": ("how columns correlate", "difference of correlations"),
    "information": ("what columns tell of each other", "difference, nats"),
    "spectrum": ("the effective rank of all columns", "share changed"),
    "coverage": ("whose rows are nearest to whose", "neighbours beyond chance"),
    "uniqueness": ("rows repeated, or copied", "share of rows"),
}


@dataclass(frozen=True)
class DimensionRow:
    """Hold one dimension; bars are in hundredths of the effect at which the score is 0."""

    name: str
    about: str
    unit: str
    state: str
    word: str
    score: str
    effect: str
    null: str
    p: str
    effect_bar: float
    null_bar: float
    beyond: bool
    worst: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class HealthPage:
    """Hold everything that the page of a check shows."""

    title: str
    tone: str
    verdict: str
    meaning: str
    score: int
    candidate: str
    reference: str
    facts: tuple[str, ...]
    changes: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...]
    reasons: tuple[str, ...]
    dimensions: tuple[DimensionRow, ...]
    schema: tuple[tuple[str, str], ...]
    columns: tuple[ColumnFigure, ...]
    further: str
    correlations: CorrelationGrid | None
    rows: FlaggedPart | None
    diversity: DiversityPart | None
    matches: tuple[MatchLine, ...] | None
    advice: tuple[AdviceLine, ...]
    notes: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]


def render_check(
    check: HealthCheck, *, root: str | None = None, test: str = "", **more: Any
) -> str:
    """Render a check as HTML; everything that comes from a table is escaped.

    Without a ``root``, the relative way to the reports' folder, the page stands alone: its style
    is in it, and it leads nowhere. ``test`` is the test that asked, ``more`` further names for
    the template. Raises Unavailable without jinja2.
    """
    style = "\n".join((STATIC / name).read_text(encoding="utf-8") for name in STYLES)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return render(
        "health.html",
        build_health_page(check),
        here="health.html",
        root=root or "",
        layout="alone.html" if root is None else "base.html",
        test=test,
        style=style,
        style_digest=digest,
        figure=(WIDTH, HEIGHT),
        shown=SHOWN,
        advised=ADVISED,
        **more,
    )


def build_health_page(check: HealthCheck) -> HealthPage:
    """Build the page of a check."""
    tone, verdict = TITLES[check.verdict]
    drawn = check.drawing
    further = drawn.columns - len(drawn.distributions)
    first, second = check.reference, check.candidate
    facts = [f"{second.rows:,} rows against {first.rows:,}"]
    if check.p is not None:
        facts.append(f"p {check.p:g} at α {check.alpha:g}")
    facts.append(count(drawn.columns, "column"))
    rows = tuple(_build_dimension(check, each) for each in check.dimensions)
    return HealthPage(
        title=f"{verdict}: {check.names[1]}",
        tone=tone,
        verdict=verdict,
        meaning=MEANINGS[check.verdict],
        score=round(check.score),
        candidate=check.names[1],
        reference=check.names[0],
        facts=tuple(facts),
        changes=_list_changes(rows),
        reasons=tuple(
            tell_reason(reason)
            for reason in check.reasons
            if not any(reason.startswith(f"{one.name} changed") for one in check.dimensions)
        ),
        dimensions=rows,
        schema=tuple((one.column, _tell_change(one)) for one in check.schema_differences),
        columns=tuple(draw_column(one) for one in drawn.distributions),
        further=f"{count(further, 'further column')} changed less, and are not drawn."
        if further
        else "",
        correlations=draw_correlations(drawn.correlations) if drawn.correlations else None,
        rows=build_rows(check.located) if check.located is not None else None,
        diversity=build_diversity(check.diversity) if check.diversity is not None else None,
        matches=build_matches(check.matches) if check.verdict != "healthy" else None,
        advice=build_advice(check.recommendations),
        notes=tuple(tell_reason(note) for note in check.notes),
        pairs=_list_terms(check),
    )


def _build_dimension(check: HealthCheck, each: Dimension) -> DimensionRow:
    significant = check.verdict in ("differs", "collapsed") and (
        each.p is not None and each.p <= check.alpha
    )
    if each.p is None:
        state, word = "unavailable", "not judged"
    elif not significant:
        state, word = "passed", "not significant"
    elif each.name in check.losses:
        state, word = "failed", "loss"
    else:
        state, word = "expected", "changed"
    about, unit = ABOUT[each.name]
    floor = check.drawing.floors.get(each.name, 0.0) or 1.0
    return DimensionRow(
        name=each.name,
        about=about,
        unit=unit,
        state=state,
        word=word,
        score=f"{each.score:.0f}",
        effect=write_number(each.effect, 2),
        null=write_number(each.null, 2),
        p="–" if each.p is None else f"{each.p:.2g}",
        effect_bar=round(100 * min(1.0, each.effect / floor), 1),
        null_bar=round(100 * min(1.0, each.null / floor), 1),
        beyond=each.effect > floor,
        worst=tuple(
            ("" if one.column == "all" else one.column, name_statistic(one.statistic))
            for one in each.outstanding[:WORST]
        )
        if significant
        else (),
    )


def _list_changes(
    rows: tuple[DimensionRow, ...],
) -> tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...]:
    """Return what was lost and what else changed: each dimension with its worst column."""
    found = []
    for state, title in (("failed", "Lost"), ("expected", "Changed")):
        named = tuple(
            (row.name, _write_worst(*row.worst[0]) if row.worst else "")
            for row in rows
            if row.state == state
        )
        if named:
            found.append((state, title, named))
    return tuple(found)


def _write_worst(column: str, statistic: str) -> str:
    return f"in {column} ({statistic})" if column else f"({statistic})"


def _tell_change(one: SchemaDifference) -> str:
    if one.change == "missing":
        return f"is missing; it was {one.reference}"
    if one.change == "added":
        return f"is new: {one.candidate}"
    return f"is {one.candidate}, and was {one.reference}"


def _list_terms(check: HealthCheck) -> tuple[tuple[str, str], ...]:
    classifier = check.classifier
    asked = (
        f"not asked: {classifier.reason}"
        if classifier.auc is None
        else f"{classifier.auc:.2f} on {classifier.rows:,} held-out rows"
    )
    terms = [
        ("Rows tested", f"{check.candidate.tested:,} against {check.reference.tested:,}"),
        ("Permuted by", "row" if check.group is None else f"group, {check.group}"),
        ("α", f"{check.alpha:g}"),
        ("Tolerance", f"{check.tolerance:g} standard deviations" if check.tolerance else "none"),
        ("Seed", str(check.seed)),
        ("Classifier's AUC", asked),
    ]
    if check.detectable is not None:
        least = f"{check.detectable:.2f} {check.detectable_unit}"
        terms.append(("Least change seen", least))
    return (*terms, ("Took", write_seconds(check.seconds)))
