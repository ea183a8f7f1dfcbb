"""Make runs for the report's tests: realistic ones, and one whose names are hostile."""

import math
import random
from pathlib import Path

from harness.store.journal import RunJournal
from harness.store.record import End, Head, Record, Score, TestLine, Verdict
from ml.core.contracts import (
    GREATER_IS_BETTER,
    DataSummary,
    ErrorInfo,
    History,
    ReplicateResult,
    SampleInfo,
    Timings,
    TrainResult,
)

HOSTILE = '"><script>alert(1)</script>'
DATASETS = {
    "classification": (
        "bank_marketing breast_cancer churn_tv digits give_me_some_credit gss_abortion "
        "leaf_flavia lending_club nyc_flights_late oils pakdd2009_credit scat wine"
    ).split(),
    "regression": "ames diabetes hotel_rates loans_full_schema parkinson_speech".split(),
    "forecasting": "chicago_ridership hpc_jobs txhousing_sales".split(),
}
ALGORITHMS = {
    "sklearn": (
        "dummy linear random_forest hist_gradient_boosting k_nearest_neighbors svm mlp"
    ).split(),
    "pytorch": ["linear", "mlp"],
    "tensorflow": ["linear", "mlp"],
}
METRICS = {
    "classification": {
        "accuracy": 0.62,
        "balanced_accuracy": 0.5,
        "log_loss": 0.67,
        "f1": 0.0,
        "average_precision": 0.38,
        "roc_auc": 0.5,
    },
    "regression": {"rmse": 78_400.0, "mae": 56_100.0, "r2": 0.0},
    "forecasting": {"rmse": 6_120.0, "mae": 4_410.0, "mase": 1.4},
}
JUDGED_BY = {"classification": "roc_auc", "regression": "rmse", "forecasting": "mase"}
TRACEBACK = """Traceback (most recent call last):
  File "ml/core/loop.py", line 83, in fit
    loss = stepper.train(order)
  File "ml/frameworks/pytorch/trainer.py", line 61, in train
    loss.backward()
ValueError: a row of the batch is empty"""
ERRORS = {
    "error": ErrorInfo(
        code="invalid_request",
        message="random_forest takes no parameter 'n_tree'",
        field="model.params.n_tree",
        expected="one of max_depth, min_samples_leaf, n_estimators",
        received="60",
        remedy="did you mean 'n_estimators'?",
    ),
    "timeout": ErrorInfo(
        code="timeout",
        message="no result after 300 s; the worker was killed",
        expected="a result within 300 s",
        remedy="raise --matrix-timeout or lower --matrix-rows",
        detail="epoch 31 of 60, loss 0.4172\nepoch 32 of 60, loss 0.4171",
    ),
    "out_of_memory": ErrorInfo(
        code="memory",
        message="the worker held 11.8 GiB of 12.0 GiB and was killed",
        expected="less than 12.0 GiB",
        received="11.8 GiB and growing",
        remedy="lower preprocessing.max_levels or budget.rows",
    ),
    "crashed": ErrorInfo(
        code="signal",
        message="the worker died of SIGSEGV while it trained",
        detail=TRACEBACK,
        remedy="read the worker's log",
    ),
    "diverged": ErrorInfo(
        code="loss_not_finite",
        message="the training loss of epoch 3 is not finite",
        expected="a finite loss",
        received="inf",
        remedy="lower optimizer.learning_rate",
    ),
    "data_invalid": ErrorInfo(
        code="invalid_data",
        message="dataset oils: the table's content is not what was declared",
        field="content_sha256",
        expected="4d7a…91",
        received="8e02…7c",
        remedy="fetch the table again",
    ),
    "unavailable": ErrorInfo(
        code="not_installed",
        message="tensorflow is not installed",
        remedy="pip install 'pytest-mlmatrix[tensorflow]'",
    ),
}
FAILURES = {
    "nyc_flights_late-mlp-tensorflow-train": "timeout",
    "leaf_flavia-random_forest-sklearn-train": "error",
    "lending_club-k_nearest_neighbors-sklearn-train": "out_of_memory",
    "digits-mlp-pytorch-train": "crashed",
    "diabetes-linear-pytorch-train": "diverged",
    "oils-svm-sklearn-train": "data_invalid",
}
WORSE = ("churn_tv-svm-sklearn-train", "txhousing_sales-svm-sklearn-train")


