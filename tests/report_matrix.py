"""Make a realistic run for the report's tests: 21 datasets, and every kind of failure."""

import random
from pathlib import Path

from report_fixture import break_contract, make_head, make_record, make_result, make_score

from harness.gates.parity import LIMITS, METRIC_LIMIT, describe_comparison
from harness.store.journal import RunJournal
from harness.store.record import RUNGS, Comparison, End, Rung, TestLine, Verdict
from ml.core.contracts import ErrorInfo

DATASETS = {
    "classification": [
        "bank_marketing",
        "breast_cancer",
        "churn_tv",
        "digits",
        "give_me_some_credit",
        "gss_abortion",
        "leaf_flavia",
        "lending_club",
        "nyc_flights_late",
        "oils",
        "pakdd2009_credit",
        "scat",
        "wine",
    ],
    "regression": ["ames", "diabetes", "hotel_rates", "loans_full_schema", "parkinson_speech"],
    "forecasting": ["chicago_ridership", "hpc_jobs", "txhousing_sales"],
}
ALGORITHMS = {
    "sklearn": [
        "dummy",
        "linear",
        "random_forest",
        "hist_gradient_boosting",
        "k_nearest_neighbors",
        "svm",
        "mlp",
    ],
    "pytorch": ["linear", "mlp"],
    "tensorflow": ["linear", "mlp"],
    "jax": ["linear", "mlp"],
}
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
        contract=break_contract("12 test rows are no newer than the newest that trains"),
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
DRIFTING = {
    "gss_abortion-mlp-jax-train": None,
    "parkinson_speech-linear-jax-train": "a division near zero, found in the first epoch",
}
SIZES = (0.0, 0.0, 4e-8, 3e-8, 2e-7, 6e-7, 2e-6, 4e-5, 6e-3)
WORSE = ("churn_tv-svm-sklearn-train", "txhousing_sales-svm-sklearn-train")


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


def make_comparison(record, other):
    """Make a comparison with a record of an earlier framework."""
    draw = random.Random(f"{record.cell} {other.cell}")
    rungs = []
    for name, size in zip(RUNGS, SIZES, strict=True):
        difference = size * draw.uniform(0.1, 1.0)
        if record.cell in DRIFTING and name.startswith("weights"):
            difference = min(0.3, 1000 * difference)
        limit = LIMITS.get(name, METRIC_LIMIT if name == "metric" else 0.0)
        values = "roc_auc 0.8105 and 0.8131" if name == "metric" else None
        if name != "weights_100" or record.dataset != "leaf_flavia":
            rungs.append(Rung(name=name, difference=difference, limit=limit, values=values))
    pair = (other.framework, record.framework)
    return Comparison(frameworks=pair, other=other.cell, rungs=tuple(rungs))


def compare_frameworks(record, others):
    """Return the record with its comparisons and what the gate says of them."""
    comparisons = tuple(make_comparison(record, other) for other in others)
    ordered = sorted(comparisons, key=lambda comparison: comparison.passes)
    text = "; ".join(map(describe_comparison, ordered))
    passes = all(comparison.passes for comparison in comparisons)
    verdict = Verdict(
        gate="in_parity",
        status="not_applicable" if not comparisons else "pass" if passes else "fail",
        text=text or "no other framework has run this cell before",
        expected=DRIFTING.get(record.cell),
    )
    changes = {"comparisons": comparisons, "verdicts": (*record.verdicts, verdict)}
    return record.model_copy(
        update={**changes, "reason": text if verdict.breaks else record.reason}
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
                    elif framework != "sklearn":
                        names = (dataset, algorithm, "ok")
                        others = [
                            other
                            for other in records
                            if (other.dataset, other.algorithm, other.outcome) == names
                            and other.framework != "sklearn"
                        ]
                        record = compare_frameworks(record, others)
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
