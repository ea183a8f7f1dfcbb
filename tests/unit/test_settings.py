import pytest
from pydantic import TypeAdapter, ValidationError

from ml.core.contracts import (
    Choice,
    EstimatorSpec,
    FloatRange,
    ImportedSpec,
    IntRange,
    NetworkSpec,
    OptimizerSpec,
    SearchSpace,
)
from ml.core.errors import RequestInvalid
from ml.core.settings import apply_settings, check_space, contains, declared_settings, size_of

pytestmark = pytest.mark.unit

MLP = NetworkSpec(architecture="mlp", hidden=(16, 8), optimizer=OptimizerSpec(learning_rate=0.01))
FOREST = EstimatorSpec(estimator="random_forest", params={"max_depth": 4})
KNOWN = {"max_depth": 4, "n_estimators": 100, "criterion": "gini"}


def space(**dimensions):
    """Return a space, with __ for the dots of a path."""
    values = {path.replace("__", "."): one for path, one in dimensions.items()}
    return TypeAdapter(SearchSpace).validate_python(values)


def test_settings_stand_where_their_paths_say_and_nowhere_else():
    changed = apply_settings(
        MLP, {"optimizer.learning_rate": 0.5, "dropout": 0.1, "schedule.name": "cosine"}
    )
    assert changed.optimizer.learning_rate == 0.5
    assert (changed.dropout, changed.schedule.name) == (0.1, "cosine")
    assert changed.hidden == (16, 8)
    assert (
        changed.model_copy(
            update={"dropout": 0.0, "optimizer": MLP.optimizer, "schedule": MLP.schedule}
        )
        == MLP
    )
    assert apply_settings(FOREST, {"params.n_estimators": 7}).params == {
        "max_depth": 4,
        "n_estimators": 7,
    }
    assert FOREST.params == {"max_depth": 4}


@pytest.mark.parametrize(
    ("settings", "hidden"),
    [
        ({"hidden.layers": 3, "hidden.units": 5}, (5, 5, 5)),
        ({"hidden.layers": 3}, (16, 16, 16)),
        ({"hidden.units": 5}, (5, 5)),
        ({"hidden.layers": 0}, ()),
        ({"hidden": (4, 2)}, (4, 2)),
    ],
)
def test_layers_and_units_stand_for_equal_layers(settings, hidden):
    assert apply_settings(MLP, settings).hidden == hidden


def test_settings_that_a_model_cannot_have_are_refused_by_its_own_rules():
    for settings in (
        {"hidden.units": 0},
        {"hidden.units": (4, 2)},
        {"hidden.layers": 10**9},
        {"epochs": 1.5},
    ):
        with pytest.raises(ValidationError):
            apply_settings(MLP, settings)


def test_declared_settings_are_what_the_model_has_by_path():
    asked = space(
        optimizer__learning_rate=FloatRange(low=1e-4, high=1e-1, log=True),
        hidden__layers=IntRange(low=1, high=3),
        hidden__units=IntRange(low=4, high=64),
        norm=Choice(values=("none", "batch")),
    )
    assert declared_settings(MLP, asked, None) == {
        "optimizer.learning_rate": 0.01,
        "hidden.layers": 2,
        "hidden.units": (16, 8),
        "norm": "none",
    }
    asked = space(
        params__max_depth=IntRange(low=1, high=9), params__n_estimators=IntRange(low=1, high=9)
    )
    assert declared_settings(FOREST, asked, KNOWN) == {
        "params.max_depth": 4,
        "params.n_estimators": 100,
    }
    assert declared_settings(FOREST, asked, None) == {"params.max_depth": 4}


def test_true_and_one_are_two_values():
    assert contains(Choice(values=(True, "a")), True)
    assert not contains(Choice(values=(True, "a")), 1)
    assert contains(Choice(values=((4, 2), (8,))), (8,))
    assert not contains(Choice(values=((4, 2), (8,))), (4,))
    assert not contains(IntRange(low=0, high=3), True)


