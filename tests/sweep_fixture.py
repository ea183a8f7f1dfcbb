"""Make sweeps for the report's tests: many trials, and every way in which one ends."""

import json
import math
import random

from report_fixture import METRICS, make_record, make_result, make_score

from harness.store.trials import place_trials
from ml.core.contracts import GREATER_IS_BETTER
from ml.core.trials import Choice, FloatRange, IntRange, SweepInfo, SweepSpec, Trial

SPACE = {
    "optimizer.learning_rate": FloatRange(low=1e-4, high=0.1, log=True),
    "batch_size": Choice(values=(32, 64, 128)),
    "dropout": FloatRange(low=0.0, high=0.5),
    "hidden.units": IntRange(low=8, high=128, log=True),
}
DEFAULT = {
    "optimizer.learning_rate": 0.001,
    "batch_size": 32,
    "dropout": 0.0,
    "hidden.units": 64,
}
FAILED = ("diverged", "the training loss of epoch 2 is not finite: lower optimizer.learning_rate")


def make_trials(draw, number=20, good=0.9, greater=True):
    """Make trials of which one in three is pruned and trial 5 diverges; trial 7 is the best."""
    sign = 1 if greater else -1
    trials = []
    for index in range(number):
        settings = dict(DEFAULT)
        if index:
            settings = {
                "optimizer.learning_rate": 10 ** draw.uniform(-4, -1),
                "batch_size": draw.choice((32, 64, 128)),
                "dropout": draw.uniform(0, 0.5),
                "hidden.units": round(8 * 16 ** draw.random()),
            }
        away = abs(math.log10(settings["optimizer.learning_rate"]) + 2.2) * 0.02
        value = good * (1 - sign * (0.01 + away + draw.uniform(0, 0.01)))
        if index == 7:
            value = good
        is_pruned = index % 3 == 2 and index not in (5, 7)
        epochs = 3 if is_pruned else 9
        steps = tuple(
            (epoch, value * (1 - sign * 0.3 * math.exp(-epoch / 3)))
            for epoch in range(3, epochs + 1, 3)
        )
        if index == 5:
            outcome, reason = FAILED
            trials.append(
                Trial(
                    index=index,
                    settings=settings | {"optimizer.learning_rate": 0.0987},
                    outcome=outcome,
                    reason=reason,
                    epochs=2,
                    seconds=0.1,
                )
            )
            continue
        trials.append(
            Trial(
                index=index,
                settings=settings,
                outcome="pruned" if is_pruned else "ok",
                reason="in the lower two thirds after 3 epochs" if is_pruned else "",
                value=steps[-1][1] if is_pruned else value,
                steps=steps,
                epochs=epochs,
                seconds=0.1 * epochs,
            )
        )
    return tuple(trials)


def write_trials(run, cell, trials):
    """Write trials as a sweep keeps them in its run's folder, the last one cut off."""
    path = place_trials(run.folder, cell)
    lines = [json.dumps({"kind": "trial", "trial": one.model_dump(mode="json")}) for one in trials]
    head = json.dumps({"kind": "sweep", "schema_version": 1, "request": "0" * 64})
    path.write_text("\n".join([head, *lines, lines[0][:30]]))


def make_info(draw, metric="roc_auc", default=(0.85, 0.86, 0.84), trials=20, good=0.9, **changes):
    made = make_trials(draw, trials, good, GREATER_IS_BETTER.get(metric, True))
    values = {
        "trials": made,
        "best": 7 if trials > 7 else 0,
        "validation_rows": 1125,
        "default_metrics": tuple({metric: value} for value in default),
        "importance": {
            "optimizer.learning_rate": 0.71,
            "dropout": 0.05,
            "hidden.units": 0.16,
            "batch_size": 0.08,
        },
        "importance_method": "fANOVA",
        "ended": "trials",
        "epochs": sum(trial.epochs for trial in made),
        "seconds": math.fsum(trial.seconds for trial in made),
    }
    return SweepInfo(**(values | changes))


def make_sweep(
    dataset="wine",
    algorithm="mlp",
    framework="pytorch",
    task="classification",
    metric="roc_auc",
    tuned=(0.9, 0.88, 0.89),
    info=None,
    space=None,
    request=None,
    **changes,
):
    """Make the record of a sweep whose tuned model has these values, by replicate."""
    cell = f"{dataset}-{algorithm}-{framework}-sweep"
    draw = random.Random(cell)
    result = make_result(cell, framework, task, 0.6, framework != "sklearn", draw, 9)
    replicates = tuple(
        one.model_copy(update={"metrics": {**one.metrics, metric: value}, "split_sha256": "5" * 64})
        for one, value in zip(result.replicates, tuned, strict=True)
    )
    greater = GREATER_IS_BETTER.get(metric, True)
    info = info or make_info(draw, metric)
    result = result.model_copy(
        update={
            "replicates": replicates,
            "metric": metric,
            "greater_is_better": greater,
            "sweep": info,
        }
    )
    spec = SweepSpec(space=space or SPACE, trials=len(info.trials))
    baseline = METRICS[task].get(metric, 0.5)
    values = {
        "mode": "sweep",
        "task": task,
        "result": result,
        "score": make_score(sum(tuned) / len(tuned), baseline, greater, metric=metric),
        "seconds": info.seconds + 4,
        "request": {"id": cell, "sweep": spec.model_dump(mode="json")} | (request or {}),
    }
    return make_record(dataset, algorithm, framework, **(values | changes))
