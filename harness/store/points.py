"""Make series of the index's rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from harness.store.rows import GREATER, MEASURES, RunRow
from harness.store.series import Point, Series


class Facts(NamedTuple):
    """Hold what a point says beside its value; the names are those of the columns."""

    cell_id: int
    run_id: int
    started: str
    timed: int
    cut: int
    commit: str | None
    metric: str | None
    greater_is_better: int | None
    replicates: str | None
    splits: str | None
    calibration: float | None
    data: str
    entry: str
    scale: str
    device: str | None


def make_series(cell: str, measure: str, rows: Sequence[tuple[RunRow, Facts, float]]) -> Series:
    """Return a cell's measure as the rows of its runs have it, the oldest first."""
    kind = MEASURES[measure][1]
    # A run of fewer rows or replicates, as in a pull request, says nothing of the nights.
    rows = [row for row in rows if row[1].scale == rows[-1][1].scale]
    greater = measure in GREATER
    if kind != "metric":
        rows = [row for row in rows if row[1].timed]
    else:
        rows = [row for row in rows if not row[1].cut]
    if kind == "metric" and rows:
        newest = rows[-1][1]
        rows = [row for row in rows if row[1].metric == newest.metric]
        greater = bool(newest.greater_is_better)
    # Nearly all runs of a cell have the same splits.
    splits: dict[str, tuple[str, ...]] = {}
    points = []
    for run, facts, value in rows:
        environment = run.environment
        if facts.device not in (None, "cpu", "unknown"):
            environment += f"@{facts.device}"
        replicates: tuple[float, ...] = ()
        named: tuple[str, ...] = ()
        if kind == "metric" and facts.replicates and facts.splits:
            replicates = tuple(json.loads(facts.replicates))
            if facts.splits not in splits:
                splits[facts.splits] = tuple(json.loads(facts.splits))
            named = splits[facts.splits]
        points.append(
            Point(
                run.name,
                facts.started,
                facts.commit,
                bool(run.dirty),
                environment,
                facts.data,
                facts.entry,
                value,
                replicates,
                named,
                # A slow machine needs no more memory.
                facts.calibration if kind == "timing" else None,
            )
        )
    return Series(cell, measure, kind, greater, tuple(points))
