"""Supply PyTorch's array operations to the networks, and dense networks by hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn import functional

from ml.core.ops import Carry
from ml.core.specs import NetworkSpec

_aten: Any = torch.ops.aten


class TorchOps:
    """Compute on PyTorch's tensors; see ``ml.core.ops.Ops``."""

    activations: dict[str, Callable[[Any], Any]] = {  # noqa: RUF012 - as the protocol has it
        "relu": torch.relu,
        "tanh": torch.tanh,
        "sigmoid": torch.sigmoid,
        "silu": functional.silu,
        "gelu": functional.gelu,
    }

    def matmul(self, left: Any, right: Any) -> Any:
        """Multiply the last two axes as matrices."""
        return torch.matmul(left, right)

    def softmax(self, array: Any) -> Any:
        """Return the softmax over the last axis."""
        return torch.softmax(array, -1)

    def log_softmax(self, array: Any) -> Any:
        """Return the logarithm of the softmax over the last axis."""
        return torch.log_softmax(array, -1)

    def softplus(self, array: Any) -> Any:
        """Return log(1 + exp(array))."""
        # The loss has this gradient; softplus of PyTorch is cut off at 20.
        return functional.binary_cross_entropy_with_logits(
            array, torch.zeros_like(array), reduction="none"
        )

    def sqrt(self, array: Any) -> Any:
        """Return the square root."""
        return torch.sqrt(array)

    def mean(self, array: Any, axes: tuple[int, ...]) -> Any:
        """Return the mean over the axes, kept."""
        return array.mean(axes, keepdim=True)

    def sum(self, array: Any, axes: tuple[int, ...]) -> Any:
        """Return the sum over the axes."""
        return array.sum(axes)

    def reshape(self, array: Any, shape: tuple[int, ...]) -> Any:
        """Return the values in another shape."""
        return array.reshape(shape)

    def transpose(self, array: Any, axes: tuple[int, ...]) -> Any:
        """Return the array with its axes in this order."""
        return array.permute(axes)

    def concat(self, arrays: Sequence[Any], axis: int) -> Any:
        """Return the arrays joined along an axis."""
        return torch.cat(list(arrays), axis)

    def take(self, array: Any, columns: tuple[int, ...]) -> Any:
        """Return these columns."""
        return array[:, list(columns)]

    def zeros(self, shape: tuple[int, ...], like: Any) -> Any:
        """Return zeros of the dtype of ``like``."""
        return like.new_zeros(shape)

    def scan(self, step: Callable[[Carry, Any], Carry], carry: Carry, inputs: Any) -> Any:
        """Return the first part of the carry after each step."""
        outputs = []
        for row in inputs.unbind():
            carry = step(carry, row)
            outputs.append(carry[0])
        return torch.stack(outputs)

    def count(self, shape: tuple[int, ...]) -> Any:
        """Return 0, 1, 2, … in this shape, int32."""
        return torch.arange(math.prod(shape), dtype=torch.int32).view(shape)

    def xor(self, left: Any, right: Any) -> Any:
        """Return the exclusive or, bit by bit."""
        return torch.bitwise_xor(left, right)

    def shift(self, array: Any, bits: int) -> Any:
        """Return an int32 array shifted to the right, zeros coming in."""
        return (array >> bits) & (2 ** (32 - bits) - 1)

    def keep(self, bits: Any, least: int, like: Any) -> Any:
        """Return 1 where the bits are at least ``least``, else 0."""
        return (bits >= least).to(like.dtype)


OPS = TorchOps()

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
        self._activate, self._activation_gradient = _ACTIVATIONS.get(
            spec.activation, _ACTIVATIONS["relu"]
        )
        self._buffers: dict[int, tuple[list[torch.Tensor], list[torch.Tensor]]] = {}

    @staticmethod
    def takes(spec: NetworkSpec) -> bool:
        """Tell whether a network is such a chain, of activations whose gradient is known here."""
        plain = spec.norm == "none" and spec.dropout == 0 and spec.activation in _ACTIVATIONS
        return spec.architecture == "linear" or (spec.architecture == "mlp" and plain)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return the raw outputs [n, outputs] for features [n, inputs]."""
        hidden = [features.new_empty(len(features), k.shape[1]) for k in self._kernels[:-1]]
        return self._run(features, hidden)

    def learn(
        self, features: torch.Tensor, residual: Callable[[torch.Tensor], torch.Tensor]
    ) -> torch.Tensor:
        """Write a batch's gradients to ``gradients``, and return its raw outputs.

        ``residual`` gives the gradient of the batch's loss by its outputs.
        """
        rows = len(features)
        if rows not in self._buffers:
            widths = [kernel.shape[1] for kernel in self._kernels[:-1]]
            made = [[features.new_empty(rows, width) for width in widths] for _ in range(2)]
            self._buffers[rows] = (made[0], made[1])
        hidden, deltas = self._buffers[rows]
        outputs = self._run(features, hidden)
        delta = residual(outputs)
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
