"""Say in the terminal how the matrix goes: per test, while it runs, and at its end."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.report.text import count
from harness.store.history import Durations
from harness.store.journal import RunJournal
from harness.store.ladder import Compared, list_comparisons, sum_up_pairs
from harness.store.record import RUNGS, Record, Rung

SECONDS_BETWEEN_LINES = 10.0
SIGNS = {"passed": "", "expected": "△ ", "failed": "✕ "}
TABLE = "framework cells ok failed expected unavailable beat-baseline training device threads"


def describe_record(record: Record) -> str:
    """Return one cell in one phrase: metric, baseline and time, or outcome and reason."""
    again = f", attempt {len(record.attempts) + 1}" if record.attempts else ""
    reused = f" in {record.reused}, reused" if record.reused else ""
    took = f"{record.seconds:.1f} s{again}{reused}"
    if record.score is None:
        return f"{record.outcome}: {record.reason} ({took})"
    score = record.score
    return f"{score.metric} {score.value:.4g} (baseline {score.baseline:.4g}) {took}"


def describe_attempts(record: Record) -> list[str]:
    """Return a line for each attempt that was followed by another one."""
    return [
        f"attempt {number}: {one.outcome}: {one.reason} ({one.seconds:.1f} s)"
        for number, one in enumerate(record.attempts, start=1)
    ]


def describe_estimate(
    cells: Sequence[str], durations: Durations, processes: int, reuse: bool
) -> str | None:
    """Return how long the cells will take by earlier records, None where there are none.

    With ``reuse`` some of them may take no time, which is known only when their turn comes.
    """
    seconds = durations.total(cells, processes)
    if seconds is None:
        return None
    newest, *others = durations.runs
    more = f" and of {count(len(others), 'run')} before it" if others else ""
    most = "at most " if reuse else ""
    return (
        f"matrix: {most}about {_duration(seconds)} for {count(len(cells), 'cell')}, "
        f"by the records of {newest}{more}"
    )


def explain_failure(record: Record) -> str:
    """Return why a cell fails its test: every failing gate, the error and the remedy."""
    lines = [f"{record.cell}: outcome {record.outcome}"]
    lines += [f"  {line}" for line in describe_attempts(record)]
    lines += [f"  {verdict.gate}: {verdict.text}" for verdict in record.verdicts if verdict.breaks]
    if record.error is not None:
        for name in ("code", "field", "expected", "received", "remedy"):
            value = getattr(record.error, name)
            if value is not None:
                lines.append(f"  {name}: {value}")
        if record.error.detail:
            lines.append("  detail:")
            lines += [f"    {line}" for line in record.error.detail.splitlines()]
    return "\n".join(lines)


def describe_load(processes: int, threads: int, cores: int) -> str | None:
    """Return a line that warns of more threads at work than cores, None where there are not."""
    if processes * threads <= cores:
        return None
    return (
        f"matrix: {processes} processes train with {threads} threads each, on {cores} cores: times "
        f"will tell of waiting; choose -n and --matrix-threads whose product is at most {cores}"
    )


def expected_reason(record: Record) -> str | None:
    """Return the declared reason of a cell's failing gates, None where no gate fails."""
    texts = [
        f"{verdict.gate}: {verdict.expected} ({verdict.text})"
        for verdict in record.verdicts
        if verdict.status == "fail" and verdict.expected is not None
    ]
    return "; ".join(texts) or None


@dataclass
class Progress:
    """Count cells as their tests end, and say now and then how far the matrix is."""

    total: int
    clock: Callable[[], float] = time.monotonic
    done: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._started = self._said = self.clock()

    def update(self, cell: str, failed: bool) -> str | None:
        """Count one cell; return a line to print when it is time for one."""
        self.done.add(cell)
        if failed:
            self.failed.add(cell)
        moment = self.clock()
        if moment - self._said < SECONDS_BETWEEN_LINES:
            return None
        self._said = moment
        return self.line(moment - self._started)

    def line(self, elapsed: float) -> str:
        """Return the cells done and failed, and the time left at the pace so far."""
        left = elapsed / len(self.done) * (self.total - len(self.done))
        return (
            f"matrix: {len(self.done)}/{self.total} cells done, {len(self.failed)} failed, "
            f"about {_duration(left)} left"
        )


def summarize_run(journal: RunJournal) -> list[str]:
    """Return the lines of the closing table: per framework, then failures with reasons."""
    header = tuple(TABLE.split())
    rows: list[tuple[str, ...]] = [header]
    frameworks = dict.fromkeys(record.framework for record in journal.records)
    groups: list[tuple[str, list[Record]]] = [
        (name, [r for r in journal.records if r.framework == name]) for name in sorted(frameworks)
    ]
    if len(groups) > 1:
        groups.append(("total", list(journal.records)))
    rows += [(name, *_counts(records)) for name, records in groups]
    lines = lay_out(rows)
    failed = [r for r in journal.records if r.failed and r.outcome != "unavailable"]
    if failed:
        lines += ["", "failed:", *(f"  {record.cell}  {record.reason}" for record in failed)]
    declared: dict[str, list[str]] = {}
    for record in journal.records:
        for verdict in record.verdicts:
            if verdict.status == "fail" and verdict.expected is not None:
                heading = f"  {verdict.gate}: {verdict.expected}"
                declared.setdefault(heading, []).append(f"    {record.cell}  {verdict.text}")
    if declared:
        lines += ["", "failed as declared:"]
        lines += [line for heading, cells in declared.items() for line in (heading, *cells)]
    stale = [
        f"  {record.cell}  {verdict.gate} passes; its declared failure can go"
        for record in journal.records
        for verdict in record.verdicts
        if verdict.status == "pass" and verdict.expected is not None
    ]
    if stale:
        lines += ["", "passed against the declaration:", *stale]
    reused = Counter(record.reused for record in journal.records if record.reused)
    if reused:
        lines += ["", f"reused: {count(reused.total(), 'cell')} that nothing has changed for"]
        lines += [f"  {number} of run {name}" for name, number in sorted(reused.items())]
    again = [(record.cell, describe_attempts(record)) for record in journal.records]
    if any(attempts for _, attempts in again):
        lines += ["", "tried again:"]
        lines += [f"  {cell}  {text}" for cell, attempts in again for text in attempts]
    lines += [f"damaged: {text}" for text in journal.damage]
    return lines


