"""Judge one cell: named gates that pass or fail with numbers."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Literal

from harness.cell import Cell
from harness.store.record import Score, Verdict
from ml.core.contracts import Failure, TrainResult

Status = Literal["pass", "fail", "not_applicable"]
GATES: dict[str, str] = {
    "outcome": "the cell ended with a result",
    "beats_baseline": "the model is better than the dummy baseline by more than the spread",
    "time_budget": "training stayed within the cell's time budget",
}


def score_result(result: TrainResult) -> Score | None:
    """Condense the replicates' primary metric; None where some replicate does not define it."""
    pairs = [
        (replicate.metrics[result.metric], replicate.baseline[result.metric])
        for replicate in result.replicates
        if result.metric in replicate.metrics and result.metric in replicate.baseline
    ]
    if len(pairs) < len(result.replicates):
        return None
    sign = 1.0 if result.greater_is_better else -1.0
    improvements = [sign * (value - baseline) for value, baseline in pairs]
    return Score(
        metric=result.metric,
        greater_is_better=result.greater_is_better,
        value=statistics.fmean(value for value, _ in pairs),
        baseline=statistics.fmean(baseline for _, baseline in pairs),
        improvement=statistics.fmean(improvements),
        spread=statistics.stdev(improvements) if len(improvements) > 1 else 0.0,
    )


def judge_cell(
    cell: Cell, response: TrainResult | Failure, score: Score | None
) -> tuple[Verdict, ...]:
    """Return one verdict per gate, in the order of ``GATES``."""
    return tuple(
        Verdict(gate=gate, status=status, text=text, expected=cell.expected_failure(gate))
        for gate, status, text in _verdicts(cell, response, score)
    )


def _verdicts(
    cell: Cell, response: TrainResult | Failure, score: Score | None
) -> Iterator[tuple[str, Status, str]]:
    if isinstance(response, Failure):
        yield "outcome", "fail", f"{response.outcome}: {response.error.message}"
        for gate in ("beats_baseline", "time_budget"):
            yield gate, "not_applicable", "there is no result to judge"
        return
    yield "outcome", "pass", f"{len(response.replicates)} replicates"
    yield ("beats_baseline", *_beats_baseline(cell, response, score))
    yield ("time_budget", *_time_budget(cell, response))


def _beats_baseline(cell: Cell, result: TrainResult, score: Score | None) -> tuple[Status, str]:
    if cell.is_baseline:
        return "not_applicable", "the algorithm is itself a baseline"
    if score is None:
        reasons = [
            f"replicate {replicate.index}: {replicate.undefined.get(result.metric, 'no reason')}"
            for replicate in result.replicates
            if result.metric not in replicate.metrics
        ]
        return "fail", f"{result.metric} is not defined; " + "; ".join(reasons)
    numbers = (
        f"{score.metric} {score.value:.4g} against {score.baseline:.4g}: better by "
        f"{score.improvement:.4g}, spread {score.spread:.2g}"
    )
    return ("pass" if score.improvement > score.spread else "fail"), numbers


def _time_budget(cell: Cell, result: TrainResult) -> tuple[Status, str]:
    cut = [r.index for r in result.replicates if r.stopped == "time_budget"]
    numbers = f"trained {result.timings.fit:.3g} s of {cell.budget.seconds:g} s"
    if cut:
        return "fail", numbers + f"; replicates {cut} were stopped before they were done"
    return ("pass" if result.timings.fit <= cell.budget.seconds else "fail"), numbers
