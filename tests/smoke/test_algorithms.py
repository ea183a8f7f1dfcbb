import datetime
import json
import math

import numpy as np
import pytest
from entry_points import entry_point_or_skip

from harness.catalog.algorithms import ALGORITHMS
from ml.core.contracts import (
    DistillRequest,
    InlineData,
    NetworkSpec,
    TrainRequest,
    TrainResult,
    parse_response,
)

pytestmark = pytest.mark.smoke

ROWS = 60
METRIC = {"classification": "roc_auc", "regression": "rmse", "forecasting": "mase"}


def tiny_table(task):
    """Return 60 rows with numbers, categories, and missing values of both."""
    rng = np.random.default_rng(2)
    size, area = rng.normal(size=(2, ROWS)).round(4).tolist()
    colour = rng.choice(["red", "green", "blue"], ROWS).tolist()
    value = [10 * s + 3 * (c == "red") for s, c in zip(size, colour, strict=True)]
    columns = {
        "size": [None if row % 9 == 4 else number for row, number in enumerate(size)],
        "area": area,
        "colour": [None if row % 11 == 5 else text for row, text in enumerate(colour)],
        "sold": [row % 3 == 0 for row in range(ROWS)],
    }
    rule = {}
    if task == "classification":
        columns["y"] = ["dear" if number > 1 else "cheap" for number in value]
    else:
        columns["y"] = value
    if task == "forecasting":
        start = datetime.date(2024, 2, 25)
        days = [start + datetime.timedelta(days=row // 2) for row in range(ROWS)]
        columns["day"] = [day.isoformat() for day in days]
        columns["shop"] = ["north", "south"] * (ROWS // 2)
        rule = {
            "split": {"rule": "time", "column": "day"},
            "forecast": {"period": "day", "season": 7, "series": "shop", "lags": [1, 7]},
        }
    data = {"id": "tiny", "task": task, "target": "y", "columns": columns, **rule}
    return InlineData.model_validate_json(json.dumps(data))


# These compile or trace anew for each task, and the contract checks train them for every loss.
SMOKE_TASKS = {"tensorflow": lambda tasks: tasks[:1], "jax": lambda tasks: tasks[-1:]}


@pytest.mark.parametrize(
    ("algorithm", "task"),
    [
        pytest.param(algorithm, task, id=f"{algorithm.framework}-{algorithm.id}-{task}")
        for algorithm in ALGORITHMS
        for task in SMOKE_TASKS.get(algorithm.framework, list)(algorithm.tasks)
    ],
)
def test_one_short_training(algorithm, task):
    module = entry_point_or_skip(algorithm.framework)
    model, epochs = algorithm.model, 0
    if isinstance(model, NetworkSpec):
        model, epochs = model.model_copy(update={"epochs": 1}), 1
    changes = {"teachers": algorithm.teachers} if algorithm.teachers else {}
    request = (DistillRequest if changes else TrainRequest)(
        id="smoke",
        data=tiny_table(task),
        model=model,
        preprocessing=algorithm.preprocessing,
        replicates=2,
        **changes,
    )
    handle = module.handle_distill_request if changes else module.handle_train_request
    answer = handle(request.model_dump(mode="json"))
    result = parse_response(json.dumps(answer, allow_nan=False))
    assert isinstance(result, TrainResult), answer
    assert (result.status, result.framework) == ("ok", algorithm.framework)
    assert (result.metric, result.data.task) == (METRIC[task], task)
    assert (result.distillation is None) == (algorithm.modes == ("train",))
    assert len(result.replicates) == 2
    for replicate in result.replicates:
        assert replicate.undefined == {}
        assert replicate.metrics.keys() == replicate.baseline.keys()
        assert result.metric in replicate.metrics
        assert all(map(math.isfinite, replicate.metrics.values()))
        assert replicate.epochs == len(replicate.history.train) == epochs
        assert replicate.timings.fit > 0
        assert min(replicate.train_rows, replicate.test_rows) > 5
        assert bool(replicate.validation_rows) == isinstance(model, NetworkSpec)
        if algorithm.is_baseline and task != "forecasting":
            assert replicate.metrics == pytest.approx(replicate.baseline, rel=1e-6)
    assert result.data.sample.rows == ROWS
    assert result.artifact_bytes > 0
    assert result.rows_per_second > 0
    assert result.peak_memory_bytes > 10 * 1024**2
    assert result.timings.total >= result.timings.fit > 0
    assert result.versions.keys() > {"numpy"}
