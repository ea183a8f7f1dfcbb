"""Take gradient steps in JAX: one compiled loop over the batches is an epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from ml.core.architectures import Pass, declare, forward, merge, unflatten
from ml.core.batches import EpochPlan, Widening, join_blocks, plan_epoch, stage_blocks, stage_rows
from ml.core.learner import Floats32, Problem
from ml.core.loop import TrainingState
from ml.core.networks import Start
from ml.core.objective import Examples, objective
from ml.core.ops import row_loss
from ml.core.optimizers import compiled_form
from ml.core.specs import NetworkSpec, OptimizerSpec
from ml.frameworks.jax.data import lend_to_device
from ml.frameworks.jax.models import OPS
from ml.frameworks.jax.serialization import export_weights, import_weights


class JaxStepper:
    """Take steps over staged arrays; see ``ml.core.loop.Stepper``.

    What is compiled is kept by form, and in it by the padded shapes of the data, so that later
    replicates and cells of the same form and shapes do not compile again. The smallest work is
    compiled too: op by op JAX compiles each operation, which takes longer than the whole.
    """

    def __init__(
        self, spec: NetworkSpec, problem: Problem, weights: list[Floats32], seed: int
    ) -> None:
        self._spec = spec
        self._seed = seed
        form = compiled_form(spec)
        self._widening = Widening.of(spec, problem)
        wide = self._widening.problem
        self._network = _network(form, wide)
        self._epoch = _epoch_function(form, wide)
        self._predict = _predict_function(form, wide)
        self._updates = 0
        self._held: list[Any] = []
        self._state: Any = ()
        pairs = zip(weights, self._network.trained, strict=True)
        zeros = [np.zeros_like(weight) for weight, own in pairs if own]
        self.load_state(TrainingState(weights, zeros, zeros, 0))

    def stage(self, examples: Examples, validation: Floats32 | None = None) -> None:
        """Hand over the training rows once, and the features of the validation rows."""
        self._staged = stage_rows(examples, self._spec.batch_size, self._widening.problem.inputs)
        self._arrays = tuple(map(lend_to_device, self._staged.arrays))
        if validation is not None:
            self._held, self._held_rows = self._stage_blocks(validation), len(validation)

    def epoch(self, order: NDArray[np.int64]) -> float:
        """Make one update per batch of rows in this order; return the mean loss over rows."""
        plan = self.plan(order)
        # The first validation rows are predicted in the same call: each costs a thread's waking.
        self._state, total, self._seen = self._epoch(
            self._state, self._arrays, self._held[:1], *plan
        )
        return float(total) / plan.rows

    def plan(self, order: NDArray[np.int64], *, counts: bool = True) -> EpochPlan:
        """Lay out the next epoch; where it ``counts``, the one after goes on from there."""
        plan = plan_epoch(self._staged, self._spec, order, self._updates, self._seed)
        self._updates += plan.updates if counts else 0
        return plan

    def release(self) -> tuple[Any, Any, Any]:
        """Hand over the state, the staged rows and the blocks of the validation rows."""
        arrays, held = self._arrays, self._held
        self._arrays, self._held = (), []
        return self._state, arrays, held

    def take_state(self, state: Any) -> None:
        """Have these weights and moments, as ``release`` returned them."""
        self._state = state

    def epochs_function(self) -> Callable[..., Any]:
        """Return the compiled epoch of several models of this one's form."""
        return _epochs_function(compiled_form(self._spec), self._widening.problem)

    def join(self, seen: Any, rest: Sequence[Any]) -> Floats32:
        """Return the outputs for the validation rows, given those of the first block."""
        return join_blocks((seen, *map(self._predict_block, rest)), self._held_rows)

    def predict(self, features: Floats32) -> Floats32:
        """Return the raw outputs [n, outputs]."""
        return join_blocks(map(self._predict_block, self._stage_blocks(features)), len(features))

    def validate(self) -> Floats32:
        """Return the raw outputs for the validation rows that were staged, after an epoch."""
        return self.join(self._seen[0], self._held[1:])

    def _predict_block(self, block: Any) -> Any:
        return self._predict(self._state[:2], block)

    def _stage_blocks(self, features: Floats32) -> list[Any]:
        return [*map(lend_to_device, stage_blocks(features, self._widening.problem.inputs))]

    def weights(self) -> list[Floats32]:
        """Return copies of the weights."""
        parts = map(export_weights, self._state[:2], self._network.shapes)
        return self._widening.narrow_weights(merge(self._network.trained, *parts))

    def load_weights(self, weights: list[Floats32]) -> None:
        """Put these weights in place."""
        pairs = list(zip(self._widening.widen_weights(weights), self._network.trained, strict=True))
        parts = (import_weights([w for w, own in pairs if own is part]) for part in (True, False))
        self._state = (*parts, *self._state[2:])

    def state(self) -> TrainingState:
        """Return copies of all that the next update depends on."""
        first, second = (
            self._widening.narrow_weights(export_weights(moment, self._network.shapes[0]))
            for moment in self._state[2:]
        )
        return TrainingState(self.weights(), first, second, self._updates)

    def load_state(self, state: TrainingState) -> None:
        """Go on from this state."""
        moments = (
            import_weights(self._widening.widen_weights(part))
            for part in (state.first, state.second)
        )
        self._state = (None, None, *moments)
        self._updates = state.updates
        self.load_weights(state.weights)


