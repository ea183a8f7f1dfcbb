"""Check what every learner promises; one function a promise, filtered by what is declared."""

import importlib
import itertools

import numpy as np
import pytest

from ml.artifacts.arrays import load_arrays
from ml.core.contracts import EstimatorSpec, NetworkSpec, OptimizerSpec
from ml.core.errors import MatrixError, TrainingDiverged
from ml.core.learner import Draws, Part, Problem
from ml.core.networks import encode_targets
from ml.core.objective import mean_loss

INPUTS = 5
# Another optimiser or size of a batch is another form, which only these compile in no time.
CHEAP = ("linear", "mlp")
# The first two features, which decide, are the window that recurrent networks read.
BINARY, THREE, VALUE = (Problem(INPUTS, classes, window=(1, 0)) for classes in (2, 3, 0))


def only_for(accepts):
    """Let a check see only the adapters that accept this kind of spec."""

    def mark(check):
        check.accepts = accepts
        return check

    return mark


def checks_for(accepts):
    """Return the checks of an adapter that accepts this kind of spec."""
    found = [value for name, value in globals().items() if name.startswith("check_")]
    return [check for check in found if getattr(check, "accepts", accepts) is accepts]


def shorten(spec, **changes):
    """Return a network's spec trained shortly and changed; an estimator's as it is."""
    if spec.kind == "estimator":
        return spec
    return spec.model_copy(update={"epochs": 4, "batch_size": 16, **changes})


def make_part(problem, rows, seed=0):
    """Draw rows whose target the first two features decide."""
    rng = np.random.default_rng([seed, rows, problem.classes])
    features = rng.normal(size=(rows, problem.inputs)).astype(np.float32)
    signal = features[:, 0] - 0.5 * features[:, 1]
    if problem.classes == 0:
        return Part(features, signal.astype(np.float32))
    target = np.digitize(signal, [0.0] if problem.classes == 2 else [-0.5, 0.5])
    target[: problem.classes] = np.arange(problem.classes)
    return Part(features, target.astype(np.int64))


def make_draws(seed=0):
    return Draws.of(seed, 0)


def fit(adapter, spec, problem, train, validation=None, seed=0, seconds=60.0):
    learner = adapter.make_learner(spec, problem)
    report = learner.fit(train, validation, make_draws(seed), seconds)
    return learner, report


def attempt(adapter, spec, problem, train):
    """Fit, and return the predictions for the same rows, or the expected error instead."""
    try:
        learner, _ = fit(adapter, spec, problem, train)
        return learner.predict(train.features), None
    except MatrixError as error:
        return None, error


def weights_of(learner):
    return list(load_arrays(learner.serialize()).values())


def is_sane(shares, rows, classes):
    return (
        shares.shape == (rows, classes)
        and shares.dtype == np.float64
        and bool((shares >= 0).all())
        and bool(np.allclose(shares.sum(axis=1), 1, rtol=0, atol=1e-6))
    )


def check_classes_get_probabilities(adapter, spec):
    spec = shorten(spec)
    for problem in (BINARY, THREE):
        learner, _ = fit(adapter, spec, problem, make_part(problem, 40))
        shares = learner.predict(make_part(problem, 23, seed=1).features)
        assert is_sane(shares, 23, problem.classes), spec


def check_regressions_get_values(adapter, spec):
    spec = shorten(spec)
    learner, _ = fit(adapter, spec, VALUE, make_part(VALUE, 40))
    values = learner.predict(make_part(VALUE, 23, seed=1).features)
    assert values.shape == (23,), spec
    assert values.dtype == np.float64
    assert np.isfinite(values).all()


def predict_in_parts(learner, part):
    """Predict no more than 64 rows at once, so that what other checks compiled serves here."""
    return np.concatenate(
        [learner.predict(part.features[start : start + 64]) for start in range(0, part.rows, 64)]
    )


def check_what_can_be_learned_is_learned(adapter, spec):
    spec = shorten(spec, epochs=40)
    if spec == EstimatorSpec(estimator="dummy"):
        return
    train, test = make_part(BINARY, 64), make_part(BINARY, 200, seed=1)
    learner, _ = fit(adapter, spec, BINARY, train)
    accuracy = (predict_in_parts(learner, test).argmax(axis=1) == test.target).mean()
    assert accuracy > 0.75, spec
    train, test = make_part(VALUE, 64), make_part(VALUE, 200, seed=1)
    learner, _ = fit(adapter, spec, VALUE, train)
    error = np.mean((predict_in_parts(learner, test) - test.target) ** 2)
    assert error < 0.6 * test.target.var(), spec


