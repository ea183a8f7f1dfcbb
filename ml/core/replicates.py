"""Run a cell: load, sample, then split, prepare, fit, predict and score each replicate."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ml.artifacts.arrays import write_artifact
from ml.core.contracts import (
    GREATER_IS_BETTER,
    DataSummary,
    DescriptorData,
    EstimatorSpec,
    NetworkSpec,
    ReplicateResult,
    Timings,
    TrainRequest,
    TrainResult,
)
from ml.core.learner import Adapter, Draws, Learner, Part, Problem
from ml.core.memory import peak_bytes, reset_peak
from ml.core.metrics import Judge, primary_metric
from ml.core.seeding import stream
from ml.core.splits import Split, sample_rows, split_rows
from ml.core.table import Table
from ml.datasets.load import load_table, table_from_inline
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


def threads_in_use() -> int:
    """Return the number of threads that numeric libraries were told to use in this process."""
    return int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)


def run_request(request: TrainRequest, adapter: Adapter) -> TrainResult:
    """Train and measure every replicate of a cell; raises MatrixError where that is refused."""
    reset_peak()
    adapter.prepare()
    watch = Stopwatch()
    with watch.phase("load"):
        full = (
            load_table(Path(request.data.path))
            if isinstance(request.data, DescriptorData)
            else table_from_inline(request.data)
        )
        rows, sample = sample_rows(full, request.budget.rows, request.seed)
        table = full if sample.method == "all" else full.take(rows)
    results = []
    warnings: list[str] = []
    artifact_bytes, parameters, artifact = 0, 0, None
    for index in range(request.replicates):
        replicate = _run_replicate(request, adapter, table, index)
        results.append(replicate.result)
        warnings.extend(text for text in replicate.warnings if text not in warnings)
        if index == 0:
            model = replicate.learner.serialize()
            artifact_bytes, parameters = len(model), replicate.learner.parameters()
            if request.artifact_dir is not None:
                manifest = _manifest(request, adapter, table, replicate)
                folder = Path(request.artifact_dir)
                artifact = str(write_artifact(folder, manifest, model, adapter.suffix))
    metric = primary_metric(table)
    totals = {
        name: watch.seconds.get(name, 0.0) + sum(getattr(r.timings, name) for r in results)
        for name in Timings.model_fields
    }
    seen = sum(result.train_rows * max(result.epochs, 1) for result in results)
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
            sample=sample,
        ),
        metric=metric,
        greater_is_better=GREATER_IS_BETTER[metric],
        replicates=tuple(results),
        parameters=parameters,
        timings=Timings(**totals),
        rows_per_second=seen / max(totals["fit"], 1e-9),
        peak_memory_bytes=peak_bytes(),
        artifact_bytes=artifact_bytes,
        artifact=artifact,
        warnings=tuple(warnings),
        versions={"numpy": np.__version__, **adapter.versions()},
        threads=threads_in_use(),
    )


class _Replicate:
    """Hold one replicate's result beside what its artifact needs."""

    def __init__(
        self,
        result: ReplicateResult,
        learner: Learner,
        preprocessor: Preprocessor,
        scaler: TargetScaler | None,
        warnings: list[str],
    ) -> None:
        self.result = result
        self.learner = learner
        self.preprocessor = preprocessor
        self.scaler = scaler
        self.warnings = warnings


def _run_replicate(request: TrainRequest, adapter: Adapter, table: Table, index: int) -> _Replicate:
    watch = Stopwatch()
    with watch.phase("prepare"):
        split = split_rows(table, request.seed, index, validation=adapter.uses_validation)
        preprocessor = fit_preprocessor(request.preprocessing, table, split.train)
        scaler = None if table.classes else TargetScaler.fit(table.target[split.train])
        train, validation = (
            _part(table, preprocessor, scaler, rows) for rows in (split.train, split.validation)
        )
        features = preprocessor.transform(table, split.test)
    learner = adapter.make_learner(
        request.model, Problem(inputs=preprocessor.features, classes=len(table.classes))
    )
    draws = Draws(
        weights=stream(request.seed, "weights", index),
        order=stream(request.seed, "order", index),
        estimator=stream(request.seed, "estimator", index),
    )
    with watch.phase("fit"):
        seconds = request.budget.seconds / request.replicates
        report = learner.fit(train, validation if validation.rows else None, draws, seconds)
    with watch.phase("predict"):
        prediction = learner.predict(features)
    with watch.phase("score"):
        if scaler is not None:
            prediction = scaler.inverse(prediction)
        judge = Judge(table, split)
        scores, baseline = judge.score(prediction), judge.score(judge.baseline)
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
        stopped=report.stopped,
        history=report.history,
        timings=watch.timings(),
    )
    dropped = [f"feature {name} left out: {why}" for name, why in preprocessor.dropped.items()]
    return _Replicate(result, learner, preprocessor, scaler, [*report.warnings, *dropped])


def _part(table: Table, preprocessor: Preprocessor, scaler: TargetScaler | None, rows: Any) -> Part:
    target = table.target[rows]
    return Part(
        features=preprocessor.transform(table, rows),
        target=target if scaler is None else scaler.transform(target),
    )


def _manifest(
    request: TrainRequest, adapter: Adapter, table: Table, replicate: _Replicate
) -> dict[str, Any]:
    assert isinstance(request.model, NetworkSpec | EstimatorSpec)
    return {
        "schema_version": 1,
        "framework": adapter.name,
        "model": request.model.model_dump(mode="json"),
        "preprocessing": replicate.preprocessor.to_json(),
        "target": replicate.scaler.to_json() if replicate.scaler else None,
        "task": table.task,
        "classes": table.classes,
        "data_sha256": table.content_sha256,
        "metrics": replicate.result.metrics,
        "versions": adapter.versions(),
    }


__all__ = ["Split", "run_request"]
