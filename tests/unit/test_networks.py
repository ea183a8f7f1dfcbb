import math

import numpy as np
import pytest

from ml.artifacts.arrays import load_arrays
from ml.core.contracts import NetworkSpec
from ml.core.errors import RequestInvalid
from ml.core.learner import Draws, Part, Problem
from ml.core.networks import (
    NetworkLearner,
    encode_targets,
    initial_weights,
    network_factory,
    weight_shapes,
)
from ml.core.seeding import stream

pytestmark = pytest.mark.unit

BINARY, THREE, VALUE = Problem(5, 2), Problem(5, 3), Problem(5, 0)
LINEAR = NetworkSpec(architecture="linear", epochs=1)
MLP = NetworkSpec(architecture="mlp", hidden=(7, 4), epochs=1)


class StillStepper:
    """Compute a network of one layer in numpy whose weights no epoch changes."""

    def __init__(self, spec, problem, weights, seed):
        self.spec, self.problem = spec, problem
        self.load_weights(weights)

    def stage(self, examples, validation=None):
        self.staged = examples

    def epoch(self, order):
        return 1.0

    def predict(self, features):
        return features @ self.held[0] + self.held[1]

    def weights(self):
        return [array.copy() for array in self.held]

    def load_weights(self, weights):
        self.held = [array.copy() for array in weights]


def draws(seed=0):
    return Draws.of(seed, 0)


def fitted(problem, target, spec=LINEAR):
    learner = NetworkLearner(spec, problem, StillStepper)
    features = np.zeros((len(target), problem.inputs), np.float32)
    learner.fit(Part(features, target), None, draws(), 60.0)
    return learner


def test_a_problem_names_its_loss_and_width():
    assert [(p.loss, p.outputs) for p in (BINARY, THREE, VALUE)] == [
        ("binary", 1),
        ("softmax", 3),
        ("squared", 1),
    ]


@pytest.mark.parametrize(
    ("spec", "problem", "shapes"),
    [
        (LINEAR, BINARY, [(5, 1), (1,)]),
        (LINEAR, THREE, [(5, 3), (3,)]),
        (LINEAR, VALUE, [(5, 1), (1,)]),
        (MLP, BINARY, [(5, 7), (7,), (7, 4), (4,), (4, 1), (1,)]),
        (MLP, THREE, [(5, 7), (7,), (7, 4), (4,), (4, 3), (3,)]),
        (MLP.model_copy(update={"hidden": ()}), THREE, [(5, 3), (3,)]),
    ],
)
def test_shapes_run_from_input_to_output(spec, problem, shapes):
    assert weight_shapes(spec, problem) == shapes
    weights = initial_weights(spec, problem, stream(0, "weights"))
    assert [array.shape for array in weights] == shapes
    assert {array.dtype for array in weights} == {np.dtype(np.float32)}
    learner = NetworkLearner(spec, problem, StillStepper)
    assert learner.parameters() == sum(array.size for array in weights)


def test_a_linear_model_has_no_hidden_layer_whatever_hidden_says():
    assert weight_shapes(LINEAR.model_copy(update={"hidden": (9, 9)}), VALUE) == [(5, 1), (1,)]


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_kernels_fill_their_bounds_and_biases_are_zero(activation):
    spec = NetworkSpec(architecture="mlp", hidden=(300, 200), activation=activation)
    first, b1, second, b2, last, b3 = initial_weights(spec, Problem(100, 50), stream(1, "w"))
    for bias in (b1, b2, b3):
        assert not bias.any()
    he = activation == "relu"
    for kernel, bound in (
        (first, math.sqrt(6 / 100) if he else math.sqrt(6 / 400)),
        (second, math.sqrt(6 / 300) if he else math.sqrt(6 / 500)),
        (last, math.sqrt(6 / 250)),
    ):
        assert np.abs(kernel).max() <= np.float32(bound)
        assert np.abs(kernel).max() > 0.99 * bound
        assert abs(kernel.mean()) < 0.03 * bound
        assert kernel.std() == pytest.approx(bound / math.sqrt(3), rel=0.03)