def check_equal_draws_give_equal_predictions(adapter, spec):
    spec = shorten(spec)
    for problem in (BINARY, VALUE):
        train, validation = make_part(problem, 40), make_part(problem, 12, seed=1)
        features = make_part(problem, 23, seed=2).features

        def predictions(seed, train=train, validation=validation, features=features):
            learner, report = fit(adapter, spec, problem, train, validation, seed)  # noqa: B023
            return learner.predict(features).tobytes(), report

        first = predictions(3)
        fit(adapter, spec, THREE, make_part(THREE, 31), seed=9)
        assert predictions(3) == first, spec


@only_for(NetworkSpec)
def check_other_draws_give_other_predictions(adapter, spec):
    spec = shorten(spec)
    train = make_part(BINARY, 40)
    one, other = (fit(adapter, spec, BINARY, train, seed=seed)[0] for seed in (0, 1))
    assert (one.predict(train.features) != other.predict(train.features)).any()


def check_inputs_are_not_changed(adapter, spec):
    spec = shorten(spec)
    for problem in (THREE, VALUE):
        parts = [make_part(problem, rows) for rows in (40, 12, 23)]
        learner, _ = fit(adapter, spec, problem, parts[0], parts[1])
        learner.predict(parts[2].features)
        for part, rows in zip(parts, (40, 12, 23), strict=True):
            fresh = make_part(problem, rows)
            assert part.features.tobytes() == fresh.features.tobytes(), spec
            assert part.target.tobytes() == fresh.target.tobytes(), spec


def check_predicting_changes_nothing(adapter, spec):
    spec = shorten(spec)
    train = make_part(VALUE, 40)
    learner, _ = fit(adapter, spec, VALUE, train)
    before = learner.predict(train.features)
    learner.predict(make_part(VALUE, 3, seed=1).features)
    assert learner.predict(train.features).tobytes() == before.tobytes(), spec


def check_one_row_is_predicted_as_among_others(adapter, spec):
    spec = shorten(spec)
    for problem in (BINARY, THREE, VALUE):
        train = make_part(problem, 40)
        learner, _ = fit(adapter, spec, problem, train)
        together = learner.predict(train.features)
        alone = learner.predict(train.features[7:8])
        assert alone.shape == together[7:8].shape
        assert np.allclose(alone, together[7:8], rtol=1e-5, atol=1e-6), spec


def check_an_absent_class_keeps_its_column(adapter, spec):
    whole = make_part(THREE, 60)
    for absent in range(3):
        kept = whole.target != absent
        train = Part(whole.features[kept], whole.target[kept])
        spec = shorten(spec)
        learner, _ = fit(adapter, spec, THREE, train)
        shares = learner.predict(whole.features)
        assert is_sane(shares, 60, 3), spec
        column = shares[:, absent]
        assert (column > 0 if adapter.accepts is NetworkSpec else column == 0).all(), spec


def check_one_class_only_trains_or_is_refused(adapter, spec):
    train = Part(make_part(BINARY, 40).features, np.ones(40, np.int64))
    spec = shorten(spec)
    shares, error = attempt(adapter, spec, BINARY, train)
    if error is None:
        assert is_sane(shares, 40, 2), spec
    else:
        assert (adapter.accepts, error.code) == (EstimatorSpec, "estimator_refused")
        assert "class" in error.message


def check_a_constant_target_is_learned(adapter, spec):
    train = Part(make_part(VALUE, 40).features, np.zeros(40, np.float32))
    spec = shorten(spec, epochs=100)
    learner, _ = fit(adapter, spec, VALUE, train)
    values = learner.predict(train.features)
    assert np.abs(values).max() < 0.75, spec


def check_extreme_features_give_a_number_or_a_reason(adapter, spec):
    spec = shorten(spec)
    for problem in (BINARY, VALUE):
        train = make_part(problem, 40)
        train.features[3:6, 1] = [1e30, -1e30, 1e30]
        prediction, error = attempt(adapter, spec, problem, train)
        if error is None:
            assert np.isfinite(prediction).all(), spec
        elif adapter.accepts is NetworkSpec:
            assert error.code == "loss_not_finite"
        else:
            assert error.code == "estimator_refused"


@only_for(EstimatorSpec)
def check_an_estimator_loads_to_equal_predictions(adapter, spec):
    module = importlib.import_module(f"ml.frameworks.{adapter.name}.serialization")
    spec = shorten(spec)
    for problem in (BINARY, THREE, VALUE):
        train = make_part(problem, 40)
        learner, _ = fit(adapter, spec, problem, train)
        content = learner.serialize()
        assert isinstance(content, bytes)
        restored = adapter.make_learner(spec, problem)
        restored._estimator = module.load_estimator(content)
        assert restored.predict(train.features).tobytes() == (
            learner.predict(train.features).tobytes()
        ), spec


