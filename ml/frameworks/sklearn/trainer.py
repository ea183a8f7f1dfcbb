"""Fit scikit-learn estimators; they own their training, so there are no steps to share."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ml.core.contracts import EstimatorSpec, ImportedSpec, NetworkSpec
from ml.core.errors import MatrixError, RequestInvalid, TrainingDiverged, describe
from ml.core.learner import Draws, FitReport, Floats32, Floats64, Part, Problem
from ml.core.objective import checked_loss
from ml.frameworks.sklearn.data import predict_probabilities, to_estimator
from ml.frameworks.sklearn.models import build_estimator
from ml.frameworks.sklearn.serialization import dump_estimator, load_estimator


class EstimatorLearner:
    """Fit one estimator; see ``ml.core.learner.Learner``."""

    def __init__(self, spec: EstimatorSpec | ImportedSpec, problem: Problem) -> None:
        self._spec = spec
        self._problem = problem
        self._estimator: Any = None

    def fit(self, train: Part, validation: Part | None, draws: Draws, seconds: float) -> FitReport:
        """Fit on the training rows; an estimator's warnings come back as text.

        Raises RequestInvalid when the estimator refuses its parameters, as does ``predict``, and
        TrainingDiverged, after the epoch in which it happens, where a network's loss is not
        finite or explodes.
        """
        estimator = build_estimator(self._spec, self._problem, draws.estimator)
        features, target = to_estimator(train, self._problem)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with self._refusals(estimator, "fit"), _watched(estimator):
                estimator.fit(features, target)
        self._estimator = estimator
        texts = dict.fromkeys(" ".join(str(warning.message).split()) for warning in caught)
        return FitReport(warnings=tuple(texts))

    def predict(self, features: Floats32) -> Floats64:
        """Return probabilities [n, classes], or scaled values [n] for a regression."""
        # What overflows is no finite prediction, which whoever scores it reports.
        with self._refusals(self._estimator, "predict"), np.errstate(all="ignore"):
            if self._problem.classes:
                return predict_probabilities(self._estimator, features, self._problem.classes)
            return np.asarray(self._estimator.predict(features), np.float64)

    def trace(self, train: Part, draws: Draws) -> None:
        """Return nothing: an estimator trains itself, in no steps."""

    def parameters(self) -> int:
        """Return the number of coefficients, 0 for an estimator that has none."""
        arrays: list[Any] = []
        for name in ("coef_", "intercept_", "coefs_", "intercepts_"):
            value = getattr(self._estimator, name, [])
            arrays.extend(value if isinstance(value, list) else [value])
        return sum(np.size(array) for array in arrays)

    def serialize(self) -> bytes:
        """Return the estimator in skops' format."""
        return dump_estimator(self._estimator)

    def restore(self, content: bytes) -> None:
        """Read the estimator; raises DataInvalid when it holds a type that is not trusted."""
        self._estimator = load_estimator(content)

    @contextmanager
    def _refusals(self, estimator: Any, act: str) -> Iterator[None]:
        """Turn what an estimator raises about its parameters into a RequestInvalid."""
        try:
            yield
        except (MatrixError, MemoryError):
            raise
        except Exception as problem:
            if isinstance(self._spec, ImportedSpec):
                raise  # A fault of the project's own code needs its stack.
            raise RequestInvalid(
                f"{type(estimator).__name__} refused to {act}: {problem}",
                code="estimator_refused",
                field="model.params",
                received=describe(self._spec.params),
                remedy="correct the parameters, or choose another algorithm for this data",
            ) from problem


@contextmanager
def _watched(estimator: Any) -> Iterator[None]:
    """Stop a network's training as soon as it diverges; other estimators have no loss curve.

    scikit-learn trains on with what is no number, and has no public place to look on from. So
    its own end of an epoch is asked through ours; a solver that has none (lbfgs) shows its
    divergence afterwards, by weights that are no numbers.
    """
    place = "model.params.learning_rate_init"
    end_of_epoch = getattr(estimator, "_update_no_improvement_count", None)
    if end_of_epoch is None:
        yield
        return

    def look_first(*given: Any) -> Any:
        *earlier, loss = estimator.loss_curve_
        checked_loss(loss, earlier, place)
        return end_of_epoch(*given)

    estimator._update_no_improvement_count = look_first
    try:
        yield
    except ValueError as problem:
        if all(np.isfinite(weights).all() for weights in getattr(estimator, "coefs_", [])):
            raise
        losses = getattr(estimator, "loss_curve_", [])
        last = f"the last good loss was {losses[-1]:.6g}" if losses else "no loss was kept"
        raise TrainingDiverged(
            f"the weights are no longer finite after epoch {estimator.n_iter_}; {last}",
            code="weights_not_finite",
            field=place,
            expected="finite weights",
            received=str(problem),
            remedy="lower the learning rate, or look for extreme values in the features",
        ) from None
    finally:
        del estimator._update_no_improvement_count


def make_learner(
    spec: NetworkSpec | EstimatorSpec | ImportedSpec, problem: Problem
) -> EstimatorLearner:
    """Return a learner for an estimator of ours or of a project's own."""
    assert not isinstance(spec, NetworkSpec)
    return EstimatorLearner(spec, problem)
