"""Make cells and results with traces, for the tests of parity."""

import time

from harness.cell import Cell
from harness.execute.executor import Execution
from harness.recording import make_record
from harness.store.environment import describe_run
from harness.store.journal import Journal, now
from ml.core.contracts import (
    Budget,
    DataSummary,
    DescriptorData,
    NetworkSpec,
    ParityTrace,
    PreprocessingSpec,
    ReplicateResult,
    RuntimeSpec,
    SampleInfo,
    Timings,
    TrainResult,
)

RUNGS = {
    "forward": (0.5, -0.25, 4.0),
    "loss_1": (0.7,),
    "gradient_1": (0.1, 0.2),
    "weights_1": (3.0, 4.0),
    "weights_10": (3.0, 4.0),
    "weights_100": (3.0, 4.0),
}


def make_cell(framework="pytorch", **changes):
    values = {
        "dataset": "d",
        "algorithm": "mlp",
        "framework": framework,
        "mode": "train",
        "task": "classification",
        "data": DescriptorData(path="d.toml"),
        "model": NetworkSpec(architecture="mlp", hidden=(8,)),
        "preprocessing": PreprocessingSpec(),
        "budget": Budget(),
        "replicates": 2,
        "timeout": 60.0,
    }
    return Cell(**(values | changes))


def make_trace(rows="a" * 64, **rungs):
    """Make a trace; a rung given as None is left out, and another replaces the usual one."""
    numbers = {name: value for name, value in (RUNGS | rungs).items() if value is not None}
    return ParityTrace.model_construct(rows_sha256=rows, rungs=numbers)


def make_traced(
    framework="pytorch",
    scores=((0.8, 0.5), (0.7, 0.5)),
    metric="roc_auc",
    better=True,
    updates=500,
    splits=("0" * 64, "1" * 64),
    trace=None,
    content="c" * 64,
    sample="e" * 64,
):
    """Make a result with a trace; ``scores`` has a model's and a baseline's per replicate."""
    return TrainResult(
        id=f"d-mlp-{framework}-train",
        framework=framework,
        data=DataSummary(
            id="d",
            task="classification",
            content_sha256=content,
            numeric=1,
            categorical=0,
            classes=("no", "yes"),
            sample=SampleInfo(method="all", rows=80, rows_total=80, rows_sha256=sample),
        ),
        metric=metric,
        greater_is_better=better,
        replicates=tuple(
            ReplicateResult(
                index=index,
                split_sha256=split,
                train_rows=50,
                validation_rows=10,
                test_rows=20,
                features=1,
                metrics={} if value is None else {metric: value},
                baseline={metric: baseline},
                updates=updates,
            )
            for index, (split, (value, baseline)) in enumerate(zip(splits, scores, strict=True))
        ),
        parameters=2,
        timings=Timings(),
        rows_per_second=1.0,
        peak_memory_bytes=1,
        artifact_bytes=1,
        parity=trace or make_trace(),
        versions={},
        threads=1,
    )


def open_journal(folder):
    return Journal(folder, lambda name: describe_run(name, folder, ("pytest",), RuntimeSpec()))


def append(journal, cell, response, pause=0.0):
    """Append a cell's record as a session does; the pause lies between reading and appending."""

    def judge(before):
        time.sleep(pause)
        return make_record(journal.run, cell, Execution(response, 1.0), now(), before)

    return journal.append_judged(cell.dataset, cell.algorithm, judge)