def test_a_linear_model_starts_from_glorots_bound():
    kernel = initial_weights(LINEAR, Problem(1000, 0), stream(1, "w"))[0]
    bound = math.sqrt(6 / 1001)
    assert 0.98 * bound < np.abs(kernel).max() <= np.float32(bound)


def test_equal_streams_draw_equal_weights_and_others_do_not():
    def draw(seed):
        return [array.tolist() for array in initial_weights(MLP, THREE, stream(seed, "weights"))]

    assert draw(3) == draw(3)
    assert draw(3) != draw(4)


def test_targets_are_encoded_by_the_loss():
    labels = np.array([2, 0, 1, 2])
    assert encode_targets(THREE, labels).tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert encode_targets(BINARY, labels[1:3]).tolist() == [[0], [1]]
    values = np.array([0.5, -2], np.float32)
    assert encode_targets(VALUE, values).tolist() == [[0.5], [-2]]
    for problem, target in ((THREE, labels), (BINARY, labels[1:3]), (VALUE, values)):
        assert encode_targets(problem, target).dtype == np.float32
        assert encode_targets(problem, target[:0]).shape == (0, problem.outputs)


def predict_raw(problem, raw, target):
    """Predict with weights that hand the features on as raw outputs."""
    learner = fitted(problem, target)
    wide = np.zeros((len(raw), problem.inputs), np.float32)
    wide[:, : problem.outputs] = raw
    identity = np.eye(problem.inputs, problem.outputs, dtype=np.float32)
    learner._stepper.load_weights([identity, np.zeros(problem.outputs, np.float32)])
    return learner.predict(wide)


def test_one_logit_becomes_two_probabilities():
    logits = [-1e4, -3.0, 0.0, 1.0, 1e4]
    shares = predict_raw(BINARY, np.array(logits, np.float32)[:, None], np.array([0, 1]))
    expected = [0.0, *(1 / (1 + math.exp(-z)) for z in logits[1:4]), 1.0]
    assert shares.dtype == np.float64
    assert shares[:, 1].tolist() == pytest.approx(expected, rel=1e-12)
    assert shares.sum(axis=1).tolist() == [1.0] * 5


def test_logits_become_shares_of_their_exponentials():
    raw = np.array([[0, math.log(2), math.log(5)], [1e4, -1e4, 0], [7, 7, 7]], np.float32)
    shares = predict_raw(THREE, raw, np.array([0, 1, 2]))
    assert shares.dtype == np.float64
    assert shares[0].tolist() == pytest.approx([1 / 8, 2 / 8, 5 / 8], rel=1e-6)
    assert shares[1].tolist() == [1, 0, 0]
    assert shares[2].tolist() == pytest.approx([1 / 3] * 3, rel=1e-15)


def test_values_stay_as_they_are():
    raw = np.array([[1.5], [-2e20]], np.float32)
    values = predict_raw(VALUE, raw, np.zeros(2, np.float32))
    assert (values.dtype, values.shape) == (np.dtype(np.float64), (2,))
    assert values.tolist() == raw[:, 0].tolist()


def test_a_fit_hands_on_the_drawn_weights_and_the_encoded_targets():
    learner = network_factory(StillStepper)(LINEAR, THREE)
    target = np.array([0, 2])
    learner.fit(Part(np.ones((2, 5), np.float32), target), None, draws(8), 60.0)
    drawn = initial_weights(LINEAR, THREE, stream(8, "weights", 0))
    stored = load_arrays(learner.serialize())
    assert list(stored) == ["weight_000", "weight_001"]
    for array, expected in zip(stored.values(), drawn, strict=True):
        assert array.tolist() == expected.tolist()
    assert learner._stepper.staged.targets.tolist() == [[1, 0, 0], [0, 0, 1]]


@pytest.mark.parametrize("use", ["predict", "serialize"])
def test_a_model_that_is_not_fitted_says_so(use):
    learner = NetworkLearner(MLP, BINARY, StillStepper)
    arguments = [np.zeros((1, 5), np.float32)] if use == "predict" else []
    with pytest.raises(RequestInvalid) as caught:
        getattr(learner, use)(*arguments)
    assert caught.value.code == "not_fitted"
