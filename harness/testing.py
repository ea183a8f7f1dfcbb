"""Check that an algorithm of your own keeps what every algorithm of the matrix promises.

Each check has a name and trains the algorithm in a worker on a small table made for it, as a cell
would be::

    @pytest.mark.contract
    @parametrize_with_checks([algorithm("prototypes", Prototypes, tasks=["classification"])])
    def test_contract(algorithm, check):
        check(algorithm)
"""

from __future__ import annotations

import atexit
import random
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from harness.catalog.algorithms import Algorithm
from harness.execute.local import LocalExecutor
from harness.store.sources import project_roots
from ml.core.contracts import (
    Budget,
    Choice,
    DistillRequest,
    EstimatorSpec,
    Failure,
    ForecastRule,
    InlineData,
    NetworkSpec,
    SplitRule,
    Task,
    TrainRequest,
    TrainResult,
)
from ml.core.settings import apply_settings

Check = Callable[[Algorithm], None]
ExpectedFailedChecks = Mapping[str, str] | Callable[[Algorithm], Mapping[str, str]]
ROWS = 160
SEED = 20_260
SECONDS = 120.0
# Outcomes that tell whose fault it is; with these a model may refuse a table.
REFUSALS = ("data_invalid", "diverged")


def parametrize_with_checks(
    algorithms: Sequence[Algorithm],
    *,
    expected_failed_checks: ExpectedFailedChecks | None = None,
) -> pytest.MarkDecorator:
    """Make a test of each algorithm and check; the test takes ``algorithm`` and ``check``.

    ``expected_failed_checks`` maps the name of a check to the reason why it fails, for all
    algorithms or as a function of one; such a test is a strict xfail. Raises ValueError for the
    name of a check that there is none of.
    """
    cases = []
    for entry in algorithms:
        expected = expected_failed_checks or {}
        reasons = expected(entry) if callable(expected) else expected
        unknown = sorted(set(reasons) - set(CHECKS))
        if unknown:
            raise ValueError(
                f"expected_failed_checks of {entry.id!r}: there is no check {unknown[0]!r}; "
                f"choose from {', '.join(CHECKS)}"
            )
        for check in checks_of(entry):
            name = check.__name__
            marks = (
                [pytest.mark.xfail(reason=reasons[name], strict=True)] if name in reasons else []
            )
            label = f"{entry.id}-{entry.framework}-{name.removeprefix('check_')}"
            cases.append(pytest.param(entry, check, id=label, marks=marks))
    return pytest.mark.parametrize(("algorithm", "check"), cases)


def checks_of(algorithm: Algorithm) -> Iterator[Check]:
    """Yield the checks that apply to an algorithm, by its tasks and where it has a space."""
    for name, check in CHECKS.items():
        task = TASK_OF_CHECK.get(name)
        if check is check_takes_the_bounds_of_its_space and not algorithm.space:
            continue
        if task is None or task in algorithm.tasks:
            yield check


@dataclass(frozen=True)
class Answer:
    """Hold a worker's response to one table, of which a check asserts."""

    response: TrainResult | Failure

    @property
    def result(self) -> TrainResult:
        """Return the result; raises AssertionError with the reason where there is none."""
        if isinstance(self.response, Failure):
            error = self.response.error
            parts = [f"{self.response.outcome}: {error.message}", error.remedy, error.detail]
            raise AssertionError("\n".join(filter(None, parts)))
        return self.response

    @property
    def numbers(self) -> list[dict[str, float]]:
        """Return all metrics of all replicates."""
        return [replicate.metrics for replicate in self.result.replicates]


def check_learns_a_classification(algorithm: Algorithm) -> None:
    """Train on two classes that a line parts: better than guessing."""
    [scores] = _train(algorithm, _table("classification")).numbers
    assert scores["roc_auc"] > 0.7, scores


def check_learns_many_classes(algorithm: Algorithm) -> None:
    """Train on four classes: better than guessing."""
    [scores] = _train(algorithm, _table("classification", classes=4)).numbers
    assert scores["balanced_accuracy"] > 0.4, scores


def check_learns_a_regression(algorithm: Algorithm) -> None:
    """Train on a linear target: better than its mean, in whatever unit it is given."""
    for unit in (1.0, 1e6):
        [scores] = _train(algorithm, _table("regression", unit=unit)).numbers
        assert scores["r2"] > 0.2, (unit, scores)


def check_learns_a_forecast(algorithm: Algorithm) -> None:
    """Train on a seasonal series: finite errors for the newest rows."""
    [scores] = _train(algorithm, _table("forecasting")).numbers
    assert scores["rmse"] < 100, scores


def check_repeats_to_the_bit(algorithm: Algorithm) -> None:
    """Train the same twice: equal metrics, so that a night can be compared with the last."""
    data = _table(algorithm.tasks[0])
    first, second = (_train(algorithm, data).numbers for _ in range(2))
    assert first == second


def check_forgets_what_it_trained_before(algorithm: Algorithm) -> None:
    """Train in a fresh worker, then again after another table: equal metrics."""
    data, other = _table(algorithm.tasks[0]), _table(algorithm.tasks[0], seed=1)
    fresh = LocalExecutor(Path(_folder()) / "fresh", project=project_roots(Path.cwd()))
    try:
        first = _train(algorithm, data, fresh).numbers
    finally:
        fresh.close()
    _train(algorithm, other)
    assert _train(algorithm, data).numbers == first


