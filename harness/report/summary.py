"""Sum a run up as Markdown: totals, failures with their reasons, changes against the base run."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

from harness.report.heatmap import state_of
from harness.report.pages import list_unexplained, summarize_run, write_headline
from harness.report.text import NOTHING, OUTCOMES, count, write_number
from harness.store.compare import CellsCompared, Failing, compare_cells
from harness.store.journal import RunJournal
from harness.store.record import Record
from harness.store.rows import ResultRow, row_of_record

MOST_ROWS = 50
REASON_CHARACTERS = 400
_special = re.compile(r"([\\`*_\[\]|~#])")


def choose_base(run: RunJournal, runs: Iterable[RunJournal]) -> RunJournal | None:
    """Return the first earlier run that finished and has records; ``runs`` stand newest first."""
    earlier = (one for one in runs if one.folder.name < run.folder.name and one.records)
    return next((one for one in earlier if summarize_run(one).finished), None)


def compare_records(run: RunJournal, base: RunJournal) -> CellsCompared:
    """Return what changed since the base run, as their records say."""
    return compare_cells(*map(_list_rows, (base, run)))


def _list_rows(run: RunJournal) -> dict[str, ResultRow]:
    # Where a record stands in its journal is nothing to compare.
    return {one.cell: row_of_record(one, 0, 0, run.head, ()) for one in run.records}


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
    changes = compare_records(run, base)
    metrics = [one for one in changes.metrics if one.beyond]
    then = summarize_run(base)
    parts = [
        f"Against the run {escape(then.name)} of {escape(then.started)}, {escape(then.commit)}:"
    ]
    if changes.newly_failing:
        parts += ["**Newly failing**", _failures(changes.newly_failing)]
    if metrics:
        rows = [
            (
                escape(one.cell),
                escape(one.metric),
                write_number(one.before, 4),
                write_number(one.after, 4),
                write_number(one.spread),
                "better" if one.improved else "worse",
            )
            for one in metrics
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


def _failures(failed: Sequence[Record | Failing]) -> str:
    rows = [
        (
            escape(one.cell),
            "gate failed" if one.outcome == "ok" else OUTCOMES[one.outcome],
            escape(one.reason),
        )
        for one in failed
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


def _fails(record: Record) -> bool:
    return state_of(record) == "failed"
