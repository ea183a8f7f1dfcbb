"""Run a cell: load, sample, then split, prepare, fit, predict and score each replicate."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np

from ml.artifacts.arrays import write_artifact
from ml.core.calibration import Calibration
from ml.core.checkpoints import (
    CheckpointFile,
    ResumableLearner,
    check_checkpoint,
    describe_training,
)
from ml.core.contracts import (
    GREATER_IS_BETTER,
    DataSummary,
    DescriptorData,
    DistillRequest,
    ParityTrace,
    ReplicateResult,
    SampleInfo,
    SweepRequest,
    TeacherSpec,
    Timings,
    TrainRequest,
    TrainResult,
)
from ml.core.errors import DataInvalid, TrainingDiverged
from ml.core.imported import make_learner
from ml.core.learner import (
    Adapter,
    Distillation,
    Draws,
    FitReport,
    Floats32,
    Floats64,
    Learner,
    Part,
    Problem,
)
from ml.core.loop import Keeper
from ml.core.memory import peak_bytes, reset_peak
from ml.core.metrics import Judge, primary_metric
from ml.core.parity import make_trace
from ml.core.seeding import stream
from ml.core.splits import Rows, Split, sample_rows, split_rows
from ml.core.table import Table
from ml.datasets.load import load_table, table_from_values
from ml.preprocessing.preprocessor import Preprocessor, TargetScaler, fit_preprocessor


class Stopwatch:
    """Collect wall seconds by phase."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time of the block to this phase, also when it raises."""
        started = time.perf_counter()
        try:
            yield
        finally:
            elapsed = time.perf_counter() - started
            self.seconds[name] = self.seconds.get(name, 0.0) + elapsed

    def timings(self) -> Timings:
        """Return the phases so far."""
        return Timings(**self.seconds)


@dataclass(frozen=True)
class Lesson:
    """Hold what a student learns from: how, and what its teacher predicts for rows of the table.

    Predictions are probabilities [n, classes], or values [n] in the target's own unit.
    """

    rule: Distillation
    predict: Callable[[Rows], Floats64]


# Gives the keeper of a training on these parts.
Keep = Callable[[Part, Part], Keeper]


@dataclass(frozen=True)
class FittedModel:
    """Hold a learner fitted on one split beside its preparation and the test rows' features."""

    learner: Learner
    preprocessor: Preprocessor
    scaler: TargetScaler | None
    report: FitReport
    train: Part
    test: Floats32

    def predict(self, features: Floats32) -> Floats64:
        """Return probabilities [n, classes], or values [n] in the target's own unit."""
        prediction = self.learner.predict(features)
        return prediction if self.scaler is None else self.scaler.inverse(prediction)


class Guide(Protocol):
    """Teach a student in every replicate, and see what became of it."""

    def teach(self, table: Table, split: Split, index: int) -> Lesson:
        """Return the lesson for one replicate's split."""

    def compare(self, judge: Judge, student: FittedModel, prediction: Floats64) -> None:
        """Take the fitted student and its prediction for the test rows of that split."""


@dataclass(frozen=True)
class Opened:
    """Hold what a request is answered from: the sampled table, and what is measured beside it."""

    table: Table
    sample: SampleInfo
    watch: Stopwatch
    calibration: Calibration


def run_request(request: TrainRequest, adapter: Adapter, guide: Guide | None = None) -> TrainResult:
    """Train and measure every replicate of a cell; raises MatrixError where that is refused.

    With a guide the model is its student.
    """
    return run_opened(request, adapter, open_request(request, adapter), guide)


def open_request(request: TrainRequest, adapter: Adapter) -> Opened:
    """Set the framework up, begin to measure, and load the table; raises as ``run_request``."""
    check_checkpoint(request, adapter)
    reset_peak()
    adapter.prepare(request.runtime)
    calibration = Calibration()
    calibration.measure()
    watch = Stopwatch()
    with watch.phase("load"):
        full = (
            load_table(Path(request.data.path))
            if isinstance(request.data, DescriptorData)
            else table_from_values(request.data)
        )
        rows, sample = sample_rows(full, request.budget.rows, request.seed)
        table = full if sample.method == "all" else full.take(rows)
    return Opened(table, sample, watch, calibration)


