"""Supply TensorFlow's array operations to the networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from ml.core.ops import Carry


class TensorFlowOps:
    """Compute on TensorFlow's tensors; see ``ml.core.ops.Ops``."""

    activations: dict[str, Callable[[Any], Any]] = {  # noqa: RUF012 - as the protocol has it
        "relu": tf.nn.relu,
        "tanh": tf.tanh,
        "sigmoid": tf.sigmoid,
        "silu": tf.nn.silu,
        "gelu": partial(tf.nn.gelu, approximate=False),
    }

    def matmul(self, left: Any, right: Any) -> Any:
        """Multiply the last two axes as matrices."""
        if len(right.shape) == 2 and len(left.shape) > 2:
            flat = tf.matmul(tf.reshape(left, (-1, left.shape[-1])), right)
            return tf.reshape(flat, (*left.shape[:-1], right.shape[-1]))
        return tf.matmul(left, right)

    def softmax(self, array: Any) -> Any:
        """Return the softmax over the last axis."""
        return tf.nn.softmax(array)

    def log_softmax(self, array: Any) -> Any:
        """Return the logarithm of the softmax over the last axis."""
        return tf.nn.log_softmax(array)

    def softplus(self, array: Any) -> Any:
        """Return log(1 + exp(array))."""
        return tf.math.softplus(array)

    def sqrt(self, array: Any) -> Any:
        """Return the square root."""
        return tf.sqrt(array)

    def mean(self, array: Any, axes: tuple[int, ...]) -> Any:
        """Return the mean over the axes, kept."""
        return tf.reduce_mean(array, axes, keepdims=True)

    def sum(self, array: Any, axes: tuple[int, ...]) -> Any:
        """Return the sum over the axes."""
        return tf.reduce_sum(array, axes)

    def reshape(self, array: Any, shape: tuple[int, ...]) -> Any:
        """Return the values in another shape."""
        return tf.reshape(array, shape)

    def transpose(self, array: Any, axes: tuple[int, ...]) -> Any:
        """Return the array with its axes in this order."""
        return tf.transpose(array, axes)

    def concat(self, arrays: Sequence[Any], axis: int) -> Any:
        """Return the arrays joined along an axis."""
        return tf.concat(arrays, axis)

    def take(self, array: Any, columns: tuple[int, ...]) -> Any:
        """Return these columns."""
        return tf.gather(array, columns, axis=1)

    def zeros(self, shape: tuple[int, ...], like: Any) -> Any:
        """Return zeros of the dtype of ``like``."""
        return tf.zeros(shape, like.dtype)

    def scan(self, step: Callable[[Carry, Any], Carry], carry: Carry, inputs: Any) -> Any:
        """Return the first part of the carry after each step."""
        outputs = []
        for row in tf.unstack(inputs):
            carry = step(carry, row)
            outputs.append(carry[0])
        return tf.stack(outputs)

    def count(self, shape: tuple[int, ...]) -> Any:
        """Return 0, 1, 2, … in this shape, int32."""
        return tf.reshape(tf.range(int(np.prod(shape)), dtype=tf.int32), shape)

    def xor(self, left: Any, right: Any) -> Any:
        """Return the exclusive or, bit by bit."""
        return tf.bitwise.bitwise_xor(left, right)

    def shift(self, array: Any, bits: int) -> Any:
        """Return an int32 array shifted to the right, zeros coming in."""
        return tf.bitwise.bitwise_and(tf.bitwise.right_shift(array, bits), 2 ** (32 - bits) - 1)

    def keep(self, bits: Any, least: int, like: Any) -> Any:
        """Return 1 where the bits are at least ``least``, else 0."""
        return tf.cast(bits >= least, like.dtype)


OPS = TensorFlowOps()
