import math

import pytest

from ml.core.contracts import Choice, FloatRange, IntRange, SweepSpec, Trial
from ml.core.errors import RequestInvalid

pytest.importorskip("optuna")

pytestmark = pytest.mark.unit

SPACE = {
    "rate": FloatRange(low=1e-4, high=1.0, log=True),
    "units": IntRange(low=4, high=64, step=4),
    "norm": Choice(values=(True, 1, "none", (4, 2))),
}
DECLARED = {"rate": 0.01, "units": 32, "norm": 1}
NUMBERS = {path: SPACE[path] for path in ("rate", "units")}
FINITE = {"a": IntRange(low=0, high=3), "b": Choice(values=("x", "y", "z"))}


def make(spec, seed=7, greater=True, declared=None, limit=16):
    from ml.core.search import Search

    known = DECLARED | {"a": 0, "b": "x"}
    given = declared if declared is not None else {path: known[path] for path in spec.space}
    return Search(spec, seed, greater, given, limit)


def loss_of(settings):
    """Return what is least at rate 0.1 and 16 units."""
    return abs(math.log10(settings["rate"] / 0.1)) + abs(settings.get("units", 16) - 16) / 16


def run(spec, seed=7, trials=24, batch=4, value=loss_of, outcome="ok", **given):
    """Return the settings of a search's trials by index, each told its value."""
    search = make(spec, seed, greater=False, **given)
    found = {}
    while len(found) < trials and not search.exhausted:
        asked = search.ask(min(batch, trials - len(found)))
        for index, settings in asked.items():
            result = value(settings) if outcome == "ok" else None
            search.tell(
                index,
                Trial(index=index, settings=settings, outcome=outcome, reason="x", value=result),
            )
        found |= asked
    return found


@pytest.mark.parametrize("sampler", ["random", "tpe", "cmaes"])
def test_equal_seeds_ask_for_equal_settings_and_other_seeds_do_not(sampler):
    spec = SweepSpec(space=SPACE, sampler=sampler)
    first, again, other = (run(spec, seed) for seed in (7, 7, 8))
    assert first == again
    assert list(first) == list(range(24))
    assert first[0] == other[0] == DECLARED
    assert first[5] != other[5]
    swapped = SweepSpec(space=dict(reversed(SPACE.items())), sampler=sampler)
    assert run(swapped) == first


@pytest.mark.parametrize("sampler", ["random", "tpe", "cmaes"])
def test_all_settings_lie_in_the_space_with_the_types_of_their_dimensions(sampler):
    for settings in run(SweepSpec(space=SPACE, sampler=sampler)).values():
        assert type(settings["rate"]) is float
        assert 1e-4 <= settings["rate"] <= 1.0
        assert type(settings["units"]) is int
        assert settings["units"] in range(4, 65, 4)
        assert any(
            type(settings["norm"]) is type(value) and settings["norm"] == value
            for value in SPACE["norm"].values
        )


@pytest.mark.parametrize("sampler", ["tpe", "cmaes"])
def test_a_sampler_that_learns_comes_nearer_than_chance(sampler):
    spec = SweepSpec(space=NUMBERS, sampler=sampler, trials=60)
    chance = SweepSpec(space=NUMBERS, sampler="random", trials=60)

    def late(spec):
        losses = [
            sum(loss_of(one) for one in list(run(spec, seed, 60).values())[40:]) / 20
            for seed in range(3)
        ]
        return sum(losses) / len(losses)

    assert late(spec) < 0.6 * late(chance)


def test_a_grid_asks_for_each_point_once_and_is_then_exhausted():
    found = run(SweepSpec(space=FINITE, sampler="grid"), value=lambda _: 0.0)
    points = [(one["a"], one["b"]) for one in found.values()]
    assert len(points) == 12
    assert set(points) == {(a, b) for a in range(4) for b in "xyz"}
    assert points != sorted(points)


@pytest.mark.parametrize("sampler", ["random", "tpe", "cmaes"])
def test_no_settings_are_asked_for_twice_until_all_were_tried(sampler):
    found = run(SweepSpec(space=FINITE, sampler=sampler), value=lambda one: float(one["a"]))
    assert len(found) == len({(one["a"], one["b"]) for one in found.values()}) == 12


def test_a_declared_model_outside_the_space_is_a_trial_of_which_the_sampler_hears_nothing():
    spec = SweepSpec(space=FINITE, sampler="random")
    found = run(spec, value=lambda _: 0.0, declared={"a": 9, "b": "x"})
    assert found[0] == {"a": 9, "b": "x"}
    assert len(found) == 13


def test_a_grid_has_no_real_numbers_and_cmaes_needs_some():
    from ml.core.search import check_search

    with pytest.raises(RequestInvalid, match="real numbers: rate") as caught:
        check_search(SweepSpec(space=SPACE, sampler="grid"))
    assert caught.value.field == "sweep.space.rate"
    with pytest.raises(RequestInvalid, match="every hyperparameter here is a choice"):
        check_search(SweepSpec(space={"b": FINITE["b"]}, sampler="cmaes"))
    huge = {str(n): IntRange(low=0, high=10**6) for n in range(9)}
    with pytest.raises(RequestInvalid, match="more points than can be counted"):
        check_search(SweepSpec(space=huge, sampler="grid"))
    [note] = check_search(SweepSpec(space=SPACE, sampler="cmaes"))
    assert note == "cmaes searches numbers: norm is drawn at random"
    assert check_search(SweepSpec(space=SPACE)) == []
    [note] = check_search(SweepSpec(space=SPACE, pruner="wilcoxon", folds=4))
    assert "with 4 it prunes none" in note


