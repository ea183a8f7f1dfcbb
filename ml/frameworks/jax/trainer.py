"""Take gradient steps in JAX: one compiled scan over the batches is an epoch."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from ml.core.contracts import NetworkSpec, OptimizerSpec
from ml.core.learner import Floats32, Problem
from ml.core.loop import objective
from ml.core.optimizers import compiled_form, update_rates
from ml.frameworks.jax.data import to_device
from ml.frameworks.jax.models import batch_loss, forward
from ml.frameworks.jax.serialization import export_weights, import_weights


class JaxStepper:
    """Take steps over staged arrays; see ``ml.core.loop.Stepper``.

    What is compiled is kept by form, and in it by the shapes of the data, so that later
    replicates and cells of the same form and shapes do not compile again.
    """

    def __init__(self, spec: NetworkSpec, problem: Problem, weights: list[Floats32]) -> None:
        self._spec = spec
        self._weights = import_weights(weights)
        # Two sets of zeros, since an epoch takes over the memory of each.
        self._moments = tuple(import_weights([np.zeros_like(w) for w in weights]) for _ in range(2))
        form = compiled_form(spec)
        self._epoch = _epoch_function(form, problem)
        self._predict = _predict_function(form)
        self._updates = 0
        self._features = self._targets = jnp.zeros((0, 0))

    def stage(self, features: Floats32, targets: Floats32) -> None:
        """Hand over the training rows once."""
        self._features, self._targets = to_device(features), to_device(targets)

    def epoch(self, order: NDArray[np.int64]) -> float:
        """Make one update per batch of rows in this order; return the mean loss over rows."""
        updates = math.ceil(len(order) / self._spec.batch_size)
        rates, epsilons = update_rates(self._spec.optimizer, self._updates, updates)
        self._updates += updates
        (self._weights, *self._moments), total = self._epoch(
            (self._weights, *self._moments),
            self._features,
            self._targets,
            order.astype(np.int32),
            rates,
            epsilons,
        )
        return float(total) / len(order)

    def predict(self, features: Floats32) -> Floats32:
        """Return the raw outputs [n, outputs]."""
        return np.array(self._predict(self._weights, features))

    def weights(self) -> list[Floats32]:
        """Return copies of the weights."""
        return export_weights(self._weights)

    def load_weights(self, weights: list[Floats32]) -> None:
        """Put these weights in place."""
        self._weights = import_weights(weights)


@lru_cache(maxsize=128)
def _epoch_function(spec: NetworkSpec, problem: Problem) -> Callable[..., Any]:
    """Return a compiled epoch: weights and moments in, the new ones and the summed loss out."""

    def mean_loss(weights: Any, features: Any, targets: Any) -> Any:
        return objective(problem, batch_loss, forward(spec, weights, features), targets)

    def update(state: Any, batch: Any) -> tuple[Any, Any]:
        features, targets, rate, epsilon = batch
        mean, gradients = jax.value_and_grad(mean_loss)(state[0], features, targets)
        return _apply(spec.optimizer, state, gradients, rate, epsilon), mean

    def epoch(
        state: Any, features: Any, targets: Any, order: Any, rates: Any, epsilons: Any
    ) -> tuple[Any, Any]:
        batches, rest = divmod(len(order), spec.batch_size)
        features, targets = features[order], targets[order]
        full = len(order) - rest
        total = 0.0
        if batches:
            split = (
                array[:full].reshape(batches, spec.batch_size, array.shape[1])
                for array in (features, targets)
            )
            state, means = jax.lax.scan(
                update, state, (*split, rates[:batches], epsilons[:batches])
            )
            total = spec.batch_size * means.sum()
        if rest:
            last = (features[full:], targets[full:], rates[batches], epsilons[batches])
            state, mean = update(state, last)
            total += rest * mean
        return state, total

    compiled: Callable[..., Any] = jax.jit(epoch, donate_argnums=0)
    return compiled


@lru_cache(maxsize=128)
def _predict_function(spec: NetworkSpec) -> Callable[..., Any]:
    """Return a compiled function from weights and features to the raw outputs."""
    compiled: Callable[..., Any] = jax.jit(lambda weights, rows: forward(spec, weights, rows))
    return compiled


def _apply(optimizer: OptimizerSpec, state: Any, gradients: Any, rate: Any, epsilon: Any) -> Any:
    """Return the weights and moments after one update; the rates hold Adam's bias corrections."""
    weights, first, second = state
    if optimizer.name == "sgd":
        first = tuple(optimizer.momentum * m + g for m, g in zip(first, gradients, strict=True))
        moved = tuple(w - rate * m for w, m in zip(weights, first, strict=True))
        return moved, first, second
    # As float32 holds them: the corrections were computed from the same numbers.
    beta1, beta2 = (float(np.float32(beta)) for beta in (optimizer.beta1, optimizer.beta2))
    first = tuple(beta1 * m + (1 - beta1) * g for m, g in zip(first, gradients, strict=True))
    second = tuple(beta2 * v + (1 - beta2) * g * g for v, g in zip(second, gradients, strict=True))
    moved = tuple(
        w - rate * m / (jnp.sqrt(v) + epsilon)
        for w, m, v in zip(weights, first, second, strict=True)
    )
    return moved, first, second
