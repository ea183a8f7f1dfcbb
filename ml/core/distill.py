"""Distil: fit teachers of any framework on a student's split, teach it, and compare the two."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np

from ml.core.contracts import (
    DistillationInfo,
    DistillRequest,
    EstimatorSpec,
    ImportedSpec,
    NetworkSpec,
    TeacherSpec,
    TrainResult,
)
from ml.core.errors import MatrixError, RequestInvalid
from ml.core.fitting import FittedModel, Lesson, Stopwatch, fit_model
from ml.core.learner import Adapter, Distillation, Draws, Floats32, Floats64, Peers
from ml.core.metrics import Judge
from ml.core.replicates import run_request
from ml.core.splits import Rows, Split
from ml.core.table import Table

TIMED_PREDICTIONS = 5


def check_kind(model: NetworkSpec | EstimatorSpec | ImportedSpec, adapter: Adapter) -> None:
    """Raise RequestInvalid where a framework cannot train a model of this kind."""
    if isinstance(model, ImportedSpec):
        if model.role == "estimator" and adapter.accepts is not EstimatorSpec:
            raise RequestInvalid(
                f"{adapter.name} trains no estimators",
                code="model_kind",
                field="model.role",
                expected="'learner'",
                received=repr(model.role),
                remedy="declare it for sklearn, or write a learner",
            )
    elif not isinstance(model, adapter.accepts):
        kind = {NetworkSpec: "network", EstimatorSpec: "estimator"}[adapter.accepts]
        raise RequestInvalid(
            f"{adapter.name} cannot train a model of this kind",
            code="model_kind",
            field="model.kind",
            expected=repr(kind),
            received=repr(model.kind),
            remedy=f"set model.kind to {kind!r}, or send the request to another framework",
        )


def run_distillation(request: DistillRequest, adapter: Adapter, peers: Peers) -> TrainResult:
    """Train the student on every replicate; raises MatrixError where a part of it is refused.

    Hinton, Vinyals and Dean (2015), Distilling the knowledge in a neural network. The teachers
    see the rows that the student sees, so that both are compared on equal terms. The student's
    random streams are those of a plain training.
    """
    teachers = Teachers(request, peers)
    result = run_request(request, adapter, teachers)
    return result.model_copy(
        update={
            "distillation": teachers.compared_with(result),
            "versions": {**result.versions, **teachers.versions()},
            "warnings": (*result.warnings, *teachers.warnings),
        }
    )


class Teachers:
    """Fit a request's teachers, and be one teacher by the mean of their outputs.

    See ``ml.core.replicates.Guide``.
    """

    def __init__(self, request: DistillRequest, peers: Peers) -> None:
        self._request = request
        self._adapters: list[Adapter] = []
        for position, teacher in enumerate(request.teachers):
            try:
                adapter = peers.adapter_of(teacher.framework)
                check_kind(teacher.model, adapter)
            except MatrixError as problem:
                raise _placed(problem, position, teacher) from None
            adapter.prepare(request.runtime)
            self._adapters.append(adapter)
        self.warnings: list[str] = []
        self._watch = Stopwatch()
        # By replicate, from when they have taught to when they were compared.
        self._fitted: dict[int, list[FittedModel]] = {}
        self._parameters = self._bytes = 0
        self._metrics: list[dict[str, float]] = []
        self._agreements: list[float | None] = []
        self._latencies: list[tuple[float, float]] = []

    def versions(self) -> dict[str, str]:
        """Return the versions of the teachers' frameworks."""
        return {name: text for a in self._adapters for name, text in a.versions().items()}

    def teach(self, table: Table, split: Split, index: int) -> Lesson:
        """Fit the teachers on the student's split; they predict rows of the table."""
        taught = self._fitted[index] = [
            self._fit(position, table, split, index)
            for position in range(len(self._request.teachers))
        ]
        if index == 0:
            self._parameters = sum(fitted.learner.parameters() for fitted in taught)
            self._bytes = sum(len(fitted.learner.serialize()) for fitted in taught)

        def predict(rows: Rows) -> Floats64:
            return _mean(taught, [f.preprocessor.transform(table, rows) for f in taught])

        rule = Distillation(self._request.temperature, self._request.soft_share)
        return Lesson(rule, predict)

    def compare(self, index: int, judge: Judge, student: FittedModel, prediction: Floats64) -> None:
        """Score the teachers as the student is, and time both on the test rows."""
        taught = self._fitted.pop(index)
        features = [fitted.test for fitted in taught]
        outputs = _mean(taught, features)
        self._metrics.append(judge.score(outputs).values)
        self._agreements.append(measure_agreement(prediction, outputs))
        # Both have predicted these very rows before, so that both are warm.
        rows = student.test.shape[0]
        self._latencies.append(
            (
                measure_latency(lambda: _mean(taught, features), rows),
                measure_latency(lambda: student.predict(student.test), rows),
            )
        )

    def compared_with(self, student: TrainResult) -> DistillationInfo:
        """Return the comparison over all replicates."""
        latency = [statistics.median(values) for values in zip(*self._latencies, strict=True)]
        sign = 1.0 if student.greater_is_better else -1.0
        changes = [
            sign * (replicate.metrics[student.metric] - teacher[student.metric])
            for replicate, teacher in zip(student.replicates, self._metrics, strict=True)
            if student.metric in replicate.metrics and student.metric in teacher
        ]
        agreements = [value for value in self._agreements if value is not None]
        complete = len(self._metrics)
        return DistillationInfo(
            teacher_metrics=tuple(self._metrics),
            teacher_parameters=self._parameters,
            teacher_artifact_bytes=self._bytes,
            teacher_fit=self._watch.seconds["fit"],
            teacher_latency=latency[0],
            student_latency=latency[1],
            size_reduction_percent=100 * (1 - student.artifact_bytes / self._bytes),
            metric_change=statistics.fmean(changes) if len(changes) == complete else None,
            speed_up=latency[0] / latency[1],
            agreement=statistics.fmean(agreements) if len(agreements) == complete else None,
        )

    def _fit(self, position: int, table: Table, split: Split, index: int) -> FittedModel:
        request, teacher = self._request, self._request.teachers[position]
        draws = Draws.of(request.seed, "teacher", position, index)
        seconds = request.replicate_seconds
        adapter = self._adapters[position]
        try:
            fitted = fit_model(teacher, adapter, table, split, draws, seconds, self._watch)
        except MatrixError as problem:
            raise _placed(problem, position, teacher) from None
        found = list(fitted.report.warnings)
        if fitted.report.stopped == "time_budget":
            found.append(f"it was stopped after {seconds:.3g} s, before it was done")
        for text in (f"teacher {position} ({teacher.framework}): {text}" for text in found):
            if text not in self.warnings:
                self.warnings.append(text)
        return fitted


