"""Give compiled code shapes that many trainings share: padded batches, bucketed rows."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml.core.learner import Floats32, Problem
from ml.core.objective import Examples
from ml.core.optimizers import LARGEST_BATCH, plan_updates
from ml.core.specs import NetworkSpec

# Beyond this many rows a prediction is made in blocks of it.
LARGEST_BLOCK = 4096
# Padding costs memory alone, and little of it up to this many rows.
COARSE_ROWS = 16_384
# Features are padded to a multiple of this where that is exact: each more is arithmetic in vain.
FEATURES_STEP = 4
# In bytes; a power of two.
ALIGNMENT = 64


def bucket(count: int) -> int:
    """Return the least of 64, 256, 1,024, 4,096, 16,384 and all powers of two beyond.

    The coarser the buckets, the fewer forms there are to compile.
    """
    size = 64
    while size < count:
        size *= 4 if size < COARSE_ROWS else 2
    return size


def pad_rows(array: NDArray[Any], rows: int, columns: int | None = None) -> NDArray[Any]:
    """Return the array with zeros below, of so many rows, and with zeros beside up to columns."""
    shape = array.shape[1:] if columns is None else (columns,)
    padded = _aligned_zeros((rows, *shape), array.dtype)
    padded[tuple(slice(size) for size in array.shape)] = array
    return padded


def _aligned_zeros(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return zeros that begin where XLA wants its buffers to, so that it need not copy them."""
    size = math.prod(shape) * dtype.itemsize
    memory = np.zeros(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + size].view(dtype).reshape(shape)


@dataclass(frozen=True)
class Widening:
    """Let networks that begin with a product share a form, whatever the number of features.

    Features are padded with columns of zeros, and the first kernel with rows of zeros: both
    stay zero, for their gradient is. Other architectures keep their width.
    """

    problem: Problem
    inputs: int

    @classmethod
    def of(cls, spec: NetworkSpec, problem: Problem) -> Widening:
        """Return how the features of a problem are widened for a network."""
        if spec.architecture not in ("linear", "mlp", "resnet"):
            return cls(problem, problem.inputs)
        width = -(-problem.inputs // FEATURES_STEP) * FEATURES_STEP
        return cls(replace(problem, inputs=width, window=()), problem.inputs)

    def widen_weights(self, weights: list[Floats32]) -> list[Floats32]:
        """Return weights, or moments of them, whose first kernel takes the wider features."""
        missing = self.problem.inputs - self.inputs
        return [np.pad(weights[0], ((0, missing), (0, 0))), *weights[1:]] if missing else weights

    def narrow_weights(self, weights: list[Floats32]) -> list[Floats32]:
        """Return the weights as they were before ``widen_weights``."""
        return [weights[0][: self.inputs], *weights[1:]]


@dataclass(frozen=True)
class StagedRows:
    """Hold training rows padded to a bucket, and the shapes of an epoch over them.

    ``arrays`` are features [size, width], targets [size, …] and, where rows have weights, these
    [size]. ``batch`` is the number of rows in a batch, ``capacity`` the most updates in one call.
    Padded rows are in no batch; a batch that is not full is filled with row 0, not present.
    """

    arrays: tuple[Floats32, ...]
    rows: int
    batch: int
    capacity: int


def stage_rows(examples: Examples, batch_size: int, width: int) -> StagedRows:
    """Pad the training rows for compiled code, and their features to this width."""
    rows = len(examples.features)
    size = bucket(rows)
    arrays = [pad_rows(examples.features, size, width), pad_rows(examples.targets, size)]
    if examples.weights is not None:
        arrays.append(pad_rows(examples.weights, size))
    batch = min(batch_size, size, LARGEST_BATCH)
    return StagedRows(
        arrays=tuple(arrays),
        rows=rows,
        batch=batch,
        capacity=math.ceil(size / batch),
    )


class EpochPlan(NamedTuple):
    """Hold the arguments of one call of compiled code, padded to the staged capacity.

    ``order`` is int32 [capacity, batch]; ``rates`` is float32 [capacity, 4]: learning rate,
    rate, epsilon and shrink of ``ml.core.optimizers.Updates``; ``keys`` is int32 [capacity].
    """

    order: NDArray[np.int32]
    rates: Floats32
    keys: NDArray[np.int32]
    rows: int
    updates: int


def plan_epoch(
    staged: StagedRows, spec: NetworkSpec, order: NDArray[np.int64], done: int, seed: int
) -> EpochPlan:
    """Lay out an epoch over rows in this order, ``done`` updates having been made before."""
    updates = math.ceil(len(order) / staged.batch)
    padded = np.zeros(staged.capacity * staged.batch, np.int32)
    padded[: len(order)] = order
    per_epoch = math.ceil(staged.rows / staged.batch)
    planned = plan_updates(spec, done, updates, per_epoch, seed)
    rates = np.zeros((staged.capacity, 4), np.float32)
    columns = (planned.learning_rate, planned.rate, planned.epsilon, planned.shrink)
    for place, values in enumerate(columns):
        rates[:updates, place] = values
    keys = np.zeros(staged.capacity, np.int32)
    keys[:updates] = planned.keys
    return EpochPlan(
        order=padded.reshape(staged.capacity, staged.batch),
        rates=rates,
        keys=keys,
        rows=len(order),
        updates=updates,
    )


def stage_blocks(features: Floats32, width: int) -> list[Floats32]:
    """Return the rows in bucketed blocks of this width, for ``join_blocks``."""
    rows = len(features)
    block = min(bucket(rows), LARGEST_BLOCK)
    return [
        pad_rows(features[start : start + block], block, width)
        for start in range(0, max(rows, 1), block)
    ]


def join_blocks(outputs: Iterable[Any], rows: int) -> Floats32:
    """Return the first rows of what was computed from blocks."""
    return np.concatenate([np.asarray(block) for block in outputs])[:rows]
