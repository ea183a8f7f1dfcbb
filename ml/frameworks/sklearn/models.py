"""List the estimators of scikit-learn that a request may name."""

from __future__ import annotations

import difflib
import importlib
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import numpy as np
from sklearn.base import clone

from ml.core.contracts import EstimatorSpec, ImportedSpec
from ml.core.errors import RequestInvalid, describe
from ml.core.imported import call_target, import_target, python_params
from ml.core.learner import Problem
from ml.core.specs import Scalar


@dataclass(frozen=True)
class Estimator:
    """Name a classifier and a regressor as ``module:class``, and what we set on both."""

    classifier: str
    regressor: str
    defaults: dict[str, Any] = field(default_factory=dict)


ESTIMATORS: dict[str, Estimator] = {
    "dummy": Estimator("sklearn.dummy:DummyClassifier", "sklearn.dummy:DummyRegressor"),
    "linear": Estimator("sklearn.linear_model:LogisticRegression", "sklearn.linear_model:Ridge"),
    "random_forest": Estimator(
        "sklearn.ensemble:RandomForestClassifier", "sklearn.ensemble:RandomForestRegressor"
    ),
    "hist_gradient_boosting": Estimator(
        "sklearn.ensemble:HistGradientBoostingClassifier",
        "sklearn.ensemble:HistGradientBoostingRegressor",
    ),
    "k_nearest_neighbors": Estimator(
        "sklearn.neighbors:KNeighborsClassifier", "sklearn.neighbors:KNeighborsRegressor"
    ),
    "svm": Estimator("sklearn.svm:SVC", "sklearn.svm:SVR"),
    "mlp": Estimator("sklearn.neural_network:MLPClassifier", "sklearn.neural_network:MLPRegressor"),
}


def build_estimator(
    spec: EstimatorSpec | ImportedSpec, problem: Problem, draw: np.random.Generator
) -> Any:
    """Return an unfitted estimator with the request's parameters and a seeded random state.

    Raises RequestInvalid for an unknown estimator or parameter, naming the choices.
    """
    if isinstance(spec, ImportedSpec):
        return _build_imported(spec, draw)
    if spec.estimator not in ESTIMATORS:
        raise _unknown("model.estimator", spec.estimator, list(ESTIMATORS))
    entry = ESTIMATORS[spec.estimator]
    module, _, name = (entry.classifier if problem.classes else entry.regressor).partition(":")
    estimator = getattr(importlib.import_module(module), name)()
    known = estimator.get_params()
    for param in spec.params:
        if param not in known:
            raise _unknown(f"model.params.{param}", param, sorted(known))
    if "random_state" in known:
        estimator.set_params(random_state=int(draw.integers(2**31)))
    return estimator.set_params(**{**entry.defaults, **python_params(spec.params)})


def known_settings(
    spec: EstimatorSpec | ImportedSpec, classes: int
) -> dict[str, Scalar | tuple[Scalar, ...]] | None:
    """Return an estimator's parameters with their values, its own defaults included.

    What JSON has no form for stands as text. None where an object tells no parameters; raises as
    ``build_estimator`` does.
    """
    if isinstance(spec, ImportedSpec) and spec.role == "learner":
        return None
    estimator = build_estimator(spec, Problem(1, classes), np.random.default_rng(0))
    if not hasattr(estimator, "get_params"):
        return None
    return {name: _as_setting(value) for name, value in estimator.get_params().items()}


def _as_setting(value: Any) -> Scalar | tuple[Scalar, ...]:
    if isinstance(value, list | tuple) and all(isinstance(one, Scalar) for one in value):
        return tuple(value)
    plain = isinstance(value, Scalar) and not (isinstance(value, float) and not isfinite(value))
    return value if plain else describe(value)


def _build_imported(spec: ImportedSpec, draw: np.random.Generator) -> Any:
    """Return a project's own estimator: made by a class or function, or a copy of an instance."""
    place = "model.target"
    found, params = import_target(spec.target, place), python_params(spec.params)
    if hasattr(found, "get_params") and not isinstance(found, type):
        copy = clone(found)
        estimator = call_target(copy.set_params, spec.target, place, **params)
    else:
        estimator = call_target(found, spec.target, place, **params)
    missing = [name for name in ("fit", "predict") if not hasattr(estimator, name)]
    if missing:
        raise RequestInvalid(
            f"{spec.target} gives no estimator: it has no {' and no '.join(missing)}",
            code="no_estimator",
            field=place,
            expected="an object with scikit-learn's fit and predict",
            received=describe(estimator),
            remedy="add the methods, or declare it as a learner",
        )
    known = estimator.get_params() if hasattr(estimator, "get_params") else {}
    # What the project has set itself stays; a generator shared by trainings would tie them.
    if known.get("random_state", 0) is None:
        estimator.set_params(random_state=int(draw.integers(2**31)))
    return estimator


def _unknown(where: str, received: str, choices: list[str]) -> RequestInvalid:
    near = difflib.get_close_matches(received, choices, n=1)
    return RequestInvalid(
        f"{where}: scikit-learn's learner knows no {received!r}",
        code="unknown_name",
        field=where,
        expected="one of " + ", ".join(choices),
        received=repr(received),
        remedy=f"did you mean {near[0]!r}?" if near else "choose one of these",
    )
