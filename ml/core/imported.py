"""Import what a project defines, by its name, in a process that was started for that project."""

from __future__ import annotations

import importlib
import os
import traceback
from collections.abc import Mapping
from typing import Any

from ml.core.contracts import EstimatorSpec, ImportedSpec, NetworkSpec
from ml.core.errors import MatrixError, RequestInvalid, describe
from ml.core.learner import Adapter, Learner, Problem

# The folders of the project that this process may import from, set by whoever started it: a
# request that comes from elsewhere must not choose what runs here.
PROJECT = "MLMATRIX_PROJECT"
LEARNER_METHODS = ("fit", "predict", "trace", "parameters", "serialize", "restore")


def import_target(target: str, field: str) -> Any:
    """Return what ``module:name`` names; ``field`` is its place in the request.

    Raises RequestInvalid in a process that was not started for a project, and where there is no
    such module or name; a module that raises gives its stack as the detail.
    """
    folders = os.environ.get(PROJECT)
    if folders is None:
        raise RequestInvalid(
            f"{target} is not imported: this process was not started for a project",
            code="import_not_allowed",
            field=field,
            received=repr(target),
            remedy=f"set {PROJECT} to the project's folders, parted by {os.pathsep!r}, where all "
            "requests come from people who may run code here",
        )
    module_name, _, name = target.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
    except Exception as problem:  # noqa: BLE001 - foreign code may raise anything
        raise RequestInvalid(
            f"the module {module_name} cannot be imported: {type(problem).__name__}: {problem}",
            code="import_failed",
            field=field,
            expected="a module of the project, or of an installed package",
            received=repr(target),
            remedy="correct the name or the module; looked in "
            + ", ".join(filter(None, folders.split(os.pathsep))),
            detail=traceback.format_exc(limit=-8),
        ) from None
    for part in name.split("."):
        if not hasattr(found, part):
            names = [each for each in dir(found) if not each.startswith("_")]
            raise RequestInvalid(
                f"{module_name} has no {name}",
                code="import_failed",
                field=field,
                expected="one of its names: " + ", ".join(names[:40]),
                received=repr(target),
                remedy="correct the name, which must stand at the module's top",
            )
        found = getattr(found, part)
    return found


def call_target(called: Any, target: str, field: str, *given: Any, **params: Any) -> Any:
    """Return what the imported function or class gives; raises MatrixError with its stack."""
    if not callable(called):
        raise RequestInvalid(
            f"{target} is not a function or class",
            code="not_callable",
            field=field,
            expected="a function or class",
            received=describe(called),
        )
    try:
        return called(*given, **params)
    except MatrixError:
        raise
    except Exception as problem:  # noqa: BLE001 - foreign code may raise anything
        raise RequestInvalid(
            f"{target} raised {type(problem).__name__}: {problem}",
            code="target_raised",
            field=field,
            received=describe(params),
            remedy="mend it, or correct its parameters",
            detail=traceback.format_exc(limit=-8),
        ) from None


def python_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return a spec's parameters with lists in place of JSON's tuples."""
    return {name: list(v) if isinstance(v, tuple) else v for name, v in params.items()}


def make_learner(
    adapter: Adapter, spec: NetworkSpec | EstimatorSpec | ImportedSpec, problem: Problem
) -> Learner:
    """Return the framework's learner for a spec, or the one that a project defines.

    Raises RequestInvalid where that is no learner.
    """
    if not isinstance(spec, ImportedSpec) or spec.role == "estimator":
        return adapter.make_learner(spec, problem)
    place = "model.target"
    factory = import_target(spec.target, place)
    learner: Learner = call_target(
        factory, spec.target, place, problem, **python_params(spec.params)
    )
    missing = [name for name in LEARNER_METHODS if not callable(getattr(learner, name, None))]
    if missing:
        raise RequestInvalid(
            f"{spec.target} gives no learner: it has no {', '.join(missing)}",
            code="no_learner",
            field=place,
            expected="an object with the methods of ml.core.learner.Learner",
            received=describe(learner),
            remedy="add the methods, or declare it as an estimator",
        )
    return learner