@pytest.mark.parametrize(
    ("pruner", "limit", "rungs"),
    [
        ("none", 50, []),
        ("median", 50, list(range(5, 50, 5))),
        ("median", 4, [1, 2, 3]),
        ("successive_halving", 50, [4, 16]),
        ("successive_halving", 16, [1, 4]),
        ("successive_halving", 2, [1]),
        ("successive_halving", 1, []),
        ("hyperband", 50, [5, 15, 45]),
        ("hyperband", 9, [1, 3]),
    ],
)
def test_a_training_is_looked_at_where_its_pruner_judges(pruner, limit, rungs):
    from ml.core.search import rungs_of

    assert rungs_of(SweepSpec(space=SPACE, pruner=pruner), limit) == rungs


def test_successive_halving_lets_the_best_quarter_go_on_from_a_rung():
    search = make(SweepSpec(space=NUMBERS, sampler="random"), limit=16)
    values = [float(13 * place % 32) for place in range(32)]
    for place, value in enumerate(values):
        [index] = search.ask(1)
        search.report(index, 1, value)
        rank = sorted(values[: place + 1], reverse=True).index(value)
        assert search.prunes(index) == (rank >= max(1, (place + 1) // 4))
        search.tell(index, Trial(index=index, settings={}, outcome="pruned"))


def test_a_failed_trial_is_worse_than_all_others_to_the_sampler():
    spec = SweepSpec(space={"rate": SPACE["rate"]}, sampler="tpe", trials=50)
    search, failed = make(spec, greater=False), 0
    for number in range(60):
        [(index, settings)] = search.ask(1).items()
        fails = settings["rate"] > 0.01
        failed += fails and number >= 30
        # What does not fail is the better, the nearer it is to where the failures begin.
        value = None if fails else -settings["rate"]
        outcome = "diverged" if fails else "ok"
        search.tell(
            index, Trial(index=index, settings=settings, outcome=outcome, reason="x", value=value)
        )
    assert failed <= 20


def trials(count=20, outcome="ok", value=loss_of):
    settings = run(SweepSpec(space=NUMBERS, sampler="random"), trials=count).values()
    return [
        Trial(
            index=index,
            settings=one,
            outcome=outcome,
            value=value(one),
            steps=((2, value(one) + 1), (8, value(one))),
        )
        for index, one in enumerate(settings)
    ]


def test_importance_finds_the_hyperparameter_that_moves_the_values():
    from ml.core.search import measure_importance

    done = trials(value=lambda one: math.log10(one["rate"]))
    shares, method = measure_importance(NUMBERS, done, 3, False, "epoch")
    assert shares["rate"] > 0.8
    assert sum(shares.values()) == pytest.approx(1)
    assert method == "fANOVA of the values of complete trials"
    assert measure_importance(NUMBERS, done, 3, False, "epoch") == (shares, method)


def test_importance_compares_what_was_trained_alike():
    from ml.core.search import measure_importance

    pruned = [one.model_copy(update={"outcome": "pruned"}) for one in trials()]
    mixed = [*trials(4), *pruned[4:]]
    shares, method = measure_importance(NUMBERS, mixed, 3, False, "epoch")
    assert method == "fANOVA of the values after 2 epochs"
    assert set(shares) == {"rate", "units"}


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (lambda: trials(9), "9 trials can be compared, and it takes 10"),
        (lambda: trials(value=lambda _: 0.5), "all values are equal"),
        (lambda: [one.model_copy(update={"value": None}) for one in trials()], "0 trials"),
    ],
)
def test_importance_says_why_there_is_none(given, reason):
    from ml.core.search import measure_importance

    shares, method = measure_importance(NUMBERS, given(), 3, False, "epoch")
    assert shares == {}
    assert method.startswith("none: ")
    assert reason in method


def test_importance_needs_two_hyperparameters_that_vary():
    from ml.core.search import measure_importance

    space = {"rate": SPACE["rate"]}
    done = [one.model_copy(update={"settings": {"rate": one.settings["rate"]}}) for one in trials()]
    assert measure_importance(space, done, 3, False, "epoch") == (
        {},
        "none: fewer than two hyperparameters were varied",
    )


def test_without_scikit_learn_importance_is_by_ped_anova(monkeypatch):
    import importlib.util

    from ml.core.search import measure_importance

    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "sklearn" else found(name)
    )
    shares, method = measure_importance(NUMBERS, trials(), 3, False, "epoch")
    assert method.startswith("PED-ANOVA")
    assert set(shares) == {"rate", "units"}


def test_what_a_sampler_needs_and_is_not_there_is_named_with_its_remedy(monkeypatch):
    import importlib.util

    from ml.core.errors import Unavailable
    from ml.core.search import check_search

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for changes, module, extra in (
        ({"sampler": "gp"}, "torch", "[torch]"),
        ({"sampler": "cmaes"}, "cmaes", "[sweep]"),
        ({"pruner": "wilcoxon", "folds": 5}, "scipy", "[report]"),
    ):
        with pytest.raises(Unavailable, match=f"'{module}'") as caught:
            check_search(SweepSpec(space=NUMBERS, **changes))
        assert extra in caught.value.remedy


def test_optuna_writes_nothing_and_keeps_its_own_verbosity(capsys):
    import optuna

    level = optuna.logging.get_verbosity()
    run(SweepSpec(space=SPACE, sampler="tpe", pruner="wilcoxon", folds=5))
    assert optuna.logging.get_verbosity() == level
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""
