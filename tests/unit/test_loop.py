import math
import time

import numpy as np
import pytest

from ml.core.contracts import NetworkSpec, OptimizerSpec
from ml.core.errors import DataInvalid, TrainingDiverged
from ml.core.learner import Problem
from ml.core.loop import run_epochs
from ml.core.objective import Examples, mean_loss

pytestmark = pytest.mark.unit


class LinearStepper:
    """Fit a linear regression by gradient descent in numpy, and note what the loop hands over."""

    def __init__(self, inputs, rate=0.1, batch_size=4, pause=0.0):
        self.kernel = np.zeros((inputs, 1))
        self.bias = np.zeros(1)
        self.rate, self.batch_size, self.pause = rate, batch_size, pause
        self.orders, self.snapshots = [], []

    def stage(self, examples, validation=None):
        self.validation = validation
        self.features = examples.features.astype(np.float64)
        self.targets = examples.targets.astype(np.float64)

    def epoch(self, order):
        time.sleep(self.pause)
        self.orders.append(order.copy())
        total = 0.0
        for start in range(0, len(order), self.batch_size):
            batch = order[start : start + self.batch_size]
            rows = self.features[batch]
            with np.errstate(over="ignore", invalid="ignore"):
                error = rows @ self.kernel + self.bias - self.targets[batch]
                total += 0.5 * float((error**2).sum())
                self.kernel = self.kernel - self.rate * rows.T @ error / len(batch)
                self.bias = self.bias - self.rate * error.mean(axis=0)
        self.snapshots.append(self.weights())
        return total / len(order)

    def predict(self, features):
        with np.errstate(over="ignore", invalid="ignore"):
            return (features @ self.kernel + self.bias).astype(np.float32)

    def validate(self):
        return self.predict(self.validation)

    def weights(self):
        with np.errstate(over="ignore", invalid="ignore"):
            return [self.kernel.astype(np.float32), self.bias.astype(np.float32)]

    def load_weights(self, weights):
        self.kernel, self.bias = (array.astype(np.float64) for array in weights)


def line(rows, slope=2.0, seed=0):
    features = np.random.default_rng(seed).normal(size=(rows, 2)).astype(np.float32)
    return features, (slope * features[:, :1] + 0.5).astype(np.float32)


def network(**changes):
    values = {"architecture": "linear", "epochs": 6, "batch_size": 4, "patience": 0}
    return NetworkSpec(**{**values, **changes})


def run(stepper, train, validation=None, spec=None, seed=5, seconds=60.0):
    spec = spec or network()
    rng = np.random.default_rng(seed)
    held = validation and Examples(*validation)
    return run_epochs(stepper, Examples(*train), held, spec, Problem(2, 0), rng, seconds)


@pytest.mark.parametrize("rows", [1, 4, 9])
def test_every_epoch_visits_every_row_once_in_the_order_that_the_generator_draws(rows):
    stepper = LinearStepper(2)
    run(stepper, line(rows), seed=3)
    drawn = np.random.default_rng(3)
    assert len(stepper.orders) == 6
    for order in stepper.orders:
        assert order.dtype == np.int64
        assert sorted(order.tolist()) == list(range(rows))
        assert order.tolist() == drawn.permutation(rows).tolist()
    if rows == 9:
        assert len({tuple(order.tolist()) for order in stepper.orders}) == 6


@pytest.mark.parametrize(("rows", "batch", "updates"), [(8, 4, 2), (9, 4, 3), (3, 4, 1), (1, 1, 1)])
def test_updates_count_the_incomplete_last_batch(rows, batch, updates):
    report = run(LinearStepper(2), line(rows), spec=network(batch_size=batch))
    assert (report.epochs, report.updates) == (6, 6 * updates)
    assert report.stopped == "completed"


def test_history_holds_the_losses_of_each_epoch():
    train, validation = line(16), line(8, seed=1)
    stepper = LinearStepper(2)
    report = run(stepper, train, validation, spec=network(patience=2))
    assert len(report.history.train) == len(report.history.validation) == report.epochs == 6
    assert list(report.history.train) == sorted(report.history.train, reverse=True)
    for snapshot, loss in zip(stepper.snapshots, report.history.validation, strict=True):
        error = validation[0] @ snapshot[0] + snapshot[1] - validation[1]
        assert loss == pytest.approx(0.5 * float((error**2).mean()), rel=1e-5)
    assert report.warnings == ()


