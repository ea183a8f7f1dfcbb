"""Compute networks and their losses from a list of weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from ml.core.contracts import NetworkSpec
from ml.core.learner import Loss

_ACTIVATIONS: dict[str, Callable[[Any], Any]] = {"relu": jax.nn.relu, "tanh": jnp.tanh}


def forward(spec: NetworkSpec, weights: Sequence[Any], features: Any) -> Any:
    """Return the raw outputs [n, outputs] for features [n, inputs]."""
    activate = _ACTIVATIONS[spec.activation]
    signal = features
    for position in range(0, len(weights), 2):
        # Some devices multiply float32 in fewer bits unless they are told not to.
        product = jnp.matmul(signal, weights[position], precision=jax.lax.Precision.HIGHEST)
        signal = product + weights[position + 1]
        if position + 2 < len(weights):
            signal = activate(signal)
    return signal


def batch_loss(loss: Loss, outputs: Any, targets: Any) -> Any:
    """Return the mean loss of a batch; both arrays are [n, outputs]."""
    if loss == "binary":
        rows = jax.nn.softplus(outputs) - targets * outputs
    elif loss == "softmax":
        rows = -(jax.nn.log_softmax(outputs) * targets).sum(axis=1)
    else:
        rows = 0.5 * jnp.square(outputs - targets)
    return rows.mean()
