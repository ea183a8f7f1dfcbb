"""Supply PyTorch's array operations to the networks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn import functional

from ml.core.ops import Carry


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
