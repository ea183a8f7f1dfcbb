"""Offer our learners as scikit-learn estimators: they clone, pickle and work in pipelines."""

from __future__ import annotations

import json
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from ml.core.contracts import NetworkSpec
from ml.core.errors import RequestInvalid, describe
from ml.core.learner import Adapter, Draws, Floats32, Floats64, Learner, Part, Problem
from ml.preprocessing.preprocessor import TargetScaler
from ml.preprocessing.scaling import measure_moments, standardise
from ml.registry import entry_point

LEAST_ROWS_TO_STOP_EARLY = 100
BLOCK_ROWS = 64
NETWORK_DEFAULTS: dict[str, Any] = {
    "epochs": 100,
    "batch_size": 32,
    "optimizer": {"learning_rate": 5e-3},
}


class MatrixEstimator(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Train one of our learners on arrays; see MatrixClassifier and MatrixRegressor.

    ``framework`` and ``algorithm`` name the learner. ``params`` are a neural network's fields
    of ``NetworkSpec`` (hidden, epochs, batch_size, …) or a scikit-learn estimator's own.
    Features are standardised by the training rows. Where a framework stops early, it does so on
    ``validation_fraction`` of the rows, from 100 rows on. ``random_state`` seeds everything.
    """

    def __init__(
        self,
        framework: str = "pytorch",
        algorithm: str = "mlp",
        params: dict[str, Any] | None = None,
        validation_fraction: float = 0.1,
        random_state: Any = None,
    ) -> None:
        self.framework = framework
        self.algorithm = algorithm
        self.params = params
        self.validation_fraction = validation_fraction
        self.random_state = random_state

    def _train(self, features: NDArray[Any], target: NDArray[Any], classes: int) -> None:
        adapter: Adapter = entry_point(self.framework).ADAPTER
        adapter.prepare_in_place()
        self._shift, self._scale = measure_moments(features.T.astype(np.float64))
        inputs = self._standardised(features)
        self._problem = Problem(inputs=inputs.shape[1], classes=classes)
        seed = int(check_random_state(self.random_state).randint(2**31))
        weights, order, estimator, split = np.random.default_rng(seed).spawn(4)
        train, validation = self._parts(inputs, target, split, adapter)
        self._learner = self._make_learner(adapter)
        self._report = self._learner.fit(
            train, validation, Draws(weights, order, estimator), float("inf")
        )
        self.n_iter_ = max(self._report.epochs, 1)

    def _make_learner(self, adapter: Adapter) -> Learner:
        params = self.params or {}
        values = (
            {"architecture": self.algorithm, **NETWORK_DEFAULTS, **params}
            if adapter.accepts is NetworkSpec
            else {"estimator": self.algorithm, "params": params}
        )
        try:
            # By way of JSON, so that a list may stand for a tuple, as in a request.
            spec = adapter.accepts.model_validate_json(json.dumps(values))
        except (ValidationError, TypeError, ValueError) as problem:
            raise RequestInvalid(
                f"algorithm {self.algorithm!r} and params do not fit {self.framework}",
                field="params",
                expected=f"the fields of {adapter.accepts.__name__}: "
                + ", ".join(sorted(adapter.accepts.model_fields)),
                received=describe(str(problem), 400),
                remedy="correct algorithm or params",
            ) from None
        return adapter.make_learner(spec, self._problem)

    def _parts(
        self,
        features: Floats32,
        target: NDArray[Any],
        split: np.random.Generator,
        adapter: Adapter,
    ) -> tuple[Part, Part | None]:
        rows = len(features)
        if not adapter.uses_validation or rows < LEAST_ROWS_TO_STOP_EARLY:
            return Part(features, target), None
        # Row order is by random rank, so that the parts depend on no order of the classes.
        order = split.permutation(rows)
        cut = rows - max(1, round(rows * self.validation_fraction))
        train, held = np.sort(order[:cut]), np.sort(order[cut:])
        return Part(features[train], target[train]), Part(features[held], target[held])

    def _standardised(self, features: NDArray[Any]) -> Floats32:
        return standardise(features.astype(np.float64), self._shift, self._scale)

    def _predicted(self, X: Any) -> Floats64:
        check_is_fitted(self, "_learner")
        inputs = self._standardised(validate_data(self, X, reset=False))
        # Matrix kernels round differently at the edge of a block, so a row's prediction would
        # depend on how many rows stand beside it; whole blocks make it depend on the row alone.
        rows = len(inputs)
        blocks = np.zeros((-(-rows // BLOCK_ROWS) * BLOCK_ROWS, inputs.shape[1]), np.float32)
        blocks[:rows] = inputs
        return self._learner.predict(blocks)[:rows]

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if "_learner" in state:
            # A learner holds the framework's own objects; its artifact holds arrays only.
            state["_learner"] = self._learner.serialize()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "_learner" in state:
            adapter: Adapter = entry_point(self.framework).ADAPTER
            self._learner = self._make_learner(adapter)
            self._learner.restore(state["_learner"])


class MatrixClassifier(ClassifierMixin, MatrixEstimator):  # type: ignore[misc]
    """Classify with any framework's learner, as a scikit-learn classifier."""

    def fit(self, X: Any, y: Any) -> Self:
        """Train on features [n, p] and labels [n]; raises ValueError for data it cannot use."""
        features, target = validate_data(self, X, y)
        check_classification_targets(target)
        self.classes_, codes = np.unique(target, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"{type(self).__name__} needs at least two classes; the data has one class, "
                f"{self.classes_[0]!r}"
            )
        self._train(features, codes.astype(np.int64), len(self.classes_))
        return self

    def predict_proba(self, X: Any) -> Floats64:
        """Return the probability of each class, float64 [n, classes]."""
        return self._predicted(X)

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the most probable label of each row [n]."""
        probabilities = self._predicted(X)
        return np.asarray(self.classes_[probabilities.argmax(axis=1)])


class MatrixRegressor(RegressorMixin, MatrixEstimator):  # type: ignore[misc]
    """Predict values with any framework's learner, as a scikit-learn regressor."""

    def fit(self, X: Any, y: Any) -> Self:
        """Train on features [n, p] and values [n]; raises ValueError for data it cannot use."""
        features, target = validate_data(self, X, y, y_numeric=True)
        self._scaler = TargetScaler.fit(target)
        self._train(features, self._scaler.transform(target), 0)
        return self

    def predict(self, X: Any) -> Floats64:
        """Return the predicted value of each row, float64 [n]."""
        scaled = self._predicted(X)
        return self._scaler.inverse(scaled)
