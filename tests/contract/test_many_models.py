"""Train many models at once in every framework, and each of them alone, and compare."""

import numpy as np
import pytest

from ml.core.contracts import NetworkSpec, OptimizerSpec, RuntimeSpec, ScheduleSpec
from ml.core.errors import TrainingDiverged
from ml.core.learner import Distillation, Draws, Member, Part, Problem

pytest.register_assert_rewrite("learner_checks")

from learner_checks import BINARY, THREE, VALUE, make_part, weights_of  # noqa: E402
from test_learners import NEURAL, adapter_of  # noqa: E402

pytestmark = pytest.mark.contract

# What PyTorch computes as one is to the bit what it computes alone: there is a path for each.
EXACT = ("pytorch",)


def member(seed, problem=BINARY, rows=70, held=30, seconds=60.0, **changes):
    optimizer = OptimizerSpec(**{"learning_rate": 1e-2, **changes.pop("optimizer", {})})
    values = {"architecture": "mlp", "hidden": (9, 6), "epochs": 6, "batch_size": 16}
    spec = NetworkSpec(**{**values, "optimizer": optimizer, **changes})
    draws = Draws.of(seed)
    validation = make_part(problem, held, seed=1) if held else None
    return Member(spec, problem, make_part(problem, rows, seed), validation, draws, seconds)


def losing(seed, **changes):
    """Return a member whose validation rows say the opposite of its training rows."""
    one = member(seed, patience=2, epochs=30, **changes)
    held = one.validation
    return Member(
        one.spec, one.problem, one.train, Part(held.features, 1 - held.target), one.draws, 60.0
    )


def different():
    """Return members of one shape that differ in all else, and end at different times."""
    return [
        member(0),
        member(1, optimizer={"learning_rate": 3e-2, "weight_decay": 1e-2}),
        losing(2),
        member(3, optimizer={"name": "adamw", "weight_decay": 0.1}, epochs=9),
        member(4, optimizer={"name": "sgd", "momentum": 0.9, "weight_decay": 1e-3}),
        member(5, schedule=ScheduleSpec(name="cosine", warmup=1.5), epochs=8),
        member(6, optimizer={"beta1": 0.5, "beta2": 0.9}, held=0),
        member(7, patience=1),
    ]


def ending():
    """Return members of one shape, also where decay is compiled in, that end at other times."""
    return [
        member(0),
        losing(1),
        member(2, optimizer={"learning_rate": 3e-2}, schedule=ScheduleSpec(name="cosine")),
        member(3, epochs=4, patience=1),
    ]


def students():
    found = []
    for seed, (temperature, share) in enumerate(((2.0, 0.5), (4.0, 0.9), (2.0, 0.5))):
        problem = Problem(THREE.inputs, 3, Distillation(temperature, share))
        one = member(seed, problem, hidden=(8,))
        soft = np.random.default_rng(seed).dirichlet(np.ones(3), 100)
        train = Part(one.train.features, one.train.target, soft[:70])
        held = Part(one.validation.features, one.validation.target, soft[70:])
        found.append(Member(one.spec, problem, train, held, one.draws, 60.0))
    return found


COHORTS = {
    "ending": ending,
    "different": different,
    "dropout": lambda: [member(seed, dropout=0.1 + 0.2 * seed) for seed in range(3)],
    "softmax": lambda: [member(seed, THREE, activation="tanh") for seed in range(3)],
    "squared": lambda: [member(seed, VALUE, activation="sigmoid") for seed in range(3)],
    "linear": lambda: [member(seed, VALUE, architecture="linear") for seed in range(3)],
    "balanced": lambda: [member(seed, class_weight="balanced") for seed in range(3)],
    "rows": lambda: [member(seed, rows=65 + seed, held=20 + seed) for seed in range(4)],
    "students": students,
    "shapes": lambda: [member(0), member(1, hidden=(4,)), member(2), member(3, norm="layer")],
}
# Their sums have other numbers of terms, their factors another precision, or their exponentials
# another place in a processor's vectors.
ROUNDED = ("rows", "students", "squared")
# Each compiles for a second or more; what they do not compute as one is the loop's own.
CHOSEN = {"pytorch": tuple(COHORTS), "jax": ("ending", "rows"), "tensorflow": ("ending",)}
CASES = [(framework, name) for framework in NEURAL for name in CHOSEN[framework]]


def alone(adapter, one):
    learner = adapter.make_learner(one.spec, one.problem)
    return learner, learner.fit(one.train, one.validation, one.draws, one.seconds)


def train(adapter, members, step=100):
    cohort = adapter.open_cohort(members, 8)
    for epochs in range(step, 101, step):
        cohort.advance({i: min(epochs, one.spec.epochs) for i, one in enumerate(members)})
    return cohort


