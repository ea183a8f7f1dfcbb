"""Make runs for the report's tests: realistic ones, and one whose names are hostile."""

import math
import random
from pathlib import Path

from harness.store.journal import RunJournal
from harness.store.record import (
    Comparison,
    End,
    Head,
    Record,
    Rung,
    Score,
    TestLine,
    Verdict,
)
from ml.core.contracts import (
    GREATER_IS_BETTER,
    Breach,
    ContractCheck,
    ContractReport,
    DataSummary,
    ErrorInfo,
    History,
    ReplicateResult,
    SampleInfo,
    Timings,
    TrainResult,
)

HOSTILE = '"><script>alert(1)</script></pre></template><img src=x onerror=alert(2)><!--'
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


CONTRACT = ContractReport(
    content_sha256="84df51b46f14e330" * 4,
    rows=900,
    checks=(
        ContractCheck(name="schema", status="passed", found="9 columns are declared, and are so"),
        ContractCheck(name="repeats", status="expected", found="6.7% of the test rows also train"),
        ContractCheck(
            name="predictor",
            status="warning",
            found="the best single column is 'city', with a skill of 0.961",
        ),
    ),
    breaches=(
        Breach(
            check="repeats",
            message="6.7% of the test rows also train",
            severity="warning",
            expected="a flight leaves each day by the same schedule",
        ),
        Breach(
            check="predictor",
            column="city",
            message="column 'city' alone predicts the target, with a skill of 0.961",
            severity="warning",
        ),
    ),
)


def break_contract(found):
    """Return a contract that is broken in what was found."""
    checks = (*CONTRACT.checks, ContractCheck(name="time", status="breach", found=found))
    breach = Breach(check="time", column="day", message=found, severity="breach")
    return CONTRACT.model_copy(
        update={"checks": checks, "breaches": (*CONTRACT.breaches, breach), "rows": 300}
    )


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


def record_of(cell, **changes):
    """Make the record of a cell that is given by its id."""
    dataset, algorithm, framework, mode = cell.split("-")
    return make_record(dataset, algorithm, framework, mode=mode, **changes)


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
        contract=CONTRACT,
        metric=JUDGED_BY[task],
        greater_is_better=GREATER_IS_BETTER[JUDGED_BY[task]],
        replicates=tuple(replicates),
        parameters=5_441 if neural else 0,
        timings=Timings(fit=sum(r.timings.fit for r in replicates)),
        rows_per_second=draw.uniform(2e3, 9e5),
        peak_memory_bytes=draw.randint(180, 900) * 2**20,
        artifact_bytes=draw.randint(2_000, 9_000_000),
        warnings=("lbfgs did not converge in 100 iterations",)
        if not neural and share > 0.8
        else (),
        versions={"numpy": "2.4.6", framework: "2.13.0+cpu"},
        threads=1,
    )


def make_run(folder: Path, *records: Record, **changes) -> RunJournal:
    """Make a run of some records that ended well, unless ``changes`` say otherwise."""
    values = {
        "head": make_head(folder.name),
        "tests": (),
        "end": End(finished="2026-03-14T06:22:40.000+00:00", exit_status=0, seconds=75.0),
        "damage": (),
    }
    return RunJournal(folder=folder, records=records, **(values | changes))


def make_hostile(folder: Path, text: str = HOSTILE) -> RunJournal:
    """Make a run in which every text that can be foreign is the given one."""
    error = ErrorInfo(
        code=text,
        message=text,
        field=text,
        expected=text,
        received=text,
        remedy=text,
        detail=text,
    )
    failed = make_record(
        text,
        text,
        "sklearn",
        outcome="error",
        reason=text,
        error=error,
        verdicts=(Verdict(gate=text, status="fail", text=text),),
        request={text: text},
    )
    draw = random.Random(0)
    result = make_result("wine-mlp-pytorch-train", "pytorch", "classification", 0.5, True, draw)
    replicate = result.replicates[0].model_copy(
        update={"metrics": {text: 0.5}, "undefined": {text: text}}
    )
    passed = make_record(
        "wine",
        "mlp",
        "pytorch",
        score=make_score(0.9, 0.5, metric=text),
        verdicts=(
            Verdict(gate=text, status="fail", text=text, expected=text),
            Verdict(gate="in_parity", status="fail", text=text, expected=text),
        ),
        comparisons=(
            Comparison(
                frameworks=("pytorch", "jax"),
                other=text,
                rungs=(
                    Rung(name="forward", difference=None, limit=1e-6, reason=text),
                    Rung(name="metric", difference=0.5, limit=0.02, values=text),
                ),
            ),
        ),
        result=result.model_copy(
            update={
                "replicates": (replicate,),
                "warnings": (text,),
                "versions": {text: text},
                "data": result.data.model_copy(update={"id": text}),
            }
        ),
    )
    return make_run(
        folder,
        failed,
        passed,
        head=make_head(
            text,
            git_branch=text,
            git_commit=text,
            command=("pytest", text),
            cpu=text,
            packages={text: text},
        ),
        tests=(TestLine(node=text, status="error", reason=text),),
        damage=(text,),
    )