def make_head(run, **changes):
    values = {
        "run": run,
        "started": "2026-03-14T06:00:12.345+00:00",
        "command": ("pytest", "-m", "slow_matrix", "-k", "not svm"),
        "git_commit": "0123456789abcdef0123456789abcdef01234567",
        "git_branch": "main",
        "git_dirty": True,
        "python": "3.11.7",
        "platform": "Linux-6.18-x86_64-with-glibc2.36",
        "cpu": "AMD EPYC 9654",
        "cores": 8,
        "memory_bytes": 32 * 2**30,
        "threads_per_worker": 1,
        "packages": {"numpy": "2.4.6", "scikit-learn": "1.9.1", "torch": "2.13.0+cpu"},
    }
    return Head(**(values | changes))


def make_record(dataset="wine", algorithm="mlp", framework="pytorch", **changes):
    cell = f"{dataset}-{algorithm}-{framework}-{changes.get('mode', 'train')}"
    values = {
        "run": "run",
        "cell": cell,
        "dataset": dataset,
        "algorithm": algorithm,
        "framework": framework,
        "mode": "train",
        "task": "classification",
        "outcome": "ok",
        "reason": "",
        "started": "2026-03-14T06:00:12.345+00:00",
        "seconds": 1.5,
        "limit_seconds": 300.0,
        "request": {"id": cell, "seed": 2**63 - 1},
    }
    return Record(**(values | changes))


def make_score(value, baseline, greater_is_better=True, spread=0.01, metric="roc_auc"):
    sign = 1 if greater_is_better else -1
    return Score(
        metric=metric,
        greater_is_better=greater_is_better,
        value=value,
        baseline=baseline,
        improvement=sign * (value - baseline),
        spread=spread,
    )


def make_failure(dataset, algorithm, framework, outcome, **changes):
    error = ERRORS[outcome]
    return make_record(
        dataset,
        algorithm,
        framework,
        outcome=outcome,
        reason=error.message,
        error=error,
        verdicts=(
            Verdict(gate="outcome", status="fail", text=f"{outcome}: {error.message}"),
            Verdict(
                gate="beats_baseline", status="not_applicable", text="there is no result to judge"
            ),
        ),
        **changes,
    )


