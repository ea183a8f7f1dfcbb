"""Describe networks in numpy: weight shapes, initial weights, and the learner around a stepper."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.artifacts.arrays import dump_arrays, load_arrays
from ml.core.contracts import EstimatorSpec, NetworkSpec
from ml.core.errors import DataInvalid, RequestInvalid
from ml.core.learner import (
    Distillation,
    Draws,
    FitReport,
    Floats32,
    Floats64,
    Part,
    Problem,
)
from ml.core.loop import Stepper, run_epochs

# What a teacher is sure of has this probability, or this one less than 1, in its logits.
SMALLEST_PROBABILITY = 1e-7

MakeStepper = Callable[[NetworkSpec, Problem, list[Floats32]], Stepper]


def weight_shapes(spec: NetworkSpec, problem: Problem) -> list[tuple[int, ...]]:
    """Return each layer's kernel [in, out] and bias [out], from input to output."""
    hidden = spec.hidden if spec.architecture == "mlp" else ()
    widths = (problem.inputs, *hidden, problem.outputs)
    return [
        shape
        for width_in, width_out in pairwise(widths)
        for shape in ((width_in, width_out), (width_out,))
    ]


def initial_weights(
    spec: NetworkSpec, problem: Problem, draw: np.random.Generator
) -> list[Floats32]:
    """Draw the weights that every framework starts from; biases are zero.

    Kernels are uniform with He's bound sqrt(6 / in) before a relu (He et al. 2015) and
    Glorot's sqrt(6 / (in + out)) elsewhere (Glorot and Bengio 2010).
    """
    shapes = weight_shapes(spec, problem)
    weights = []
    for position, shape in enumerate(shapes):
        if len(shape) == 1:
            weights.append(np.zeros(shape, np.float32))
            continue
        feeds_relu = spec.activation == "relu" and position < len(shapes) - 2
        bound = math.sqrt(6 / shape[0]) if feeds_relu else math.sqrt(6 / sum(shape))
        weights.append(draw.uniform(-bound, bound, shape).astype(np.float32))
    return weights


def encode_targets(problem: Problem, target: NDArray[np.int64] | Floats32) -> Floats32:
    """Return the targets as a network learns them: float32 [n, outputs], one-hot for softmax."""
    if problem.loss == "softmax":
        encoded = np.zeros((target.shape[0], problem.classes), np.float32)
        encoded[np.arange(target.shape[0]), target.astype(np.int64)] = 1
        return encoded
    return target.astype(np.float32).reshape(-1, 1)


def soften(probabilities: Floats64, temperature: float) -> Floats64:
    """Return a teacher's probabilities [n, classes] at a temperature: flatter above 1.

    The teacher's logits are the logarithms of its clipped probabilities, which any model has;
    softmax forgets the constant by which they differ from a network's own.
    """
    logits = np.log(np.clip(probabilities, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY))
    exponentials = np.exp((logits - logits.max(axis=1, keepdims=True)) / temperature)
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def encode_student_targets(
    problem: Problem, rule: Distillation, target: NDArray[np.int64] | Floats32, soft: NDArray[Any]
) -> Floats32:
    """Return the targets as a student learns them, float32; ``soft`` as in ``Part``.

    For classes the soft targets stand beside the hard ones, [n, 2 · outputs]. For a regression
    both are mixed into one, [n, 1], since the mean of two squared errors with one output is
    the squared error of the mean, but for a constant.
    """
    hard = encode_targets(problem, target)
    if problem.loss == "squared":
        outputs = soft.astype(np.float64).reshape(-1, 1)
        mixed = rule.soft_share * outputs + (1 - rule.soft_share) * hard.astype(np.float64)
        return mixed.astype(np.float32)
    softened = soften(soft.astype(np.float64), rule.temperature)
    return np.hstack([hard, softened[:, -problem.outputs :].astype(np.float32)])


class NetworkLearner:
    """Train and predict with a network through one framework's stepper."""

    def __init__(self, spec: NetworkSpec, problem: Problem, make_stepper: MakeStepper) -> None:
        self._spec = spec
        rule = problem.distillation
        # A teacher without weight must change no bit, also of what a compiler fuses.
        ignored = rule is not None and rule.soft_share == 0
        self._problem = replace(problem, distillation=None) if ignored else problem
        self._make_stepper = make_stepper
        self._stepper: Stepper | None = None

    def fit(self, train: Part, validation: Part | None, draws: Draws, seconds: float) -> FitReport:
        """Draw the initial weights and run the epochs."""
        weights = initial_weights(self._spec, self._problem, draws.weights)
        self._stepper = self._make_stepper(self._spec, self._problem, weights)
        return run_epochs(
            self._stepper,
            self._encoded(train),
            self._encoded(validation) if validation else None,
            self._spec,
            self._problem,
            draws.order,
            seconds,
        )

    def predict(self, features: Floats32) -> Floats64:
        """Return probabilities [n, classes], or scaled values [n] for a regression."""
        raw = self._fitted().predict(features).astype(np.float64)
        if self._problem.loss == "squared":
            return raw[:, 0]
        if self._problem.loss == "binary":
            positive = 0.5 * (1 + np.tanh(0.5 * raw[:, 0]))
            return np.stack([1 - positive, positive], axis=1)
        raw -= raw.max(axis=1, keepdims=True)
        exponentials = np.exp(raw)
        return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))

    def parameters(self) -> int:
        """Return the number of weights."""
        shapes = weight_shapes(self._spec, self._problem)
        return sum(math.prod(shape) for shape in shapes)

    def serialize(self) -> bytes:
        """Return the weights as safetensors, named in order."""
        weights = self._fitted().weights()
        return dump_arrays({f"weight_{i:03d}": array for i, array in enumerate(weights)})

    def restore(self, content: bytes) -> None:
        """Take the weights out of safetensors; raises DataInvalid where their shapes differ."""
        weights = list(load_arrays(content).values())
        expected = weight_shapes(self._spec, self._problem)
        if [array.shape for array in weights] != expected:
            raise DataInvalid(
                "the artifact's weights are those of another network",
                code="artifact_mismatch",
                field="model",
                expected=str(expected),
                received=str([array.shape for array in weights]),
                remedy="load it with the spec that it was trained with; the manifest has it",
            )
        self._stepper = self._make_stepper(self._spec, self._problem, weights)

    def _encoded(self, part: Part) -> tuple[Floats32, Floats32]:
        rule = self._problem.distillation
        if rule is None:
            return part.features, encode_targets(self._problem, part.target)
        assert part.soft is not None
        return part.features, encode_student_targets(self._problem, rule, part.target, part.soft)

    def _fitted(self) -> Stepper:
        if self._stepper is None:
            raise RequestInvalid("the model is used before it is fitted", code="not_fitted")
        return self._stepper


def network_factory(
    make_stepper: MakeStepper,
) -> Callable[[NetworkSpec | EstimatorSpec, Problem], NetworkLearner]:
    """Return the ``make_learner`` of a neural framework, given how it makes a stepper."""

    def make_learner(spec: NetworkSpec | EstimatorSpec, problem: Problem) -> NetworkLearner:
        assert isinstance(spec, NetworkSpec)
        return NetworkLearner(spec, problem, make_stepper)

    return make_learner
