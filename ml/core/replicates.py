"""Run a cell: load, sample, then split, prepare, fit, predict and score each replicate."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ml.artifacts.arrays import write_artifact
from ml.core.calibration import Calibration
from ml.core.checkpoints import CheckpointFile, check_checkpoint, describe_training
from ml.core.contracts import (
    GREATER_IS_BETTER,
    ContractReport,
    DataSummary,
    DistillRequest,
    NetworkSpec,
    ParityTrace,
    ReplicateResult,
    SampleInfo,
    SweepRequest,
    Timings,
    TrainRequest,
    TrainResult,
)
from ml.core.errors import DataInvalid, TrainingDiverged
from ml.core.fitting import (
    FittedModel,
    Keep,
    Lesson,
    PreparedSplit,
    Stopwatch,
    find_window,
    fit_prepared,
    prepare_split,
)
from ml.core.inspection import inspect_data, load_data
from ml.core.learner import Adapter, Cohort, Draws, Floats64, Member, Part
from ml.core.loop import Keeper
from ml.core.memory import peak_bytes, reset_peak
from ml.core.metrics import Judge, primary_metric
from ml.core.parity import make_trace
from ml.core.splits import Split, sample_rows, split_rows
from ml.core.table import Table


class Guide(Protocol):
    """Teach a student in every replicate, and see what became of it.

    Several replicates may be taught before the first of them is compared.
    """

    def teach(self, table: Table, split: Split, index: int) -> Lesson:
        """Return the lesson for one replicate's split."""

    def compare(self, index: int, judge: Judge, student: FittedModel, prediction: Floats64) -> None:
        """Take a replicate's fitted student and its prediction for the test rows."""


@dataclass(frozen=True)
class Opened:
    """Hold what a request is answered from: the sampled table, and what is measured beside it."""

    table: Table
    sample: SampleInfo
    contract: ContractReport
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
    # Before anything is measured: it is at the cost of a dataset's first request only.
    contract = inspect_data(request)
    reset_peak()
    adapter.prepare(request.runtime)
    calibration = Calibration()
    calibration.measure()
    watch = Stopwatch()
    with watch.phase("load"):
        full = load_data(request)
        rows, sample = sample_rows(full, request.budget.rows, request.seed)
        table = full if sample.method == "all" else full.take(rows)
    return Opened(table, sample, contract, watch, calibration)


def run_opened(
    request: TrainRequest, adapter: Adapter, opened: Opened, guide: Guide | None = None
) -> TrainResult:
    """Train and measure every replicate on a table that is loaded, as ``run_request`` does."""
    table, watch, calibration = opened.table, opened.watch, opened.calibration
    results = []
    warnings: list[str] = []
    artifact_bytes, parameters, artifact = 0, 0, None
    trace: ParityTrace | None = None
    for index, replicate in enumerate(_run_replicates(request, adapter, table, guide)):
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
        contract=opened.contract,
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


@dataclass(frozen=True)
class _Ready:
    """Hold a replicate that is ready to be fitted."""

    index: int
    watch: Stopwatch
    split: Split
    prepared: PreparedSplit
    draws: Draws
    keep: Keep | None


def _run_replicates(
    request: TrainRequest, adapter: Adapter, table: Table, guide: Guide | None
) -> Iterator[_Replicate]:
    """Yield the replicates in order, fitted at once as many as pay.

    No more of them are prepared at a time than are fitted at once.
    """
    index = 0
    while index < request.replicates:
        ready = [_prepare_replicate(request, adapter, table, index, guide)]
        left = request.replicates - index
        rounds = math.ceil(left / _count_at_once(request, adapter, ready[0]))
        for later in range(index + 1, index + math.ceil(left / rounds)):
            ready.append(_prepare_replicate(request, adapter, table, later, guide))
        cohort = _train(request, adapter, ready) if len(ready) > 1 else None
        for place, one in enumerate(ready):
            with _named(one.index):
                fitted = _fit_replicate(request, adapter, one, cohort, place)
                replicate = _score_replicate(request, table, one, fitted, guide)
            yield replicate
        index += len(ready)


@contextmanager
def _named(index: int) -> Iterator[None]:
    """Say of a divergence which replicate it was."""
    try:
        yield
    except TrainingDiverged as problem:
        problem.message = f"replicate {index}: {problem.message}"
        raise


def _prepare_replicate(
    request: TrainRequest, adapter: Adapter, table: Table, index: int, guide: Guide | None
) -> _Ready:
    watch = Stopwatch()
    with watch.phase("prepare"):
        # A sweep's winner is measured on the one split that its trials were chosen on.
        place = 0 if isinstance(request, SweepRequest) else index
        split = split_rows(table, request.seed, place, validation=adapter.uses_validation)
        check_classes(table, split, index)
    with _named(index):
        lesson = guide.teach(table, split, index) if guide else None
    prepared = prepare_split(request, table, split, watch, lesson)
    keep = _keep(request, adapter, table, split, index)
    return _Ready(index, watch, split, prepared, _draw(request, index), keep)


def _draw(request: TrainRequest, index: int) -> Draws:
    return Draws.of(request.seed, index)


def _count_at_once(request: TrainRequest, adapter: Adapter, ready: _Ready) -> int:
    """Return how many replicates are fitted as one: a checkpoint is of one training alone."""
    if adapter.open_cohort is None or request.checkpoint is not None:
        return 1
    if not isinstance(request.model, NetworkSpec):
        return 1
    member = _member(request, request.model, ready)
    return adapter.models_at_once(member, request.runtime.models_at_once)


def _member(request: TrainRequest, spec: NetworkSpec, ready: _Ready) -> Member:
    prepared, seconds = ready.prepared, request.replicate_seconds
    return Member(spec, prepared.problem, prepared.train, prepared.held, ready.draws, seconds)


def _train(request: TrainRequest, adapter: Adapter, ready: Sequence[_Ready]) -> Cohort:
    """Train several replicates at once."""
    assert adapter.open_cohort is not None
    assert isinstance(request.model, NetworkSpec)
    members = [_member(request, request.model, one) for one in ready]
    cohort = adapter.open_cohort(members, len(members))
    cohort.advance(dict.fromkeys(range(len(members)), request.model.epochs))
    return cohort


def _fit_replicate(
    request: TrainRequest, adapter: Adapter, ready: _Ready, cohort: Cohort | None, place: int
) -> FittedModel:
    """Return the fitted model of a replicate, out of the cohort where it was trained in one."""
    prepared, watch = ready.prepared, ready.watch
    if cohort is None:
        seconds = request.replicate_seconds
        return fit_prepared(request, adapter, prepared, ready.draws, seconds, watch, ready.keep)
    watch.seconds["fit"] = cohort.seconds(place)
    return FittedModel.of(prepared, cohort.learner(place), cohort.report(place))


def _score_replicate(
    request: TrainRequest, table: Table, ready: _Ready, fitted: FittedModel, guide: Guide | None
) -> _Replicate:
    watch, split, index = ready.watch, ready.split, ready.index
    with watch.phase("predict"):
        prediction = fitted.predict(fitted.test)
    with watch.phase("score"):
        judge = Judge(table, split)
        scores, baseline = judge.score(prediction), judge.score(judge.baseline)
    if guide:
        guide.compare(index, judge, fitted, prediction)
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
    again = _draw(request, index)
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