class JaxSteppers:
    """Take the epochs of several networks of one form; see ``ml.core.loop.Steppers``.

    States and rows have a leading axis of models, over which one compiled epoch is mapped. It is
    compiled for so many models once: those that stand still or have ended are computed along,
    and keep their state.
    """

    def __init__(self, starts: Mapping[int, Start]) -> None:
        self._models = {
            index: JaxStepper(start.spec, start.problem, start.weights, start.seed)
            for index, start in starts.items()
        }
        for index, start in starts.items():
            held = start.validation.features if start.validation else None
            self._models[index].stage(start.train, held)
        models = list(self._models.values())
        self._state, self._arrays, self._held = (
            jax.tree.map(lambda *rows: jnp.stack(rows), *parts)
            for parts in zip(*(model.release() for model in models), strict=True)
        )
        self._epoch = models[0].epochs_function()
        self._places = {index: place for place, index in enumerate(self._models)}

    def epoch(self, orders: Mapping[int, NDArray[np.int64]]) -> Mapping[int, float]:
        """Train these models for an epoch; the others stand still."""
        some = next(iter(orders.values()))
        plans = [
            model.plan(orders.get(index, some), counts=index in orders)
            for index, model in self._models.items()
        ]
        # Members of one shape have as many updates, so that the loop has one end for all.
        updates = plans[0].updates
        *mapped, _ = (np.stack(parts) for parts in zip(*plans, strict=True))
        active = np.array([index in orders for index in self._models])
        self._state, totals, self._seen = self._epoch(
            self._state, self._arrays, self._held[:1], active, updates, *mapped
        )
        losses = np.asarray(totals)
        return {i: float(losses[self._places[i]]) / len(order) for i, order in orders.items()}

    def validate(self, indices: Sequence[int]) -> Mapping[int, Floats32]:
        """Return the raw outputs of these models for their validation rows, after an epoch."""
        seen = [np.asarray(block) for block in self._seen]
        outputs = {}
        for index in indices:
            place = self._places[index]
            rest = [block[place] for block in self._held[1:]]
            model = self._load(index)
            outputs[index] = model.join(seen[0][place], rest)
        return outputs

    def weights(self, index: int) -> list[Floats32]:
        """Return copies of a model's weights."""
        return self._load(index).weights()

    def release(self, index: int) -> None:
        """Do nothing: what is compiled is for all models."""

    def _load(self, index: int) -> JaxStepper:
        place = self._places[index]
        self._models[index].take_state(jax.tree.map(lambda part: part[place], self._state))
        return self._models[index]


class Network(NamedTuple):
    """Tell which weights are trained, and the shapes of those that are and are not."""

    trained: list[bool]
    shapes: tuple[list[tuple[int, ...]], list[tuple[int, ...]]]


@lru_cache(maxsize=128)
def _network(spec: NetworkSpec, problem: Problem) -> Network:
    declared = declare(spec, problem)
    return Network(
        trained=[weight.trained for weight in declared],
        shapes=(
            [weight.shape for weight in declared if weight.trained],
            [weight.shape for weight in declared if not weight.trained],
        ),
    )


