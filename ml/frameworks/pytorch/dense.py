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

    ``weights`` and ``gradients`` are the first layer's kernel [K, in + 1, out], with the bias as
    its last row, then kernel [K, in, out] and bias [K, 1, out] of each other layer in turn; a
    forward pass needs no gradients. What autograd would record, allocate and walk at every step
    is known beforehand here: the same products in the same order, without its cost.

    Each model's numbers are to the bit those of K = 1.
    """

    def __init__(
        self,
        activation: str,
        weights: Sequence[torch.Tensor],
        gradients: Sequence[torch.Tensor] = (),
    ) -> None:
        first, *others = weights
        self._first = first
        self._kernels = [first[:, :-1], *others[::2]]
        self._biases = [first[:, -1:], *others[1::2]]
        self._turned = [kernel.transpose(1, 2) for kernel in self._kernels]
        self._kernel_gradients = [*gradients[:1], *gradients[1::2]]
        self._bias_gradients = gradients[2::2]
        self._activate, self._activation_gradient = _ACTIVATIONS.get(
            activation, _ACTIVATIONS["relu"]
        )
        self._buffers: dict[int, _Buffers] = {}
        self._rooms: list[torch.Tensor] = []
        self._rooms_for = -1

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return the raw outputs [K, n, outputs] for features [K, n, inputs]."""
        models, rows, _ = features.shape
        if rows != self._rooms_for:
            # Memory that is new at each call takes as long as what is computed in it.
            widths = (kernel.shape[2] for kernel in self._kernels[:-1])
            self._rooms = [features.new_empty(models, rows, width) for width in widths]
            self._rooms_for = rows
        signal = features
        for kernel, bias, room in zip(self._kernels, self._biases, self._rooms, strict=False):
            signal = self._activate(torch.baddbmm(bias, signal, kernel, out=room))
        return torch.baddbmm(self._biases[-1], signal, self._kernels[-1])

    def learn(
        self,
        features: torch.Tensor,
        outputs: torch.Tensor,
        residual: Callable[[torch.Tensor], torch.Tensor],
        masks: Sequence[torch.Tensor] = (),
    ) -> None:
        """Write the raw outputs and the gradients of a batch [K, n, inputs + 1] in place.

        The features end in a 1, which the first bias is multiplied with. ``residual`` gives the
        gradient of each model's loss by its outputs. ``masks`` multiply what the hidden layers
        put out, [K, n, width] each; there may be none.
        """
        rows = features.shape[1]
        if rows not in self._buffers:
            kernels = [self._first, *self._kernels[1:]]
            parts = (kernels, self._biases, self._kernel_gradients)
            self._buffers[rows] = _Buffers(features, *parts, len(masks))
        at = self._buffers[rows]
        signal = features
        for layer, into in enumerate(at.hidden):
            at.forward[layer](signal)
            signal = self._activate(into)
            if masks:
                signal = torch.mul(into, masks[layer], out=at.dropped[layer])
        last = len(at.hidden)
        at.forward[last](signal)
        outputs.copy_(at.outputs)
        delta = residual(at.outputs)
        for layer in range(last, 0, -1):
            at.to_kernel[layer](at.signals[layer - 1], delta)
            torch.sum(delta, 1, True, out=self._bias_gradients[layer - 1])
            delta = at.to_signal[layer](delta, self._turned[layer], at.deltas[layer - 1])
            if masks:
                delta.mul_(masks[layer - 1])
            self._activation_gradient(delta, at.hidden[layer - 1])
        at.to_kernel[0](features, delta)


