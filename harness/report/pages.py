"""Build the page of a run as data: what failed, the heatmaps, the cells, earlier runs."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from harness.report.cells import CellRow, build_row
from harness.report.distill import Distillation, build_distillations
from harness.report.heatmap import Heatmap, State, build_heatmaps, state_of
from harness.report.parity import ParityTable, build_parity
from harness.report.rerun import write_rerun
from harness.report.sweeps import SweepLine, build_sweeps
from harness.report.text import NOTHING, OUTCOMES, count, write_bytes, write_moment, write_seconds
from harness.store.journal import RunJournal
from harness.store.ladder import Compared, list_comparisons
from harness.store.record import End, Head, Record, TestLine, Verdict
from ml.core.contracts import ErrorInfo

STATE_WORDS: dict[State, str] = {
    "failed": "failed",
    "expected": "failed as declared",
    "unavailable": "unavailable",
    "passed": "passed",
}
STATE_ORDER: tuple[State, ...] = tuple(STATE_WORDS)
EXITS = {
    0: "finished",
    1: "finished, with failing tests",
    2: "interrupted",
    3: "ended by an internal error of pytest",
    4: "ended by a usage error",
    5: "finished, with no tests",
}


@dataclass(frozen=True)
class Totals:
    """Count a run's cells; each cell is in exactly one of the four that follow ``cells``."""

    cells: int
    passed: int
    failed: int
    expected: int
    unavailable: int


@dataclass(frozen=True)
class RunSummary:
    """Hold a run in one line; ``name`` is its folder's name.

    ``finished`` is false for a run that was cut off, interrupted or broken by pytest; ``took``
    is empty where it is not known, as where sessions were cut off and resumed.
    """

    name: str
    started: str
    commit: str
    branch: str
    totals: Totals
    failed_tests: int
    took: str
    finished: bool
    ending: str


@dataclass(frozen=True)
class CellReport:
    """Hold a cell that did not pass: why, what to do, and how to run it again."""

    cell: str
    anchor: str
    outcome: str
    outcome_word: str
    reason: str
    verdicts: tuple[Verdict, ...]
    error: ErrorInfo | None
    rerun: str


@dataclass(frozen=True)
class TestReport:
    """Hold a test that failed although no failing cell explains it."""

    __test__ = False

    node: str
    status: str
    reason: str
    rerun: str


@dataclass(frozen=True)
class Choice:
    """Hold one filter of the table: groups of options, each a value, its word and its cells."""

    name: str
    groups: tuple[tuple[str, tuple[tuple[str, str, int], ...]], ...]


@dataclass(frozen=True)
class RunPage:
    """Hold everything that a run's page shows, in the order in which it shows it."""

    summary: RunSummary
    headline: str
    tone: Literal["good", "warn", "bad"]
    command: str
    tests: str
    reused: str
    damage: tuple[str, ...]
    kinds: tuple[str, ...]
    failed: tuple[CellReport, ...]
    failed_tests: tuple[TestReport, ...]
    expected: tuple[CellReport, ...]
    unavailable: tuple[CellReport, ...]
    outdated: tuple[tuple[str, str, str], ...]
    heatmaps: tuple[Heatmap, ...]
    parity: ParityTable | None
    rows: tuple[CellRow, ...]
    choices: tuple[Choice, ...]
    environment: tuple[tuple[str, str], ...]
    packages: tuple[tuple[str, str], ...]
    earlier: tuple[RunSummary, ...]
    distillations: tuple[Distillation, ...]
    sweeps: tuple[SweepLine, ...]


def summarize_run(run: RunJournal) -> RunSummary:
    """Condense a run to its line in the list of runs."""
    return condense_run(
        run.folder.name,
        run.head,
        run.end,
        len(run.resumed),
        Counter(state_of(record) for record in run.records),
        len(list_unexplained(run)),
    )


