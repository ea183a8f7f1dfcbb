"""Hold search spaces to the models they are for, and sweeps to be asked for, through pytest."""

import pytest

from harness.catalog.algorithms import ALGORITHMS
from harness.declare import algorithm
from ml.core.contracts import (
    Choice,
    EstimatorSpec,
    FloatRange,
    IntRange,
    NetworkSpec,
    TeacherSpec,
)
from ml.core.settings import check_space, contains, declared_settings

pytestmark = pytest.mark.contract

NETWORK = NetworkSpec(architecture="mlp")
SWEPT = [entry for entry in ALGORITHMS if entry.space]


@pytest.mark.parametrize("entry", SWEPT, ids=lambda e: f"{e.id}-{e.framework}-{e.tasks[0]}")
def test_every_space_is_of_its_model_and_holds_what_is_declared(entry):
    check_space(entry.model, entry.space, None)
    declared = declared_settings(entry.model, entry.space, None)
    outside = {path for path, value in declared.items() if not contains(entry.space[path], value)}
    # A logarithmic scale has no 0, which is none in a first trial.
    assert outside <= {"optimizer.weight_decay"}
    if entry.framework != "sklearn":
        expected = {"optimizer.learning_rate", "optimizer.weight_decay", "batch_size", "epochs"}
        wider = set() if entry.id == "linear" else {"hidden", "dropout"}
        assert set(entry.space) == expected | wider


def test_a_space_of_your_own_names_parameters_and_places_in_a_network():
    rate = FloatRange(low=0.1, high=1.0)
    own = algorithm("own", "m:Own", space={"sharpness": rate, "params.depth": rate})
    assert own.space == {"params.sharpness": rate, "params.depth": rate}
    assert (own.modes, own.all_modes) == (("train",), ("train", "sweep"))
    layers = {"hidden.layers": IntRange(low=1, high=3), "hidden.units": IntRange(low=8, high=64)}
    wide = algorithm("wide", NETWORK, framework="jax", space=layers)
    assert wide.space == layers
    assert algorithm("plain", NETWORK, framework="jax").all_modes == ("train",)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({}, "algorithm 'mine': space: Dictionary should have at least 1 item"),
        ({"epochs": 3}, "algorithm 'mine': epochs: .*received 3"),
        (
            {"learning_rate": FloatRange(low=0.1, high=1.0)},
            r"space\.learning_rate is no hyperparameter.*did you mean 'optimizer.learning_rate'",
        ),
        (
            {"dropout": FloatRange(low=0.0, high=1.0)},
            r"space\.dropout is not valid.*expected less than 1; received 1.0",
        ),
        ({"hidden": Choice(values=((8,), (0,)))}, r"space\.hidden .*received \(0,\)"),
    ],
)
def test_a_wrong_space_is_an_error_where_it_is_declared(space, message):
    with pytest.raises(ValueError, match=message):
        algorithm("mine", NETWORK, framework="pytorch", space=space)


def test_a_student_has_no_space():
    teacher = TeacherSpec(framework="sklearn", model=EstimatorSpec(estimator="linear"))
    space = {"dropout": FloatRange(low=0.0, high=0.5)}
    with pytest.raises(ValueError, match="a student is not swept"):
        algorithm("small", NETWORK, framework="jax", teachers=[teacher], space=space)


@pytest.fixture
def project(pytester):
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.slow_matrix
        @pytest.mark.matrix(dataset="wine", algorithm=["mlp", "svm", "dummy"], framework="sklearn")
        def test_trained(cell):
            raise AssertionError("it was run")

        @pytest.mark.slow_matrix
        @pytest.mark.matrix(mode="sweep", dataset="wine", algorithm="mlp", framework="sklearn")
        def test_swept(cell):
            raise AssertionError("it was run")
        """
    )
    return pytester


def test_a_list_tells_which_sweeps_no_marker_asks_for_and_which_there_cannot_be(project):
    result = project.runpytest_inprocess("--matrix-list")
    result.stdout.re_match_lines(
        [
            r"wine +mlp +sklearn +sweep +classification +1",
            r"4 cells",
            r"left out:",
            r'  sweeps of svm: no marker asks for them with mode="sweep"',
            r"  sweeps of dummy: there is no space to search",
        ]
    )
    result = project.runpytest_inprocess("--matrix-list", "--matrix-mode=sweep")
    result.stdout.fnmatch_lines(["1 cell", "left out:", "  3 cells: deselected by*"])
    result = project.runpytest_inprocess("--collect-only", "-q", "-m", "sweep")
    result.stdout.fnmatch_lines(["*test_swept[[]wine-mlp-sklearn-sweep]"])
    assert "1/4 tests collected" in result.stdout.str()


def test_without_optuna_a_sweep_is_unavailable_and_names_the_remedy(project):
    project.makeconftest("import sys\nsys.modules['optuna'] = None")
    result = project.runpytest_subprocess("--matrix-list", "--matrix-mode=sweep")
    result.stdout.fnmatch_lines(
        [
            "0 cells",
            "  1 cell: sklearn is not available: for a sweep: the module 'optuna' is not installed;"
            " run: pip install 'pytest-mlmatrix[[]sweep]'",
        ]
    )