def measure_agreement(student: Floats64, teacher: Floats64) -> float | None:
    """Return how far a student says what its teacher says, for the same rows.

    For probabilities [n, classes] it is the share of rows with the same most probable class;
    for values [n] the R² of the student's as a prediction of the teacher's, None where the
    teacher's are constant.
    """
    if student.ndim == 2:
        return float(np.mean(student.argmax(axis=1) == teacher.argmax(axis=1)))
    spread = float(np.sum((teacher - teacher.mean()) ** 2))
    return 1 - float(np.sum((student - teacher) ** 2)) / spread if spread > 0 else None


def measure_latency(predict: Callable[[], object], rows: int) -> float:
    """Return the median wall seconds of some predictions of so many rows, per 1,000 rows."""
    seconds = []
    for _ in range(TIMED_PREDICTIONS):
        started = time.perf_counter()
        predict()
        seconds.append(time.perf_counter() - started)
    return max(statistics.median(seconds), 1e-9) * 1000 / rows


def _placed(problem: MatrixError, position: int, teacher: TeacherSpec) -> MatrixError:
    """Return a teacher's problem with its place: which teacher, and where in the request."""
    problem.message = f"teacher {position} ({teacher.framework}): {problem.message}"
    if problem.field is not None and problem.field.startswith("model"):
        problem.field = f"teachers.{position}.{problem.field}"
    return problem


def _mean(teachers: Sequence[FittedModel], features: Sequence[Floats32]) -> Floats64:
    predictions = [f.predict(x) for f, x in zip(teachers, features, strict=True)]
    return np.asarray(np.mean(predictions, axis=0))
