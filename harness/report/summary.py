"""Sum a run up as Markdown: totals, failures with their reasons, changes against the base run."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from harness.report.heatmap import state_of
from harness.report.pages import list_unexplained, summarize_run, write_headline
from harness.report.text import NOTHING, OUTCOMES, count, write_number
from harness.store.journal import RunJournal
from harness.store.record import Record

MOST_ROWS = 50
REASON_CHARACTERS = 400
ROUNDING = 1e-6
# What a request says of the machine it runs on, not of the training.
_ELSEWHERE = ("data", "runtime", "id")
_special = re.compile(r"([\\`*_\[\]|~#])")


@dataclass(frozen=True)
class Change:
    """Hold a cell whose metric differs from the base run's by more than the replicates' spread."""

    cell: str
    metric: str
    before: float
    after: float
    spread: float
    improved: bool


@dataclass(frozen=True)
class Changes:
    """Hold what differs between two runs; ``unlike`` cells were asked for differently."""

    newly_failing: tuple[Record, ...]
    fixed: tuple[str, ...]
    metrics: tuple[Change, ...]
    appeared: tuple[str, ...]
    vanished: tuple[str, ...]
    unlike: tuple[str, ...]


def choose_base(run: RunJournal, runs: Iterable[RunJournal]) -> RunJournal | None:
    """Return the first earlier run that finished and has records; ``runs`` stand newest first."""
    earlier = (one for one in runs if one.folder.name < run.folder.name and one.records)
    return next((one for one in earlier if summarize_run(one).finished), None)


def compare_runs(run: RunJournal, base: RunJournal) -> Changes:
    """Return what changed since the base run.

    A metric has changed when its means differ by more than the larger of both spreads; it is
    compared only where both requests train alike.
    """
    now = {record.cell: record for record in run.records}
    then = {record.cell: record for record in base.records}
    both = [(then[name], record) for name, record in now.items() if name in then]
    scored = [(old, new) for old, new in both if old.score and new.score]
    return Changes(
        newly_failing=tuple(new for old, new in both if _fails(new) and not _fails(old)),
        fixed=tuple(
            new.cell for old, new in both if _fails(old) and state_of(new) in ("passed", "expected")
        ),
        metrics=tuple(
            change
            for old, new in scored
            if _asked(old) == _asked(new) and (change := _compare(old, new)) is not None
        ),
        appeared=tuple(name for name in now if name not in then),
        vanished=tuple(name for name in then if name not in now),
        unlike=tuple(new.cell for old, new in scored if _asked(old) != _asked(new)),
    )


def write_summary(run: RunJournal, base: RunJournal | None, page: str | None) -> str:
    """Return the run as Markdown; whatever comes from a record is escaped.

    ``page`` is where the run's page is, None where there is none.
    """
    summary = summarize_run(run)
    totals = summary.totals
    parts = [
        f"## Matrix: {escape(write_headline(summary))}",
        _table(
            ("cells", "passed", "failed", "failed as declared", "unavailable", "took"),
            [
                (
                    *map(str, (totals.cells, totals.passed, totals.failed, totals.expected)),
                    str(totals.unavailable),
                    summary.took or NOTHING,
                )
            ],
        ),
    ]
    if not summary.finished:
        parts.append(f"The run was not finished: {escape(summary.ending)}.")
    failed = [record for record in run.records if _fails(record)]
    if failed:
        parts += ["### Failed cells", _failures(failed)]
    tests = list_unexplained(run)
    if tests:
        rows = [(escape(line.node), line.status, escape(line.reason)) for line in tests]
        parts += ["### Failed tests", _table(("test", "status", "reason"), rows)]
    parts += ["### Changes", *(_describe(run, base) if base else ["There is no earlier run."])]
    if page is not None:
        parts.append(f"Report: {escape(page)}")
    return "\n\n".join(parts) + "\n"


def escape(text: str) -> str:
    """Return a text as one line that Markdown and HTML show as it is, shortened where long."""
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if len(text) > REASON_CHARACTERS:
        text = text[: REASON_CHARACTERS - 1] + "…"
    return html.escape(_special.sub(r"\\\1", text), quote=False)


def _describe(run: RunJournal, base: RunJournal) -> list[str]:
    changes = compare_runs(run, base)
    then = summarize_run(base)
    parts = [
        f"Against the run {escape(then.name)} of {escape(then.started)}, {escape(then.commit)}:"
    ]
    if changes.newly_failing:
        parts += ["**Newly failing**", _failures(changes.newly_failing)]
    if changes.metrics:
        rows = [
            (
                escape(one.cell),
                escape(one.metric),
                write_number(one.before, 4),
                write_number(one.after, 4),
                write_number(one.spread),
                "better" if one.improved else "worse",
            )
            for one in changes.metrics
        ]
        header = ("cell", "metric", "before", "now", "spread", "")
        parts += ["**Metrics beyond their spread**", _table(header, rows)]
    for names, words in (
        (changes.fixed, "fixed"),
        (changes.appeared, "new"),
        (changes.vanished, "of the base run did not run"),
        (changes.unlike, "asked for differently, metrics not compared"),
    ):
        if names:
            parts.append(_fold(f"{count(len(names), 'cell')} {words}", names))
    return parts if len(parts) > 1 else [f"{parts[0]} none."]


def _failures(records: Sequence[Record]) -> str:
    rows = [
        (
            escape(record.cell),
            OUTCOMES[record.outcome] if record.outcome != "ok" else "gate failed",
            escape(record.reason),
        )
        for record in records
    ]
    return _table(("cell", "outcome", "reason"), rows)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows[:MOST_ROWS]]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return text + (f"\n\n… and {len(rows) - MOST_ROWS} more." if len(rows) > MOST_ROWS else "")


def _fold(title: str, names: Sequence[str]) -> str:
    shown = [f"- {escape(name)}" for name in names[:MOST_ROWS]]
    more = [f"- … and {len(names) - MOST_ROWS} more"] if len(names) > MOST_ROWS else []
    lines = "\n".join([*shown, *more])
    return f"<details><summary>{title}</summary>\n\n{lines}\n\n</details>"


def _compare(old: Record, new: Record) -> Change | None:
    before, after = old.score, new.score
    if before is None or after is None or before.metric != after.metric:
        return None
    spread = max(before.spread, after.spread)
    rounding = ROUNDING * max(abs(before.value), abs(after.value))
    if abs(after.value - before.value) <= max(spread, rounding):
        return None
    improved = (after.value > before.value) == after.greater_is_better
    return Change(new.cell, after.metric, before.value, after.value, spread, improved)


def _asked(record: Record) -> dict[str, Any]:
    return {name: value for name, value in record.request.items() if name not in _ELSEWHERE}


def _fails(record: Record) -> bool:
    return state_of(record) == "failed"
