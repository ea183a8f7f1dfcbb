"""Compute networks and their losses from a list of weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch.nn import functional

from ml.core.contracts import NetworkSpec
from ml.core.learner import Loss

_ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "relu": torch.relu,
    "tanh": torch.tanh,
}


def forward(
    spec: NetworkSpec, weights: Sequence[torch.Tensor], features: torch.Tensor
) -> torch.Tensor:
    """Return the raw outputs [n, outputs] for features [n, inputs]."""
    activate = _ACTIVATIONS[spec.activation]
    signal = features
    for position in range(0, len(weights), 2):
        signal = torch.addmm(weights[position + 1], signal, weights[position])
        if position + 2 < len(weights):
            signal = activate(signal)
    return signal


def batch_loss(loss: Loss, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the mean loss of a batch; both tensors are [n, outputs]."""
    if loss == "binary":
        return functional.binary_cross_entropy_with_logits(outputs, targets)
    if loss == "softmax":
        return functional.cross_entropy(outputs, targets)
    return 0.5 * functional.mse_loss(outputs, targets)
