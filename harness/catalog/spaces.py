"""List what a sweep of each algorithm of ours may try.

Widths and batch sizes are few choices and no ranges: trials of equal shape train together, and a
framework that compiles does so once a shape.
"""

from __future__ import annotations

from ml.core.contracts import Choice, Dimension, FloatRange, IntRange, SearchSpace
from ml.core.trials import Setting


def _log(low: float, high: float) -> FloatRange:
    return FloatRange(low=low, high=high, log=True)


def _among(*values: Setting) -> Choice:
    return Choice(values=values)


BATCH_SIZES = _among(32, 64, 128, 256)
DROPOUT = FloatRange(low=0.0, high=0.5)


def _network(
    hidden: Choice | None = None,
    *,
    learning_rate: Dimension,
    epochs: IntRange,
    weight_decay: Dimension,
    dropout: bool = True,
) -> SearchSpace:
    return {
        "optimizer.learning_rate": learning_rate,
        "optimizer.weight_decay": weight_decay,
        "batch_size": BATCH_SIZES,
        "epochs": epochs,
        **({"hidden": hidden} if hidden else {}),
        **({"dropout": DROPOUT} if dropout else {}),
    }


# Added to the gradient where the optimiser is adam; a share of the weights where it is adamw.
ADDED = _log(1e-6, 1e-2)
DECOUPLED = _log(1e-4, 1e-1)
UP_TO_50 = IntRange(low=10, high=50, step=10)

NETWORK_SPACES: dict[str, SearchSpace] = {
    "linear": _network(
        learning_rate=_log(1e-3, 1e-1),
        epochs=IntRange(low=20, high=80, step=10),
        weight_decay=ADDED,
        dropout=False,
    ),
    "mlp": _network(
        _among((32,), (64, 32), (128, 64), (64, 64, 32)),
        learning_rate=_log(3e-4, 3e-2),
        epochs=IntRange(low=20, high=80, step=10),
        weight_decay=ADDED,
    ),
    "resnet": _network(
        _among((48,), (96,), (48, 48), (96, 96)),
        learning_rate=_log(3e-4, 3e-2),
        epochs=UP_TO_50,
        weight_decay=DECOUPLED,
    ),
    "cnn": _network(
        _among((8, 8), (16,), (16, 16), (8, 8, 8)),
        learning_rate=_log(3e-4, 3e-2),
        epochs=UP_TO_50,
        weight_decay=ADDED,
    ),
    "transformer": _network(
        _among((32,), (64,), (32, 32)),
        learning_rate=_log(5e-4, 3e-2),
        epochs=IntRange(low=10, high=30, step=10),
        weight_decay=DECOUPLED,
    ),
    "gru": _network(
        _among((16,), (32,), (16, 16)),
        learning_rate=_log(5e-4, 3e-2),
        epochs=UP_TO_50,
        weight_decay=ADDED,
    ),
    "lstm": _network(
        _among((16,), (32,), (16, 16)),
        learning_rate=_log(5e-4, 3e-2),
        epochs=UP_TO_50,
        weight_decay=ADDED,
    ),
}

# A linear model of a class is told the inverse of what one of a number is told.
LINEAR_CLASSIFIER: SearchSpace = {"params.C": _log(1e-3, 1e3)}
LINEAR_REGRESSOR: SearchSpace = {"params.alpha": _log(1e-3, 1e3)}
FOREST_SPACE: SearchSpace = {
    "params.n_estimators": IntRange(low=20, high=200, step=20),
    "params.min_samples_leaf": IntRange(low=1, high=20, log=True),
    "params.max_features": FloatRange(low=0.1, high=1.0),
    "params.max_depth": _among(None, 6, 12),
}
BOOSTING_SPACE: SearchSpace = {
    "params.learning_rate": _log(0.02, 0.5),
    "params.max_iter": IntRange(low=20, high=120, step=20),
    "params.max_leaf_nodes": IntRange(low=7, high=63, log=True),
    "params.min_samples_leaf": IntRange(low=5, high=60, log=True),
    "params.l2_regularization": _log(1e-6, 1e1),
    "params.max_features": FloatRange(low=0.3, high=1.0),
}
NEIGHBORS_SPACE: SearchSpace = {
    "params.n_neighbors": IntRange(low=1, high=50, log=True),
    "params.weights": _among("uniform", "distance"),
    "params.p": _among(1, 2),
}
SVM_SPACE: SearchSpace = {
    "params.C": _log(1e-2, 1e2),
    "params.gamma": _log(1e-4, 1e0),
}
ESTIMATOR_MLP_SPACE: SearchSpace = {
    "params.hidden_layer_sizes": _among((32,), (64, 32), (128, 64), (64, 64, 32)),
    "params.learning_rate_init": _log(3e-4, 3e-2),
    "params.alpha": _log(1e-6, 1e-1),
    "params.batch_size": BATCH_SIZES,
    "params.max_iter": IntRange(low=50, high=250, step=50),
}
