"""Take gradient steps in TensorFlow: one flat variable, one graph call an epoch."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from ml.core.contracts import NetworkSpec
from ml.core.learner import Floats32, Problem
from ml.core.loop import objective
from ml.core.optimizers import compiled_form, update_rates
from ml.frameworks.tensorflow.data import to_tensor
from ml.frameworks.tensorflow.models import batch_loss, forward
from ml.frameworks.tensorflow.serialization import export_weights, import_weights


class TensorFlowStepper:
    """Take steps over staged tensors; see ``ml.core.loop.Stepper``.

    An epoch is one call of a graph that loops over the batches and gathers each by its row
    indices. Graphs are kept by architecture and width, so later replicates and cells of the
    same form do not trace again.
    """

    def __init__(self, spec: NetworkSpec, problem: Problem, weights: list[Floats32]) -> None:
        self._spec = spec
        self._shapes = tuple(array.shape for array in weights)
        size = sum(array.size for array in weights)
        self._flat = tf.Variable(tf.zeros([size]))
        self._slots = [tf.Variable(tf.zeros([size])) for _ in range(2)]
        import_weights(self._flat, weights)
        form = compiled_form(spec)
        self._epoch = _epoch_function(form, problem, self._shapes)
        self._predict = _predict_function(form, self._shapes)
        self._updates = 0
        self._features = self._targets = tf.zeros([0, 0])

    def stage(self, features: Floats32, targets: Floats32) -> None:
        """Hand over the training rows once."""
        self._features, self._targets = to_tensor(features), to_tensor(targets)

    def epoch(self, order: NDArray[np.int64]) -> float:
        """Make one update per batch of rows in this order; return the mean loss over rows."""
        updates = math.ceil(len(order) / self._spec.batch_size)
        rates, epsilons = update_rates(self._spec.optimizer, self._updates, updates)
        self._updates += updates
        total = self._epoch(
            self._flat,
            *self._slots,
            self._features,
            self._targets,
            to_tensor(order),
            to_tensor(rates),
            to_tensor(epsilons),
        )
        return float(total) / len(order)

    def predict(self, features: Floats32) -> Floats32:
        """Return the raw outputs [n, outputs]."""
        outputs: Floats32 = self._predict(self._flat, to_tensor(features)).numpy()
        return outputs

    def weights(self) -> list[Floats32]:
        """Return copies of the weights."""
        return export_weights(self._flat, self._shapes)

    def load_weights(self, weights: list[Floats32]) -> None:
        """Put these weights in place."""
        import_weights(self._flat, weights)


@lru_cache(maxsize=128)
def _epoch_function(
    spec: NetworkSpec, problem: Problem, shapes: tuple[tuple[int, ...], ...]
) -> Callable[..., Any]:
    """Return a graph that trains one epoch; it takes the variables, so that cells share it."""
    optimizer = spec.optimizer

    def epoch(
        flat: Any,
        first: Any,
        second: Any,
        features: Any,
        targets: Any,
        order: Any,
        rates: Any,
        epsilons: Any,
    ) -> Any:
        rows = tf.shape(order)[0]

        def update(step: Any, total: Any) -> tuple[Any, Any]:
            start = step * spec.batch_size
            batch = order[start : tf.minimum(start + spec.batch_size, rows)]
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(flat)
                outputs = forward(spec, _weights(flat, shapes), tf.gather(features, batch))
                wanted = tf.gather(targets, batch)
                mean = objective(problem, batch_loss, outputs, wanted)
            gradient = tape.gradient(mean, flat)
            if optimizer.name == "sgd":
                tf.raw_ops.ResourceApplyMomentum(
                    var=flat.handle,
                    accum=first.handle,
                    lr=rates[step],
                    grad=gradient,
                    momentum=optimizer.momentum,
                )
            else:
                # The rates hold the bias corrections, so the powers must add none: zero.
                tf.raw_ops.ResourceApplyAdam(
                    var=flat.handle,
                    m=first.handle,
                    v=second.handle,
                    beta1_power=0.0,
                    beta2_power=0.0,
                    lr=rates[step],
                    beta1=optimizer.beta1,
                    beta2=optimizer.beta2,
                    epsilon=epsilons[step],
                    grad=gradient,
                )
            return step + 1, total + mean * tf.cast(tf.shape(batch)[0], tf.float32)

        updates = tf.shape(rates)[0]
        _, total = tf.while_loop(
            lambda step, _: step < updates, update, (0, 0.0), parallel_iterations=1
        )
        return total

    traced: Callable[..., Any] = tf.function(epoch, reduce_retracing=True, autograph=False)
    return traced


@lru_cache(maxsize=128)
def _predict_function(spec: NetworkSpec, shapes: tuple[tuple[int, ...], ...]) -> Callable[..., Any]:
    """Return a graph that computes the raw outputs from the flat variable and features."""
    traced: Callable[..., Any] = tf.function(
        lambda flat, features: forward(spec, _weights(flat, shapes), features),
        reduce_retracing=True,
        autograph=False,
    )
    return traced


def _weights(flat: Any, shapes: tuple[tuple[int, ...], ...]) -> list[Any]:
    parts = tf.split(flat, [math.prod(shape) for shape in shapes])
    return [tf.reshape(part, shape) for part, shape in zip(parts, shapes, strict=True)]
