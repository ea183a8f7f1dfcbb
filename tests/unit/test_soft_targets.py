"""Compute soft targets and the loss of a student by hand, and compare."""

import math

import numpy as np
import pytest

from ml.core.distill import measure_agreement, measure_latency
from ml.core.learner import Distillation, Part, Problem
from ml.core.networks import (
    SMALLEST_PROBABILITY,
    NetworkLearner,
    encode_student_targets,
    encode_targets,
    soften,
)
from ml.core.objective import mean_loss, objective

pytestmark = pytest.mark.unit

PROBLEMS = {"binary": 2, "softmax": 3, "squared": 0}


def student(classes, temperature=2.0, soft_share=0.7):
    return Problem(4, classes, Distillation(temperature, soft_share))


def test_temperature_1_gives_the_teacher_back_and_a_higher_one_flattens():
    shares = np.array([[0.7, 0.2, 0.1], [0.01, 0.01, 0.98]])
    assert soften(shares, 1.0) == pytest.approx(shares, rel=1e-12)
    flat = soften(shares, 2.0)
    # Probabilities at temperature 2 are square roots, made to sum to one.
    assert flat == pytest.approx(np.sqrt(shares) / np.sqrt(shares).sum(axis=1, keepdims=True))
    assert (flat.argmax(axis=1) == shares.argmax(axis=1)).all()


@pytest.mark.parametrize("temperature", [0.1, 1.0, 100.0])
def test_a_teacher_that_is_sure_gives_finite_targets(temperature):
    shares = soften(np.array([[1.0, 0.0], [0.0, 1.0]]), temperature)
    assert np.isfinite(shares).all()
    assert shares.sum(axis=1) == pytest.approx(1.0)
    odds = (SMALLEST_PROBABILITY / (1 - SMALLEST_PROBABILITY)) ** (1 / temperature)
    assert shares[0, 1] == pytest.approx(odds / (1 + odds), rel=1e-9)


def test_soft_targets_stand_beside_the_hard_ones():
    three = student(3, temperature=1.0)
    shares = np.array([[0.5, 0.25, 0.25], [0.1, 0.2, 0.7]])
    found = encode_student_targets(three, three.distillation, np.array([0, 2]), shares)
    assert found.dtype == np.float32
    assert found[:, :3].tolist() == [[1, 0, 0], [0, 0, 1]]
    assert found[:, 3:] == pytest.approx(shares, rel=1e-6)
    two = student(2, temperature=1.0)
    found = encode_student_targets(two, two.distillation, np.array([1, 0]), shares[:, 1:])
    assert found == pytest.approx(np.array([[1, 0.5], [0, 0.7 / 0.9]]), rel=1e-6)


def test_a_regression_learns_the_mix_of_teacher_and_target():
    problem = student(0, soft_share=0.25)
    target, outputs = np.array([1.0, -2.0], np.float32), np.array([3.0, 2.0])
    found = encode_student_targets(problem, problem.distillation, target, outputs)
    assert found.tolist() == [[0.25 * 3 + 0.75], [0.25 * 2 - 0.75 * 2]]


@pytest.mark.parametrize(("temperature", "share"), [(1.0, 0.5), (2.0, 0.7), (5.0, 1.0)])
def test_the_loss_of_classes_is_the_formula(temperature, share):
    raw = np.array([[0.5, -1.0, 2.0], [0.0, 3.0, 1.0]], np.float32)
    teacher = np.array([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]])
    problem = student(3, temperature, share)
    targets = encode_student_targets(problem, problem.distillation, np.array([2, 1]), teacher)

    def logs(row, scale):
        total = sum(math.exp(value / scale) for value in row)
        return [value / scale - math.log(total) for value in row]

    expected = 0.0
    for row, wanted, shares in zip(raw.tolist(), (2, 1), teacher.tolist(), strict=True):
        powers = [p ** (1 / temperature) for p in shares]
        soft = [power / sum(powers) for power in powers]
        crossed = -sum(p * log for p, log in zip(soft, logs(row, temperature), strict=True))
        expected += share * temperature**2 * crossed - (1 - share) * logs(row, 1.0)[wanted]
    assert objective(problem, mean_loss, raw, targets) == pytest.approx(expected / 2, rel=1e-6)


def test_two_classes_lose_the_same_by_one_logit_as_by_two():
    logits = np.array([[0.3], [-2.0], [5.0]], np.float32)
    shares = np.array([[0.1, 0.9], [0.8, 0.2], [0.5, 0.5]])
    target = np.array([1, 0, 0])
    two = student(2, 3.0, 0.4)
    one_logit = objective(
        two, mean_loss, logits, encode_student_targets(two, two.distillation, target, shares)
    )
    hard = np.eye(2, dtype=np.float32)[target]
    pair = np.hstack([np.zeros_like(logits), logits])
    soft = soften(shares, 3.0).astype(np.float32)
    by_hand = 0.4 * 9 * mean_loss("softmax", pair / 3, soft)
    by_hand += 0.6 * mean_loss("softmax", pair, hard)
    assert one_logit == pytest.approx(by_hand, rel=1e-6)


@pytest.mark.parametrize("name", PROBLEMS)
def test_without_a_teacher_the_objective_is_the_loss(name):
    problem = Problem(4, PROBLEMS[name])
    rng = np.random.default_rng(0)
    raw = rng.normal(size=(6, problem.outputs)).astype(np.float32)
    target = rng.integers(0, problem.classes, 6) if problem.classes else raw[:, 0] + 1
    targets = encode_targets(problem, target)
    assert objective(problem, mean_loss, raw, targets) == mean_loss(name, raw, targets)
    # A student that gives its teacher no weight has the same loss, too.
    pupil = student(problem.classes, soft_share=0.0)
    soft = rng.dirichlet(np.ones(problem.classes), 6) if problem.classes else raw[:, 0] - 1.0
    mixed = encode_student_targets(pupil, pupil.distillation, target, soft)
    assert objective(pupil, mean_loss, raw, mixed) == mean_loss(name, raw, targets)


def test_a_learner_hands_the_mixed_targets_to_its_stepper():
    learner = NetworkLearner(None, student(0, soft_share=0.5), None)
    part = Part(np.zeros((2, 4), np.float32), np.array([0, 2], np.float32), np.array([2.0, 4.0]))
    assert learner._encoded(part).targets.tolist() == [[1], [3]]


def test_agreement_is_the_share_of_equal_classes_or_r2():
    teacher = np.array([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7], [0.8, 0.2]])
    pupil = np.array([[0.6, 0.4], [0.45, 0.55], [0.9, 0.1], [0.51, 0.49]])
    assert measure_agreement(pupil, teacher) == 0.75
    values = np.array([1.0, 2.0, 3.0])
    assert measure_agreement(values, values) == 1.0
    assert measure_agreement(values + np.array([0.0, 0.0, 1.0]), values) == 0.5
    assert measure_agreement(values, np.ones(3)) is None


def test_latency_is_a_positive_number_of_several_calls():
    calls = []
    assert measure_latency(lambda: calls.append(1), rows=10) > 0
    assert len(calls) == 5
