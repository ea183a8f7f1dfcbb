"""Digest a run into what other pages than its own need of it, so that it is read once."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.report.files import name_file, read_data, write_data
from harness.report.heatmap import State, state_of
from harness.report.pages import (
    RunSummary,
    Totals,
    condense_run,
    describe_machine,
    list_unexplained,
    summarize_run,
)
from harness.report.sweeps import SweepLine
from harness.report.text import OUTCOMES
from harness.store.journal import JOURNAL, RunJournal
from harness.store.record import Head, Record
from harness.store.rows import Brief, Sketch

RUNS = "runs"
GATE = "gate failed"
# Whoever changes what a digest holds counts this up; digests of another version are made again.
DIGEST_VERSION = 3
REASON_CHARACTERS = 300
MEASURES = ("score", "fit", "seconds", "peak_memory")


@dataclass(frozen=True)
class CellDigest:
    """Hold what one run says of a cell; ``fit`` is the sum over replicates, in seconds.

    Values are None where the cell has no result. ``replicates`` are the metric's values.
    """

    cell: str
    dataset: str
    algorithm: str
    framework: str
    mode: str
    task: str
    state: State
    outcome: str
    reason: str
    reused: str | None
    metric: str | None
    greater_is_better: bool
    value: float | None
    spread: float | None
    fit: float | None
    seconds: float
    peak_memory: float | None
    replicates: tuple[float, ...]

    @property
    def outcome_word(self) -> str:
        """Return how the cell ended in words; a gate that failed is said to have failed."""
        if self.outcome != "ok":
            return OUTCOMES.get(self.outcome, self.outcome)  # type: ignore[call-overload,no-any-return]
        return {"failed": GATE, "expected": "failed as declared"}.get(self.state, "ok")


@dataclass(frozen=True)
class RunDigest:
    """Hold a run's line in the list of runs; its cells stand in the data file ``stem``.

    ``stamp`` is its journal's time and size when it was read. ``failures`` count failed cells
    by outcome, and ``GATE`` those that only a gate fails. ``sweeps`` counts the cells that are
    sweeps, but for those that were unavailable.
    """

    summary: RunSummary
    moment: str
    commit: str | None
    dirty: bool
    stem: str
    stamp: tuple[int, int]
    failures: tuple[tuple[str, int], ...]
    sweeps: int

    def as_json(self) -> dict[str, Any]:
        """Return the digest as JSON values."""
        return asdict(self)


def stamp_of(folder: Path) -> tuple[int, int]:
    """Return the time and the size of a run's journal; zeros where there is none."""
    try:
        found = (folder / JOURNAL).stat()
    except OSError:
        return (0, 0)
    return (found.st_mtime_ns, found.st_size)


def read_digests(reports: Path) -> dict[str, RunDigest]:
    """Return the digests that an earlier report left, by run; none where their form is another."""
    stored = read_data(reports, RUNS)
    if not isinstance(stored, dict) or stored.get("version") != DIGEST_VERSION:
        return {}
    try:
        return {one.summary.name: one for one in map(_parse_digest, stored["runs"])}
    except (KeyError, TypeError, ValueError):
        return {}


def write_digests(reports: Path, digests: Sequence[RunDigest]) -> None:
    """Write ``data/runs.js``: all runs, newest first."""
    rows = [digest.as_json() for digest in digests]
    write_data(reports, RUNS, {"version": DIGEST_VERSION, "runs": rows})


def digest_run(run: RunJournal, cells: Sequence[CellDigest], stamp: tuple[int, int]) -> RunDigest:
    """Digest a run's journal, whose cells are given; ``stamp`` was taken before it was read."""
    return _make_digest(summarize_run(run), run.head, cells, len(list_unexplained(run)), stamp)


def digest_sketch(sketch: Sketch, cells: Sequence[CellDigest], stamp: tuple[int, int]) -> RunDigest:
    """Digest a run that the index knows, whose cells are given; the result is the journal's."""
    failed = {cell.cell for cell in cells if cell.state == "failed"}
    tests = sum(cell not in failed for cell in sketch.failing)
    states = Counter(cell.state for cell in cells)
    summary = condense_run(sketch.name, sketch.head, sketch.end, sketch.resumed, states, tests)
    return _make_digest(summary, sketch.head, cells, tests, stamp)