def run_opened(
    request: TrainRequest, adapter: Adapter, opened: Opened, guide: Guide | None = None
) -> TrainResult:
    """Train and measure every replicate on a table that is loaded, as ``run_request`` does."""
    table, watch, calibration = opened.table, opened.watch, opened.calibration
    results = []
    warnings: list[str] = []
    artifact_bytes, parameters, artifact = 0, 0, None
    trace: ParityTrace | None = None
    for index in range(request.replicates):
        try:
            replicate = _run_replicate(request, adapter, table, index, guide)
        except TrainingDiverged as problem:
            problem.message = f"replicate {index}: {problem.message}"
            raise
        results.append(replicate.result)
        warnings.extend(text for text in replicate.warnings if text not in warnings)
        if index == 0:
            trace = replicate.trace
            learner = replicate.fitted.learner
            parameters = learner.parameters()
            try:
                model = learner.serialize()
            except DataInvalid as problem:
                # Only who asked for the file is hurt by it.
                if request.artifact_dir is not None:
                    raise
                model = b""
                warnings.append(str(problem))
            artifact_bytes = len(model)
            if request.artifact_dir is not None:
                manifest = _manifest(request, adapter, table, replicate)
                folder = Path(request.artifact_dir)
                artifact = str(write_artifact(folder, manifest, model, adapter.suffix))
    calibration.measure()
    metric = primary_metric(table)
    totals = {
        name: watch.seconds.get(name, 0.0) + sum(getattr(r.timings, name) for r in results)
        for name in Timings.model_fields
    }
    seen = sum(r.train_rows * (max(r.epochs, 1) - r.resumed_epochs) for r in results)
    return TrainResult(
        id=request.id,
        framework=adapter.name,
        data=DataSummary(
            id=table.id,
            task=table.task,
            content_sha256=table.content_sha256,
            numeric=len(table.numeric_names),
            categorical=len(table.categorical_names),
            classes=table.classes,
            sample=opened.sample,
        ),
        metric=metric,
        greater_is_better=GREATER_IS_BETTER[metric],
        replicates=tuple(results),
        parameters=parameters,
        timings=Timings(**totals),
        rows_per_second=seen / max(totals["fit"], 1e-9),
        peak_memory_bytes=peak_bytes(),
        calibration_seconds=calibration.seconds(),
        artifact_bytes=artifact_bytes,
        artifact=artifact,
        parity=trace,
        warnings=tuple(warnings),
        versions={"numpy": np.__version__, **adapter.versions()},
        threads=request.runtime.threads,
        device=adapter.device(),
    )


@dataclass(frozen=True)
class _Replicate:
    result: ReplicateResult
    fitted: FittedModel
    warnings: list[str]
    trace: ParityTrace | None


def fit_model(
    spec: TrainRequest | TeacherSpec,
    adapter: Adapter,
    table: Table,
    split: Split,
    draws: Draws,
    seconds: float,
    watch: Stopwatch,
    lesson: Lesson | None = None,
    keep: Keep | None = None,
) -> FittedModel:
    """Prepare a split for a model and fit it, in the phases prepare and fit of the watch.

    With ``keep`` the learner is one that can go on from what its keeper has.
    """
    with watch.phase("prepare"):
        preprocessor = fit_preprocessor(spec.preprocessing, table, split.train)
        scaler = None if table.classes else TargetScaler.fit(table.target[split.train])
        train, validation = (
            _part(table, preprocessor, scaler, rows, lesson)
            for rows in (split.train, split.validation)
        )
        test = preprocessor.transform(table, split.test)
    problem = Problem(
        inputs=preprocessor.features,
        classes=len(table.classes),
        distillation=lesson.rule if lesson else None,
        window=find_window(table, preprocessor),
    )
    learner = make_learner(adapter, spec.model, problem)
    with watch.phase("fit"):
        held = validation if validation.rows else None
        if keep is None:
            report = learner.fit(train, held, draws, seconds)
        else:
            keeper = keep(train, validation)
            report = cast(ResumableLearner, learner).fit(train, held, draws, seconds, keeper)
    return FittedModel(learner, preprocessor, scaler, report, train, test)


def find_window(table: Table, preprocessor: Preprocessor) -> tuple[int, ...]:
    """Return the places of the table's past values among the features, from the oldest on."""
    places = {name: place for place, name in reversed(list(enumerate(preprocessor.names)))}
    return tuple(places[name] for name in table.window if name in places)


