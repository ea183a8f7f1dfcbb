"""Compute chains of dense layers by hand, those of several models side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from ml.core.specs import NetworkSpec

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
    Each model's numbers are to the bit those of K = 1.
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
            at.affine[layer](self._biases[layer], signal, self._kernels[layer], into)
            signal = self._activate(into)
            if masks:
                signal = torch.mul(into, masks[layer], out=at.dropped[layer])
        last = len(at.hidden)
        at.affine[last](self._biases[last], signal, self._kernels[last], outputs)
        delta = residual(outputs)
        for layer in range(last, -1, -1):
            below = at.turned[layer - 1] if layer else features.transpose(1, 2)
            at.to_kernel[layer](below, delta, self._kernel_gradients[layer])
            torch.sum(delta, 1, True, out=self._bias_gradients[layer])
            if layer:
                delta = at.to_signal[layer](delta, self._turned[layer], at.deltas[layer - 1])
                if masks:
                    delta.mul_(masks[layer - 1])
                self._activation_gradient(delta, at.hidden[layer - 1])


class _Buffers:
    """Hold what batches of one size are computed in, and by which products, layer by layer."""

    def __init__(
        self, features: Any, kernels: Sequence[torch.Tensor], outputs: torch.Tensor, masks: int
    ) -> None:
        models, rows, _ = features.shape
        inner = [features.new_empty(models, rows, kernel.shape[2]) for kernel in kernels[:-1]]
        self.hidden = inner
        self.deltas = [torch.empty_like(signal) for signal in inner]
        self.dropped = [torch.empty_like(signal) for signal in inner[:masks]]
        self.turned = [signal.transpose(1, 2) for signal in self.dropped or inner]
        self.affine, self.to_kernel, self.to_signal = [], [], []
        below = features
        for kernel, signal in zip(kernels, (*inner, outputs), strict=True):
            narrow = _is_by_vector(below, kernel)
            self.affine.append(_affine_by_model if narrow else _affine)
            narrow = _is_by_vector(below.transpose(1, 2), signal)
            self.to_kernel.append(_product_by_model if narrow else _product)
            narrow = _is_by_vector(signal, kernel.transpose(1, 2))
            self.to_signal.append(_product_by_model if narrow else _product)
            below = signal


def _is_by_vector(left: torch.Tensor, right: torch.Tensor) -> bool:
    """Tell whether products of one model are by other code than those of several at once.

    So it is with vectors, but for small ones. Here several are computed as if each were alone.
    """
    models, rows, inner = left.shape
    return models > 1 and right.shape[2] == 1 and rows * inner >= 400 and not left.is_cuda


def _affine(
    bias: torch.Tensor, left: torch.Tensor, right: torch.Tensor, out: torch.Tensor
) -> torch.Tensor:
    product: torch.Tensor = torch.baddbmm(bias, left, right, out=out)
    return product


def _affine_by_model(
    bias: torch.Tensor, left: torch.Tensor, right: torch.Tensor, out: torch.Tensor
) -> torch.Tensor:
    parts = (array.unbind() for array in (bias, left, right, out))
    for shift, signal, kernel, into in zip(*parts, strict=True):
        torch.addmm(shift, signal, kernel, out=into)
    return out


def _product(left: torch.Tensor, right: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    return torch.bmm(left, right, out=out)


def _product_by_model(left: torch.Tensor, right: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    parts = (array.unbind() for array in (left, right, out))
    for one, other, into in zip(*parts, strict=True):
        torch.mm(one, other, out=into)
    return out