def make_result(cell, framework, task, share, neural, draw, epochs=50):
    """Make a result whose metrics lie ``share`` of the way from baseline to perfect."""
    replicates = []
    for index in range(3):
        baseline = {name: value + draw.uniform(0, 0.01) for name, value in METRICS[task].items()}
        metrics = {
            name: value + (share + draw.uniform(-0.02, 0.02)) * (1 - value)
            if GREATER_IS_BETTER[name]
            else value * (1 - share + draw.uniform(-0.02, 0.02))
            for name, value in baseline.items()
        }
        decay = [math.exp(-epoch / 9) for epoch in range(epochs if neural else 0)]
        history = History(
            train=tuple(0.30 + 0.5 * part + draw.uniform(0, 0.01) for part in decay),
            validation=tuple(0.36 + 0.4 * part + draw.uniform(0, 0.03) for part in decay),
        )
        best = min(range(epochs), key=history.validation.__getitem__) + 1 if neural else 0
        replicates.append(
            ReplicateResult(
                index=index,
                split_sha256=f"{draw.getrandbits(256):064x}",
                train_rows=6375,
                validation_rows=1125 if neural else 0,
                test_rows=2500,
                features=draw.randint(12, 60),
                metrics=metrics,
                baseline=baseline,
                epochs=len(decay),
                best_epoch=best,
                updates=25 * len(decay),
                stopped="early_stopping" if neural and index else "completed",
                history=history,
                timings=Timings(prepare=0.02, fit=draw.uniform(0.1, 4), predict=0.003),
            )
        )
    return TrainResult(
        id=cell,
        framework=framework,
        data=DataSummary(
            id=cell.split("-")[0],
            task=task,
            content_sha256="84df51b46f14e330" * 4,
            numeric=6,
            categorical=9,
            classes=("no", "yes") if task == "classification" else (),
            sample=SampleInfo(
                method="random", rows=10_000, rows_total=45_211, rows_sha256="3d6604a4" * 8
            ),
        ),
        metric=JUDGED_BY[task],
        greater_is_better=GREATER_IS_BETTER[JUDGED_BY[task]],
        replicates=tuple(replicates),
        parameters=5_441 if neural else 0,
        timings=Timings(fit=sum(r.timings.fit for r in replicates)),
        rows_per_second=draw.uniform(2e3, 9e5),
        peak_memory_bytes=draw.randint(180, 900) * 2**20,
        artifact_bytes=draw.randint(2_000, 9_000_000),
        warnings=("lbfgs did not converge in 100 iterations",) if not neural and share > 0.8 else (),
        versions={"numpy": "2.4.6", framework: "2.13.0+cpu"},
        threads=1,
    )


def make_matrix_record(dataset, algorithm, framework, task):
    cell = f"{dataset}-{algorithm}-{framework}-train"
    draw = random.Random(cell)
    neural = framework != "sklearn"
    ease = random.Random(dataset).uniform(0.15, 0.95)
    share = 0.0 if algorithm == "dummy" else min(0.98, ease * draw.uniform(0.7, 1.05))
    share = -0.05 if cell in WORSE else share
    share = 0.02 if dataset == "chicago_ridership" else share
    result = make_result(cell, framework, task, share, neural, draw)
    metric = result.metric
    value = sum(r.metrics[metric] for r in result.replicates) / 3
    baseline = sum(r.baseline[metric] for r in result.replicates) / 3
    score = make_score(value, baseline, result.greater_is_better, 0.014, metric)
    text = f"{metric} {value:.4g} against {baseline:.4g}: better by {score.improvement:.4g}"
    beaten = share > 0.05
    status = "not_applicable" if algorithm == "dummy" else "pass" if beaten else "fail"
    declared = "the series is too short to learn" if dataset == "chicago_ridership" else None
    verdict = Verdict(
        gate="beats_baseline",
        status=status,
        text="the algorithm is itself a baseline" if status == "not_applicable" else text,
        expected=declared if status != "not_applicable" else None,
    )
    network = {
        "kind": "network",
        "architecture": algorithm,
        "hidden": [64, 32],
        "activation": "relu",
        "optimizer": {"name": "adam", "learning_rate": 0.003, "beta1": 0.9, "beta2": 0.999},
        "epochs": 50,
        "batch_size": 256,
        "patience": 8,
    }
    return make_record(
        dataset,
        algorithm,
        framework,
        task=task,
        seconds=draw.uniform(0.2, 14),
        score=score,
        verdicts=(
            Verdict(gate="outcome", status="pass", text="3 replicates"),
            verdict,
            Verdict(gate="time_budget", status="pass", text="trained 0.0393 s of 60 s"),
        ),
        reason=text if verdict.breaks else "",
        request={
            "schema_version": 1,
            "id": cell,
            "data": {"kind": "descriptor", "path": f"ml/data/{dataset}.toml"},
            "model": network if neural else {"kind": "estimator", "estimator": algorithm},
            "preprocessing": {"encoding": "one_hot", "max_levels": 32, "scale": True},
            "seed": draw.getrandbits(63),
            "replicates": 3,
            "budget": {"rows": 10_000, "seconds": 60.0},
        },
        result=result,
    )