def condense_run(
    name: str,
    head: Head | None,
    end: End | None,
    resumed: int,
    states: Counter[State],
    failed_tests: int,
) -> RunSummary:
    """Return a run's line in the list of runs, of the facts about it."""
    if end is None:
        ending = "cut off: its journal has no end"
    else:
        ending = EXITS.get(end.exit_status, f"ended with exit status {end.exit_status}")
    if resumed:
        times = "once" if resumed == 1 else f"{resumed} times"
        ending += f" (resumed {times})"
    return RunSummary(
        name=name,
        started=write_moment(head.started if head else None),
        commit=_write_commit(head),
        branch=(head and head.git_branch) or NOTHING,
        totals=Totals(
            cells=states.total(),
            passed=states["passed"],
            failed=states["failed"],
            expected=states["expected"],
            unavailable=states["unavailable"],
        ),
        failed_tests=failed_tests,
        took=write_seconds(end.seconds) if end and not resumed else "",
        finished=end is not None and end.exit_status in (0, 1),
        ending=ending,
    )


def build_run_page(run: RunJournal, earlier: Sequence[RunSummary]) -> RunPage:
    """Build the page of a run; ``earlier`` are the runs before it, newest first.

    Cells stand with failures first, then expected failures, unavailable ones and the rest,
    each by dataset and in the order in which they ran.
    """
    records = sorted(
        run.records,
        key=lambda r: (STATE_ORDER.index(state_of(r)), r.outcome == "ok", r.dataset),
    )
    anchors = _name_anchors(records)

    def reports(state: State) -> tuple[CellReport, ...]:
        chosen = [record for record in records if state_of(record) == state]
        return tuple(report_cell(record, anchors[record.cell], run.head) for record in chosen)

    compared = list_comparisons(run.records)
    by_cell: dict[str, list[Compared]] = {}
    for one in compared:
        for cell in one.cells:
            by_cell.setdefault(cell, []).append(one)
    summary = summarize_run(run)
    statuses = Counter(line.status for line in run.tests)
    return RunPage(
        summary=summary,
        headline=write_headline(summary),
        tone=_choose_tone(run, summary),
        command=shlex.join(run.head.command) if run.head else "",
        tests=", ".join(f"{number} {status}" for status, number in statuses.most_common()),
        reused=_count_reused(records),
        damage=run.damage,
        kinds=_count_kinds(records),
        failed=reports("failed"),
        failed_tests=tuple(report_test(line) for line in list_unexplained(run)),
        expected=reports("expected"),
        unavailable=reports("unavailable"),
        outdated=tuple(
            (record.cell, anchors[record.cell], verdict.gate)
            for record in records
            for verdict in record.verdicts
            if verdict.status == "pass" and verdict.expected is not None
        ),
        heatmaps=build_heatmaps(run.records, anchors),
        parity=build_parity(compared, anchors),
        rows=tuple(
            build_row(record, anchors[record.cell], by_cell.get(record.cell, ()))
            for record in records
        ),
        choices=_list_choices(records),
        environment=describe_machine(run.head) if run.head else (),
        packages=tuple(sorted(run.head.packages.items())) if run.head else (),
        earlier=tuple(earlier),
        distillations=build_distillations(records, anchors),
        sweeps=build_sweeps(records, anchors),
    )


def write_headline(summary: RunSummary) -> str:
    """Return in one phrase whether the run's cells passed."""
    totals, tests = summary.totals, summary.failed_tests
    if not summary.finished and totals.cells and not totals.failed:
        text = f"Not finished: {count(totals.cells, 'cell')} recorded, none failed"
    elif totals.failed:
        text = f"{totals.failed} of {count(totals.cells, 'cell')} failed"
    elif totals.cells and totals.passed == totals.cells:
        text = "The one cell passed" if totals.cells == 1 else f"All {totals.cells} cells passed"
    else:
        text = "No cell failed" if totals.cells else "No cell was recorded"
    if tests:
        more = f", and {count(tests, 'more test')}"
        text += more if totals.failed else f", but {count(tests, 'test')} failed"
    return text


def _choose_tone(run: RunJournal, summary: RunSummary) -> Literal["good", "warn", "bad"]:
    if summary.totals.failed or summary.failed_tests:
        return "bad"
    clean = run.end is not None and run.end.exit_status == 0
    return "good" if clean and summary.totals.cells and not run.damage else "warn"


