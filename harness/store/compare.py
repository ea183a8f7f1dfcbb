"""Compare two runs by the rows that the index has of them, or that their records make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.store.rows import ResultRow, RunRow
from ml.core.contracts import Outcome

ROUNDING = 1e-6
TIMES = ("fit", "seconds", "peak_memory")


@dataclass(frozen=True)
class Failing:
    """Hold a cell that fails now and did not before."""

    cell: str
    outcome: Outcome
    reason: str


@dataclass(frozen=True)
class MetricChange:
    """Hold how a cell's metric differs; ``spread`` is the larger one of both runs' replicates.

    ``beyond`` says that the difference is larger than the spread, ``improved`` that it is better.
    """

    cell: str
    metric: str
    before: float
    after: float
    spread: float
    beyond: bool
    improved: bool


@dataclass(frozen=True)
class TimeChange:
    """Hold how a cell's time or memory differs, one run against one, which proves nothing.

    ``calibrated`` is the ratio of times, after over before, each relative to the calibration
    kernel beside it; None for memory, and where it was not measured in both runs.
    """

    cell: str
    measure: str
    before: float
    after: float
    ratio: float | None
    calibrated: float | None


@dataclass(frozen=True)
class CellsCompared:
    """Hold what differs between two runs' cells; ``alike`` ones were compared in their metric.

    ``unlike`` cells were asked for differently, or on another table; they are not compared.
    """

    newly_failing: tuple[Failing, ...]
    fixed: tuple[str, ...]
    appeared: tuple[str, ...]
    vanished: tuple[str, ...]
    unlike: tuple[str, ...]
    alike: int
    metrics: tuple[MetricChange, ...]
    times: tuple[TimeChange, ...]


@dataclass(frozen=True)
class RunsCompared(CellsCompared):
    """Hold what differs from one run to another, their environments included."""

    before: RunRow
    after: RunRow
    environment: tuple[tuple[str, str | None, str | None], ...]


def compare_runs(
    before: RunRow,
    after: RunRow,
    old: Mapping[str, ResultRow],
    new: Mapping[str, ResultRow],
) -> RunsCompared:
    """Return what differs from one run to another, each with its rows by cell."""
    parts = sorted(before.parts.keys() | after.parts.keys())
    return RunsCompared(
        before=before,
        after=after,
        environment=tuple(
            (name, before.parts.get(name), after.parts.get(name))
            for name in parts
            if before.parts.get(name) != after.parts.get(name)
        ),
        **vars(compare_cells(old, new)),
    )


def compare_cells(old: Mapping[str, ResultRow], new: Mapping[str, ResultRow]) -> CellsCompared:
    """Return what differs between the cells of two runs, given as rows by cell.

    Metrics stand by their size relative to the spread, times by their ratio, the largest first.
    """
    both = [(cell, old[cell], new[cell]) for cell in new if cell in old]
    alike = [one for one in both if one[1].entry == one[2].entry and one[1].data == one[2].data]
    unlike = [
        cell
        for cell, a, b in both
        if a.outcome == b.outcome == "ok" and (a.entry, a.data) != (b.entry, b.data)
    ]
    scored = [change for one in alike if (change := _compare_metric(*one)) is not None]
    times = [change for one in alike for change in _compare_times(*one)]
    return CellsCompared(
        newly_failing=tuple(
            Failing(cell, b.outcome, b.reason)
            for cell, a, b in both
            if b.state == "failed" and a.state != "failed"
        ),
        fixed=tuple(
            cell for cell, a, b in both if a.state == "failed" and b.state in ("passed", "expected")
        ),
        appeared=tuple(cell for cell in new if cell not in old),
        vanished=tuple(cell for cell in old if cell not in new),
        unlike=tuple(unlike),
        alike=sum(a.value is not None and b.value is not None for _, a, b in alike),
        metrics=tuple(sorted(scored, key=_weight, reverse=True)),
        times=tuple(sorted(times, key=_distance, reverse=True)),
    )


def _compare_metric(cell: str, a: ResultRow, b: ResultRow) -> MetricChange | None:
    if a.value is None or b.value is None or a.metric is None or a.metric != b.metric:
        return None
    difference = abs(b.value - a.value)
    rounding = ROUNDING * max(abs(a.value), abs(b.value))
    if difference <= rounding:
        return None
    spread = max(a.spread or 0.0, b.spread or 0.0)
    return MetricChange(
        cell=cell,
        metric=b.metric or "",
        before=a.value,
        after=b.value,
        spread=spread,
        beyond=difference > spread,
        improved=(b.value > a.value) == b.greater_is_better,
    )


def _compare_times(cell: str, a: ResultRow, b: ResultRow) -> Sequence[TimeChange]:
    if not (a.timed and b.timed and a.outcome == b.outcome == "ok"):
        return ()
    found = []
    for measure in TIMES:
        before, after = getattr(a, measure), getattr(b, measure)
        if before is None or after is None or before == after:
            continue
        ratio = after / before if before else None
        calibrated = None
        if ratio is not None and measure != "peak_memory" and a.calibration and b.calibration:
            calibrated = ratio * a.calibration / b.calibration
        found.append(TimeChange(cell, measure, before, after, ratio, calibrated))
    return found


def _weight(change: MetricChange) -> tuple[bool, float]:
    difference = abs(change.after - change.before)
    return change.beyond, difference / change.spread if change.spread else float("inf")


def _distance(change: TimeChange) -> float:
    ratio = change.calibrated or change.ratio
    return max(ratio, 1 / ratio) if ratio else float("inf")
