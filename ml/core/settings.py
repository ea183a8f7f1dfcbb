"""Apply a trial's settings to a model, and hold a search space to the model that it is for."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ml.core.contracts import (
    Choice,
    Dimension,
    EstimatorSpec,
    FloatRange,
    ImportedSpec,
    IntRange,
    NetworkSpec,
    SearchSpace,
)
from ml.core.errors import RequestInvalid, describe
from ml.core.trials import Setting

Model = NetworkSpec | EstimatorSpec | ImportedSpec
Settings = dict[str, Setting]

LAYERS, UNITS = "hidden.layers", "hidden.units"
PARAMS = "params."
# Equal layers are written out, one by one, before a spec could refuse them.
MOST_LAYERS = 256
# Samplers compute with float64, in which whole numbers are exact up to here, and which has room
# for the difference of two numbers of this size.
LARGEST_INT, LARGEST_FLOAT = 2**53, 1e300
_NESTED = ("optimizer", "schedule")


def paths_of(model: Model, known: Mapping[str, Setting] | None) -> list[str] | None:
    """Return the paths of all hyperparameters of a model, None where nobody knows them.

    ``known`` are an estimator's parameters with their values, its own defaults included.
    """
    if not isinstance(model, NetworkSpec):
        return None if known is None else [f"{PARAMS}{name}" for name in sorted(known)]
    plain = [name for name in NetworkSpec.model_fields if name not in ("kind", *_NESTED)]
    below = [
        f"{name}.{field}" for name in _NESTED for field in type(getattr(model, name)).model_fields
    ]
    return sorted([*plain, *below, LAYERS, UNITS])


def declared_settings(
    model: Model, space: SearchSpace, known: Mapping[str, Setting] | None
) -> Settings:
    """Return what a model has for each path of a space, as it is declared.

    Unequal layers stand as a tuple of their units. A parameter without a known value is left out.
    """
    values = {**(known or {}), **({} if isinstance(model, NetworkSpec) else model.params)}
    found: Settings = {}
    for path in sorted(space):
        if path.startswith(PARAMS):
            name = path.removeprefix(PARAMS)
            if name in values:
                found[path] = values[name]
        elif path == LAYERS:
            found[path] = len(_hidden(model))
        elif path == UNITS:
            units = _hidden(model)
            found[path] = units[0] if len(set(units)) == 1 else units
        else:
            value: Any = model
            for name in path.split("."):
                value = getattr(value, name)
            found[path] = value
    return found


def apply_settings(model: Model, settings: Mapping[str, Setting]) -> Model:
    """Return the model with these settings; raises pydantic's ValidationError where they misfit.

    ``hidden.layers`` and ``hidden.units`` stand for that many equal layers; where one of them
    is not set, the declared model's number of layers or its first layer's units are taken.
    """
    content: dict[str, Any] = model.model_dump()
    for path, value in settings.items():
        if path in (LAYERS, UNITS):
            continue
        above, _, name = path.rpartition(".")
        place = content
        for part in above.split(".") if above else ():
            place = place[part]
        place[name] = value
    if LAYERS in settings or UNITS in settings:
        hidden = _hidden(model)
        layers: Any = settings.get(LAYERS, len(hidden))
        units: Any = settings.get(UNITS, hidden[0] if hidden else None)
        # What is no number of layers, or has several widths, is left for the spec to refuse.
        whole = isinstance(layers, int) and layers <= MOST_LAYERS and not isinstance(units, tuple)
        content["hidden"] = (units,) * layers if whole else layers
    changed: Model = type(model).model_validate(content)
    return changed


def same(one: Setting, other: Setting) -> bool:
    """Tell whether two settings are the same, as true and 1 are not."""
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def contains(dimension: Dimension, value: Setting) -> bool:
    """Tell whether a value lies in a dimension; true and 1 are not the same value."""
    if isinstance(dimension, Choice):
        return any(same(value, choice) for choice in dimension.values)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if not dimension.low <= value <= dimension.high:
        return False
    if isinstance(dimension, IntRange):
        return isinstance(value, int) and (value - dimension.low) % dimension.step == 0
    return True


def size_of(dimension: Dimension) -> int | None:
    """Return the number of values in a dimension, None where it is a range of real numbers."""
    if isinstance(dimension, Choice):
        return len(dimension.values)
    if isinstance(dimension, IntRange):
        return (dimension.high - dimension.low) // dimension.step + 1
    return 1 if dimension.low == dimension.high else None


def check_space(model: Model, space: SearchSpace, known: Mapping[str, Setting] | None) -> None:
    """Raise RequestInvalid where a path is not of this model, or a bound gives no valid one."""
    paths = paths_of(model, known)
    for path, dimension in space.items():
        _check_path(model, path, paths)
        if path == "hidden" and (LAYERS in space or UNITS in space):
            other = LAYERS if LAYERS in space else UNITS
            _refuse(path, "layers are searched in two ways", f"hidden or {other}", path)
        if path == LAYERS and not _hidden(model) and UNITS not in space:
            _refuse(path, "the layers have no units", f"{UNITS} beside it", f"{path} alone")
        if isinstance(dimension, Choice):
            for place, value in enumerate(dimension.values):
                if any(same(value, earlier) for earlier in dimension.values[:place]):
                    _refuse(path, "a value stands there twice", "each value once", value)
        else:
            largest = LARGEST_INT if isinstance(dimension, IntRange) else LARGEST_FLOAT
            bound = max(dimension.low, dimension.high, key=abs)
            if abs(bound) > largest:
                _refuse(path, "a bound is too large", f"at most {largest} in size", bound)
        for value in _ends(dimension):
            _check_value(model, space, path, value)


def _check_path(model: Model, path: str, paths: list[str] | None) -> None:
    if paths is None:
        if path.startswith(PARAMS) and len(path) > len(PARAMS):
            return
        expected, near = f"{PARAMS}<name>", [f"{PARAMS}{path.rpartition('.')[2]}"]
    elif path in paths:
        return
    else:
        shown = paths if len(paths) <= 60 else [*paths[:60], "…"]
        expected = "one of " + ", ".join(shown) if paths else "no space: it has no parameters"
        near = difflib.get_close_matches(path, paths, n=1, cutoff=0.5)
        # A name without its place, as learning_rate is of optimizer.learning_rate.
        near = [known for known in paths if known.rpartition(".")[2] == path][:1] or near
    raise RequestInvalid(
        f"sweep.space.{path} is no hyperparameter of this model",
        code="unknown_hyperparameter",
        field=f"sweep.space.{path}",
        expected=expected,
        received=repr(path),
        remedy=f"did you mean {near[0]!r}?" if near else "leave it out",
    )


def _check_value(model: Model, space: SearchSpace, path: str, value: Setting) -> None:
    first = _find_misfit(model, {path: value})
    if first is None:
        return
    if not first["loc"] and any(
        _find_misfit(model, {path: value, other: end}) is None
        for other, dimension in space.items()
        if other != path
        for end in _ends(dimension)
    ):
        return  # Values that must fit each other, and do where another one is searched, too.
    expected = first["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    remedy = f"correct the values of sweep.space.{path}"
    if first["type"] in ("int_type", "int_from_float") and isinstance(space[path], FloatRange):
        remedy = "search whole numbers: {'kind': 'int', 'low': …, 'high': …}"
    _refuse(path, "a value that the model cannot have", expected, value, remedy)


def _find_misfit(model: Model, settings: Settings) -> ErrorDetails | None:
    """Return what is wrong first with a model of these settings, None where it can be one."""
    try:
        apply_settings(model, settings)
    except ValidationError as problem:
        return problem.errors(include_url=False)[0]
    return None


def _refuse(
    path: str, why: str, expected: str, received: Setting, remedy: str | None = None
) -> NoReturn:
    raise RequestInvalid(
        f"sweep.space.{path} is not valid: {why}",
        code="invalid_space",
        field=f"sweep.space.{path}",
        expected=expected,
        received=describe(received),
        remedy=remedy or f"correct sweep.space.{path}",
    )


def _ends(dimension: Dimension) -> Iterator[Setting]:
    """Yield the values that a model must be able to have: the bounds, or each choice."""
    if isinstance(dimension, Choice):
        yield from dimension.values
    else:
        yield from dict.fromkeys((dimension.low, dimension.high))


def _hidden(model: Model) -> tuple[int, ...]:
    return model.hidden if isinstance(model, NetworkSpec) else ()