def furthest(found, expected):
    """Return how far two lists of arrays are apart, in the value furthest off."""
    return max(np.abs(a - b).max() for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize(("framework", "name"), CASES)
def test_members_are_trained_as_if_each_were_alone(framework, name):
    adapter = adapter_of(framework)
    cohort = train(adapter, COHORTS[name]())
    exact = framework in EXACT and name not in ROUNDED
    stops = set()
    for index, one in enumerate(COHORTS[name]()):
        learner, report = alone(adapter, one)
        found = cohort.report(index)
        assert cohort.ended(index)
        assert (found.epochs, found.best_epoch) == (report.epochs, report.best_epoch)
        assert (found.updates, found.stopped) == (report.updates, report.stopped)
        assert found.warnings == report.warnings
        weights, expected = weights_of(cohort.learner(index)), weights_of(learner)
        assert furthest(weights, expected) <= (0 if exact else 1e-5), (index, one.spec)
        assert found.history.train == pytest.approx(report.history.train, rel=1e-5)
        assert found.history.validation == pytest.approx(report.history.validation, rel=1e-5)
        if exact:
            assert found.history == report.history
        stops.add(report.stopped)
    if name in ("different", "ending"):
        assert stops == {"completed", "early_stopping"}


@pytest.mark.parametrize("framework", NEURAL)
def test_a_cohort_goes_on_in_stages_from_where_it_was(framework):
    adapter = adapter_of(framework)
    members = [member(seed) for seed in range(4)]
    cohort = adapter.open_cohort(members, 8)
    cohort.advance(dict.fromkeys(range(4), 2))
    cohort.drop(1)
    so_far = weights_of(cohort.learner(2))
    cohort.advance({0: 4, 3: 4})
    cohort.advance({0: 6, 2: 6, 3: 6})
    for index, epochs in ((0, 6), (1, 2), (2, 6), (3, 6)):
        learner, report = alone(adapter, member(index))
        if epochs == 6:
            assert furthest(weights_of(cohort.learner(index)), weights_of(learner)) <= 1e-5
        assert cohort.report(index).history.train == pytest.approx(
            report.history.train[:epochs], rel=1e-5
        )
    shorter, _ = alone(adapter, member(2, epochs=2))
    assert furthest(so_far, weights_of(shorter)) <= 1e-5
    assert all(cohort.seconds(index) > 0 for index in range(4))


@pytest.mark.parametrize("framework", NEURAL)
def test_a_member_that_diverges_or_has_no_time_leaves_the_others_alone(framework):
    adapter = adapter_of(framework)
    wild = {"name": "sgd", "learning_rate": 1e30}
    members = [member(0), member(1, optimizer=wild), member(2, seconds=1e-9), member(3)]
    cohort = train(adapter, members)
    with pytest.raises(TrainingDiverged):
        cohort.report(1)
    assert (cohort.report(2).epochs, cohort.report(2).stopped) == (1, "time_budget")
    for index in (0, 3):
        learner, report = alone(adapter, member(index))
        assert cohort.report(index).epochs == report.epochs == 6
        assert furthest(weights_of(cohort.learner(index)), weights_of(learner)) <= 1e-5


def test_a_framework_says_how_many_of_which_members_it_computes_as_one():
    one = member(0)
    for framework, asked, count in (("jax", 8, 8), ("jax", 0, 1), ("tensorflow", 8, 1)):
        assert adapter_of(framework).models_at_once(one, asked) == count
    adapter = adapter_of("pytorch")
    assert adapter.models_at_once(one, 0) > 1
    assert adapter.models_at_once(one, 1) == 1
    assert adapter.models_at_once(one, 3) == 3
    assert adapter.models_at_once(member(0, norm="layer"), 8) == 1
    # A step of these touches more memory than stays near a processor.
    assert adapter.models_at_once(member(0, hidden=(2048, 2048)), 0) == 1
    assert adapter.models_at_once(member(0, hidden=(512, 512), rows=4096, batch_size=4096), 0) == 1


@pytest.mark.parametrize("framework", NEURAL)
def test_a_request_has_the_same_result_however_many_models_are_trained_at_once(framework):
    from ml.core.contracts import InlineData, TrainRequest
    from ml.core.replicates import run_request

    adapter = adapter_of(framework)
    part = make_part(THREE, 90)
    columns = {f"f{i}": tuple(map(float, part.features[:, i])) for i in range(3)}
    columns["y"] = tuple(f"c{value}" for value in part.target)
    results = []
    for count in (1, 8):
        request = TrainRequest(
            id="many",
            data=InlineData(task="classification", target="y", columns=columns),
            model=member(0).spec,
            replicates=3,
            seed=5,
            runtime=RuntimeSpec(models_at_once=count),
        )
        results.append(run_request(request, adapter))
    one, many = results
    assert many.parity == one.parity
    for found, expected in zip(many.replicates, one.replicates, strict=True):
        assert found.metrics == pytest.approx(expected.metrics, rel=1e-5)
        assert found.history.train == pytest.approx(expected.history.train, rel=1e-5)
        assert (found.epochs, found.stopped) == (expected.epochs, expected.stopped)
        assert found.timings.fit > 0
