"""Write estimators with skops, which needs no pickle, and read them from a fixed list of types."""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder
from typing import Any, cast

from ml.core.errors import DataInvalid


class _Hide(MetaPathFinder):
    """Let a module that is not imported yet seem not to be installed, within a block."""

    def __init__(self, name: str) -> None:
        self._name = name

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> None:
        """Refuse the module, and leave all others to the next finder."""
        if fullname == self._name:
            raise ModuleNotFoundError(f"{fullname} is hidden", name=fullname)

    def __enter__(self) -> None:
        sys.meta_path.insert(0, self)

    def __exit__(self, *problem: object) -> None:
        sys.meta_path.remove(self)


# It walks through all of scikit-learn's modules, one of which would import torch for its arrays:
# half of a worker's start, for nothing that it needs.
with _Hide("torch"):
    import skops.io

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


def dump_estimator(estimator: Any) -> bytes:
    """Return the fitted estimator in skops' format."""
    return cast(bytes, skops.io.dumps(estimator))


def load_estimator(content: bytes) -> Any:
    """Read a fitted estimator; raises DataInvalid when it holds any type that is not listed."""
    foreign = sorted(set(skops.io.get_untrusted_types(data=content)) - set(TRUSTED_TYPES))
    if foreign:
        raise DataInvalid(
            "the artifact holds types that are not on the list of trusted ones",
            code="artifact_untrusted",
            received=", ".join(foreign),
            remedy="load only artifacts that this package wrote",
        )
    return skops.io.loads(content, trusted=list(TRUSTED_TYPES))
