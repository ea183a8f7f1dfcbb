"""Lay runs, histories, comparisons and removals out for a terminal, for Markdown and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from harness.report.summary import escape
from harness.report.text import (
    NOTHING,
    count,
    write_bytes,
    write_moment,
    write_number,
    write_seconds,
)
from harness.store.compare import RunsCompared, TimeChange
from harness.store.prune import Removal
from harness.store.record import State
from harness.store.rows import MEASURES, ResultRow, RunRow
from harness.store.series import Series
from harness.terminal import lay_out
from ml.core.contracts import Outcome

Totals = Mapping[str, Counter[tuple[State, Outcome]]]
STATES: tuple[State, ...] = ("passed", "failed", "expected", "unavailable")
REASON_CHARACTERS = 60
MOST_TIMES = 10
WORDS = {"fit": "training", "seconds": "whole cell", "peak_memory": "peak memory"}
_ONE_AGAINST_ONE = "one run against one, which proves no trend"


def describe_runs(runs: Sequence[RunRow], totals: Totals) -> list[str]:
    """Return a table with a line per run."""
    rows = [("run", "kind", "started", "commit", "ended", "took", "cells", *STATES)]
    for run in runs:
        states = _states(totals, run)
        rows.append(
            (
                run.name,
                run.kind,
                write_moment(run.started),
                _commit(run.commit, run.dirty),
                _ending(run),
                write_seconds(run.seconds),
                str(sum(states.values())),
                *(str(states[state]) for state in STATES),
            )
        )
    return lay_out(rows, left=5)


def runs_as_json(runs: Sequence[RunRow], totals: Totals) -> list[dict[str, Any]]:
    """Return the runs as plain values, with their cells by state and by outcome."""
    found = []
    for run in runs:
        outcomes: Counter[str] = Counter()
        for (_, outcome), number in totals.get(run.name, Counter()).items():
            outcomes[outcome] += number
        states = _states(totals, run)
        found.append(
            {
                **asdict(run),
                "cells": sum(states.values()),
                "states": {state: states[state] for state in STATES},
                "outcomes": dict(outcomes),
            }
        )
    return found


def describe_history(
    series: Series, results: Mapping[str, ResultRow], runs: Mapping[str, RunRow]
) -> list[str]:
    """Return a line per run, the oldest first, also for those that have no value and why."""
    points = {point.run: point for point in series.points}
    metrics = [row.metric for row in results.values() if row.metric]
    what = metrics[-1] if series.kind == "metric" and metrics else series.measure
    better = "greater" if series.greater_is_better else "smaller"
    rows = [("run", "started", "commit", "environment", "state", what, "change", "spread", "")]
    before: float | None = None
    for name, row in results.items():
        run, point = runs[name], points.get(name)
        change = spread = NOTHING
        if point is not None and before:
            change = f"{(point.value - before) / abs(before):+.2%}"
        if point is not None and series.kind == "metric":
            spread = write_number(row.spread)
        rows.append(
            (
                name,
                write_moment(row.started),
                _commit(row.commit, run.dirty),
                point.environment if point else run.environment,
                row.state,
                write_value(series.measure, point.value) if point else NOTHING,
                change,
                spread,
                "" if point else _shorten(_why_none(series, row, results)),
            )
        )
        before = point.value if point else before
    title = f"{series.cell}: {what}, {better} is better, {count(len(points), 'value')}"
    # What follows the last number is a sentence, and is set left.
    texts = [row[-1] for row in rows]
    lines = lay_out([row[:-1] for row in rows], left=5)
    return [title, *(f"{line}  {text}".rstrip() for line, text in zip(lines, texts, strict=True))]


def history_as_json(series: Series, results: Mapping[str, ResultRow]) -> dict[str, Any]:
    """Return a series as plain values, and beside it the runs that have no value, and why."""
    known = {point.run for point in series.points}
    without = [
        {
            "run": run,
            "state": row.state,
            "outcome": row.outcome,
            "reason": _why_none(series, row, results),
        }
        for run, row in results.items()
        if run not in known
    ]
    metrics = [row.metric for row in results.values() if row.metric]
    metric = metrics[-1] if series.kind == "metric" and metrics else None
    return {**asdict(series), "metric": metric, "without": without}


def describe_comparison(compared: RunsCompared) -> list[str]:
    """Return what differs between two runs, as lines for a terminal."""
    lines = [_title(compared), *(f"  {line}" for line in _states_of_runs(compared))]
    for title, header, rows, left in _tables(compared):
        lines += ["", title] if rows else []
        shown = [header, *rows] if header else list(rows)
        lines += [f"  {line.rstrip()}" for line in lay_out(shown, left=left)] if rows else []
    if not any(rows for _, _, rows, _ in _tables(compared)):
        lines.append("  nothing differs")
    return lines


def summarize_comparison(compared: RunsCompared) -> str:
    """Return what differs between two runs as Markdown; whatever is from a record is escaped."""
    parts = [f"## {escape(_title(compared))}", *map(escape, _states_of_runs(compared))]
    for title, header, rows, _ in _tables(compared):
        if rows:
            head = header or ("cell",)
            table = [head, ("---",) * len(head), *(tuple(map(escape, row)) for row in rows)]
            lines = "\n".join(f"| {' | '.join(row)} |" for row in table)
            parts.append(f"### {escape(title.rstrip(':'))}\n\n{lines}")
    if not any(rows for _, _, rows, _ in _tables(compared)):
        parts.append("Nothing differs.")
    return "\n\n".join(parts)


def describe_removals(removals: Sequence[Removal], runs: int, dry_run: bool) -> list[str]:
    """Return a line for each old run, and how much was removed of how many runs."""
    gone = [one for one in removals if one.kept is None]
    verb = "would be removed" if dry_run else "removed"
    rows = [
        (
            one.run,
            one.kind,
            write_moment(one.started),
            verb if one.kept is None else f"kept: {one.kept}",
            write_bytes(one.bytes),
        )
        for one in removals
    ]
    lines = lay_out(rows, left=4) if rows else []
    size = write_bytes(sum(one.bytes for one in gone))
    end = [f"{len(gone)} of {count(runs, 'run')} {verb}, {size if gone else '0 B'}"]
    if gone and not dry_run:
        end.append("`mlmatrix report` makes the page without them")
    return [*lines, *end]


def write_value(measure: str, value: float) -> str:
    """Return a value of a measure in its unit."""
    if measure in ("peak_memory", "artifact_bytes"):
        return write_bytes(value)
    if MEASURES[measure][1] == "timing" and measure != "rows_per_second":
        return write_seconds(value)
    return write_number(value, 4)


Table = tuple[str, tuple[str, ...], list[tuple[str, ...]], int]


def _tables(compared: RunsCompared) -> list[Table]:
    beyond = [one for one in compared.metrics if one.beyond]
    within = len(compared.metrics) - len(beyond)
    title = f"metrics beyond the spread of their replicates, of {compared.alike} compared"
    if within:
        title += f" ({within} differ within it)"
    return [
        (
            "newly failing:",
            ("cell", "outcome", "reason"),
            [(one.cell, one.outcome, _shorten(one.reason)) for one in compared.newly_failing],
            3,
        ),
        ("fixed:", (), [(cell,) for cell in compared.fixed], 1),
        ("new:", (), [(cell,) for cell in compared.appeared], 1),
        ("gone:", (), [(cell,) for cell in compared.vanished], 1),
        (
            "asked for differently or on another table, not compared:",
            (),
            [(cell,) for cell in compared.unlike],
            1,
        ),
        (
            f"{title}:",
            ("cell", "metric", "before", "after", "spread", ""),
            [
                (
                    one.cell,
                    one.metric,
                    write_number(one.before, 4),
                    write_number(one.after, 4),
                    write_number(one.spread),
                    "better" if one.improved else "worse",
                )
                for one in beyond
            ],
            2,
        ),
        (
            f"times and memory, the largest {MOST_TIMES} of "
            f"{count(len(compared.times), 'difference')}; {_ONE_AGAINST_ONE}:",
            ("cell", "measure", "before", "after", "ratio", "calibrated"),
            [_time_row(one) for one in compared.times[:MOST_TIMES]],
            2,
        ),
        (
            "environment:",
            ("part", "before", "after"),
            [(name, old or NOTHING, new or NOTHING) for name, old, new in compared.environment],
            3,
        ),
    ]


def _time_row(one: TimeChange) -> tuple[str, ...]:
    return (
        one.cell,
        WORDS[one.measure],
        write_value(one.measure, one.before),
        write_value(one.measure, one.after),
        _ratio(one.ratio),
        _ratio(one.calibrated),
    )


def _ratio(value: float | None) -> str:
    return NOTHING if value is None else f"×{value:.3g}"


def _title(compared: RunsCompared) -> str:
    return f"{compared.before.name} → {compared.after.name}"


def _states_of_runs(compared: RunsCompared) -> list[str]:
    return [
        f"{word}: {write_moment(run.started)}, commit {_commit(run.commit, run.dirty)}, "
        f"environment {run.environment or NOTHING}, {_ending(run)}"
        for word, run in (("before", compared.before), ("after", compared.after))
    ]


def _states(totals: Totals, run: RunRow) -> Counter[State]:
    states: Counter[State] = Counter()
    for (state, _), number in totals.get(run.name, Counter()).items():
        states[state] += number
    return states


def _commit(commit: str | None, dirty: bool | None) -> str:
    return NOTHING if commit is None else commit[:10] + ("+" if dirty else "")


def _ending(run: RunRow) -> str:
    text = "cut off" if run.exit_status is None else f"exit {run.exit_status}"
    return f"{text}, {count(len(run.damage), 'line')} damaged" if run.damage else text


def _why_none(series: Series, row: ResultRow, results: Mapping[str, ResultRow]) -> str:
    if row.outcome != "ok":
        return f"{row.outcome}: {row.reason}"
    if series.points and row.scale != results[series.points[-1].run].scale:
        return "another budget, number of replicates, or search"
    if series.kind != "metric" and row.reused is not None:
        return f"reused of {row.reused}"
    if series.kind != "metric" and not row.timed:
        return "its time is not whole: it went on from before, or the clock ended its search"
    if series.kind == "metric" and row.cut:
        return "the clock stopped a replicate or a search"
    if series.kind == "metric" and row.metric is not None:
        return f"its metric was {row.metric}"
    return "not measured"


def _shorten(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= REASON_CHARACTERS else text[: REASON_CHARACTERS - 1] + "…"
