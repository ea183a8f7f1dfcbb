import importlib

import numpy as np
import pytest
from entry_points import entry_point_or_skip

from harness.catalog.algorithms import ALGORITHMS
from ml.core.contracts import NetworkSpec, OptimizerSpec, RuntimeSpec
from ml.core.learner import Part
from ml.core.networks import encode_targets, initial_weights
from ml.registry import ENTRY_POINTS

pytest.register_assert_rewrite("learner_checks")

from learner_checks import (  # noqa: E402 - rewriting comes first
    BINARY,
    THREE,
    VALUE,
    checks_for,
    fit,
    make_draws,
    make_part,
    weights_of,
)

pytestmark = pytest.mark.contract

ACCEPTS = {algorithm.framework: type(algorithm.model) for algorithm in ALGORITHMS}
NEURAL = [framework for framework, accepts in ACCEPTS.items() if accepts is NetworkSpec]
PROBLEMS = {"binary": BINARY, "softmax": THREE, "squared": VALUE}
OPTIMIZERS = {
    "adam": OptimizerSpec(learning_rate=1e-2),
    "sgd": OptimizerSpec(name="sgd", learning_rate=5e-2, momentum=0.9),
}


def adapter_of(framework):
    entry_point_or_skip(framework)
    adapter = importlib.import_module(f"ml.frameworks.{framework}.handlers").ADAPTER
    adapter.prepare(RuntimeSpec())
    return adapter


@pytest.mark.parametrize("framework", ENTRY_POINTS)
def test_an_adapter_declares_what_the_catalog_asks_of_it(framework):
    adapter = adapter_of(framework)
    assert adapter.name == framework
    assert adapter.accepts is ACCEPTS[framework]
    assert adapter.uses_validation == (adapter.accepts is NetworkSpec)
    assert adapter.suffix.startswith(".")
    versions = adapter.versions()
    assert versions
    assert all(text[0].isdigit() for text in versions.values())
    adapter.prepare(RuntimeSpec())


@pytest.mark.parametrize(
    ("algorithm", "check"),
    [
        pytest.param(
            algorithm,
            check,
            id=f"{algorithm.framework}-{algorithm.id}-{check.__name__}",
        )
        for algorithm in ALGORITHMS
        if not algorithm.teachers
        for check in checks_for(type(algorithm.model))
    ],
)
def test_learner(algorithm, check):
    check(adapter_of(algorithm.framework), algorithm.model)


def train_by_hand(spec, problem, train, steps):
    """Train a linear model in float64 for some updates; return kernel, bias and the mean loss."""
    kernel, bias = (
        array.astype(np.float64) for array in initial_weights(spec, problem, make_draws().weights)
    )
    targets = encode_targets(problem, train.target).astype(np.float64)
    order = make_draws().order.permutation(train.rows)
    moments = [[np.zeros_like(array), np.zeros_like(array)] for array in (kernel, bias)]
    total, rule = 0.0, spec.optimizer
    for step in range(steps):
        batch = order[step * spec.batch_size : (step + 1) * spec.batch_size]
        rows, wanted = train.features[batch].astype(np.float64), targets[batch]
        raw = rows @ kernel + bias
        if problem.loss == "squared":
            given, loss = raw, 0.5 * (raw - wanted) ** 2
        elif problem.loss == "binary":
            given = 1 / (1 + np.exp(-raw))
            loss = -np.log(np.where(wanted == 1, given, 1 - given))
        else:
            given = np.exp(raw) / np.exp(raw).sum(axis=1, keepdims=True)
            loss = -np.log((given * wanted).sum(axis=1))
        total += loss.sum()
        error = (given - wanted) / len(batch)
        for array, gradient, (first, second) in zip(
            (kernel, bias), (rows.T @ error, error.sum(axis=0)), moments, strict=True
        ):
            if rule.name == "sgd":
                first[:] = rule.momentum * first + gradient
                array -= rule.learning_rate * first
                continue
            first[:] = rule.beta1 * first + (1 - rule.beta1) * gradient
            second[:] = rule.beta2 * second + (1 - rule.beta2) * gradient**2
            mean = first / (1 - rule.beta1 ** (step + 1))
            square = second / (1 - rule.beta2 ** (step + 1))
            array -= rule.learning_rate * mean / (np.sqrt(square) + rule.epsilon)
    return kernel, bias, total / train.rows


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("loss", PROBLEMS)
@pytest.mark.parametrize("optimizer", ["adam", "sgd", "adam_other"])
@pytest.mark.parametrize("framework", NEURAL)
def test_updates_equal_those_computed_by_hand(framework, optimizer, loss, steps):
    problem = PROBLEMS[loss]
    other = OptimizerSpec(learning_rate=0.05, beta1=0.5, beta2=0.9, epsilon=0.01)
    rows = {1: 9, 3: 20}[steps]  # Three batches of 9, 9 and 2 rows.
    spec = NetworkSpec(
        architecture="linear",
        optimizer={**OPTIMIZERS, "adam_other": other}[optimizer],
        epochs=1,
        batch_size=9,
    )
    train = make_part(problem, rows)
    learner, report = fit(adapter_of(framework), spec, problem, train)
    kernel, bias, loss = train_by_hand(spec, problem, train, steps)
    assert report.updates == steps
    found = weights_of(learner)
    assert np.abs(found[0] - kernel).max() < 1e-6
    assert np.abs(found[1] - bias).max() < 1e-6
    assert report.history.train[0] == pytest.approx(loss, rel=1e-6)


@pytest.mark.parametrize("framework", NEURAL)
def test_a_warm_graph_computes_as_a_new_one(framework):
    # Other numbers of rows between make a framework reuse, or trace again, what it compiled.
    adapter = adapter_of(framework)
    spec = NetworkSpec(architecture="mlp", hidden=(6, 5), epochs=2, batch_size=8)
    train = make_part(THREE, 30)
    first = weights_of(fit(adapter, spec, THREE, train)[0])
    for rows in (7, 8, 29, 31, 64):
        part = make_part(THREE, rows)
        learner, _ = fit(adapter, spec, THREE, part)
        learner.predict(part.features)
    again = weights_of(fit(adapter, spec, THREE, Part(train.features, train.target))[0])
    assert [array.tobytes() for array in again] == [array.tobytes() for array in first]