@pytest.mark.parametrize(
    ("dimension", "inside", "outside", "size"),
    [
        (IntRange(low=2, high=9, step=3), (2, 5, 8), (3, 9, 2.0, "2"), 3),
        (FloatRange(low=0.5, high=2.0), (0.5, 1, 2.0), (0.4, 2.1, None), None),
        (FloatRange(low=0.5, high=0.5), (0.5,), (0.6,), 1),
        (Choice(values=("a", None)), ("a", None), ("b", 0), 2),
    ],
)
def test_a_dimension_knows_its_values(dimension, inside, outside, size):
    assert all(contains(dimension, value) for value in inside)
    assert not any(contains(dimension, value) for value in outside)
    assert size_of(dimension) == size


# (name, model, known, space, place, part of expected, part of received, part of the remedy)
REFUSED = [
    ("misspelt", MLP, None, space(optimizer__lerning_rate=FloatRange(low=0.1, high=1.0)),
     "optimizer.lerning_rate", "optimizer.learning_rate", "lerning", "'optimizer.learning_rate'"),
    ("without_its_place", MLP, None, space(learning_rate=FloatRange(low=0.1, high=1.0)),
     "learning_rate", "", "", "'optimizer.learning_rate'"),
    ("param_of_network", MLP, None, space(params__alpha=FloatRange(low=0.1, high=1.0)),
     "params.alpha", "", "", "leave it out"),
    ("misspelt_param", FOREST, KNOWN, space(params__max_deph=IntRange(low=1, high=9)),
     "params.max_deph", "params.criterion", "", "'params.max_depth'"),
    ("bare_param", FOREST, KNOWN, space(max_depth=IntRange(low=1, high=9)),
     "max_depth", "", "", "'params.max_depth'"),
    ("bare_param_of_imported", ImportedSpec(target="a:b"), None,
     space(depth=IntRange(low=1, high=9)), "depth", "params.<name>", "", "'params.depth'"),
    ("bound", MLP, None, space(dropout=FloatRange(low=0.0, high=1.0)),
     "dropout", "less than 1", "1.0", "correct the values"),
    ("float_for_int", MLP, None, space(epochs=FloatRange(low=1.0, high=9.0)),
     "epochs", "integer", "1.0", "'kind': 'int'"),
    ("fraction_for_int", MLP, None, space(epochs=FloatRange(low=1.5, high=9.5)),
     "epochs", "integer", "1.5", "'kind': 'int'"),
    ("choice", MLP, None, space(norm=Choice(values=("none", "group"))),
     "norm", "'batch'", "'group'", "correct"),
    ("twice", MLP, None, space(norm=Choice(values=("none", "none"))),
     "norm", "once", "'none'", ""),
    ("two_ways", MLP, None,
     space(hidden=Choice(values=((4,),)), hidden__units=IntRange(low=1, high=9)),
     "hidden", "hidden.units", "hidden", ""),
    ("no_units", MLP.model_copy(update={"hidden": ()}), None,
     space(hidden__layers=IntRange(low=1, high=2)), "hidden.layers", "hidden.units", "alone", ""),
    ("heads", NetworkSpec(architecture="transformer"), None,
     space(heads=Choice(values=(4, 7))), "heads", "cannot be parted among 7", "7", ""),
    ("huge", MLP, None, space(hidden__layers=IntRange(low=1, high=10**12)),
     "hidden.layers", "", str(10**12), ""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("model", "known", "asked", "place", "expected", "received", "remedy"),
    [pytest.param(*case, id=name) for name, *case in REFUSED],
)
def test_a_space_that_is_not_of_the_model_is_refused_with_its_place(
    model, known, asked, place, expected, received, remedy
):
    with pytest.raises(RequestInvalid) as caught:
        check_space(model, asked, known)
    problem = caught.value
    assert problem.field == f"sweep.space.{place}"
    assert expected in problem.expected
    assert received in problem.received
    assert remedy in problem.remedy


def test_values_that_fit_each_other_are_not_refused_one_by_one():
    model = NetworkSpec(architecture="transformer", width=64, heads=4)
    check_space(model, space(heads=Choice(values=(4, 5)), width=Choice(values=(60, 64))), None)
    with pytest.raises(RequestInvalid, match=r"sweep\.space\.heads"):
        check_space(model, space(heads=Choice(values=(4, 5)), dropout=Choice(values=(0.1,))), None)


def test_what_a_project_defines_itself_may_have_any_parameter():
    check_space(
        ImportedSpec(target="a:b"), space(params__anything=FloatRange(low=0.0, high=1.0)), None
    )
