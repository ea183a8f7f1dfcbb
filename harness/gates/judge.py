"""Judge one cell: named gates that pass or fail with numbers."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal

from harness.cell import Cell
from harness.gates.band import Accepted, judge_band
from harness.gates.parity import describe_comparison
from harness.gates.score import score_result as score_result
from harness.store.record import Comparison, Score, Verdict, is_cut
from ml.core.contracts import Failure, TrainResult

Status = Literal["pass", "fail", "not_applicable"]
GATES: dict[str, str] = {
    "outcome": "the cell ended with a result",
    "beats_baseline": "the model is better than the dummy baseline by more than the spread",
    "in_band": "the score is no worse than the band that was accepted for the cell",
    "time_budget": "training stayed within the cell's time budget",
    "in_parity": "the frameworks that ran the same cell agree, from the split to the metric",
}
NO_RESULT = "there is no result to judge"


# What a project's gate tells: passes or not, perhaps with a text; None where it does not apply.
Finding = bool | tuple[bool, str] | None
Judge = Callable[[Cell, TrainResult, Score | None], Finding]


@dataclass(frozen=True)
class Gate:
    """Hold a gate of a project's own: its name, when it passes in words, and how it judges."""

    name: str
    meaning: str
    judge: Judge


def judge_cell(
    cell: Cell,
    response: TrainResult | Failure,
    score: Score | None,
    comparisons: Sequence[Comparison] = (),
    gates: Sequence[Gate] = (),
    accepted: Accepted | None = None,
) -> tuple[Verdict, ...]:
    """Return one verdict per gate, in the order of ``GATES``, then of the project's own.

    ``comparisons`` are those with the same cell of the frameworks that ran before, ``accepted``
    the bands to which scores are held.
    """
    ours = _verdicts(cell, response, score, comparisons, accepted)
    own = ((gate.name, *_judge_by(gate, cell, response, score)) for gate in gates)
    return tuple(
        Verdict(
            gate=gate,
            status=status,
            text=text,
            expected=_declared(cell, comparisons)
            if (gate, status) == ("in_parity", "fail")
            else cell.expected_failure(gate),
        )
        for gate, status, text in chain(ours, own)
    )


def _verdicts(
    cell: Cell,
    response: TrainResult | Failure,
    score: Score | None,
    comparisons: Sequence[Comparison],
    accepted: Accepted | None,
) -> Iterator[tuple[str, Status, str]]:
    if isinstance(response, Failure):
        yield "outcome", "fail", f"{response.outcome}: {response.error.message}"
        for gate in ("beats_baseline", "in_band", "time_budget", "in_parity"):
            yield gate, "not_applicable", NO_RESULT
        return
    yield "outcome", "pass", f"{len(response.replicates)} replicates"
    yield ("beats_baseline", *_beats_baseline(cell, response, score))
    if response.sweep is not None and is_cut(response):
        yield "in_band", "not_applicable", "the clock ended the search, or a trial of it"
    else:
        yield ("in_band", *judge_band(cell, score, accepted))
    yield ("time_budget", *_time_budget(cell, response))
    yield ("in_parity", *_in_parity(cell, response, comparisons))


def _judge_by(
    gate: Gate, cell: Cell, response: TrainResult | Failure, score: Score | None
) -> tuple[Status, str]:
    if isinstance(response, Failure):
        return "not_applicable", NO_RESULT
    try:
        finding = gate.judge(cell, response, score)
    except Exception as problem:  # noqa: BLE001 - a gate of a project's own may raise anything
        place = traceback.extract_tb(problem.__traceback__)[-1]
        text = f"the gate raised {type(problem).__name__}: {problem}"
        return "fail", f"{text} ({place.filename}:{place.lineno})"
    passes, text = finding if isinstance(finding, tuple) else (finding, gate.meaning)
    if passes is None:
        return "not_applicable", f"{gate.name} does not apply"
    if not isinstance(passes, bool) or not isinstance(text, str):
        return "fail", f"the gate returned {finding!r}, not a truth value, or one and a text"
    return ("pass" if passes else "fail"), text


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


def _in_parity(
    cell: Cell, result: TrainResult, comparisons: Sequence[Comparison]
) -> tuple[Status, str]:
    if cell.mode == "sweep":
        return "not_applicable", "a sweep may find other settings in each framework"
    if result.parity is None:
        return "not_applicable", "the model has no first updates to compare"
    if not comparisons:
        return "not_applicable", "no other framework has run this cell before"
    ordered = sorted(comparisons, key=lambda comparison: comparison.passes)
    passes = all(comparison.passes for comparison in comparisons)
    return ("pass" if passes else "fail"), "; ".join(map(describe_comparison, ordered))


def _declared(cell: Cell, comparisons: Sequence[Comparison]) -> str | None:
    # Which of two cells is judged depends on which came later, so that a declaration for
    # either covers their comparison.
    reasons = [
        cell.expected_failure("in_parity") or cell.expected_failure("in_parity", comparison.other)
        for comparison in comparisons
        if not comparison.passes
    ]
    known = [reason for reason in reasons if reason is not None]
    return "; ".join(dict.fromkeys(known)) if len(known) == len(reasons) else None