def make_matrix(folder: Path) -> RunJournal:
    """Make a run of 21 datasets with every kind of failure; ``folder`` names the run."""
    records = []
    for task, datasets in DATASETS.items():
        for dataset in datasets:
            for framework, algorithms in ALGORITHMS.items():
                for algorithm in algorithms:
                    record = make_matrix_record(dataset, algorithm, framework, task)
                    outcome = FAILURES.get(record.cell)
                    if dataset == "ames" and framework == "tensorflow":
                        outcome = "unavailable"
                    if outcome:
                        record = make_failure(dataset, algorithm, framework, outcome, task=task)
                    records.append(record)
    tests = [
        TestLine(
            node=f"tests/slow_matrix/test_matrix.py::test_{record.task}[{record.cell}]",
            cell=record.cell,
            status="skipped"
            if record.outcome == "unavailable"
            else "failed"
            if record.failed
            else "passed",
        )
        for record in records
    ]
    tests.append(
        TestLine(
            node="tests/slow_matrix/test_matrix.py::test_parity[wine-mlp]",
            status="failed",
            reason="pytorch and tensorflow differ by 0.031 in roc_auc, at most 0.010 is allowed",
        )
    )
    end = End(finished="2026-03-14T06:22:40.000+00:00", exit_status=1, seconds=1348.0)
    return RunJournal(folder, make_head(folder.name), tuple(records), tuple(tests), end, ())


def make_run(folder: Path, *records: Record, **changes) -> RunJournal:
    """Make a run of some records that ended well, unless ``changes`` say otherwise."""
    values = {
        "head": make_head(folder.name),
        "tests": (),
        "end": End(finished="2026-03-14T06:22:40.000+00:00", exit_status=0, seconds=75.0),
        "damage": (),
    }
    return RunJournal(folder=folder, records=records, **(values | changes))


def make_hostile(folder: Path) -> RunJournal:
    """Make a run in which every text that can be foreign carries markup."""
    error = ErrorInfo(
        code=HOSTILE,
        message=HOSTILE,
        field=HOSTILE,
        expected=HOSTILE,
        received=HOSTILE,
        remedy=HOSTILE,
        detail=HOSTILE + "</pre></template>",
    )
    failed = make_record(
        HOSTILE,
        HOSTILE,
        "sklearn",
        outcome="error",
        reason=HOSTILE,
        error=error,
        verdicts=(Verdict(gate=HOSTILE, status="fail", text=HOSTILE),),
        request={HOSTILE: "</script><script>alert(2)</script><!--<script>"},
    )
    draw = random.Random(0)
    result = make_result("wine-mlp-pytorch-train", "pytorch", "classification", 0.5, True, draw)
    replicate = result.replicates[0].model_copy(
        update={"metrics": {HOSTILE: 0.5}, "undefined": {HOSTILE: HOSTILE}}
    )
    passed = make_record(
        "wine",
        "mlp",
        "pytorch",
        score=make_score(0.9, 0.5, metric=HOSTILE),
        verdicts=(Verdict(gate=HOSTILE, status="fail", text=HOSTILE, expected=HOSTILE),),
        result=result.model_copy(
            update={
                "replicates": (replicate,),
                "warnings": (HOSTILE,),
                "versions": {HOSTILE: HOSTILE},
                "data": result.data.model_copy(update={"id": HOSTILE}),
            }
        ),
    )
    return make_run(
        folder,
        failed,
        passed,
        head=make_head(
            HOSTILE,
            git_branch=HOSTILE,
            git_commit=HOSTILE,
            command=("pytest", HOSTILE),
            cpu=HOSTILE,
            packages={HOSTILE: HOSTILE},
        ),
        tests=(TestLine(node=HOSTILE, status="error", reason=HOSTILE + "</pre></details>"),),
        damage=(HOSTILE,),
    )
