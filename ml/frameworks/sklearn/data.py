"""Shape our arrays as scikit-learn wants them, and its predictions as we want them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ml.core.learner import Floats32, Floats64, Part, Problem


def to_estimator(part: Part, problem: Problem) -> tuple[Floats32, Any]:
    """Return features and target; class indices stay int64, values become float64."""
    return part.features, part.target if problem.classes else part.target.astype(np.float64)


def predict_probabilities(estimator: Any, features: Floats32, classes: int) -> Floats64:
    """Return probabilities [n, classes]; a class that was absent in training gets zero.

    An estimator with margins only (a support vector machine) gets the logistic function of
    its margins: the order of the rows is its own, the probabilities are not calibrated.
    """
    known_classes = np.asarray(estimator.classes_, np.int64)
    probabilities = np.zeros((features.shape[0], classes))
    if known_classes.size == 1:  # Some estimators then give two columns all the same.
        probabilities[:, known_classes] = 1
        return probabilities
    if hasattr(estimator, "predict_proba"):
        known = np.asarray(estimator.predict_proba(features), np.float64)
    else:
        margins = np.asarray(estimator.decision_function(features), np.float64)
        if margins.ndim == 1:
            margins = np.stack([np.zeros_like(margins), margins], axis=1)
        margins -= margins.max(axis=1, keepdims=True)
        known = np.exp(margins)
        known /= known.sum(axis=1, keepdims=True)
    probabilities[:, known_classes] = known
    return probabilities
