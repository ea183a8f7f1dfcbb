"""Train networks: initial weights, targets, and the learner around a framework's stepper."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.artifacts.arrays import dump_arrays, load_arrays
from ml.core.architectures import declare
from ml.core.contracts import EstimatorSpec, ImportedSpec, NetworkSpec
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
from ml.core.loop import Keeper, Stepper, run_epochs
from ml.core.objective import Examples

# What a teacher is sure of has this probability, or this one less than 1, in its logits.
SMALLEST_PROBABILITY = 1e-7

# How many rows the forward pass of a trace has, and the updates after which it looks.
TRACED_ROWS = 64
TRACED_UPDATES = (1, 10, 100)

MakeStepper = Callable[[NetworkSpec, Problem, list[Floats32], int], Stepper]


def weight_shapes(spec: NetworkSpec, problem: Problem) -> list[tuple[int, ...]]:
    """Return the shapes of a network's weights, in order; a dense layer's are [in, out], [out]."""
    return [weight.shape for weight in declare(spec, problem)]


def initial_weights(
    spec: NetworkSpec, problem: Problem, draw: np.random.Generator
) -> list[Floats32]:
    """Draw the weights that every framework starts from.

    Kernels are uniform with He's bound sqrt(6 / in) before a relu (He et al. 2015), Glorot's
    sqrt(6 / (in + out)) elsewhere (Glorot and Bengio 2010), and a transformer's tokens with
    1 / sqrt(width) (Gorishniy et al. 2021).
    """
    weights = []
    for weight in declare(spec, problem):
        shape = weight.shape
        if weight.start in ("zeros", "ones"):
            weights.append(np.full(shape, float(weight.start == "ones"), np.float32))
            continue
        bounds = {
            "he": math.sqrt(6 / shape[0]),
            "glorot": math.sqrt(6 / sum(shape)),
            "token": 1 / math.sqrt(shape[-1]),
        }
        bound = bounds[weight.start]
        weights.append(draw.uniform(-bound, bound, shape).astype(np.float32))
    return weights


def balance_classes(target: NDArray[np.int64], classes: int) -> Floats32:
    """Return each class's weight [classes]: its inverse frequency, so that rows have 1 on average.

    A class without rows has weight 1.
    """
    counts = np.bincount(target, minlength=classes)
    present = int(np.count_nonzero(counts))
    balanced = len(target) / (present * np.maximum(counts, 1))
    return np.where(counts > 0, balanced, 1.0).astype(np.float32)


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


@dataclass(frozen=True)
class Start:
    """Hold where a training starts; ``seed`` is that of the values which are dropped."""

    spec: NetworkSpec
    problem: Problem
    weights: list[Floats32]
    seed: int
    train: Examples
    validation: Examples | None


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

    def fit(
        self,
        train: Part,
        validation: Part | None,
        draws: Draws,
        seconds: float,
        keeper: Keeper | None = None,
    ) -> FitReport:
        """Draw the initial weights and run the epochs, or those that the keeper has not kept."""
        start = self.start(train, validation, draws)
        self._stepper = self.make_stepper(start)
        return run_epochs(
            self._stepper,
            start.train,
            start.validation,
            start.spec,
            start.problem,
            draws.order,
            seconds,
            keeper,
        )

    def start(self, train: Part, validation: Part | None, draws: Draws) -> Start:
        """Draw the initial weights, and encode the targets."""
        weights = initial_weights(self._spec, self._problem, draws.weights)
        seed = int(draws.estimator.integers(2**63))
        shares = None
        if self._spec.class_weight == "balanced" and train.rows:
            shares = balance_classes(train.target.astype(np.int64), self._problem.classes)
        held = self._encoded(validation, shares) if validation else None
        examples = self._encoded(train, shares)
        return Start(self._spec, self._problem, weights, seed, examples, held)

    def make_stepper(self, start: Start) -> Stepper:
        """Return the framework's stepper for a training that starts so."""
        return self._make_stepper(start.spec, start.problem, start.weights, start.seed)

    def take_weights(self, weights: list[Floats32]) -> None:
        """Become the model of these weights."""
        self._stepper = self._make_stepper(self._spec, self._problem, weights, 0)

    def trace(self, train: Part, draws: Draws) -> dict[str, NDArray[Any]]:
        """Return what the first updates compute; see ``ml.core.learner.Learner``."""
        start = self.start(train, None, draws)
        stepper = self.make_stepper(start)
        stepper.stage(start.train)
        rungs: dict[str, NDArray[Any]] = {"forward": stepper.predict(train.features[:TRACED_ROWS])}
        batch, done, rows = self._spec.batch_size, 0, []
        while done < TRACED_UPDATES[-1]:
            order = draws.order.permutation(train.rows)
            while len(order) and done < TRACED_UPDATES[-1]:
                # As many batches as the epoch has left, but no further than the next look.
                until = next(count for count in TRACED_UPDATES if count > done)
                now, order = order[: (until - done) * batch], order[(until - done) * batch :]
                loss = stepper.epoch(now)
                rows.append(now)
                done += -(-len(now) // batch)
                if done == 1:
                    rungs["loss_1"] = np.array([loss], np.float32)
                    share = (
                        1.0
                        if self._spec.optimizer.name == "sgd"
                        else 1 - self._spec.optimizer.beta1
                    )
                    rungs["gradient_1"] = _flat(stepper.state().first) / np.float32(share)
                if done in TRACED_UPDATES:
                    rungs[f"weights_{done}"] = _flat(stepper.weights())
        return {**rungs, "rows": np.concatenate(rows)}

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
        """Return the number of trained weights."""
        weights = declare(self._spec, self._problem)
        return sum(math.prod(weight.shape) for weight in weights if weight.trained)

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
        self.take_weights(weights)

    def _encoded(self, part: Part, shares: Floats32 | None = None) -> Examples:
        rule = self._problem.distillation
        weights = None if shares is None else shares[part.target.astype(np.int64)]
        if rule is None:
            targets = encode_targets(self._problem, part.target)
        else:
            assert part.soft is not None
            targets = encode_student_targets(self._problem, rule, part.target, part.soft)
        return Examples(part.features, targets, weights)

    def _fitted(self) -> Stepper:
        if self._stepper is None:
            raise RequestInvalid("the model is used before it is fitted", code="not_fitted")
        return self._stepper


def _flat(arrays: list[Floats32]) -> Floats32:
    return np.concatenate([array.ravel() for array in arrays])


def network_factory(
    make_stepper: MakeStepper,
) -> Callable[[NetworkSpec | EstimatorSpec | ImportedSpec, Problem], NetworkLearner]:
    """Return the ``make_learner`` of a neural framework, given how it makes a stepper."""

    def make_learner(
        spec: NetworkSpec | EstimatorSpec | ImportedSpec, problem: Problem
    ) -> NetworkLearner:
        assert isinstance(spec, NetworkSpec)
        if spec.class_weight != "none" and problem.classes == 0:
            raise RequestInvalid(
                "class weights belong to a classification, and this is a regression",
                code="class_weight",
                field="model.class_weight",
                expected="'none'",
                received=repr(spec.class_weight),
                remedy="leave class_weight out",
            )
        return NetworkLearner(spec, problem, make_stepper)

    return make_learner
