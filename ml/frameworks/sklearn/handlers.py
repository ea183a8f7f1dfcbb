"""Declare scikit-learn to the rest of ml, and answer its requests."""

from __future__ import annotations

from typing import Any

import joblib
import sklearn
from threadpoolctl import threadpool_limits

from ml.core.contracts import EstimatorSpec, RuntimeSpec
from ml.core.handling import handle_status, handle_train
from ml.core.learner import Adapter, no_such_device
from ml.frameworks.sklearn.models import known_settings
from ml.frameworks.sklearn.trainer import make_learner

_jobs: list[Any] = []


def prepare(runtime: RuntimeSpec) -> None:
    """Set the threads of BLAS and OpenMP and, where numbers may differ, of joblib."""
    if runtime.device == "cuda":
        raise no_such_device("scikit-learn", ("cpu",))
    threadpool_limits(runtime.threads)
    while _jobs:
        _jobs.pop().unregister()
    # The trees of a forest vote in the order in which joblib's threads finish, and a sum of
    # floats depends on its order. An estimator with n_jobs of its own keeps that.
    if runtime.threads > 1 and not runtime.deterministic:
        _jobs.append(joblib.parallel_config("threading", n_jobs=runtime.threads))


ADAPTER = Adapter(
    name="sklearn",
    accepts=EstimatorSpec,
    uses_validation=False,
    suffix=".skops",
    make_learner=make_learner,
    prepare=prepare,
    versions=lambda: {"scikit-learn": sklearn.__version__},
    devices=lambda: ("cpu",),
    device=lambda: "cpu",
    settings_of=known_settings,
)


def handle_train_request(payload: dict[str, Any]) -> dict[str, Any]:
    """Train an estimator of scikit-learn; see ``ml.core.handling.handle_train``."""
    return handle_train(payload, ADAPTER)


def handle_status_request(payload: dict[str, Any]) -> dict[str, Any]:
    """Tell scikit-learn's versions, devices and threads; see ``ml.core.handling.handle_status``."""
    return handle_status(payload, ADAPTER)