@pytest.mark.parametrize("patience", [1, 3])
def test_early_stopping_returns_the_best_weights_after_the_patience(patience):
    # The slopes differ in sign: what trains well validates worse and worse after epoch 1.
    stepper = LinearStepper(2, rate=0.05)
    train, validation = line(32), line(32, slope=-2.0, seed=1)
    report = run(stepper, train, validation, spec=network(epochs=50, patience=patience))
    assert report.stopped == "early_stopping"
    assert report.best_epoch == 1
    assert report.epochs == 1 + patience == len(report.history.validation)
    assert min(report.history.validation) == report.history.validation[0]
    for kept, best in zip(stepper.weights(), stepper.snapshots[0], strict=True):
        assert kept.tolist() == best.tolist()
    assert stepper.snapshots[-1][0].tolist() != stepper.snapshots[0][0].tolist()


def test_an_equal_loss_is_no_better_one():
    stepper = LinearStepper(2, rate=0.0)
    report = run(stepper, line(8), line(8, seed=1), spec=network(epochs=20, patience=3))
    assert (report.best_epoch, report.epochs, report.stopped) == (1, 4, "early_stopping")


def test_patience_0_trains_every_epoch_and_still_returns_the_best_weights():
    stepper = LinearStepper(2, rate=0.05)
    train, validation = line(32), line(32, slope=-2.0, seed=1)
    report = run(stepper, train, validation, spec=network(epochs=12, patience=0))
    assert (report.epochs, report.best_epoch, report.stopped) == (12, 1, "completed")
    assert stepper.weights()[0].tolist() == stepper.snapshots[0][0].tolist()
    assert report.warnings == ()


def test_without_a_validation_part_every_epoch_trains_and_a_warning_says_so():
    stepper = LinearStepper(2)
    report = run(stepper, line(8), spec=network(epochs=9, patience=1))
    assert (report.epochs, report.best_epoch, report.stopped) == (9, 9, "completed")
    assert report.history.validation == ()
    assert len(report.warnings) == 1
    assert "no validation part" in report.warnings[0]
    assert stepper.weights()[0].tolist() == stepper.snapshots[-1][0].tolist()


def test_the_time_budget_stops_after_one_epoch_at_least():
    stepper = LinearStepper(2, pause=0.002)
    report = run(stepper, line(8), line(8, seed=1), spec=network(epochs=10_000), seconds=0.001)
    assert (report.epochs, report.updates, report.stopped) == (1, 2, "time_budget")


def test_a_budget_used_up_by_the_last_epoch_is_a_completed_training():
    report = run(LinearStepper(2, pause=0.002), line(8), spec=network(epochs=1), seconds=0.001)
    assert (report.epochs, report.stopped) == (1, "completed")


def test_divergence_names_the_epoch_and_the_last_good_loss():
    stepper = LinearStepper(2, rate=1e60)
    with pytest.raises(TrainingDiverged) as caught:
        run(stepper, line(8), spec=network(epochs=50))
    epoch = len(stepper.orders)
    assert epoch > 1
    assert f"in epoch {epoch};" in caught.value.message
    finite = run(LinearStepper(2, rate=1e60), line(8), spec=network(epochs=epoch - 1))
    assert f"the last good loss was {finite.history.train[-1]:.6g}" in caught.value.message
    assert caught.value.outcome == "diverged"
    assert caught.value.field == "model.optimizer.learning_rate"


def test_divergence_in_the_first_epoch_says_that_no_loss_was_good():
    with pytest.raises(TrainingDiverged, match=r"in epoch 1; no loss was good"):
        run(LinearStepper(2, rate=1e200), line(8))


def test_a_validation_loss_that_is_not_finite_is_a_divergence():
    features, targets = line(8, seed=1)
    with pytest.raises(TrainingDiverged, match="the validation loss became nan in epoch 1"):
        run(LinearStepper(2), line(8), (features * np.float32(np.nan), targets))


class ScriptedStepper(LinearStepper):
    """Report the losses it is given, one an epoch."""

    def __init__(self, *losses):
        super().__init__(2, rate=0.0)
        self.losses = list(losses)

    def epoch(self, order):
        super().epoch(order)
        return self.losses[len(self.orders) - 1]