@only_for(NetworkSpec)
def check_weights_load_to_equal_outputs(adapter, spec):
    spec = shorten(spec)
    for problem in (BINARY, THREE, VALUE):
        train = make_part(problem, 40)
        learner, _ = fit(adapter, spec, problem, train)
        weights = weights_of(learner)
        assert {array.dtype for array in weights} == {np.dtype(np.float32)}
        restored = adapter.make_learner(spec, problem)
        restored._stepper = restored._make_stepper(spec, problem, weights, 0)
        for _ in range(2):
            assert restored.predict(train.features).tobytes() == (
                learner.predict(train.features).tobytes()
            ), spec
            restored.fit(train, None, make_draws(7), 60.0)
            restored._stepper.load_weights(weights)


def check_parameters_are_counted(adapter, spec):
    spec = shorten(spec)
    for problem in (BINARY, THREE, VALUE):
        learner, _ = fit(adapter, spec, problem, make_part(problem, 40))
        if adapter.accepts is NetworkSpec:
            expected = sum(array.size for array in weights_of(learner))
            assert learner.parameters() == expected > 0
        elif spec.estimator == "linear":
            assert learner.parameters() == (INPUTS + 1) * problem.outputs
        elif spec.estimator == "mlp":
            widths = (INPUTS, *spec.params["hidden_layer_sizes"], problem.outputs)
            expected = sum((a + 1) * b for a, b in itertools.pairwise(widths))
            assert learner.parameters() == expected
        else:
            assert learner.parameters() >= 0


@only_for(NetworkSpec)
def check_the_incomplete_last_batch_is_trained(adapter, spec):
    spec = shorten(spec, epochs=1)
    train = make_part(VALUE, 33)
    learner, report = fit(adapter, spec, VALUE, train)
    assert (report.epochs, report.updates) == (1, 3)
    last = make_draws().order.permutation(33)[-1]
    target = train.target.copy()
    target[last] += 10
    changed, _ = fit(adapter, spec, VALUE, Part(train.features, target))
    pairs = zip(weights_of(learner), weights_of(changed), strict=True)
    assert any((one != other).any() for one, other in pairs), spec


@only_for(NetworkSpec)
def check_a_batch_beyond_the_data_is_one_update(adapter, spec):
    spec = shorten(spec, epochs=3)
    sizes = {16: (64, 4096, 2**31, 2**62)}
    if spec.architecture in CHEAP:
        sizes[10] = (11, 4096, 2**31, 2**62)
    for rows, beyond in sizes.items():
        train = make_part(BINARY, rows)
        exact, _ = fit(adapter, spec.model_copy(update={"batch_size": rows}), BINARY, train)
        for size in beyond:
            wide = spec.model_copy(update={"batch_size": size})
            learner, report = fit(adapter, wide, BINARY, train)
            assert (report.epochs, report.updates) == (3, 3)
            for one, other in zip(weights_of(exact), weights_of(learner), strict=True):
                assert np.allclose(one, other, rtol=0, atol=1e-6)


@only_for(NetworkSpec)
def check_the_best_weights_are_kept(adapter, spec):
    validation = make_part(BINARY, 40, seed=1)
    flipped = Part(validation.features, 1 - validation.target)
    spec = shorten(spec, epochs=30, patience=3)
    learner, report = fit(adapter, spec, BINARY, make_part(BINARY, 40), flipped)
    assert report.stopped == "early_stopping"
    assert report.epochs == report.best_epoch + 3 == len(report.history.validation)
    outputs = learner._stepper.predict(flipped.features)
    found = mean_loss("binary", outputs, encode_targets(BINARY, flipped.target))
    assert found == pytest.approx(min(report.history.validation), rel=1e-6)
    assert found == pytest.approx(report.history.validation[report.best_epoch - 1], rel=1e-6)


@only_for(NetworkSpec)
def check_a_used_up_budget_ends_after_one_epoch(adapter, spec):
    spec = shorten(spec, epochs=100)
    learner, report = fit(adapter, spec, BINARY, make_part(BINARY, 40), seconds=1e-9)
    assert (report.epochs, report.stopped) == (1, "time_budget")
    assert is_sane(learner.predict(make_part(BINARY, 5).features), 5, 2)


@only_for(NetworkSpec)
def check_an_absurd_learning_rate_is_a_divergence(adapter, spec):
    own = spec.optimizer.model_copy(update={"learning_rate": 1e30})
    others = [("adam", 1e300)]
    if spec.architecture in CHEAP:
        others += [("sgd", 1e12), ("sgd", 1e300)]
    optimizers = [OptimizerSpec(name=n, learning_rate=rate) for n, rate in others]
    for optimizer in (own, *optimizers):
        short = shorten(spec, optimizer=optimizer, epochs=30)
        for validation in (None, make_part(VALUE, 12, seed=1)):
            with pytest.raises(TrainingDiverged) as caught:
                fit(adapter, short, VALUE, make_part(VALUE, 40), validation)
            assert caught.value.code == "loss_not_finite"
            assert "epoch" in caught.value.message
