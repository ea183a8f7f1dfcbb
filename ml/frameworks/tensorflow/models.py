"""Compute networks and their losses from a list of weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from ml.core.contracts import NetworkSpec
from ml.core.learner import Loss

_ACTIVATIONS: dict[str, Callable[[Any], Any]] = {"relu": tf.nn.relu, "tanh": tf.tanh}


def forward(spec: NetworkSpec, weights: Sequence[Any], features: Any) -> Any:
    """Return the raw outputs [n, outputs] for features [n, inputs]."""
    activate = _ACTIVATIONS[spec.activation]
    signal = features
    for position in range(0, len(weights), 2):
        signal = tf.matmul(signal, weights[position]) + weights[position + 1]
        if position + 2 < len(weights):
            signal = activate(signal)
    return signal


def batch_loss(loss: Loss, outputs: Any, targets: Any) -> Any:
    """Return the mean loss of a batch; both tensors are [n, outputs]."""
    if loss == "binary":
        rows = tf.nn.sigmoid_cross_entropy_with_logits(labels=targets, logits=outputs)
    elif loss == "softmax":
        rows = tf.nn.softmax_cross_entropy_with_logits(labels=targets, logits=outputs)
    else:
        rows = 0.5 * tf.math.squared_difference(outputs, targets)
    return tf.reduce_mean(rows)
