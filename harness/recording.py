"""Make records of how cells ended, and judge them, when they have run and again later."""

from __future__ import annotations

from collections.abc import Sequence

from harness.cell import Cell
from harness.execute.executor import Execution
from harness.gates.band import Accepted
from harness.gates.judge import Gate, judge_cell
from harness.gates.parity import compare_siblings
from harness.gates.score import score_result
from harness.store.record import Attempt, Record, Verdict
from ml.core.contracts import ErrorInfo, Failure, TrainResult
from ml.core.errors import describe


def make_record(
    run: str,
    cell: Cell,
    execution: Execution,
    started: str,
    before: Sequence[Record],
    gates: Sequence[Gate] = (),
    accepted: Accepted | None = None,
) -> Record:
    """Judge how a cell ended, beside the records that its run has already.

    ``gates`` are the project's own, ``accepted`` the bands to which scores are held.
    """
    response = execution.response
    result = response if isinstance(response, TrainResult) else None
    failure = response if isinstance(response, Failure) else None
    score = score_result(result) if result else None
    comparisons = compare_siblings(cell, result, before) if result else ()
    verdicts = judge_cell(cell, response, score, comparisons, gates, accepted)
    return Record(
        run=run,
        cell=cell.id,
        dataset=cell.dataset,
        algorithm=cell.algorithm,
        framework=cell.framework,
        mode=cell.mode,
        task=cell.task,
        outcome=failure.outcome if failure else "ok",
        reason=_reason(failure, verdicts),
        started=started,
        seconds=execution.seconds,
        limit_seconds=cell.timeout,
        error=failure.error if failure else None,
        score=score,
        verdicts=verdicts,
        comparisons=comparisons,
        request=cell.to_request().model_dump(mode="json"),
        result=result,
    )


def judge_again(
    cell: Cell, record: Record, gates: Sequence[Gate] = (), accepted: Accepted | None = None
) -> Record:
    """Return the record as today's gates judge it, beside the cells that it was compared with."""
    response = response_of(record)
    score = score_result(response) if isinstance(response, TrainResult) else None
    verdicts = judge_cell(cell, response, score, record.comparisons, gates, accepted)
    reason = _reason(None if isinstance(response, TrainResult) else response, verdicts)
    return record.model_copy(update={"score": score, "verdicts": verdicts, "reason": reason})


def response_of(record: Record) -> TrainResult | Failure:
    """Return the response that a record was made of."""
    if record.result is not None:
        return record.result
    error = record.error or ErrorInfo(code="unknown", message=record.reason)
    return Failure(id=record.cell, outcome=record.outcome, error=error)


def as_attempt(response: TrainResult | Failure, seconds: float, reason: str = "") -> Attempt:
    """Return how an attempt ended; ``reason`` is why it is made again where that is no failure."""
    if isinstance(response, Failure):
        return Attempt(outcome=response.outcome, reason=response.error.message, seconds=seconds)
    return Attempt(outcome="ok", reason=reason, seconds=seconds)


def stopped_execution(cell: Cell, problem: BaseException) -> Execution:
    """Return the execution of a cell that raised in this process, or was cut off in it."""
    text = describe(problem) if isinstance(problem, Exception) else str(problem)
    if isinstance(problem, Exception):
        code, remedy = "unexpected_exception", "look at it with --pdb"
    else:
        code, remedy = "interrupted", "raise the limit of whatever stopped the test"
    timed_out = code == "interrupted" and "timeout" in text.lower()
    return Execution(
        Failure(
            id=cell.id,
            outcome="timeout" if timed_out else "error",
            error=ErrorInfo(code=code, message=text, remedy=remedy),
        ),
        0.0,
    )


def _reason(failure: Failure | None, verdicts: Sequence[Verdict]) -> str:
    if failure is not None:
        return failure.error.message
    return "; ".join(f"{v.gate}: {v.text}" for v in verdicts if v.breaks)
