"""Build the panel of a run's distillations: each student beside its teachers."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from harness.report.text import NOTHING, write_bytes, write_number, write_seconds
from harness.store.record import Record
from ml.core.contracts import GREATER_IS_BETTER, DistillationInfo, TrainResult


@dataclass(frozen=True)
class Side:
    """Hold one number of teacher and student, and how the student differs; ``better`` may be None.

    None says that neither direction is better, or that there is no difference to judge.
    """

    name: str
    teacher: str
    student: str
    change: str
    better: bool | None


@dataclass(frozen=True)
class Distillation:
    """Hold one distilled cell: its numbers beside those of its teachers."""

    cell: str
    anchor: str
    teachers: str
    agreement: str
    sides: tuple[Side, ...]


def build_distillations(
    records: Sequence[Record], anchors: Mapping[str, str]
) -> tuple[Distillation, ...]:
    """Build the panel from the records that hold a distillation, in their order."""
    return tuple(
        _build(record, record.result, record.result.distillation, anchors[record.cell])
        for record in records
        if record.result is not None and record.result.distillation is not None
    )


def _build(
    record: Record, result: TrainResult, info: DistillationInfo, anchor: str
) -> Distillation:
    metrics = [name for name in result.replicates[0].metrics if _teacher(info, name) is not None]
    metrics.sort(key=lambda name: name != result.metric)
    fit = statistics.fmean(replicate.timings.fit for replicate in result.replicates)
    teacher_fit = info.teacher_fit / len(result.replicates)
    return Distillation(
        cell=record.cell,
        anchor=anchor,
        teachers=_name_teachers(record),
        agreement=write_number(info.agreement) if info.agreement is not None else NOTHING,
        sides=(
            *(_compare_metric(result, info, name) for name in metrics),
            _compare(
                "parameters", info.teacher_parameters, result.parameters, lambda v: f"{v:,.0f}"
            ),
            _compare("size", info.teacher_artifact_bytes, result.artifact_bytes, write_bytes),
            _compare(
                "latency per 1,000 rows",
                info.teacher_latency,
                info.student_latency,
                write_seconds,
            ),
            _compare("fit", teacher_fit, fit, write_seconds),
        ),
    )


def _name_teachers(record: Record) -> str:
    teachers = record.request.get("teachers")
    if not isinstance(teachers, list | tuple):
        return "teacher"
    names = []
    for one in teachers:
        model = one.get("model", {}) if isinstance(one, dict) else {}
        kind = model.get("architecture") or model.get("estimator") or "model"
        names.append(f"{kind} ({one.get('framework', 'unknown')})" if isinstance(one, dict) else "")
    return " + ".join(filter(None, names)) or "teacher"


def _teacher(info: DistillationInfo, name: str) -> float | None:
    values = [found[name] for found in info.teacher_metrics if name in found]
    return statistics.fmean(values) if len(values) == len(info.teacher_metrics) > 0 else None


def _compare_metric(result: TrainResult, info: DistillationInfo, name: str) -> Side:
    values = [one.metrics[name] for one in result.replicates if name in one.metrics]
    student, teacher = statistics.fmean(values), _teacher(info, name) or 0.0
    change = student - teacher
    greater = GREATER_IS_BETTER.get(name)
    sign = "+" if change > 0 else ""
    return Side(
        name=f"{name} {'' if greater is None else '↑' if greater else '↓'}".strip(),
        teacher=write_number(teacher, 4),
        student=write_number(student, 4),
        change=f"{sign}{write_number(change)}",
        better=None if greater is None or not change else (change > 0) == greater,
    )


def _compare(name: str, teacher: float, student: float, write: Callable[[float], str]) -> Side:
    change, better = NOTHING, None
    if teacher > 0 and student > 0:
        change = f"× {student / teacher:.2g}"
        better = None if student == teacher else student < teacher
    return Side(name, write(teacher), write(student), change, better)
