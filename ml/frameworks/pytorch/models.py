"""Compute networks and their gradients by hand, into buffers that are made once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn import functional

from ml.core.contracts import NetworkSpec
from ml.core.learner import Loss

_aten: Any = torch.ops.aten

# In place, by the activation's name: the activation, and its gradient given what it put out.
_ACTIVATIONS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "relu": (
        torch.relu_,
        lambda delta, out: _aten.threshold_backward.grad_input(delta, out, 0, grad_input=delta),
    ),
    "tanh": (
        torch.tanh_,
        lambda delta, out: _aten.tanh_backward.grad_input(delta, out, grad_input=delta),
    ),
}


class DenseNetwork:
    """Compute a chain of dense layers over weights that others update in place.

    ``weights`` and ``gradients`` are kernel [in, out] and bias [out] of each layer in turn.
    What autograd would record, allocate and walk at every step is known beforehand here: the
    same products in the same order, without its cost.
    """

    def __init__(
        self,
        spec: NetworkSpec,
        weights: Sequence[torch.Tensor],
        gradients: Sequence[torch.Tensor],
    ) -> None:
        self._kernels, self._biases = weights[::2], weights[1::2]
        self._turned = [kernel.t() for kernel in self._kernels]
        self._kernel_gradients, self._bias_gradients = gradients[::2], gradients[1::2]
        self._activate, self._activation_gradient = _ACTIVATIONS[spec.activation]
        self._buffers: dict[int, tuple[list[torch.Tensor], list[torch.Tensor]]] = {}

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return the raw outputs [n, outputs] for features [n, inputs]."""
        hidden = [
            torch.empty(len(features), kernel.shape[1], device=features.device)
            for kernel in self._kernels[:-1]
        ]
        return self._run(features, hidden)

    def learn(
        self,
        features: torch.Tensor,
        targets: torch.Tensor,
        residual: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    ) -> torch.Tensor:
        """Write a batch's mean gradients to ``gradients``, and return its raw outputs.

        ``residual`` gives each row's gradient by the outputs, from outputs and targets.
        """
        rows = len(features)
        if rows not in self._buffers:
            widths = [kernel.shape[1] for kernel in self._kernels[:-1]]
            made = [[features.new_empty(rows, width) for width in widths] for _ in range(2)]
            self._buffers[rows] = (made[0], made[1])
        hidden, deltas = self._buffers[rows]
        outputs = self._run(features, hidden)
        delta = residual(outputs, targets).div_(rows)
        for layer in range(len(self._kernels) - 1, -1, -1):
            below = hidden[layer - 1] if layer else features
            torch.mm(below.t(), delta, out=self._kernel_gradients[layer])
            torch.sum(delta, 0, out=self._bias_gradients[layer])
            if layer:
                delta = torch.mm(delta, self._turned[layer], out=deltas[layer - 1])
                self._activation_gradient(delta, below)
        return outputs

    def _run(self, features: torch.Tensor, hidden: list[torch.Tensor]) -> torch.Tensor:
        signal = features
        for layer, into in enumerate(hidden):
            torch.addmm(self._biases[layer], signal, self._kernels[layer], out=into)
            signal = self._activate(into)
        return torch.addmm(self._biases[-1], signal, self._kernels[-1])


def batch_loss(loss: Loss, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the mean loss of a batch; both tensors are [n, outputs]."""
    if loss == "binary":
        return functional.binary_cross_entropy_with_logits(outputs, targets)
    if loss == "softmax":
        return functional.cross_entropy(outputs, targets)
    return 0.5 * functional.mse_loss(outputs, targets)


def row_gradient(loss: Loss, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the gradient of each row's loss by its outputs, in a new tensor [n, outputs].

    It is prediction minus target for all three; the targets of ``softmax`` sum to one.
    """
    if loss == "binary":
        return torch.sigmoid(outputs).sub_(targets)
    if loss == "softmax":
        return torch.softmax(outputs, 1).sub_(targets)
    return outputs - targets
