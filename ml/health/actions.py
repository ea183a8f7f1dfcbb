"""Derive what may be done for a candidate from what its report, rows and signatures show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ml.core.recommendations import Action, ActionName
from ml.health.located import Channel, FlaggedRow, LocatedRows
from ml.health.matched import Match
from ml.health.report import Dimension, Finding, HealthReport

# What stands out less than this, or than this share of the dimension's worst, asks for nothing.
LEAST_STANDING = 3.0
LEAST_SHARE = 0.3
MOST_COLUMNS = 3
MOST_ACTIONS = 16
# A signature that is less sure than this says nothing of what to try.
LEAST_SURE = 0.5

# What mends the kinds of damage that the signatures know.
REMEDIES: dict[str, tuple[ActionName, ...]] = {
    "mean_shift": ("rescale",),
    "variance_shrink": ("rescale",),
    "tails_cut": ("add_reference",),
    "missing_added": ("fill_missing",),
    "category_lost": ("restore_levels",),
    "rare_categories_lost": ("restore_levels",),
    "correlations_broken": ("restore_column", "drop_column"),
    "duplicates": ("drop_repeated",),
    "copies_of_reference": ("drop_copies",),
    "constant_column": ("restore_column", "drop_column"),
    "outlier_cells": ("winsorise", "mend_flagged"),
    "label_shift": ("reweight_target",),
    "recursive_synthesis": ("add_reference",),
}
# Which actions a statistic of a column asks for.
ASKED: dict[str, tuple[ActionName, ...]] = {
    "ks": ("rescale",),
    "w1": ("rescale", "winsorise"),
    "cvm": ("rescale",),
    "mean": ("rescale",),
    "tails": ("winsorise", "add_reference"),
    "far": ("winsorise",),
    "farthest": ("winsorise",),
    "missing": ("fill_missing",),
    "levels": ("restore_levels",),
    "lost_levels": ("restore_levels",),
    "rare_levels": ("restore_levels",),
    "tv": ("restore_column",),
    "chi2": ("restore_column",),
    "entropy": ("restore_column", "drop_column"),
    "spread": ("rescale",),
}
REPEATING: tuple[Channel, ...] = ("repeated", "copied")
ON_ROWS: dict[ActionName, str] = {
    "drop_repeated": "rows are repeated beyond what the reference repeats",
    "drop_copies": "rows are copies of the reference's",
    "add_reference": "rows of the reference carry what the candidate lost: accumulate, and do "
    "not replace (Gerstgrasser 2024)",
}
# What a column of the target may have done to it.
FOR_TARGET: tuple[ActionName, ...] = ("rescale", "winsorise", "reweight_target")


def derive_actions(
    report: HealthReport,
    located: LocatedRows | None = None,
    matches: Sequence[Match] = (),
    target: str | None = None,
) -> tuple[Action, ...]:
    """Return the actions that a report asks for, the most severe first, at most MOST_ACTIONS.

    A healthy candidate asks for none. Of an action that several dimensions ask for, the one
    whose score is lowest is named. What mends the likeliest known damage comes first.
    """
    if report.verdict in ("healthy", "insufficient_power") and not report.schema_differences:
        return ()
    found: dict[str, Action] = {}
    for action in _proposed(report, located, target):
        known = found.get(action.name)
        if known is None or known.severity < action.severity:
            found[action.name] = action
    likely = {
        action: match
        for match in reversed(matches)
        if match.confidence >= LEAST_SURE
        for action in REMEDIES.get(match.kind, ())
    }
    named: list[tuple[bool, float, int, Action]] = []
    for action in found.values():
        match = likely.get(action.action)
        if match is not None:
            reason = f"{action.reason}; it looks like {match.kind} ({match.confidence:.0%} sure)"
            action = action.model_copy(update={"reason": reason})
        named.append((match is None, -action.severity, len(named), action))
    return tuple(one[-1] for one in sorted(named, key=lambda one: one[:3])[:MOST_ACTIONS])


def _proposed(
    report: HealthReport, located: LocatedRows | None, target: str | None
) -> Iterator[Action]:
    for difference in report.schema_differences:
        # A column that the reference lacks is nothing that a model of the reference could use.
        if difference.change != "added" and difference.column != target:
            missing = difference.change == "missing"
            yield Action(
                action="restore_column" if missing else "convert_column",
                dimension="schema",
                columns=(difference.column,),
                severity=1.0,
                reason="the candidate lacks the column"
                if missing
                else f"the column is {difference.candidate} and was {difference.reference}",
            )
    changed = [
        dimension
        for dimension in report.dimensions
        if dimension.p is not None and dimension.p <= report.alpha
    ]
    for dimension in changed:
        yield from _of_dimension(dimension, target)
    worst = max((_severity(one) for one in changed), default=0.0)
    if report.losses:
        lost = [one for one in changed if one.name in report.losses]
        place = min(lost, key=lambda one: one.score, default=None)
        if place is not None:
            yield _on_rows("add_reference", place.name, _severity(place))
    if located is not None and located.flagged:
        yield from _of_rows(located, worst)


def _of_dimension(dimension: Dimension, target: str | None) -> Iterator[Action]:
    severity = _severity(dimension)
    if dimension.name == "uniqueness":
        for finding in dimension.worst:
            if finding.statistic == "duplicates":
                yield _on_rows("drop_repeated", dimension.name, severity)
        copied = any(finding.statistic == "copies" for finding in dimension.worst)
        if copied:
            yield _on_rows("drop_copies", dimension.name, severity)
        return
    if dimension.name in ("spectrum", "coverage"):
        yield _on_rows("add_reference", dimension.name, severity)
        return
    standing_out = _standing_out(dimension.worst)
    if dimension.name in ("dependence", "information"):
        for column in _most_involved(standing_out):
            if column != target:
                reason = f"what {column} shows together with others changed"
                yield _on_column("restore_column", dimension.name, column, severity, reason)
                yield _on_column("drop_column", dimension.name, column, severity, reason)
        return
    for finding in standing_out:
        reason = f"{dimension.name} changed in {finding.column} ({finding.statistic})"
        asked = ASKED.get(finding.statistic, ())
        if finding.column == target:
            asked = tuple(one for one in FOR_TARGET if one in (*asked, "reweight_target"))
        for action in asked:
            if action == "add_reference":
                yield _on_rows(action, dimension.name, severity)
            else:
                yield _on_column(action, dimension.name, finding.column, severity, reason)


def _of_rows(located: LocatedRows, severity: float) -> Iterator[Action]:
    strange = strange_rows(located)
    if not strange:
        return
    columns = sorted({one.column for row in strange for one in row.columns[:1]})
    reason = f"{strange_count(located)} rows are flagged as unlike the reference's"
    where = f", most by {', '.join(columns[:MOST_COLUMNS])}" if columns else ""
    yield Action(action="drop_flagged", dimension="rows", severity=severity, reason=reason + where)
    if columns:
        yield Action(
            action="mend_flagged", dimension="rows", severity=severity, reason=reason + where
        )


def strange_rows(located: LocatedRows) -> list[FlaggedRow]:
    """Return the flagged rows that are unlike the reference's; the others repeat or copy rows."""
    return [row for row in located.flagged if row.channel not in REPEATING]


