"""Name the array operations that networks are written in; each framework supplies its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

Carry = tuple[Any, ...]


class Ops(Protocol):
    """Compute on one framework's arrays; ``+ - *`` and slices are the arrays' own.

    Every shape is known while a network is computed, so ``array.shape`` holds integers.
    """

    activations: dict[str, Callable[[Any], Any]]

    def matmul(self, left: Any, right: Any) -> Any:
        """Multiply the last two axes as matrices, in full float32 precision."""

    def softmax(self, array: Any) -> Any:
        """Return the softmax over the last axis."""

    def log_softmax(self, array: Any) -> Any:
        """Return the logarithm of the softmax over the last axis."""

    def softplus(self, array: Any) -> Any:
        """Return log(1 + exp(array)), for any size of its values, with its exact gradient."""

    def sqrt(self, array: Any) -> Any:
        """Return the square root."""

    def mean(self, array: Any, axes: tuple[int, ...]) -> Any:
        """Return the mean over the axes, which stay as axes of length 1."""

    def sum(self, array: Any, axes: tuple[int, ...]) -> Any:
        """Return the sum over the axes, which are gone."""

    def reshape(self, array: Any, shape: tuple[int, ...]) -> Any:
        """Return the values in another shape, in row-major order."""

    def transpose(self, array: Any, axes: tuple[int, ...]) -> Any:
        """Return the array with its axes in this order."""

    def concat(self, arrays: Sequence[Any], axis: int) -> Any:
        """Return the arrays joined along an axis."""

    def take(self, array: Any, columns: tuple[int, ...]) -> Any:
        """Return these columns of an array [n, m], in this order."""

    def zeros(self, shape: tuple[int, ...], like: Any) -> Any:
        """Return zeros of the dtype of ``like``."""

    def scan(self, step: Callable[[Carry, Any], Carry], carry: Carry, inputs: Any) -> Any:
        """Return the first part of the carry after each step, [steps, …]; inputs [steps, …]."""

    def count(self, shape: tuple[int, ...]) -> Any:
        """Return 0, 1, 2, … in this shape in row-major order, int32."""

    def xor(self, left: Any, right: Any) -> Any:
        """Return the exclusive or of int32 arrays, bit by bit."""

    def shift(self, array: Any, bits: int) -> Any:
        """Return an int32 array shifted to the right by these bits, zeros coming in."""

    def keep(self, bits: Any, least: int, like: Any) -> Any:
        """Return 1 where int32 ``bits`` are at least ``least``, else 0, in the dtype of like."""


class NumpyOps:
    """Compute with numpy, in the dtype given: the reference in float64; see ``Ops``."""

    activations: dict[str, Callable[[Any], Any]] = {  # noqa: RUF012 - as the protocol has it
        "relu": lambda x: np.maximum(x, 0),
        "tanh": np.tanh,
        "sigmoid": lambda x: 0.5 * (1 + np.tanh(0.5 * x)),
        "silu": lambda x: x * 0.5 * (1 + np.tanh(0.5 * x)),
        "gelu": lambda x: 0.5 * x * (1 + _erf(x / np.sqrt(2))),
    }

    def matmul(self, left: Any, right: Any) -> Any:
        """Multiply the last two axes as matrices."""
        return left @ right

    def softmax(self, array: Any) -> Any:
        """Return the softmax over the last axis."""
        return np.exp(self.log_softmax(array))

    def log_softmax(self, array: Any) -> Any:
        """Return the logarithm of the softmax over the last axis."""
        lowered = array - array.max(axis=-1, keepdims=True)
        return lowered - np.log(np.exp(lowered).sum(axis=-1, keepdims=True))

    def softplus(self, array: Any) -> Any:
        """Return log(1 + exp(array))."""
        return np.logaddexp(0, array)

    def sqrt(self, array: Any) -> Any:
        """Return the square root."""
        return np.sqrt(array)

    def mean(self, array: Any, axes: tuple[int, ...]) -> Any:
        """Return the mean over the axes, kept."""
        return array.mean(axis=axes, keepdims=True)

    def sum(self, array: Any, axes: tuple[int, ...]) -> Any:
        """Return the sum over the axes."""
        return array.sum(axis=axes)

    def reshape(self, array: Any, shape: tuple[int, ...]) -> Any:
        """Return the values in another shape."""
        return array.reshape(shape)

    def transpose(self, array: Any, axes: tuple[int, ...]) -> Any:
        """Return the array with its axes in this order."""
        return array.transpose(axes)

    def concat(self, arrays: Sequence[Any], axis: int) -> Any:
        """Return the arrays joined along an axis."""
        return np.concatenate(arrays, axis)

    def take(self, array: Any, columns: tuple[int, ...]) -> Any:
        """Return these columns."""
        return array[:, list(columns)]

    def zeros(self, shape: tuple[int, ...], like: Any) -> Any:
        """Return zeros of the dtype of ``like``."""
        return np.zeros(shape, like.dtype)

    def scan(self, step: Callable[[Carry, Any], Carry], carry: Carry, inputs: Any) -> Any:
        """Return the first part of the carry after each step."""
        outputs = []
        for row in inputs:
            carry = step(carry, row)
            outputs.append(carry[0])
        return np.stack(outputs)

    def count(self, shape: tuple[int, ...]) -> Any:
        """Return 0, 1, 2, … in this shape, int32."""
        return np.arange(int(np.prod(shape)), dtype=np.int32).reshape(shape)

    def xor(self, left: Any, right: Any) -> Any:
        """Return the exclusive or, bit by bit."""
        return left ^ right

    def shift(self, array: Any, bits: int) -> Any:
        """Return an int32 array shifted to the right, zeros coming in."""
        return (array >> np.int32(bits)) & np.int32(2 ** (32 - bits) - 1)

    def keep(self, bits: Any, least: int, like: Any) -> Any:
        """Return 1 where the bits are at least ``least``, else 0."""
        return (bits >= least).astype(like.dtype)


NUMPY = NumpyOps()


def row_loss(ops: Ops, loss: str, outputs: Any, targets: Any) -> Any:
    """Return each row's loss [n], of outputs and targets [n, outputs].

    ``binary`` and ``softmax`` are cross-entropies of logits, ``softmax`` with targets that sum
    to one; ``squared`` is half the squared error, so that its gradient is the error itself.
    """
    if loss == "binary":
        return ops.sum(ops.softplus(outputs) - targets * outputs, (1,))
    if loss == "softmax":
        return -ops.sum(ops.log_softmax(outputs) * targets, (1,))
    error = outputs - targets
    return 0.5 * ops.sum(error * error, (1,))


def row_gradient(ops: Ops, loss: str, outputs: Any, targets: Any) -> Any:
    """Return the gradient of ``row_loss`` by the outputs [n, outputs].

    It is prediction minus target for all three.
    """
    if loss == "binary":
        return ops.activations["sigmoid"](outputs) - targets
    if loss == "softmax":
        return ops.softmax(outputs) - targets
    return outputs - targets


def drop(ops: Ops, array: Any, rate: float, key: Any) -> Any:
    """Return the array with a share ``rate`` of its values set to zero, the others scaled up.

    Which values go is a hash of their place and of ``key``, an int32, so that every framework
    drops the same ones: the finaliser of MurmurHash3 (Appleby 2011) in wrapping int32.
    """
    kept = keep_places(ops, tuple(array.shape), least_bits(rate), key, array)
    return array * kept * (1 / (1 - rate))


def keep_places(ops: Ops, shape: tuple[int, ...], least: Any, key: Any, like: Any) -> Any:
    """Return 1 for the places in an array of this shape that ``drop`` keeps, 0 for the others.

    ``least`` is that of ``least_bits``. Keys of several arrays, [..., 1, 1], give [..., *shape].
    """
    bits = ops.xor(ops.count(shape) * _MIX[0], key)
    bits = ops.xor(bits, ops.shift(bits, 16)) * _MIX[1]
    bits = ops.xor(bits, ops.shift(bits, 13)) * _MIX[2]
    bits = ops.shift(ops.xor(bits, ops.shift(bits, 16)), 8)
    return ops.keep(bits, least, like)


def least_bits(rate: float) -> int:
    """Return the least of 24 random bits that are kept where this rate is dropped."""
    return round(rate * 2**24)


def place_key(ops: Ops, key: Any, place: int) -> Any:
    """Return the key of the ``place``-th drop in a network, counted from 1, given an update's."""
    # Another multiple of an odd number in each place gives each a mask of its own.
    return ops.xor(key, place * 0x3C6EF35F % 2**31)


# Odd constants below 2³¹, so that they are int32 everywhere.
_MIX = (0x1E3779B1, 0x05EBCA6B, 0x42B2AE35)


def step_keys(seed: int, done: int, updates: int) -> Any:
    """Return one int32 per update after ``done``: the keys by which each drops values.

    They are hashed from the seed and the update's number (the finaliser of SplitMix64; Steele,
    Lea and Flood 2014), so that a resumed training finds the same ones.
    """
    state = np.arange(done + 1, done + updates + 1, dtype=np.uint64)
    state = state * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((state ^ (state >> np.uint64(31))) >> np.uint64(33)).astype(np.int32)


def _erf(x: Any) -> Any:
    return np.vectorize(math.erf, otypes=[np.float64])(x)
