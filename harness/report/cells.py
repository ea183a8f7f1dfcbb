"""Build a cell's row in the table, and the details that it opens to."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.report.curve import Curves, draw_curves
from harness.report.heatmap import SYMBOLS, State, state_of
from harness.report.parity import Ladder, build_ladder
from harness.report.sweeps import describe_sweep
from harness.report.text import NOTHING, OUTCOMES, count, write_bytes, write_number, write_seconds
from harness.store.ladder import Compared
from harness.store.record import Record, Verdict
from ml.core.contracts import DataSummary, DistillationInfo, ReplicateResult, TrainResult

STOPPED = {
    "completed": "completed",
    "early_stopping": "early stopping",
    "time_budget": "time budget",
}


@dataclass(frozen=True)
class Number:
    """Hold a table's number: its words, and the value by which it sorts (None sorts last)."""

    text: str
    value: float | None


@dataclass(frozen=True)
class Detail:
    """Hold what a row opens to; ``facts`` and ``metrics`` have one text per replicate.

    ``reused`` names the run that trained the cell, None where the page's own run did.
    """

    reason: str
    reused: str | None
    data: str
    model: str
    verdicts: tuple[Verdict, ...]
    replicates: tuple[str, ...]
    facts: tuple[tuple[str, tuple[str, ...]], ...]
    metrics: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
    undefined: tuple[tuple[str, str, str], ...]
    curves: Curves | None
    ladder: Ladder | None
    warnings: tuple[str, ...]
    versions: str
    attempts: tuple[str, ...] = ()


@dataclass(frozen=True)
class CellRow:
    """Hold one row of the table of cells; ``numbers`` are in the order of ``NUMBER_COLUMNS``."""

    anchor: str
    cell: str
    dataset: str
    algorithm: str
    framework: str
    mode: str
    task: str
    state: State
    outcome: str
    outcome_word: str
    gates: str
    metric: str
    numbers: tuple[Number, ...]
    detail: Detail
    request: str


NUMBER_COLUMNS: tuple[str, ...] = (
    "score",
    "baseline",
    "improvement ± spread",
    "fit",
    "total",
    "rows/s",
    "peak memory",
    "artifact",
    "epochs",
)


def build_row(record: Record, anchor: str, compared: Sequence[Compared] = ()) -> CellRow:
    """Build a cell's row; fit seconds and epochs are means over its replicates.

    ``compared`` may be any comparisons of the run; the cell's own are shown.
    """
    state = state_of(record)
    return CellRow(
        anchor=anchor,
        cell=record.cell,
        dataset=record.dataset,
        algorithm=record.algorithm,
        framework=record.framework,
        mode=record.mode,
        task=record.task,
        state=state,
        outcome=record.outcome,
        outcome_word=OUTCOMES[record.outcome],
        gates=_write_gates(record, state),
        metric=record.score.metric if record.score else NOTHING,
        numbers=_number_columns(record),
        detail=_build_detail(record, compared),
        request=json.dumps(record.request, separators=(",", ": "), ensure_ascii=False),
    )


def _write_gates(record: Record, state: State) -> str:
    failing = [verdict.gate for verdict in record.verdicts if verdict.status == "fail"]
    if failing:
        return f"{SYMBOLS[state]} {', '.join(failing)}"
    judged = sum(verdict.status == "pass" for verdict in record.verdicts)
    return f"{SYMBOLS['passed']} {judged}/{judged}" if judged else NOTHING


def _number_columns(record: Record) -> tuple[Number, ...]:
    score, result = record.score, record.result
    replicates = result.replicates if result else ()
    fit = statistics.fmean(r.timings.fit for r in replicates) if replicates else None
    epochs = statistics.fmean(r.epochs for r in replicates) if replicates else None
    value = score.value if score else None
    baseline = score.baseline if score else None
    improvement = NOTHING
    if score:
        sign = "+" if score.improvement > 0 else ""
        improvement = f"{sign}{write_number(score.improvement)} ± {write_number(score.spread, 2)}"
    return (
        Number(write_number(value, 4), value),
        Number(write_number(baseline, 4), baseline),
        Number(improvement, score.improvement if score else None),
        Number(write_seconds(fit), fit),
        Number(write_seconds(record.seconds), record.seconds),
        _number(result, lambda r: r.rows_per_second, write_number),
        _number(result, lambda r: r.peak_memory_bytes, write_bytes),
        _number(result, lambda r: r.artifact_bytes, write_bytes),
        Number(f"{epochs:.0f}", epochs) if epochs else Number(NOTHING, None),
    )


