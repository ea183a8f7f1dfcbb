"""Train cohorts of a numpy stepper, whose every epoch can be told apart."""

import numpy as np
import pytest

from ml.core.cohort import Cohort, Member, NetworkCohort
from ml.core.contracts import NetworkSpec, OptimizerSpec
from ml.core.errors import DataInvalid, TrainingDiverged
from ml.core.learner import Draws, Part, Problem
from ml.core.networks import network_factory

pytestmark = pytest.mark.unit

PROBLEM = Problem(inputs=2, classes=0)


class Descent:
    """Fit a linear regression by gradient descent in numpy."""

    def __init__(self, spec, problem, weights, seed):
        self.rate, self.batch_size = spec.optimizer.learning_rate, spec.batch_size
        self.load_weights(weights)

    def stage(self, examples, validation=None):
        self.examples, self.validation = examples, validation

    def epoch(self, order):
        total = 0.0
        for start in range(0, len(order), self.batch_size):
            batch = order[start : start + self.batch_size]
            rows = self.examples.features[batch]
            with np.errstate(over="ignore", invalid="ignore"):
                error = rows @ self.kernel + self.bias - self.examples.targets[batch]
                total += 0.5 * float((error**2).sum())
                self.kernel = self.kernel - np.float32(self.rate) * rows.T @ error / len(batch)
                self.bias = self.bias - np.float32(self.rate) * error.mean(axis=0)
        return total / len(order)

    def predict(self, features):
        with np.errstate(over="ignore", invalid="ignore"):
            return features @ self.kernel + self.bias

    def validate(self):
        return self.predict(self.validation)

    def weights(self):
        return [self.kernel.copy(), self.bias.copy()]

    def load_weights(self, weights):
        self.kernel, self.bias = (array.copy() for array in weights)


def part(rows, seed=0, slope=2.0):
    features = np.random.default_rng([rows, seed]).normal(size=(rows, 2)).astype(np.float32)
    return Part(features, slope * features[:, 0] + np.float32(0.5))


def member(seed=0, rows=20, held=8, rate=0.05, seconds=60.0, slope=2.0, **changes):
    values = {"architecture": "linear", "epochs": 12, "batch_size": 4, "patience": 0}
    spec = NetworkSpec(**{**values, "optimizer": OptimizerSpec(learning_rate=rate), **changes})
    draws = Draws.of(seed)
    validation = part(held, 1, slope) if held else None
    return Member(spec, PROBLEM, part(rows), validation, draws, seconds)


def different():
    """Return members that end for different reasons."""
    return [
        member(0),
        member(1, slope=-2.0, patience=3, epochs=40),
        member(2, rows=33, rate=0.01),
        member(3, epochs=5, held=0),
    ]


def cohort_of(*members):
    make: Cohort = NetworkCohort(network_factory(Descent), None, members, 0)
    return make


def alone(one):
    learner = network_factory(Descent)(one.spec, one.problem)
    return learner, learner.fit(one.train, one.validation, one.draws, one.seconds)


def run(cohort, members, step=None):
    """Advance a cohort to its end, by so many epochs at a time."""
    goals = {index: one.spec.epochs for index, one in enumerate(members)}
    for epochs in range(step or 100, 101, step or 100):
        cohort.advance({index: min(goal, epochs) for index, goal in goals.items()})


@pytest.mark.parametrize("step", [None, 1, 7])
def test_members_trained_in_stages_equal_those_trained_alone_to_the_bit(step):
    members = different()
    cohort = cohort_of(*members)
    run(cohort, members, step)
    stops = []
    for index, one in enumerate(different()):
        learner, report = alone(one)
        assert cohort.ended(index)
        assert cohort.report(index) == report
        assert cohort.learner(index).serialize() == learner.serialize()
        stops.append((report.stopped, report.best_epoch))
    assert stops[1] == ("early_stopping", 1)
    assert stops[3] == ("completed", 5)


def test_a_report_and_a_learner_tell_of_the_epochs_so_far():
    cohort = cohort_of(member(epochs=9))
    cohort.advance({0: 4})
    _, shorter = alone(member(epochs=4))
    assert not cohort.ended(0)
    assert cohort.report(0).history == shorter.history
    assert cohort.report(0).epochs == 4
    features = part(6, 3).features
    assert (
        cohort.learner(0).predict(features).tolist()
        == alone(member(epochs=4))[0].predict(features).tolist()
    )


def test_a_learner_so_far_has_the_best_weights_and_disturbs_nothing():
    one = {"slope": -2.0, "patience": 3, "epochs": 40}
    cohort = cohort_of(member(**one))
    cohort.advance({0: 3})
    assert cohort.report(0).best_epoch == 1
    first = alone(member(slope=-2.0, epochs=1))[0].serialize()
    assert cohort.learner(0).serialize() == first
    cohort.advance({0: 40})
    assert cohort.report(0) == alone(member(**one))[1]


def test_a_member_that_is_dropped_trains_no_further_and_keeps_what_it_learnt():
    cohort = cohort_of(member(0), member(1))
    cohort.advance({0: 2, 1: 2})
    cohort.drop(0)
    cohort.advance({0: 12, 1: 12})
    assert cohort.ended(0)
    assert (cohort.report(0).epochs, cohort.report(1).epochs) == (2, 12)
    assert cohort.learner(0).serialize() == alone(member(0, epochs=2))[0].serialize()


def test_what_is_not_asked_for_does_not_train():
    cohort = cohort_of(member(0), member(1))
    cohort.advance({1: 3})
    assert (cohort.report(0).epochs, cohort.seconds(0), cohort.ended(0)) == (0, 0.0, False)
    assert cohort.report(1).epochs == 3
    assert cohort.seconds(1) > 0
    cohort.advance({1: 2})
    assert cohort.report(1).epochs == 3


def test_a_member_that_diverges_leaves_the_others_alone():
    members = [member(0), member(1, rate=1e30), member(2)]
    cohort = cohort_of(*members)
    run(cohort, members)
    with pytest.raises(TrainingDiverged, match="in epoch 1"):
        cohort.report(1)
    with pytest.raises(TrainingDiverged):
        cohort.learner(1)
    assert cohort.ended(1)
    assert cohort.seconds(1) > 0
    for index in (0, 2):
        assert cohort.report(index) == alone(member(index))[1]


def test_a_member_without_rows_is_a_problem_of_its_own():
    cohort = cohort_of(member(0, rows=0), member(1))
    cohort.advance({0: 12, 1: 12})
    with pytest.raises(DataInvalid) as caught:
        cohort.report(0)
    assert caught.value.code == "no_training_rows"
    assert cohort.report(1).epochs == 12


def test_a_broken_stepper_is_the_problem_of_its_member():
    class Broken(Descent):
        def epoch(self, order):
            if len(order) == 33:
                raise MemoryError("no room")
            return super().epoch(order)

    members = [member(0), member(1, rows=33)]
    cohort = NetworkCohort(network_factory(Broken), None, members, 0)
    run(cohort, members)
    assert cohort.report(0).epochs == 12
    with pytest.raises(MemoryError, match="no room"):
        cohort.report(1)


def test_a_budget_of_seconds_is_the_members_own():
    cohort = cohort_of(member(0, seconds=1e-9), member(1))
    cohort.advance({0: 12, 1: 12})
    assert (cohort.report(0).epochs, cohort.report(0).stopped) == (1, "time_budget")
    assert cohort.report(1).stopped == "completed"