def _run_replicate(
    request: TrainRequest, adapter: Adapter, table: Table, index: int, guide: Guide | None
) -> _Replicate:
    watch = Stopwatch()
    with watch.phase("prepare"):
        # A sweep's winner is measured on the one split that its trials were chosen on.
        place = 0 if isinstance(request, SweepRequest) else index
        split = split_rows(table, request.seed, place, validation=adapter.uses_validation)
        check_classes(table, split, index)
    lesson = guide.teach(table, split, index) if guide else None
    draws, again = (
        Draws(*(stream(request.seed, name, index) for name in ("weights", "order", "estimator")))
        for _ in range(2)
    )
    seconds = request.budget.seconds / request.replicates
    keep = _keep(request, adapter, table, split, index)
    fitted = fit_model(request, adapter, table, split, draws, seconds, watch, lesson, keep)
    with watch.phase("predict"):
        prediction = fitted.predict(fitted.test)
    with watch.phase("score"):
        judge = Judge(table, split)
        scores, baseline = judge.score(prediction), judge.score(judge.baseline)
    if guide:
        guide.compare(judge, fitted, prediction)
    preprocessor, report = fitted.preprocessor, fitted.report
    result = ReplicateResult(
        index=index,
        split_sha256=split.sha256,
        train_rows=split.train.size,
        validation_rows=split.validation.size,
        test_rows=split.test.size,
        features=preprocessor.features,
        metrics=scores.values,
        baseline=baseline.values,
        undefined=scores.undefined,
        epochs=report.epochs,
        best_epoch=report.best_epoch,
        updates=report.updates,
        resumed_epochs=report.resumed_epochs,
        stopped=report.stopped,
        history=report.history,
        timings=watch.timings(),
    )
    dropped = [f"feature {name} left out: {why}" for name, why in preprocessor.dropped.items()]
    rungs = fitted.learner.trace(fitted.train, again) if index == 0 else None
    trace = None if rungs is None else make_trace(rungs, split)
    return _Replicate(result, fitted, [*report.warnings, *dropped], trace)


def check_classes(table: Table, split: Split, index: int) -> None:
    """Refuse a classification without a choice, which some models learn and others refuse.

    Raises DataInvalid where the training rows are of one class only.
    """
    known = np.unique(table.target[np.union1d(split.train, split.validation)])
    if table.classes and known.size < 2:
        raise DataInvalid(
            f"dataset {table.id}: the training rows of replicate {index} are of one class only",
            code="one_class_in_training",
            field="split",
            expected="rows of at least two classes",
            received=f"{split.train.size + split.validation.size} rows of the class "
            f"{table.classes[int(known[0])]!r}",
            remedy="split by another rule or column, or ask for fewer replicates",
        )


def _keep(
    request: TrainRequest, adapter: Adapter, table: Table, split: Split, index: int
) -> Keep | None:
    spec = request.checkpoint
    if spec is None:
        return None

    def keep(train: Part, validation: Part) -> Keeper:
        facts = describe_training(request, adapter, table, split, (train, validation))
        return CheckpointFile(spec, index, facts)

    return keep


def _part(
    table: Table,
    preprocessor: Preprocessor,
    scaler: TargetScaler | None,
    rows: Rows,
    lesson: Lesson | None,
) -> Part:
    # scikit-learn predicts no rows at all only by raising.
    soft = lesson.predict(rows) if lesson and rows.size else None
    target: Any = table.target[rows]
    return Part(
        features=preprocessor.transform(table, rows),
        target=target if scaler is None else scaler.transform(target),
        soft=soft if scaler is None or soft is None else scaler.transform(soft),
    )


def _manifest(
    request: TrainRequest, adapter: Adapter, table: Table, replicate: _Replicate
) -> dict[str, Any]:
    scaler = replicate.fitted.scaler
    teachers = request.teachers if isinstance(request, DistillRequest) else ()
    return {
        "schema_version": 1,
        "framework": adapter.name,
        "model": request.model.model_dump(mode="json"),
        "teachers": [teacher.model_dump(mode="json") for teacher in teachers],
        "preprocessing": replicate.fitted.preprocessor.to_json(),
        "target": scaler.to_json() if scaler else None,
        "window": find_window(table, replicate.fitted.preprocessor),
        "task": table.task,
        "classes": table.classes,
        "data_sha256": table.content_sha256,
        "metrics": replicate.result.metrics,
        "versions": adapter.versions(),
    }
