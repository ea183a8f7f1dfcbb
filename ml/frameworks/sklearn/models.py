"""List the estimators of scikit-learn that a request may name."""

from __future__ import annotations

import difflib
import importlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ml.core.contracts import EstimatorSpec
from ml.core.errors import RequestInvalid
from ml.core.learner import Problem


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


def build_estimator(spec: EstimatorSpec, problem: Problem, draw: np.random.Generator) -> Any:
    """Return an unfitted estimator with the request's parameters and a seeded random state.

    Raises RequestInvalid for an unknown estimator or parameter, naming the choices.
    """
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
    params = {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in spec.params.items()
    }
    return estimator.set_params(**{**entry.defaults, **params})


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