@lru_cache(maxsize=128)
def _epoch_function(spec: NetworkSpec, problem: Problem) -> Callable[..., Any]:
    """Return a compiled epoch of one model."""
    compiled: Callable[..., Any] = jax.jit(_make_epoch(spec, problem), donate_argnums=0)
    return compiled


@lru_cache(maxsize=128)
def _epochs_function(spec: NetworkSpec, problem: Problem) -> Callable[..., Any]:
    """Return a compiled epoch of several models, of which those that are active move."""
    epoch = _make_epoch(spec, problem)

    def move(state: Any, arrays: Any, held: Any, active: Any, updates: Any, *plan: Any) -> Any:
        moved, total, _ = epoch(state, arrays, [], *plan, updates)
        kept = jax.tree.map(lambda new, old: jnp.where(active, new, old), moved, state)
        predict = _predict_function(spec, problem)
        return kept, total, [predict(kept[:2], block) for block in held]

    axes = (0, 0, 0, 0, None, 0, 0, 0, 0)
    compiled: Callable[..., Any] = jax.jit(jax.vmap(move, in_axes=axes))
    return compiled


def _make_epoch(spec: NetworkSpec, problem: Problem) -> Callable[..., Any]:
    """Return an epoch: the flat state in, the new one and the summed loss out.

    Blocks of features that are held back are predicted in the end.
    """
    network = _network(spec, problem)
    predict = _predict_function(spec, problem)

    def mean_loss(
        weights: Any, statistics: Any, features: Any, targets: Any, shares: Any, at: Any
    ) -> Any:
        present, key = at
        arrays = merge(network.trained, weights, unflatten(statistics, network.shapes[1]))
        run = Pass(OPS, spec, arrays, training=True, present=present, key=key)
        rows = objective(problem, partial(row_loss, OPS), forward(run, problem, features), targets)
        return (rows * shares).sum(), _flat(run.statistics)

    def epoch(state: Any, arrays: Any, held: Any, *plan: Any) -> Any:
        order, rates, keys, rows, updates = EpochPlan(*plan)
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
            # By the single weights: the gradient of a slice is an array as long as the flat one.
            (loss, statistics), gradients = jax.value_and_grad(mean_loss, has_aux=True)(
                unflatten(weights, network.shapes[0]),
                statistics,
                inputs,
                wanted,
                shares,
                (present, keys[step]),
            )
            moved = _apply(spec.optimizer, (weights, *moments), _flat(gradients), rates[step])
            return (moved[0], statistics, *moved[1:]), total + loss * count

        state, total = jax.lax.fori_loop(0, updates, update, (state, 0.0))
        return state, total, [predict(state[:2], block) for block in held]

    return epoch


@lru_cache(maxsize=128)
def _predict_function(spec: NetworkSpec, problem: Problem) -> Callable[..., Any]:
    """Return a compiled function from flat weights and features to the raw outputs."""
    network = _network(spec, problem)

    def predict(flat: Any, features: Any) -> Any:
        weights = merge(network.trained, *map(unflatten, flat, network.shapes))
        return forward(Pass(OPS, spec, weights), problem, features)

    compiled: Callable[..., Any] = jax.jit(predict)
    return compiled


def _flat(arrays: Sequence[Any]) -> Any:
    return jnp.concatenate([jnp.zeros(0, jnp.float32), *(array.ravel() for array in arrays)])


def _apply(optimizer: OptimizerSpec, state: Any, gradient: Any, rates: Any) -> Any:
    """Return flat weights and moments after one update; the rates hold Adam's bias corrections."""
    weights, first, second = state
    learning_rate, rate, epsilon, shrink = rates
    if optimizer.name == "adamw":
        weights = weights * shrink
    elif optimizer.weight_decay:
        gradient = gradient + optimizer.weight_decay * weights
    if optimizer.name == "sgd":
        first = optimizer.momentum * first + gradient
        return weights - learning_rate * first, first, second
    # As float32 holds them: the corrections were computed from the same numbers.
    beta1, beta2 = (float(np.float32(beta)) for beta in (optimizer.beta1, optimizer.beta2))
    first = beta1 * first + (1 - beta1) * gradient
    second = beta2 * second + (1 - beta2) * gradient * gradient
    return weights - rate * first / (jnp.sqrt(second) + epsilon), first, second
