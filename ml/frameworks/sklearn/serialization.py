"""Write estimators with skops, which needs no pickle, and read them from a fixed list of types."""

from __future__ import annotations

from typing import Any, cast

from ml.core.errors import DataInvalid
from ml.core.hidden import Hidden

# Types beyond skops' own safe ones that our estimators are made of. The list is fixed: what a
# file says of itself is never a reason to trust it.
TRUSTED_TYPES = (
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.metrics._dist_metrics.ChebyshevDistance64",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.metrics._dist_metrics.ManhattanDistance64",
    "sklearn.metrics._dist_metrics.MinkowskiDistance64",
    "sklearn.neighbors._ball_tree.BallTree",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.tree._tree.Tree",
)


def _skops() -> Any:
    """Import skops when an artifact is written or read: it walks through all of scikit-learn.

    One of these modules would import torch for its arrays, which would cost as much again.
    """
    with Hidden("torch"):
        import skops.io
    return skops.io


def dump_estimator(estimator: Any) -> bytes:
    """Return the fitted estimator in skops' format; raises DataInvalid where it has no form."""
    try:
        return cast(bytes, _skops().dumps(estimator))
    except Exception as problem:  # noqa: BLE001 - skops raises of many kinds
        raise DataInvalid(
            f"{type(estimator).__name__} cannot be written as an artifact: {problem}",
            code="artifact_unwritable",
            remedy="keep its state in arrays, numbers, texts and estimators of scikit-learn",
        ) from None


def load_estimator(content: bytes) -> Any:
    """Read a fitted estimator; raises DataInvalid when it holds any type that is not listed."""
    skops = _skops()
    foreign = sorted(set(skops.get_untrusted_types(data=content)) - set(TRUSTED_TYPES))
    if foreign:
        raise DataInvalid(
            "the artifact holds types that are not on the list of trusted ones",
            code="artifact_untrusted",
            received=", ".join(foreign),
            remedy="load only artifacts that this package wrote",
        )
    return skops.loads(content, trusted=list(TRUSTED_TYPES))