@pytest.mark.parametrize(
    ("losses", "stops"),
    [
        ([0.5, 9e5, 0.9e6], None),
        ([0.5, 9e5, 1.1e6, 0.5], 3),
        ([1e-12, 0.5, 2.0], None),  # a first loss of almost nothing is no measure
        ([40.0, 3.9e7, 4.1e7, 1.0], 3),
        ([1e30, 1e35, 1.0], None),  # as of features that are not scaled
        ([3.0, 2.0, 1e300], 3),
    ],
)
def test_a_training_loss_that_explodes_is_a_divergence_at_once(losses, stops):
    stepper, spec = ScriptedStepper(*losses), network(epochs=len(losses))
    if stops is None:
        assert run(stepper, line(8), spec=spec).history.train == tuple(losses)
        return
    with pytest.raises(TrainingDiverged) as caught:
        run(stepper, line(8), spec=spec)
    assert len(stepper.orders) == stops
    assert caught.value.code == "loss_exploded"
    assert f"from {losses[0]:.6g} in epoch {stops};" in caught.value.message
    assert f"the last good loss was {losses[stops - 2]:.6g}" in caught.value.message
    assert caught.value.received == f"{losses[stops - 1]:.6g}"


def test_a_finite_validation_loss_is_never_a_divergence():
    # One row far out makes any loss of the validation part, whatever the training does.
    features, targets = line(8, seed=1)
    features[0] = 1e15
    report = run(LinearStepper(2), line(8), (features, targets))
    assert report.history.validation[-1] > 1e20
    assert report.history.train[-1] < report.history.train[0]


def test_an_empty_training_part_is_refused():
    with pytest.raises(DataInvalid) as caught:
        run(LinearStepper(2), line(0))
    assert caught.value.code == "no_training_rows"


def column(*values):
    return np.array(values, np.float32).reshape(-1, 1)


def test_binary_loss_is_that_of_the_probability():
    raw, wanted = column(0.0, 2.0, -1.5, 0.25), column(1, 0, 0, 1)
    expected = [
        -math.log(p if y else 1 - p)
        for p, y in zip((1 / (1 + math.exp(-z)) for z in raw[:, 0]), wanted[:, 0], strict=True)
    ]
    assert mean_loss("binary", raw, wanted) == pytest.approx(np.mean(expected), rel=1e-12)


def test_softmax_loss_is_that_of_the_wanted_class():
    raw = np.array([[1, 2, 3], [0, 0, 0], [-1, 4, 0.5]], np.float32)
    wanted = np.eye(3, dtype=np.float32)[[2, 0, 0]]
    expected = [
        math.log(sum(math.exp(value) for value in row)) - row[which]
        for row, which in zip(raw.tolist(), (2, 0, 0), strict=True)
    ]
    assert mean_loss("softmax", raw, wanted) == pytest.approx(np.mean(expected), rel=1e-12)


def test_softmax_loss_takes_soft_targets():
    raw = np.array([[0.0, math.log(3)]], np.float32)
    wanted = np.array([[0.5, 0.5]], np.float32)
    expected = -0.5 * math.log(0.25) - 0.5 * math.log(0.75)
    assert mean_loss("softmax", raw, wanted) == pytest.approx(expected, rel=1e-6)


def test_squared_loss_is_half_the_squared_error():
    assert mean_loss("squared", column(1, 2, 5), column(1, 0, 2)) == pytest.approx(13 / 6)


@pytest.mark.parametrize("logit", [1e4, -1e4])
def test_extreme_logits_give_the_finite_limit(logit):
    right = float(logit > 0)
    assert mean_loss("binary", column(logit), column(right)) == 0.0
    assert mean_loss("binary", column(logit), column(1 - right)) == 1e4
    raw = np.array([[logit, 0.0, -logit]], np.float32)
    classes = np.eye(3, dtype=np.float32)
    losses = [mean_loss("softmax", raw, classes[[which]]) for which in range(3)]
    assert sorted(losses) == [0.0, 1e4, 2e4]
    assert losses[int(np.argmax(raw))] == 0.0


def test_the_mean_is_taken_in_float64():
    raw, wanted = column(*[1e4] * 3, 1e-3), column(*[0] * 4)
    assert mean_loss("squared", raw, wanted) == pytest.approx(
        (3 * 0.5e8 + 0.5 * float(np.float32(1e-3)) ** 2) / 4, rel=1e-15
    )


def test_an_optimizer_spec_refuses_what_no_optimizer_can_use():
    for changes in ({"learning_rate": 0.0}, {"beta1": 1.0}, {"momentum": -0.1}, {"epsilon": 0.0}):
        with pytest.raises(ValueError, match="Input should be"):
            OptimizerSpec(**changes)


@pytest.mark.parametrize("loss", ["binary", "softmax", "squared"])
def test_outputs_that_are_no_numbers_give_a_loss_that_is_none(loss):
    raw = np.array([[math.inf, -math.inf], [math.nan, 1.0]], np.float32)
    assert not math.isfinite(mean_loss(loss, raw, np.ones_like(raw)))
