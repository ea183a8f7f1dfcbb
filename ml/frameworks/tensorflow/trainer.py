"""Take gradient steps in TensorFlow: one flat variable, one graph call an epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any, Literal

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from ml.core.architectures import Pass, Weight, declare, forward, merge
from ml.core.batches import (
    StagedRows,
    Widening,
    join_blocks,
    plan_epoch,
    stage_blocks,
    stage_rows,
)
from ml.core.learner import Floats32, Problem
from ml.core.loop import TrainingState
from ml.core.objective import Examples, objective
from ml.core.ops import row_loss
from ml.core.optimizers import compiled_form
from ml.core.specs import NetworkSpec, OptimizerSpec
from ml.frameworks.tensorflow.data import lend_to_tensor, to_tensor
from ml.frameworks.tensorflow.graphs import Graph
from ml.frameworks.tensorflow.models import OPS
from ml.frameworks.tensorflow.serialization import export_weights, import_weights


class TensorFlowStepper:
    """Take steps over staged tensors; see ``ml.core.loop.Stepper``.

    An epoch is one call of a graph that loops over the batches and gathers each by its row
    indices. Graphs are kept by form and the padded shapes of the data, so that later replicates
    and cells of the same form and shapes do not trace again. Members of a cohort train one by
    one: a compiled epoch leaves nothing between its products that more models could share, and
    the graph updates variables in place, which cannot be mapped over several.
    """

    def __init__(
        self, spec: NetworkSpec, problem: Problem, weights: list[Floats32], seed: int
    ) -> None:
        self._spec = spec
        self._seed = seed
        self._widening = Widening.of(spec, problem)
        self._form, self._problem = compiled_form(spec), self._widening.problem
        declared = declare(spec, self._problem)
        self._trained = [weight.trained for weight in declared]
        self._shapes = [weight.shape for weight in declared if weight.trained]
        size = sum(math.prod(shape) for shape in self._shapes)
        self._flat, *self._slots = (tf.Variable(tf.zeros([size])) for _ in range(3))
        self._statistics = [tf.Variable(tf.zeros(w.shape)) for w in declared if not w.trained]
        self._updates = 0
        self.load_weights(weights)

    def stage(self, examples: Examples, validation: Floats32 | None = None) -> None:
        """Hand over the training rows once, and the features of the validation rows."""
        staged = stage_rows(examples, self._spec.batch_size, self._problem.inputs)
        self._staged = staged
        arrays = tuple(map(lend_to_tensor, staged.arrays))
        self._fixed = ((self._flat, *self._slots), self._statistics, arrays)
        compiled = pays_to_compile(self._spec, staged)
        planned = (
            tf.TensorSpec((staged.capacity, staged.batch), tf.int32),
            tf.TensorSpec((staged.capacity, 4), tf.float32),
            tf.TensorSpec((staged.capacity,), tf.int32),
            tf.TensorSpec((2,), tf.int32),
        )
        graph = _epoch_graph(self._form, self._problem, compiled=compiled)
        self._epoch = graph.call_for(*self._fixed, planned)
        if validation is not None:
            self._validation = (self._stage_blocks(validation), len(validation))

    def epoch(self, order: NDArray[np.int64]) -> float:
        """Make one update per batch of rows in this order; return the mean loss over rows."""
        plan = plan_epoch(self._staged, self._spec, order, self._updates, self._seed)
        self._updates += plan.updates
        counts = np.array([plan.rows, plan.updates], np.int32)
        planned = tuple(map(to_tensor, (plan.order, plan.rates, plan.keys, counts)))
        return float(self._epoch(*self._fixed, planned)) / plan.rows

    def predict(self, features: Floats32) -> Floats32:
        """Return the raw outputs [n, outputs]."""
        return self._predict_rows(self._stage_blocks(features), len(features))

    def validate(self) -> Floats32:
        """Return the raw outputs for the validation rows that were staged."""
        return self._predict_rows(*self._validation)

    def _predict_rows(self, blocks: list[Any], rows: int) -> Floats32:
        fixed = (self._flat, self._statistics)
        call = _predict_graph(self._form, self._problem).call_for(*fixed, blocks[0])
        return join_blocks((call(*fixed, block) for block in blocks), rows)

    def _stage_blocks(self, features: Floats32) -> list[Any]:
        return [*map(lend_to_tensor, stage_blocks(features, self._problem.inputs))]

    def weights(self) -> list[Floats32]:
        """Return copies of the weights."""
        statistics = [variable.numpy() for variable in self._statistics]
        trained = export_weights(self._flat, self._shapes)
        return self._widening.narrow_weights(merge(self._trained, trained, statistics))

    def load_weights(self, weights: list[Floats32]) -> None:
        """Put these weights in place."""
        wide = self._widening.widen_weights(weights)
        pairs = list(zip(wide, self._trained, strict=True))
        import_weights(self._flat, [w for w, trained in pairs if trained])
        kept = [w for w, trained in pairs if not trained]
        for variable, array in zip(self._statistics, kept, strict=True):
            variable.assign(array)

    def state(self) -> TrainingState:
        """Return copies of all that the next update depends on."""
        first, second = (
            self._widening.narrow_weights(export_weights(slot, self._shapes))
            for slot in self._slots
        )
        return TrainingState(self.weights(), first, second, self._updates)

    def load_state(self, state: TrainingState) -> None:
        """Go on from this state."""
        self.load_weights(state.weights)
        for slot, arrays in zip(self._slots, (state.first, state.second), strict=True):
            import_weights(slot, self._widening.widen_weights(arrays))
        self._updates = state.updates


# From how many updates on XLA's compilation pays, as benchmarks/compilation.py prints it. A
# recurrent network is as many operations as its window is long: slow to compile, with little won.
UPDATES_TO_COMPILE = {"cnn": 1_000, "transformer": 2_000, "rnn": 50_000}
UPDATES_TO_COMPILE_OTHERS = 4_000


_compilation: Literal["auto", "always", "never"] = "auto"


def use_compilation(name: Literal["auto", "always", "never"]) -> None:
    """Compile epochs with XLA from now on: where it pays by an estimate, always, or never."""
    global _compilation
    _compilation = name


def pays_to_compile(spec: NetworkSpec, staged: StagedRows) -> bool:
    """Tell whether XLA saves more time than it takes, by an estimate from the request alone.

    It must not depend on what was compiled before: XLA rounds otherwise than the graph does,
    and a result must not depend on what its worker did earlier.
    """
    if _compilation != "auto":
        return _compilation == "always"
    return spec.epochs * math.ceil(staged.rows / staged.batch) >= updates_to_compile(spec)


def updates_to_compile(spec: NetworkSpec) -> int:
    """Return from how many updates on XLA is taken to pay."""
    return UPDATES_TO_COMPILE.get(spec.architecture, UPDATES_TO_COMPILE_OTHERS)


def _views(flat: Any, declared: Sequence[Weight]) -> list[Any]:
    """Return the trained weights out of the flat one."""
    shapes = [weight.shape for weight in declared if weight.trained]
    parts = tf.split(flat, [math.prod(shape) for shape in shapes])
    return [tf.reshape(part, shape) for part, shape in zip(parts, shapes, strict=True)]


@lru_cache(maxsize=128)
def _epoch_graph(spec: NetworkSpec, problem: Problem, *, compiled: bool) -> Graph:
    """Return a graph that trains one epoch; it takes the variables, so that cells share it."""
    declared = declare(spec, problem)
    trained = [weight.trained for weight in declared]

    def epoch(variables: Any, statistics: Any, arrays: Any, plan: Any) -> Any:
        flat, first, second = variables
        order, rates, keys, counts = plan
        batch, rows, updates = order.shape[1], counts[0], counts[1]

        def update(step: Any, total: Any) -> tuple[Any, Any]:
            picked = order[step]
            present = tf.cast(step * batch + tf.range(batch) < rows, tf.float32)
            count = tf.reduce_sum(present)
            features, targets, *row_weights = (tf.gather(array, picked) for array in arrays)
            shares = present / count * row_weights[0] if row_weights else present / count
            weights = tf.identity(flat)
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(weights)
                run = Pass(
                    OPS,
                    spec,
                    merge(trained, _views(weights, declared), statistics),
                    training=True,
                    present=present,
                    key=keys[step],
                )
                outputs = forward(run, problem, features)
                losses = objective(problem, partial(row_loss, OPS), outputs, targets)
                mean = tf.reduce_sum(losses * shares)
            gradient = tape.gradient(mean, weights)
            _apply(spec.optimizer, (flat, first, second), weights, gradient, rates[step])
            for variable, value in zip(statistics, run.statistics, strict=True):
                variable.assign(value)
            return step + 1, total + mean * count

        _, total = tf.while_loop(
            lambda step, _: step < updates, update, (0, 0.0), parallel_iterations=1
        )
        return total

    return Graph(epoch, compiled=compiled)


def _apply(
    optimizer: OptimizerSpec, variables: Any, weights: Any, gradient: Any, rates: Any
) -> None:
    """Update the flat weights and moments; the rates hold Adam's bias corrections."""
    flat, first, second = variables
    if optimizer.name == "adamw":
        flat.assign(weights * rates[3])
    elif optimizer.weight_decay:
        gradient = gradient + optimizer.weight_decay * weights
    if optimizer.name == "sgd":
        tf.raw_ops.ResourceApplyMomentum(
            var=flat.handle,
            accum=first.handle,
            lr=rates[0],
            grad=gradient,
            momentum=optimizer.momentum,
        )
        return
    # The rates hold the bias corrections, so the powers must add none: zero.
    tf.raw_ops.ResourceApplyAdam(
        var=flat.handle,
        m=first.handle,
        v=second.handle,
        beta1_power=0.0,
        beta2_power=0.0,
        lr=rates[1],
        beta1=optimizer.beta1,
        beta2=optimizer.beta2,
        epsilon=rates[2],
        grad=gradient,
    )


@lru_cache(maxsize=128)
def _predict_graph(spec: NetworkSpec, problem: Problem) -> Graph:
    """Return a graph that computes the raw outputs from the variables and features."""
    declared = declare(spec, problem)
    trained = [weight.trained for weight in declared]

    def predict(flat: Any, statistics: Any, features: Any) -> Any:
        weights = merge(trained, _views(flat, declared), statistics)
        return forward(Pass(OPS, spec, weights), problem, features)

    return Graph(predict)