def check_leaves_its_process_as_it_was(algorithm: Algorithm) -> None:
    """Train between two trainings of a model of ours in the same worker: these score the same."""
    ours: NetworkSpec | EstimatorSpec = NetworkSpec(architecture="mlp", hidden=(8,), epochs=3)
    if algorithm.framework == "sklearn":
        ours = EstimatorSpec(estimator="random_forest", params={"n_estimators": 5})
    probe = Algorithm("probe", algorithm.framework, ours)
    data = _table("classification")
    before = _train(probe, data).numbers
    _ = _train(algorithm, _table(algorithm.tasks[0])).result
    assert _train(probe, data).numbers == before


def check_accepts_missing_and_categorical_values(algorithm: Algorithm) -> None:
    """Train on a table with gaps and text, as it is prepared for the algorithm: a result."""
    _ = _train(algorithm, _table(algorithm.tasks[0], gaps=True)).result


def check_accepts_a_single_feature(algorithm: Algorithm) -> None:
    """Train on one column: a result."""
    _ = _train(algorithm, _table(algorithm.tasks[0], features=1)).result


def check_tells_why_it_refuses(algorithm: Algorithm) -> None:
    """Train on a handful of rows: a result, or a refusal that says what is wrong."""
    response = _train(algorithm, _table(algorithm.tasks[0], rows=12)).response
    if isinstance(response, Failure):
        error = response.error
        assert response.outcome in REFUSALS or error.remedy, (
            f"{response.outcome}: {error.message}\n{error.detail or ''}"
        )


def check_takes_the_bounds_of_its_space(algorithm: Algorithm) -> None:
    """Train with the ends of each range of its space, and with each choice: results."""
    for path, dimension in (algorithm.space or {}).items():
        ends = (
            dimension.values if isinstance(dimension, Choice) else (dimension.low, dimension.high)
        )
        for value in ends:
            model = apply_settings(algorithm.model, {path: value})
            answer = _train(replace(algorithm, model=model), _table(algorithm.tasks[0]))
            assert isinstance(answer.response, TrainResult), (path, value, answer.response)


CHECKS: dict[str, Check] = {
    check.__name__: check
    for check in (
        check_learns_a_classification,
        check_learns_many_classes,
        check_learns_a_regression,
        check_learns_a_forecast,
        check_repeats_to_the_bit,
        check_forgets_what_it_trained_before,
        check_leaves_its_process_as_it_was,
        check_accepts_missing_and_categorical_values,
        check_accepts_a_single_feature,
        check_tells_why_it_refuses,
        check_takes_the_bounds_of_its_space,
    )
}
TASK_OF_CHECK: dict[str, Task] = {
    "check_learns_a_classification": "classification",
    "check_learns_many_classes": "classification",
    "check_learns_a_regression": "regression",
    "check_learns_a_forecast": "forecasting",
}


def _train(
    algorithm: Algorithm,
    data: InlineData,
    executor: LocalExecutor | None = None,
) -> Answer:
    request = TrainRequest(
        id=f"{data.id}-{algorithm.id}",
        data=data,
        model=algorithm.model,
        preprocessing=algorithm.preprocessing,
        seed=SEED,
        replicates=1,
        budget=Budget(rows=ROWS, seconds=SECONDS),
    )
    mode = algorithm.modes[0]
    if mode == "distill":
        request = DistillRequest(**dict(request), teachers=algorithm.teachers)
    worker = executor or _executor()
    return Answer(worker.send(algorithm.framework, mode, request, SECONDS).response)


def _table(
    task: Task,
    *,
    rows: int = ROWS,
    features: int = 4,
    classes: int = 2,
    unit: float = 1.0,
    gaps: bool = False,
    seed: int = 0,
) -> InlineData:
    """Return a table whose target a linear function of its first features decides."""
    draw = random.Random(f"{seed} {rows} {features}")  # noqa: S311 - data, not a secret
    columns: dict[str, Any] = {
        f"x{place}": tuple(draw.gauss(0, 1) for _ in range(rows)) for place in range(features)
    }
    signal = [sum(values) for values in zip(*list(columns.values())[:2], strict=True)]
    split, forecast = SplitRule(), None
    if task == "classification":
        ranked = sorted(range(rows), key=signal.__getitem__)
        labels = [""] * rows
        for place, row in enumerate(ranked):
            labels[row] = "abcdefgh"[place * classes // rows]
        columns["y"] = tuple(labels)
    elif task == "regression":
        columns["y"] = tuple(unit * (value + draw.gauss(0, 0.1)) for value in signal)
    else:
        split = SplitRule(rule="time", column="step")
        forecast = ForecastRule(period="step", season=4, lags=(1, 2, 4))
        columns["step"] = tuple(range(rows))
        columns["y"] = tuple(
            10.0 * (row % 4) + value for row, value in zip(range(rows), signal, strict=True)
        )
    if gaps:
        columns["x0"] = tuple(None if row % 7 == 0 else v for row, v in enumerate(columns["x0"]))
        columns["colour"] = tuple(draw.choice(("red", "green", None)) for _ in range(rows))
    return InlineData(
        id="check", task=task, target="y", columns=columns, split=split, forecast=forecast
    )


@cache
def _executor() -> LocalExecutor:
    executor = LocalExecutor(Path(_folder()), project=project_roots(Path.cwd()))
    atexit.register(executor.close)
    return executor


@cache
def _folder() -> str:
    folder = tempfile.TemporaryDirectory(prefix="mlmatrix-checks-")
    atexit.register(folder.cleanup)
    return folder.name