def _make_digest(
    summary: RunSummary,
    head: Head | None,
    cells: Sequence[CellDigest],
    tests: int,
    stamp: tuple[int, int],
) -> RunDigest:
    failures: Counter[str] = Counter(cell.outcome_word for cell in cells if cell.state == "failed")
    failures["failed test"] += tests
    return RunDigest(
        summary=summary,
        moment=head.started if head else "",
        commit=head.git_commit if head else None,
        dirty=bool(head and head.git_dirty),
        stem=name_file("run", summary.name),
        stamp=stamp,
        failures=tuple((name, number) for name, number in sorted(failures.items()) if number),
        sweeps=sum(cell.mode == "sweep" and cell.state != "unavailable" for cell in cells),
    )


def write_cells(
    reports: Path,
    head: Head | None,
    digest: RunDigest,
    cells: Sequence[CellDigest],
    sweeps: Sequence[SweepLine] | None,
) -> None:
    """Write a run's data file: its environment and its cells, for comparing it with others.

    ``sweeps`` is None where the run was not read, as the index does not have them.
    """
    machine = describe_machine(head) if head else ()
    write_data(
        reports,
        digest.stem,
        {
            "run": digest.summary.name,
            "environment": [
                ("Commit", digest.summary.commit),
                ("Branch", digest.summary.branch),
                ("Command", shlex.join(head.command) if head else ""),
                *machine,
            ],
            "packages": sorted(head.packages.items()) if head else [],
            "columns": list(CellDigest.__dataclass_fields__),
            "cells": [
                list(vars(cell).values()) for cell in sorted(cells, key=lambda cell: cell.cell)
            ],
            "sweeps": None if sweeps is None else [asdict(one) for one in sweeps],
        },
    )


def read_cells(reports: Path, digest: RunDigest) -> dict[str, CellDigest]:
    """Return a run's cells from its data file; none where it cannot be read."""
    stored = read_data(reports, digest.stem)
    if not isinstance(stored, dict):
        return {}
    cells = [
        CellDigest(**dict(zip(stored["columns"], row, strict=True))) for row in stored["cells"]
    ]
    return {one.cell: one for one in cells}


def digest_cell(record: Record) -> CellDigest:
    """Digest one record."""
    score, result = record.score, record.result
    replicates = result.replicates if result else ()
    metric = score.metric if score else None
    return CellDigest(
        cell=record.cell,
        dataset=record.dataset,
        algorithm=record.algorithm,
        framework=record.framework,
        mode=record.mode,
        task=record.task,
        state=state_of(record),
        outcome=record.outcome,
        reason=record.reason[:REASON_CHARACTERS],
        reused=record.reused,
        metric=metric,
        greater_is_better=score.greater_is_better if score else True,
        value=score.value if score else None,
        spread=score.spread if score else None,
        fit=result.timings.fit if result else None,
        seconds=record.seconds,
        peak_memory=result.peak_memory_bytes if result else None,
        replicates=tuple(r.metrics[metric] for r in replicates if metric in r.metrics)
        if metric
        else (),
    )


def digest_brief(row: Brief) -> CellDigest:
    """Digest what the index has of a record; the result is that of the record."""
    return CellDigest(
        cell=row.cell,
        dataset=row.dataset or "",
        algorithm=row.algorithm or "",
        framework=row.framework or "",
        mode=row.mode or "",
        task=row.task or "",
        state=row.state,
        outcome=row.outcome,
        reason=row.reason[:REASON_CHARACTERS],
        reused=row.reused,
        metric=row.metric,
        greater_is_better=row.greater_is_better != 0,
        value=row.value,
        spread=row.spread,
        fit=row.fit,
        seconds=row.seconds,
        peak_memory=row.peak_memory,
        replicates=tuple(json.loads(row.replicates)) if row.replicates else (),
    )


def _parse_digest(row: dict[str, Any]) -> RunDigest:
    summary = row["summary"]
    return RunDigest(
        **{
            **row,
            "summary": RunSummary(**{**summary, "totals": Totals(**summary["totals"])}),
            "stamp": tuple(row["stamp"]),
            "failures": tuple((name, number) for name, number in row["failures"]),
        }
    )