def _list_choices(records: Sequence[Record]) -> tuple[Choice, ...]:
    frameworks = Counter(record.framework for record in records)
    tasks = Counter(record.task for record in records)
    states = Counter(state_of(record) for record in records)
    outcomes = Counter(record.outcome for record in records)
    return (
        Choice("framework", (("", tuple((name, name, frameworks[name]) for name in frameworks)),)),
        Choice("task", (("", tuple((name, name, tasks[name]) for name in tasks)),)),
        Choice(
            "outcome",
            (
                (
                    "judged",
                    tuple(
                        (name, STATE_WORDS[name], states[name])
                        for name in STATE_ORDER
                        if name in states
                    ),
                ),
                (
                    "ended",
                    tuple(
                        (name, word, outcomes[name])
                        for name, word in OUTCOMES.items()
                        if name in outcomes
                    ),
                ),
            ),
        ),
    )


def list_unexplained(run: RunJournal) -> list[TestLine]:
    """Return the tests that failed although no failing cell explains it."""
    known = {record.cell for record in run.records if state_of(record) == "failed"}
    return [
        line
        for line in run.tests
        if line.status in ("failed", "error") and (line.cell is None or line.cell not in known)
    ]


def name_anchor(cell: str) -> str:
    """Return a cell's fragment in the page of a run, where no other cell has taken it."""
    return "cell-" + re.sub(r"[^A-Za-z0-9_.-]", "_", cell)


def _name_anchors(records: Sequence[Record]) -> dict[str, str]:
    # A fragment that holds for next month's run too, and is a valid id whatever the name is.
    anchors: dict[str, str] = {}
    taken: set[str] = set()
    for record in records:
        anchor = base = name_anchor(record.cell)
        number = 1
        while anchor in taken:
            number += 1
            anchor = f"{base}.{number}"
        taken.add(anchor)
        anchors[record.cell] = anchor
    return anchors


def report_cell(record: Record, anchor: str, head: Head | None) -> CellReport:
    """Report why a cell did not pass, what to do, and how to run it again."""
    # A gate that only says the outcome and its reason again adds nothing to them.
    verdicts = tuple(
        verdict
        for verdict in record.verdicts
        if verdict.status == "fail"
        and (verdict.expected is not None or verdict.text != f"{record.outcome}: {record.reason}")
    )
    told = "; ".join(verdict.text for verdict in verdicts)
    return CellReport(
        cell=record.cell,
        anchor=anchor,
        outcome=record.outcome,
        outcome_word=OUTCOMES[record.outcome] if record.outcome != "ok" else "gate failed",
        reason=record.reason if record.reason not in told else "",
        verdicts=verdicts,
        error=record.error,
        rerun=write_rerun(record, head),
    )


def report_test(line: TestLine) -> TestReport:
    """Report a failing test and how to run it again."""
    return TestReport(
        node=line.node,
        status=line.status,
        reason=line.reason,
        rerun=shlex.join(["pytest", line.node]),
    )


def _count_kinds(records: Sequence[Record]) -> tuple[str, ...]:
    kinds: Counter[str] = Counter()
    for record in records:
        if state_of(record) != "failed":
            continue
        if record.outcome != "ok":
            kinds[OUTCOMES[record.outcome]] += 1
        else:
            kinds.update(verdict.gate for verdict in record.verdicts if verdict.breaks)
    return tuple(f"{number} × {kind}" for kind, number in kinds.most_common())


def _count_reused(records: Sequence[Record]) -> str:
    number = sum(record.reused is not None for record in records)
    return f"{count(number, 'cell')} reused from earlier runs" if number else ""


def _write_commit(head: Head | None) -> str:
    if head is None or head.git_commit is None:
        return NOTHING
    return head.git_commit[:10] + (" + local changes" if head.git_dirty else "")


def describe_machine(head: Head) -> tuple[tuple[str, str], ...]:
    """Return what a run's head says of the machine, as names and texts."""
    cluster = [
        count(int(has), "node")
        if name == "nodes"
        else write_bytes(has)
        if name == "memory"
        else f"{has:g} {name}"
        for name, has in head.cluster.items()
    ]
    return (
        *([("Executor", f"{head.executor}: {', '.join(cluster)}")] if cluster else []),
        ("Python", head.python),
        ("Platform", head.platform),
        ("Processor", head.cpu or NOTHING),
        ("Cores", count(head.cores, "core")),
        ("Memory", write_bytes(head.memory_bytes)),
        ("Threads", f"{head.threads_per_worker} per worker"),
    )
