"""Compute chains of dense layers by hand, those of several models side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from ml.core.specs import NetworkSpec

_aten: Any = torch.ops.aten

# From so many rows on, products with one vector a model are faster one after another.
LONG_BATCH = 128

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
    "sigmoid": (
        torch.sigmoid_,
        lambda delta, out: _aten.sigmoid_backward.grad_input(delta, out, grad_input=delta),
    ),
}


def is_dense(spec: NetworkSpec) -> bool:
    """Tell whether a network is a chain of layers of activations whose gradient is known here."""
    plain = spec.norm == "none" and spec.activation in _ACTIVATIONS
    return spec.architecture == "linear" or (spec.architecture == "mlp" and plain)


def dropped_widths(spec: NetworkSpec) -> tuple[int, ...]:
    """Return the widths of the layers after which such a network drops values."""
    return spec.hidden if spec.architecture == "mlp" and spec.dropout else ()


class DenseNetworks:
    """Compute K such networks of one shape over weights that others update in place.

    ``weights`` and ``gradients`` are kernel [K, in, out] and bias [K, 1, out] of each layer in
    turn; a forward pass needs no gradients. What autograd would record, allocate and walk at
    every step is known beforehand here: the same products in the same order, without its cost.

    Each model's numbers are to the bit those of K = 1, but for a layer that is one wide: there
    the libraries multiply with a vector by other code, and the sums differ in the last bit.
    """

    def __init__(
        self,
        activation: str,
        weights: Sequence[torch.Tensor],
        gradients: Sequence[torch.Tensor] = (),
    ) -> None:
        self._kernels, self._biases = weights[::2], weights[1::2]
        self._turned = [kernel.transpose(1, 2) for kernel in self._kernels]
        self._kernel_gradients, self._bias_gradients = gradients[::2], gradients[1::2]
        self._activate, self._activation_gradient = _ACTIVATIONS.get(
            activation, _ACTIVATIONS["relu"]
        )
        self._buffers: dict[int, _Buffers] = {}

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return the raw outputs [K, n, outputs] for features [K, n, inputs]."""
        signal = features
        for kernel, bias in zip(self._kernels[:-1], self._biases[:-1], strict=True):
            signal = self._activate(torch.baddbmm(bias, signal, kernel))
        return torch.baddbmm(self._biases[-1], signal, self._kernels[-1])

    def learn(
        self,
        features: torch.Tensor,
        outputs: torch.Tensor,
        residual: Callable[[torch.Tensor], torch.Tensor],
        masks: Sequence[torch.Tensor] = (),
    ) -> None:
        """Write the raw outputs and the gradients of a batch [K, n, inputs] in place.

        ``residual`` gives the gradient of each model's loss by its outputs. ``masks`` multiply
        what the hidden layers put out, [K, at least n, width] each; there may be none.
        """
        rows = features.shape[1]
        if rows not in self._buffers:
            self._buffers[rows] = _Buffers(features, self._kernels, outputs, len(masks))
        at = self._buffers[rows]
        if masks:
            masks = [mask[:, :rows] for mask in masks]
        signal = features
        for layer, into in enumerate(at.hidden):
            torch.baddbmm(self._biases[layer], signal, self._kernels[layer], out=into)
            signal = self._activate(into)
            if masks:
                signal = torch.mul(into, masks[layer], out=at.dropped[layer])
        last = len(at.hidden)
        torch.baddbmm(self._biases[last], signal, self._kernels[last], out=at.outputs)
        outputs.copy_(at.outputs)
        delta = residual(at.outputs)
        for layer in range(last, -1, -1):
            below = at.turned[layer - 1] if layer else features.transpose(1, 2)
            into = at.gradients[layer]
            if into is None:
                torch.bmm(below, delta, out=self._kernel_gradients[layer])
            else:
                self._kernel_gradients[layer].copy_(torch.bmm(below, delta, out=into))
            torch.sum(delta, 1, True, out=self._bias_gradients[layer])
            if layer:
                delta = torch.bmm(delta, self._turned[layer], out=at.deltas[layer - 1])
                if masks:
                    delta.mul_(masks[layer - 1])
                self._activation_gradient(delta, at.hidden[layer - 1])


class _Buffers:
    """Hold what batches of one size are computed in, layer by layer.

    PyTorch hands the products of several models to the library at once only where the result
    is one piece of memory, as a layer's gradients among those of other layers are not; else it
    loops over them, which is faster for products with vectors and long batches.
    """

    def __init__(
        self, features: Any, kernels: Sequence[torch.Tensor], outputs: torch.Tensor, masks: int
    ) -> None:
        models, rows, _ = features.shape
        self.hidden = [features.new_empty(models, rows, k.shape[2]) for k in kernels[:-1]]
        self.deltas = [torch.empty_like(signal) for signal in self.hidden]
        self.dropped = [torch.empty_like(signal) for signal in self.hidden[:masks]]
        self.turned = [signal.transpose(1, 2) for signal in self.dropped or self.hidden]
        spread = outputs.shape[2] == 1 and rows >= LONG_BATCH
        room = features.new_empty(models, rows + (spread and models > 1), outputs.shape[2])
        self.outputs = room[:, :rows]
        self.gradients = [
            None
            if models == 1 or (kernel.shape[2] == 1 and rows >= LONG_BATCH)
            else features.new_empty(kernel.shape)
            for kernel in kernels
        ]
