"""Supply JAX's array operations to the networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ml.core.ops import Carry


class JaxOps:
    """Compute on JAX's arrays; see ``ml.core.ops.Ops``."""

    activations: dict[str, Callable[[Any], Any]] = {  # noqa: RUF012 - as the protocol has it
        "relu": jax.nn.relu,
        "tanh": jnp.tanh,
        "sigmoid": jax.nn.sigmoid,
        "silu": jax.nn.silu,
        "gelu": partial(jax.nn.gelu, approximate=False),
    }

    def matmul(self, left: Any, right: Any) -> Any:
        """Multiply the last two axes as matrices."""
        # Some devices multiply float32 in fewer bits unless they are told not to.
        return jnp.matmul(left, right, precision=jax.lax.Precision.HIGHEST)

    def softmax(self, array: Any) -> Any:
        """Return the softmax over the last axis."""
        return jax.nn.softmax(array)

    def log_softmax(self, array: Any) -> Any:
        """Return the logarithm of the softmax over the last axis."""
        return jax.nn.log_softmax(array)

    def softplus(self, array: Any) -> Any:
        """Return log(1 + exp(array))."""
        return jax.nn.softplus(array)

    def sqrt(self, array: Any) -> Any:
        """Return the square root."""
        return jnp.sqrt(array)

    def mean(self, array: Any, axes: tuple[int, ...]) -> Any:
        """Return the mean over the axes, kept."""
        return array.mean(axes, keepdims=True)

    def sum(self, array: Any, axes: tuple[int, ...]) -> Any:
        """Return the sum over the axes."""
        return array.sum(axes)

    def reshape(self, array: Any, shape: tuple[int, ...]) -> Any:
        """Return the values in another shape."""
        return array.reshape(shape)

    def transpose(self, array: Any, axes: tuple[int, ...]) -> Any:
        """Return the array with its axes in this order."""
        return array.transpose(axes)

    def concat(self, arrays: Sequence[Any], axis: int) -> Any:
        """Return the arrays joined along an axis."""
        return jnp.concatenate(arrays, axis)

    def take(self, array: Any, columns: tuple[int, ...]) -> Any:
        """Return these columns."""
        return array[:, np.array(columns)]

    def zeros(self, shape: tuple[int, ...], like: Any) -> Any:
        """Return zeros of the dtype of ``like``."""
        return jnp.zeros(shape, like.dtype)

    def scan(self, step: Callable[[Carry, Any], Carry], carry: Carry, inputs: Any) -> Any:
        """Return the first part of the carry after each step."""

        def body(carry: Carry, row: Any) -> tuple[Carry, Any]:
            carry = step(carry, row)
            return carry, carry[0]

        return jax.lax.scan(body, carry, inputs)[1]

    def count(self, shape: tuple[int, ...]) -> Any:
        """Return 0, 1, 2, … in this shape, int32."""
        return jnp.arange(int(np.prod(shape)), dtype=jnp.int32).reshape(shape)

    def xor(self, left: Any, right: Any) -> Any:
        """Return the exclusive or, bit by bit."""
        return left ^ right

    def shift(self, array: Any, bits: int) -> Any:
        """Return an int32 array shifted to the right, zeros coming in."""
        return jax.lax.shift_right_logical(array, np.int32(bits))

    def keep(self, bits: Any, least: int, like: Any) -> Any:
        """Return 1 where the bits are at least ``least``, else 0."""
        return (bits >= least).astype(like.dtype)


OPS = JaxOps()