def strange_count(located: LocatedRows) -> int:
    """Return how many rows are unlike the reference's, also where not all of them are listed."""
    return sum(count for channel, count in located.found.items() if channel not in REPEATING)


def _severity(dimension: Dimension) -> float:
    return (100 - dimension.score) / 100


def _standing_out(findings: Sequence[Finding]) -> list[Finding]:
    named = [one for one in findings if one.column != "all"]
    if not named:
        return []
    least = max(LEAST_STANDING, LEAST_SHARE * max(one.standing for one in named))
    return [one for one in named if one.standing >= least][:MOST_COLUMNS]


def _most_involved(findings: Sequence[Finding]) -> list[str]:
    """Return the columns that most of the changed pairs have in common."""
    weights: dict[str, float] = {}
    for finding in findings:
        for column in finding.column.split(" × "):
            weights[column] = weights.get(column, 0.0) + finding.standing
    most = max(weights.values(), default=0.0)
    return [column for column, weight in sorted(weights.items()) if weight >= 0.9 * most][:2]


def _on_rows(action: ActionName, dimension: str, severity: float) -> Action:
    return Action(action=action, dimension=dimension, severity=severity, reason=ON_ROWS[action])


def _on_column(
    action: ActionName, dimension: str, column: str, severity: float, reason: str
) -> Action:
    return Action(
        action=action, dimension=dimension, columns=(column,), severity=severity, reason=reason
    )
