"""Declare datasets, algorithms and gates of a project's own, for the hooks that return them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from harness.catalog.algorithms import TASKS, Algorithm
from harness.catalog.datasets import Dataset
from harness.cell import Resources
from harness.gates.judge import Gate, Judge
from ml.core.contracts import (
    ColumnRule,
    Dimension,
    EstimatorSpec,
    ExpectedBreach,
    ForecastRule,
    Framework,
    FunctionData,
    ImportedSpec,
    Mode,
    Name,
    NetworkSpec,
    PreprocessingSpec,
    SearchSpace,
    SplitRule,
    Task,
    TeacherSpec,
)
from ml.core.descriptor import ExpectedFailure
from ml.core.errors import MatrixError, describe
from ml.core.settings import PARAMS, check_space

_name: TypeAdapter[str] = TypeAdapter(Name)
_space: TypeAdapter[SearchSpace] = TypeAdapter(SearchSpace)
Made = TypeVar("Made")


def algorithm(
    id: str,
    model: object,
    *,
    framework: Framework = "sklearn",
    tasks: Sequence[Task] = TASKS,
    params: Mapping[str, Any] | None = None,
    learner: bool = False,
    preprocessing: PreprocessingSpec | None = None,
    rows: int | None = None,
    teachers: Sequence[TeacherSpec] = (),
    resources: Resources | None = None,
    expected_failures: Mapping[str, str] | None = None,
    space: Mapping[str, Dimension] | None = None,
) -> Algorithm:
    """Return an algorithm; its cells are called ``<dataset>-<id>-<framework>-train``.

    ``model`` is an estimator with scikit-learn's ``fit`` and ``predict``: a class, an instance,
    a function that returns one, or ``"module:name"`` of any of these; ``params`` are set on it.
    With ``learner`` it is a class or function, or its ``"module:name"``, that takes a
    ``ml.core.learner.Problem`` and the params, and returns a ``ml.core.learner.Learner``. A
    ``NetworkSpec`` is a network of ours with settings of your own. With ``teachers`` the model,
    a network, is their student, and the mode is distill. With a ``space`` there are sweeps, too:
    it maps a parameter, or where a setting stands in a network (``optimizer.learning_rate``,
    ``hidden``), to a ``FloatRange``, an ``IntRange`` or a ``Choice``. ``rows`` bounds the rows of
    a cell below the general budget; ``resources`` are what a cluster sets aside for a cell, one CPU
    unless told. ``expected_failures`` maps a gate to the reason why it rightly
    fails. The worker imports the model by its name, so that it stands at the top of a module
    below the root folder, beside a conftest.py, or in an installed package.

    Raises ValueError for what cannot be named or sent to a worker.
    """
    where = f"algorithm {id!r}"
    modes: tuple[Mode, ...] = ("distill",) if teachers else ("train",)
    spec = _spec(where, model, dict(params or {}), learner)
    return Algorithm(
        _checked(where, "id", lambda: _name.validate_python(id)),
        framework,
        spec,
        preprocessing or PreprocessingSpec(),
        tasks=_tasks(where, tasks),
        modes=modes,
        rows=rows,
        teachers=tuple(teachers),
        resources=resources or Resources(),
        expected_failures=_failures(where, f"*-{id}-{framework}-*", expected_failures),
        space=None if space is None else _search_space(where, spec, space, bool(teachers)),
    )


def dataset(
    id: str,
    source: Callable[[], Any] | str,
    *,
    task: Task,
    target: str,
    positive: str | None = None,
    split: SplitRule | None = None,
    forecast: ForecastRule | None = None,
    expected_failures: Mapping[str, str] | None = None,
    schema: Mapping[str, ColumnRule] | None = None,
    expected_breaches: Sequence[ExpectedBreach] = (),
) -> Dataset:
    """Return a dataset that a function makes: it returns a pandas DataFrame, the same each time.

    ``source`` is the function, or its ``"module:name"``; the worker imports and calls it.
    ``expected_failures`` maps a gate to the reason why it rightly fails on these data. ``schema``
    maps a column to what it holds, and ``expected_breaches`` says which checks of the data's
    contract rightly object. Raises ValueError for what cannot be named or sent to a worker.
    """
    where = f"dataset {id!r}"
    data = _checked(
        where,
        "its rules",
        lambda: FunctionData(
            id=id,
            task=task,
            target=target,
            positive=positive,
            split=split or SplitRule(),
            forecast=forecast,
            table_schema=dict(schema or {}),
            expected_breaches=tuple(expected_breaches),
            function=_target(where, source),
        ),
    )
    failures = _failures(where, f"{id}-*", expected_failures)
    return Dataset(data.id, task, data, data.function, failures)


def gate(name: str, meaning: str, judge: Judge) -> Gate:
    """Return a gate: ``judge(cell, result, score)`` tells whether it passes, and why.

    It returns True or False, or such a value and a text with the numbers, or None where the
    gate does not apply to the cell. It is called for cells with a result; the score is None
    where the cell's metric is not defined. Raises ValueError for a name that is none.
    """
    where = f"gate {name!r}"
    return Gate(_checked(where, "name", lambda: _name.validate_python(name)), meaning, judge)


def _spec(
    where: str, model: object, params: dict[str, Any], learner: bool
) -> NetworkSpec | EstimatorSpec | ImportedSpec:
    if isinstance(model, NetworkSpec | EstimatorSpec | ImportedSpec):
        if params or learner:
            raise ValueError(f"{where}: a spec has its own parameters; give no params, no learner")
        return model
    if not isinstance(model, str | type) and hasattr(model, "get_params"):
        params = {**_changed_params(model), **params}
        model = type(model)
    target = _target(where, model)
    plain = {name: _plain(where, name, value) for name, value in params.items()}
    role = "learner" if learner else "estimator"
    return _checked(
        where,
        "model",
        lambda: ImportedSpec.model_validate({"target": target, "role": role, "params": plain}),
    )


def _search_space(
    where: str,
    spec: NetworkSpec | EstimatorSpec | ImportedSpec,
    space: Mapping[str, Dimension],
    distils: bool,
) -> SearchSpace:
    """Return a space by the settings' places in the model; a parameter's may be its name alone."""
    if distils:
        raise ValueError(f"{where}: space: a student is not swept; declare its model by itself")
    prefix = "" if isinstance(spec, NetworkSpec) else PARAMS
    placed = {prefix + name.removeprefix(prefix): space[name] for name in space}
    found = _checked(where, "space", lambda: _space.validate_python(placed))
    try:
        # What an estimator takes is known in its worker.
        check_space(spec, found, None)
    except MatrixError as problem:
        raise ValueError(f"{where}: {str(problem).replace('sweep.space.', 'space.')}") from None
    return found


def _target(where: str, named: object) -> str:
    """Return how a worker imports a class or function, or the text that says so already."""
    if isinstance(named, str):
        return named
    module, name = getattr(named, "__module__", None), getattr(named, "__qualname__", None)
    if not callable(named) or not module or not name or module == "__main__" or "<" in name:
        raise ValueError(
            f"{where}: a worker cannot import {describe(named)} by its name; put a class or "
            "function at the top of a module, or give its name as 'module:name'"
        )
    return f"{module}:{name}"


def _changed_params(estimator: Any) -> dict[str, Any]:
    """Return the parameters of an instance that its class does not set by itself."""
    params: dict[str, Any] = estimator.get_params(deep=False)
    try:
        defaults = type(estimator)().get_params(deep=False)
    except TypeError:  # a class that has to be given some
        return params
    return {
        name: value
        for name, value in params.items()
        if name not in defaults or not _same(value, defaults[name])
    }


def _same(value: Any, default: Any) -> bool:
    return value is default or (type(value) is type(default) and bool(value == default))


def _plain(where: str, name: str, value: Any) -> Any:
    """Return a parameter as JSON holds it; raises ValueError for what it cannot hold."""
    item = getattr(value, "item", None)
    scalar = item() if callable(item) and getattr(value, "shape", None) == () else value
    if scalar is None or isinstance(scalar, bool | int | str):
        return scalar
    if isinstance(scalar, float) and math.isfinite(scalar):
        return scalar
    if isinstance(scalar, list | tuple):
        return tuple(_plain(where, name, each) for each in scalar)
    raise ValueError(
        f"{where}: the parameter {name} is {describe(value)}, which is no number, text, true, "
        "false, None or list of these; build the estimator in a function at the top of a module, "
        "and declare that"
    )


def _tasks(where: str, tasks: Sequence[Task]) -> tuple[Task, ...]:
    given = [tasks] if isinstance(tasks, str) else list(tasks)
    if not given or not set(given) <= set(TASKS):
        raise ValueError(f"{where}: tasks are of {', '.join(TASKS)}, received {tasks!r}")
    return tuple(task for task in TASKS if task in given)


def _failures(
    where: str, cells: str, declared: Mapping[str, str] | None
) -> tuple[ExpectedFailure, ...]:
    return tuple(
        _checked(
            where,
            f"expected_failures[{gate!r}]",
            partial(ExpectedFailure, cells=cells, gate=gate, reason=reason),
        )
        for gate, reason in (declared or {}).items()
    )


def _checked(where: str, what: str, make: Callable[[], Made]) -> Made:
    try:
        return make()
    except ValidationError as problem:
        first = problem.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or what
        received = describe(first.get("input"))
        raise ValueError(f"{where}: {place}: {first['msg']}, received {received}") from None