def _counts(records: list[Record]) -> tuple[str, ...]:
    outcomes = Counter(record.outcome for record in records)
    gates = [v for r in records for v in r.verdicts if v.gate == "beats_baseline"]
    beaten = sum(verdict.status == "pass" for verdict in gates)
    judged = sum(verdict.status != "not_applicable" for verdict in gates)
    return (
        str(len(records)),
        str(outcomes["ok"]),
        str(sum(r.failed and r.outcome != "unavailable" for r in records)),
        str(sum(not r.failed and expected_reason(r) is not None for r in records)),
        str(outcomes["unavailable"]),
        f"{beaten}/{judged}",
        _duration(sum(r.result.timings.fit for r in records if r.result)),
        ",".join(sorted({r.result.device for r in records if r.result})) or "–",
        ",".join(sorted({str(r.result.threads) for r in records if r.result})) or "–",
    )


def lay_out(rows: Sequence[tuple[str, ...]], left: int = 1) -> list[str]:
    """Return the rows as lines in columns, the first ``left`` set left and the others right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            text.ljust(width) if column < left else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def summarize_parity(records: Iterable[Record]) -> list[str]:
    """Return the table of the pairs of frameworks, empty where none were compared.

    It has the worst difference of each rung over the cells of a pair.
    """
    rows = [("frameworks", "cells", "failed", "expected", *RUNGS)]
    for pair in sum_up_pairs(list_comparisons(records)):
        worst = ["–" if one is None else f"{SIGNS[one.state]}{one.rung.word}" for one in pair.worst]
        counts = (pair.cells, pair.failed, pair.expected)
        rows.append((" – ".join(pair.frameworks), *map(str, counts), *worst))
    return lay_out(rows) if len(rows) > 1 else []


def describe_ladder(compared: Sequence[Compared]) -> list[str]:
    """Return a table with a line per comparison and its differences, then limits and reasons."""
    rows = [("dataset", "algorithm", "mode", "frameworks", *RUNGS)]
    for one in compared:
        record = one.record
        rungs = [one.find(name) for name in RUNGS]
        words = ["–" if rung is None else _sign(rung, one.state) + rung.word for rung in rungs]
        names = (record.dataset, record.algorithm, record.mode)
        rows.append((*names, " – ".join(one.comparison.frameworks), *words))
    limits: dict[str, set[float]] = {}
    for one in compared:
        for rung in one.comparison.rungs:
            limits.setdefault(rung.name, set()).add(rung.limit)
    words = [_limit(limits.get(name, set())) for name in RUNGS]
    rows.append(("limit", "", "", "", *words))
    lines = [line.rstrip() for line in lay_out(rows, left=4)]
    apart = [one for one in compared if one.state != "passed"]
    for state, title in (("failed", "beyond the limit:"), ("expected", "as declared:")):
        chosen = [one for one in apart if one.state == state]
        lines += ["", title] if chosen else []
        lines += [f"  {line}" for one in chosen for line in _explain(one)]
    return lines


def ladder_as_json(run: str, compared: Sequence[Compared]) -> dict[str, Any]:
    """Return the comparisons of a run as plain values, the worst first."""
    return {
        "run": run,
        "comparisons": [
            {
                "dataset": one.record.dataset,
                "algorithm": one.record.algorithm,
                "mode": one.record.mode,
                "frameworks": list(one.comparison.frameworks),
                "cells": list(one.cells),
                "state": one.state,
                "expected": one.expected,
                "rungs": [
                    {**rung.model_dump(), "passes": rung.passes} for rung in one.comparison.rungs
                ],
            }
            for one in compared
        ],
    }


def _explain(one: Compared) -> list[str]:
    first = next(rung for rung in one.comparison.rungs if not rung.passes)
    why = first.reason or f"{first.values or ''} {first.word}, limit {first.limit:.2g}".strip()
    lines = [f"{' and '.join(one.cells)}, {first.name}: {why}"]
    return lines if one.expected is None else [*lines, f"  {one.expected}"]


def _sign(rung: Rung, state: str) -> str:
    return "" if rung.passes else SIGNS[state]


def _limit(limits: set[float]) -> str:
    if not limits:
        return "–"
    least, most = min(limits), max(limits)
    if most == 0:
        return "equal"
    return f"{least:g}" if least == most else f"{least:.2g}…{most:.2g}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def cell_facts(record: Record) -> dict[str, Any]:
    """Return what a test report carries of a cell: plain values that cross process borders."""
    return {
        "cell": record.cell,
        "failed": record.failed and record.outcome != "unavailable",
        "text": describe_record(record),
    }
