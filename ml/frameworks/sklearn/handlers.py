"""Declare scikit-learn to the rest of ml, and answer its requests."""

from __future__ import annotations

from typing import Any

import sklearn
from threadpoolctl import threadpool_limits

from ml.core.contracts import EstimatorSpec
from ml.core.handling import handle_status, handle_train
from ml.core.learner import Adapter
from ml.frameworks.sklearn.trainer import make_learner


def prepare() -> None:
    """Use one thread; parallelism comes from cells."""
    threadpool_limits(1)


ADAPTER = Adapter(
    name="sklearn",
    accepts=EstimatorSpec,
    uses_validation=False,
    suffix=".skops",
    make_learner=make_learner,
    prepare=prepare,
    versions=lambda: {"scikit-learn": sklearn.__version__},
    devices=lambda: ("cpu",),
)


def handle_train_request(payload: dict[str, Any]) -> dict[str, Any]:
    """Train an estimator of scikit-learn; see ``ml.core.handling.handle_train``."""
    return handle_train(payload, ADAPTER)


def handle_status_request(payload: dict[str, Any]) -> dict[str, Any]:
    """Tell scikit-learn's versions, devices and threads; see ``ml.core.handling.handle_status``."""
    return handle_status(payload, ADAPTER)
