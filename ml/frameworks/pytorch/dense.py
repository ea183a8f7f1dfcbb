"""Compute chains of dense layers by hand, those of several models side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

from ml.core.specs import NetworkSpec

_aten: Any = torch.ops.aten

# From so many floats on, a product with one vector is best left to the library.
LONG_VECTOR = 4096

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
        what the hidden layers put out, [K, n, width] each; there may be none.
        """
        rows = features.shape[1]
        if rows not in self._buffers:
            self._buffers[rows] = _Buffers(features, self._kernels, outputs, len(masks))
        at = self._buffers[rows]
        signal = features
        for layer, into in enumerate(at.hidden):
            at.forward[layer](self._biases[layer], signal, self._kernels[layer], into)
            signal = self._activate(into)
            if masks:
                signal = torch.mul(into, masks[layer], out=at.dropped[layer])
        last = len(at.hidden)
        at.forward[last](self._biases[last], signal, self._kernels[last], at.outputs)
        outputs.copy_(at.outputs)
        delta = residual(at.outputs)
        for layer in range(last, -1, -1):
            below = at.signals[layer - 1] if layer else features
            at.to_kernel[layer](below, delta, self._kernel_gradients[layer])
            torch.sum(delta, 1, True, out=self._bias_gradients[layer])
            if layer:
                delta = at.to_signal[layer](delta, self._turned[layer], at.deltas[layer - 1])
                if masks:
                    delta.mul_(masks[layer - 1])
                self._activation_gradient(delta, at.hidden[layer - 1])


class _Buffers:
    """Hold what batches of one size are computed in, and how, layer by layer."""

    def __init__(
        self, features: Any, kernels: Sequence[torch.Tensor], outputs: torch.Tensor, masks: int
    ) -> None:
        models, rows, _ = features.shape
        self.hidden = [features.new_empty(models, rows, k.shape[2]) for k in kernels[:-1]]
        self.deltas = [torch.empty_like(signal) for signal in self.hidden]
        self.dropped = [torch.empty_like(signal) for signal in self.hidden[:masks]]
        self.signals = self.dropped or self.hidden
        self.outputs = features.new_empty(outputs.shape)
        self.forward: list[Callable[..., Any]] = []
        self.to_kernel: list[Callable[..., Any]] = []
        self.to_signal: list[Callable[..., Any]] = []
        for kernel in kernels:
            narrow, wide = kernel.shape[2] == 1, rows * kernel.shape[1] >= LONG_VECTOR
            by_model = models > 1 and not features.is_cuda
            self.to_signal.append(
                _multiply_each if by_model and kernel.shape[1] == 1 else _multiply
            )
            if narrow and not wide:
                room = features.new_empty(models, rows, kernel.shape[1])
                self.forward.append(partial(_affine_to_one, room))
                self.to_kernel.append(partial(_gradient_to_one, room))
            elif by_model and (narrow or kernel.shape[1] == 1):
                self.forward.append(_affine_each if narrow else _affine)
                self.to_kernel.append(_gradient_each)
            elif models == 1:
                self.forward.append(_affine)
                self.to_kernel.append(_gradient)
            else:
                self.forward.append(_affine)
                self.to_kernel.append(partial(_gradient_through, torch.empty_like(kernel)))


def _affine(bias: Any, left: Any, kernel: Any, out: Any) -> None:
    torch.baddbmm(bias, left, kernel, out=out)


def _affine_each(bias: Any, left: Any, kernel: Any, out: Any) -> None:
    # The libraries multiply one matrix with a vector otherwise than several with several.
    for parts in zip(bias.split(1), left.split(1), kernel.split(1), out.split(1), strict=True):
        _affine(*parts)


def _affine_to_one(room: Any, bias: Any, left: Any, kernel: Any, out: Any) -> None:
    torch.mul(left, kernel.transpose(1, 2), out=room)
    torch.sum(room, 2, True, out=out).add_(bias)


def _gradient(below: Any, delta: Any, out: Any) -> None:
    torch.bmm(below.transpose(1, 2), delta, out=out)


def _gradient_each(below: Any, delta: Any, out: Any) -> None:
    for parts in zip(below.split(1), delta.split(1), out.split(1), strict=True):
        _gradient(*parts)


def _gradient_to_one(room: Any, below: Any, delta: Any, out: Any) -> None:
    torch.mul(below, delta, out=room)
    torch.sum(room, 1, True, out=out.transpose(1, 2))


def _gradient_through(room: Any, below: Any, delta: Any, out: Any) -> None:
    # PyTorch loops over the models where the result is not in one piece, as a layer's gradients
    # among those of the others are not.
    out.copy_(torch.bmm(below.transpose(1, 2), delta, out=room))


def _multiply(delta: Any, kernel: Any, out: Any) -> Any:
    return torch.bmm(delta, kernel, out=out)


def _multiply_each(delta: Any, kernel: Any, out: Any) -> Any:
    for parts in zip(delta.split(1), kernel.split(1), out.split(1), strict=True):
        _multiply(*parts)
    return out
