"""Put a check's result into lines: for the shell, and for a test that fails."""

from __future__ import annotations

from harness.report.text import count, write_number
from harness.terminal import lay_out
from ml.health.exchange import HealthCheck
from ml.health.report import Dimension

WORST = 3
ADVICE = 5
# Of what an assertion explains, pytest shows eight lines and 640 characters.
DIMENSIONS_TOLD = 5
CHARACTERS = 72


def describe_check(check: HealthCheck) -> list[str]:
    """Return the whole result: verdict, tables, dimensions, and why."""
    lines = [headline(check), *_describe_tables(check), ""]
    if check.dimensions:
        rows: list[tuple[str, ...]] = [("dimension", "score", "effect", "null", "p")]
        rows += [
            (
                each.name,
                f"{each.score:.0f}",
                write_number(each.effect),
                write_number(each.null),
                "–" if each.p is None else write_number(each.p, 2),
            )
            for each in check.dimensions
        ]
        worst = ["worst", *(_write_worst(check, each) for each in check.dimensions)]
        table = lay_out(rows)
        lines += [f"{line}  {text}".rstrip() for line, text in zip(table, worst, strict=True)]
        lines.append("")
    lines += _describe_evidence(check)
    if check.reasons:
        lines += ["", "why:", *(f"  {reason}" for reason in check.reasons)]
    return [make_printable(line) for line in lines + _describe_findings(check)]


def make_printable(text: str) -> str:
    """Return a text in which nothing moves a terminal's cursor; a column's name may be any."""
    return "".join(each if each.isprintable() else "\ufffd" for each in text)


def _describe_findings(check: HealthCheck) -> list[str]:
    """Return rows, known damage and advice, each where there is any."""
    lines = []
    located = check.located
    if located is not None and located.found:
        found = ", ".join(f"{number:,} {channel}" for channel, number in located.found.items())
        first = located.flagged[0]
        lines += ["", f"rows that stand out: {found}; the surest is row {first.row}"]
    if check.matches:
        kinds = ", ".join(f"{one.kind} ({one.confidence:.0%})" for one in check.matches)
        lines += ["", f"it resembles: {kinds}"]
    if check.recommendations:
        lines += ["", "what to do, without having tried it:"]
        lines += [f"  {one.action}: {one.reason}" for one in check.recommendations[:ADVICE]]
    return lines + [line for note in check.notes for line in ("", note)]


def headline(check: HealthCheck) -> str:
    """Return verdict and score in one line."""
    verdict = check.verdict.replace("_", " ")
    return f"{verdict}, score {check.score:.0f} of 100"


def explain_verdict(check: HealthCheck, expected: str, page: str | None) -> list[str]:
    """Return what a failing test says, short enough that pytest cuts nothing off."""
    first, second = check.names[1], check.names[0]
    lines = [f"data health: {headline(check)}; expected {expected}"]
    lines.append(_cut(f"{first} against {second}"))
    told = [each for each in check.dimensions if is_significant(check, each)]
    told.sort(key=lambda each: each.score)
    for each in told[:DIMENSIONS_TOLD]:
        lost = ", a loss" if each.name in check.losses else ""
        lines.append(_cut(f"{each.name} {each.score:.0f}{lost}: {_list_worst(each, 1)}"))
    if len(told) > DIMENSIONS_TOLD:
        names = ", ".join(each.name for each in told[DIMENSIONS_TOLD:])
        lines[-1] += f"; also {names}"
    if not told:
        lines += [_cut(reason) for reason in check.reasons[:DIMENSIONS_TOLD]]
    if page is not None:
        lines.append(f"page: {page}")
    return [make_printable(line) for line in lines]


def is_significant(check: HealthCheck, dimension: Dimension) -> bool:
    """Tell whether a dimension's change is significant, and so is the whole's."""
    if check.verdict not in ("differs", "collapsed") or dimension.p is None:
        return False
    return dimension.p <= check.alpha


def _cut(text: str) -> str:
    return text if len(text) <= CHARACTERS else f"{text[: CHARACTERS - 1]}…"


def _describe_tables(check: HealthCheck) -> list[str]:
    sides = []
    for name, side in zip(check.names, (check.reference, check.candidate), strict=True):
        tested = "" if side.tested == side.rows else f", {side.tested:,} tested"
        sides.append(f"{name} ({side.rows:,} rows{tested})")
    terms = [f"alpha {check.alpha:g}", f"seed {check.seed}"]
    terms = [f"p {check.p:g}", *terms] if check.p is not None else terms
    if check.tolerance:
        terms.append(f"tolerance {check.tolerance:g}")
    if check.group is not None:
        terms.append(f"by group {check.group}")
    return [f"candidate: {sides[1]}", f"reference: {sides[0]}", ", ".join(terms)]


def _write_worst(check: HealthCheck, dimension: Dimension) -> str:
    return _list_worst(dimension, WORST) if is_significant(check, dimension) else ""


def _list_worst(dimension: Dimension, most: int) -> str:
    return ", ".join(
        f"{'all' if one.column == 'all' else one.column} ({one.statistic.replace('_', ' ')})"
        for one in dimension.outstanding[:most]
    )


def _describe_evidence(check: HealthCheck) -> list[str]:
    classifier = check.classifier
    if classifier.auc is None:
        lines = [f"a classifier was not asked: {classifier.reason}"]
    else:
        lines = [
            f"a classifier tells the sides apart with AUC {classifier.auc:.2f} "
            f"on {count(classifier.rows, 'held-out row')}"
        ]
    if check.detectable is not None:
        lines.append(
            f"a change of one column would be seen from {check.detectable:.2f} "
            f"{check.detectable_unit} on"
        )
    return lines