def _number(
    result: TrainResult | None,
    take: Callable[[TrainResult], float],
    write: Callable[[float], str],
) -> Number:
    if result is None:
        return Number(NOTHING, None)
    return Number(write(take(result)), take(result))


def _build_detail(record: Record, compared: Sequence[Compared]) -> Detail:
    result = record.result
    replicates: Sequence[ReplicateResult] = result.replicates if result else ()
    names = dict.fromkeys(name for r in replicates for name in (*r.metrics, *r.baseline))
    return Detail(
        reason=record.reason,
        reused=record.reused,
        data=_describe_data(result.data) if result else "",
        model=_describe_model(result) if result else "",
        verdicts=record.verdicts,
        replicates=tuple(f"replicate {r.index}" for r in replicates),
        facts=_list_facts(replicates),
        metrics=tuple(
            (
                name,
                tuple(
                    (write_number(r.metrics.get(name), 4), write_number(r.baseline.get(name), 4))
                    for r in replicates
                ),
            )
            for name in names
        ),
        undefined=tuple(
            (f"replicate {r.index}", name, reason)
            for r in replicates
            for name, reason in r.undefined.items()
        ),
        curves=draw_curves([(f"replicate {r.index}", r.history, r.best_epoch) for r in replicates]),
        ladder=build_ladder(record.cell, compared),
        warnings=result.warnings if result else (),
        versions=" · ".join(f"{name} {text}" for name, text in result.versions.items())
        if result
        else "",
        attempts=tuple(
            f"attempt {number} of {len(record.attempts) + 1}: {OUTCOMES[one.outcome]}, "
            f"{write_seconds(one.seconds)}: {one.reason}"
            for number, one in enumerate(record.attempts, start=1)
        ),
    )


def _list_facts(replicates: Sequence[ReplicateResult]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    if not replicates:
        return ()
    facts: list[tuple[str, Callable[[ReplicateResult], str]]] = [
        ("rows", lambda r: f"{r.train_rows} / {r.validation_rows} / {r.test_rows}"),
        ("features", lambda r: str(r.features)),
    ]
    if any(r.epochs for r in replicates):
        facts.append(("epochs (best)", lambda r: f"{r.epochs} ({r.best_epoch or NOTHING})"))
        facts.append(("updates", lambda r: str(r.updates)))
    facts.append(("stopped", lambda r: STOPPED[r.stopped]))
    facts.append(
        (
            "prepare / fit / predict",
            lambda r: " / ".join(
                map(write_seconds, (r.timings.prepare, r.timings.fit, r.timings.predict))
            ),
        )
    )
    facts.append(("split", lambda r: r.split_sha256[:12]))
    return tuple((name, tuple(write(r) for r in replicates)) for name, write in facts)


def _describe_data(data: DataSummary) -> str:
    sample = data.sample
    rows = f"{sample.rows:,} rows"
    if sample.method != "all":
        rows = f"{sample.rows:,} of {sample.rows_total:,} rows ({sample.method})"
    classes = f", {len(data.classes)} classes" if data.classes else ""
    return (
        f"{data.id}: {rows}, {data.numeric} numeric and {data.categorical} categorical "
        f"features{classes}; content {data.content_sha256[:12]}"
    )


def _describe_model(result: TrainResult) -> str:
    parts = [f"{result.parameters:,} parameters"] if result.parameters else []
    parts += [f"device {result.device}", count(result.threads, "thread")]
    if result.distillation is not None:
        parts.append(_describe_distillation(result.distillation, result.metric))
    if result.sweep is not None:
        parts.append(describe_sweep(result, result.sweep))
    return ", ".join(parts)


def _describe_distillation(info: DistillationInfo, metric: str) -> str:
    parts = [
        f"{info.size_reduction_percent:.1f} % smaller than its teacher",
        f"{write_number(info.speed_up)} times as fast",
    ]
    if info.metric_change is not None:
        word = "worse" if info.metric_change < 0 else "better"
        parts.append(f"{metric} {word} by {write_number(abs(info.metric_change))}")
    if info.agreement is not None:
        parts.append(f"agreement {write_number(info.agreement)}")
    return ", ".join(parts)
