"""Take gradient steps in JAX: one compiled loop over the batches is an epoch."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from ml.core.architectures import Pass, declare, forward, merge
from ml.core.batches import Widening, plan_epoch, predict_blocks, stage_blocks, stage_rows
from ml.core.learner import Floats32, Problem
from ml.core.loop import Examples, TrainingState, objective
from ml.core.ops import row_loss
from ml.core.optimizers import compiled_form
from ml.core.specs import NetworkSpec, OptimizerSpec
from ml.frameworks.jax.data import lend_to_device
from ml.frameworks.jax.models import OPS
from ml.frameworks.jax.serialization import export_weights, import_weights


class JaxStepper:
    """Take steps over staged arrays; see ``ml.core.loop.Stepper``.

    What is compiled is kept by form, and in it by the padded shapes of the data, so that later
    replicates and cells of the same form and shapes do not compile again.
    """

    def __init__(
        self, spec: NetworkSpec, problem: Problem, weights: list[Floats32], seed: int
    ) -> None:
        self._spec = spec
        self._seed = seed
        form = compiled_form(spec)
        self._widening = Widening.of(spec, problem)
        wide = self._widening.problem
        self._trained = [weight.trained for weight in declare(form, wide)]
        self._epoch = _epoch_function(form, wide)
        self._predict = _predict_function(form, wide)
        self._updates = 0
        self._state: Any = ()
        zeros = [np.zeros_like(w) for w, own in zip(weights, self._trained, strict=True) if own]
        self.load_state(TrainingState(weights, zeros, zeros, 0))

    def stage(self, examples: Examples, validation: Floats32 | None = None) -> None:
        """Hand over the training rows once, and the features of the validation rows."""
        self._staged = stage_rows(examples, self._spec.batch_size, self._widening.problem.inputs)
        self._arrays = tuple(map(lend_to_device, self._staged.arrays))
        if validation is not None:
            self._validation = (self._stage_blocks(validation), len(validation))

    def epoch(self, order: NDArray[np.int64]) -> float:
        """Make one update per batch of rows in this order; return the mean loss over rows."""
        plan = plan_epoch(self._staged, self._spec, order, self._updates, self._seed)
        self._updates += plan.updates
        self._state, total = self._epoch(
            self._state, self._arrays, plan.order, plan.rates, plan.keys, plan.rows, plan.updates
        )
        return float(total) / plan.rows

    def predict(self, features: Floats32) -> Floats32:
        """Return the raw outputs [n, outputs]."""
        return self._predict_rows(self._stage_blocks(features), len(features))

    def validate(self) -> Floats32:
        """Return the raw outputs for the validation rows that were staged."""
        return self._predict_rows(*self._validation)

    def _predict_rows(self, blocks: list[Any], rows: int) -> Floats32:
        return predict_blocks(partial(self._predict, self._state[:2]), blocks, rows)

    def _stage_blocks(self, features: Floats32) -> list[Any]:
        return [*map(lend_to_device, stage_blocks(features, self._widening.problem.inputs))]

    def weights(self) -> list[Floats32]:
        """Return copies of the weights."""
        merged = export_weights(merge(self._trained, *self._state[:2]))
        return self._widening.narrow_weights(merged)

    def load_weights(self, weights: list[Floats32]) -> None:
        """Put these weights in place."""
        arrays = import_weights(self._widening.widen_weights(weights))
        parts = (
            tuple(w for w, own in zip(arrays, self._trained, strict=True) if own is trained)
            for trained in (True, False)
        )
        self._state = (*parts, *self._state[2:])

    def state(self) -> TrainingState:
        """Return copies of all that the next update depends on."""
        first, second = (
            self._widening.narrow_weights(export_weights(part)) for part in self._state[2:]
        )
        return TrainingState(self.weights(), first, second, self._updates)

    def load_state(self, state: TrainingState) -> None:
        """Go on from this state."""
        moments = (
            import_weights(self._widening.widen_weights(part))
            for part in (state.first, state.second)
        )
        self._state = ((), (), *moments)
        self._updates = state.updates
        self.load_weights(state.weights)


@lru_cache(maxsize=128)
def _epoch_function(spec: NetworkSpec, problem: Problem) -> Callable[..., Any]:
    """Return a compiled epoch: the state in, the new one and the summed loss out."""
    trained = [weight.trained for weight in declare(spec, problem)]

    def mean_loss(
        weights: Any, statistics: Any, features: Any, targets: Any, shares: Any, at: Any
    ) -> Any:
        present, key = at
        run = Pass(
            OPS, spec, merge(trained, weights, statistics), training=True, present=present, key=key
        )
        rows = objective(problem, partial(row_loss, OPS), forward(run, problem, features), targets)
        return (rows * shares).sum(), tuple(run.statistics)

    def epoch(
        state: Any, arrays: Any, order: Any, rates: Any, keys: Any, rows: Any, updates: Any
    ) -> Any:
        batch = order.shape[1]

        def update(step: Any, carry: Any) -> Any:
            (weights, statistics, *moments), total = carry
            picked = order[step]
            present = (step * batch + jnp.arange(batch) < rows).astype(jnp.float32)
            inputs, wanted, *row_weights = (
                array.at[picked].get(mode="promise_in_bounds") for array in arrays
            )
            count = present.sum()
            shares = present / count * row_weights[0] if row_weights else present / count
            (loss, statistics), gradients = jax.value_and_grad(mean_loss, has_aux=True)(
                weights, statistics, inputs, wanted, shares, (present, keys[step])
            )
            moved = _apply(spec.optimizer, (weights, *moments), gradients, rates[step])
            return (moved[0], statistics, *moved[1:]), total + loss * count

        return jax.lax.fori_loop(0, updates, update, (state, 0.0))

    compiled: Callable[..., Any] = jax.jit(epoch, donate_argnums=0)
    return compiled


@lru_cache(maxsize=128)
def _predict_function(spec: NetworkSpec, problem: Problem) -> Callable[..., Any]:
    """Return a compiled function from weights and features to the raw outputs."""
    trained = [weight.trained for weight in declare(spec, problem)]

    def predict(weights: Any, features: Any) -> Any:
        return forward(Pass(OPS, spec, merge(trained, *weights)), problem, features)

    compiled: Callable[..., Any] = jax.jit(predict)
    return compiled


def _apply(optimizer: OptimizerSpec, state: Any, gradients: Any, rates: Any) -> Any:
    """Return the weights and moments after one update; the rates hold Adam's bias corrections."""
    weights, first, second = state
    learning_rate, rate, epsilon, shrink = rates
    if optimizer.name == "adamw":
        weights = tuple(w * shrink for w in weights)
    elif optimizer.weight_decay:
        decay = optimizer.weight_decay
        gradients = tuple(g + decay * w for g, w in zip(gradients, weights, strict=True))
    if optimizer.name == "sgd":
        first = tuple(optimizer.momentum * m + g for m, g in zip(first, gradients, strict=True))
        moved = tuple(w - learning_rate * m for w, m in zip(weights, first, strict=True))
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