class _Buffers:
    """Hold what batches of one size are computed in, and how, layer by layer."""

    def __init__(
        self,
        features: torch.Tensor,
        kernels: Sequence[torch.Tensor],
        biases: Sequence[torch.Tensor],
        gradients: Sequence[torch.Tensor],
        masks: int,
    ) -> None:
        models, rows, _ = features.shape
        *self.hidden, self.outputs = [features.new_empty(models, rows, k.shape[2]) for k in kernels]
        self.deltas = [torch.empty_like(signal) for signal in self.hidden]
        self.dropped = [torch.empty_like(signal) for signal in self.hidden[:masks]]
        self.signals = self.dropped or self.hidden
        self.forward: list[Callable[..., Any]] = []
        self.to_kernel: list[Callable[..., Any]] = []
        self.to_signal: list[Callable[..., Any]] = []
        into = [*self.hidden, self.outputs]
        for layer, kernel in enumerate(kernels):
            narrow, wide = kernel.shape[2] == 1, rows * kernel.shape[1] >= LONG_VECTOR
            by_model = models > 1 and not features.is_cuda
            parts = (biases[layer] if layer else None, kernel, into[layer])
            gradient = gradients[layer]
            self.to_signal.append(
                _multiply_each if by_model and kernel.shape[1] == 1 else _multiply
            )
            if narrow and not wide:
                room = features.new_empty(models, rows, kernel.shape[1])
                self.forward.append(partial(_affine_to_one, room, *parts))
                self.to_kernel.append(partial(_gradient_to_one, room, gradient))
            elif narrow:
                below = self.signals[layer - 1].unbind() if layer else None
                bias, *vectors = [None if p is None else p[:, :, 0].unbind() for p in parts]
                self.forward.append(partial(_affine_by_model, below, bias, *vectors))
                turned = [one.t() for one in below] if below else None
                into_kernel = gradient[:, :, 0].unbind()
                self.to_kernel.append(partial(_gradient_by_model, turned, into_kernel))
            elif by_model and kernel.shape[1] == 1:
                self.forward.append(partial(_affine, *parts))
                self.to_kernel.append(partial(_gradient_each, gradient))
            elif gradient.is_contiguous():
                self.forward.append(partial(_affine, *parts))
                self.to_kernel.append(partial(_gradient, gradient))
            else:
                self.forward.append(partial(_affine, *parts))
                whole = torch.empty_like(gradient, memory_format=torch.contiguous_format)
                self.to_kernel.append(partial(_gradient_through, whole, gradient))


def _affine(bias: Any, kernel: Any, out: Any, left: Any) -> None:
    if bias is None:
        torch.bmm(left, kernel, out=out)
    else:
        torch.baddbmm(bias, left, kernel, out=out)


def _affine_to_one(room: Any, bias: Any, kernel: Any, out: Any, left: Any) -> None:
    torch.mul(left, kernel.transpose(1, 2), out=room)
    torch.sum(room, 2, True, out=out)
    if bias is not None:
        out.add_(bias)


def _gradient(out: Any, below: Any, delta: Any) -> None:
    torch.bmm(below.transpose(1, 2), delta, out=out)


def _gradient_to_one(room: Any, out: Any, below: Any, delta: Any) -> None:
    torch.mul(below, delta, out=room)
    torch.sum(room, 1, True, out=out.transpose(1, 2))


def _gradient_through(room: Any, out: Any, below: Any, delta: Any) -> None:
    # PyTorch loops over the models where the result is not in one piece.
    out.copy_(torch.bmm(below.transpose(1, 2), delta, out=room))


def _gradient_each(out: Any, below: Any, delta: Any) -> None:
    # The libraries multiply one matrix with a vector otherwise than several with several.
    for parts in zip(out.split(1), below.split(1), delta.split(1), strict=True):
        _gradient(*parts)


def _affine_by_model(lefts: Any, biases: Any, kernels: Any, outs: Any, left: Any) -> None:
    lefts = lefts or left.unbind()
    if biases is None:
        for one, kernel, out in zip(lefts, kernels, outs, strict=True):
            torch.mv(one, kernel, out=out)
        return
    for bias, one, kernel, out in zip(biases, lefts, kernels, outs, strict=True):
        torch.addmv(bias, one, kernel, out=out)


def _gradient_by_model(lefts: Any, outs: Any, below: Any, delta: Any) -> None:
    lefts = lefts or below.transpose(1, 2).unbind()
    for one, vector, out in zip(lefts, delta.flatten(1).unbind(), outs, strict=True):
        torch.mv(one, vector, out=out)


def _multiply(delta: Any, kernel: Any, out: Any) -> Any:
    return torch.bmm(delta, kernel, out=out)


def _multiply_each(delta: Any, kernel: Any, out: Any) -> Any:
    for parts in zip(delta.split(1), kernel.split(1), out.split(1), strict=True):
        _multiply(*parts)
    return out
