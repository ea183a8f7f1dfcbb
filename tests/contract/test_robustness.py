"""Decide what hostile data, sizes and learning rates give: a result, or an outcome with its place.

Each case runs through a real entry point. What no framework sees (a file, a column, a split) is
shown by one framework; what reaches the arithmetic, by all four.
"""

import json
import re

import numpy as np
import pytest
from entry_points import entry_point_or_skip

from ml.core.contracts import EstimatorSpec, Failure, parse_response
from ml.core.learner import Draws, Part, Problem
from ml.datasets.describe import propose_descriptor, to_toml
from ml.registry import ENTRY_POINTS

pytestmark = pytest.mark.contract

ROWS = 40
LINEAR = {"kind": "network", "architecture": "linear", "epochs": 2}
MODELS = dict.fromkeys(ENTRY_POINTS, LINEAR)
MODELS["sklearn"] = {"kind": "estimator", "estimator": "linear"}
FEW = ("sklearn", "pytorch")
NEURAL = ("pytorch", "tensorflow", "jax")

SIZE = np.random.default_rng(5).normal(size=ROWS).tolist()
GROUP = ["a", "b", "c", "d"] * 10
STEPS = list(range(ROWS))
LABEL = ["yes" if value > 0 else "no" for value in SIZE]
BY_TIME = {"rule": "time", "column": "when"}
BY_GROUP = {"rule": "group", "column": "who"}


def respond(framework, data, model=None, **changes):
    """Send a request to an entry point; its response is JSON, and nothing was unforeseen."""
    module = entry_point_or_skip(framework)
    payload = {"data": data, "model": model or MODELS[framework], "replicates": 1, **changes}
    response = parse_response(json.dumps(module.handle_train_request(payload), allow_nan=False))
    if isinstance(response, Failure):
        assert response.error.code != "unexpected_exception", response.error.detail
        assert response.error.message
        assert response.error.remedy
    return response


def inline(task="classification", **columns):
    rules = {name[1:]: columns.pop(name) for name in list(columns) if name.startswith("_")}
    return {"kind": "inline", "task": task, "target": "y", "columns": columns, **rules}


def forecast(**rules):
    season = {"period": "step", "season": 4, "lags": [1]}
    columns = {"y": SIZE, "when": rules.pop("when", STEPS), "who": GROUP}
    return inline("forecasting", **columns, _split=BY_TIME, _forecast=season | rules)


def described(folder, content, suffix="csv", **changes):
    """Write a table and a descriptor for it, whose shape and hash are those of no table."""
    (folder / f"hostile.{suffix}").write_text(content)
    values = {
        "id": "hostile",
        "title": "hostile",
        "task": "classification",
        "target": "y",
        "rows": 1,
        "columns": 1,
        "content_sha256": "0" * 64,
        "source": {"kind": "file", "path": f"hostile.{suffix}", "format": suffix},
        "provenance": {"origin": "none", "licence": "none"},
    }
    (folder / "hostile.toml").write_text(to_toml(values | changes, {}))
    return {"kind": "descriptor", "path": str(folder / "hostile.toml")}


def proposed(folder, content):
    """Write a table and the descriptor that is proposed for it."""
    file = folder / "hostile.csv"
    file.write_text(content)
    (folder / "hostile.toml").write_text(propose_descriptor(file, "y"))
    return {"kind": "descriptor", "path": str(folder / "hostile.toml")}


def csv_of(*columns):
    return "\n".join(",".join(map(str, row)) for row in zip(*columns, strict=True))


# What reaches the arithmetic and still gives a result: (data, features, undefined metrics,
# part of a warning), alike in every framework.
TRAINED = {
    "class_absent_from_training": (
        inline(x=SIZE, y=["no", "yes"] * 15 + ["new"] * 10, when=STEPS, _split=BY_TIME),
        1, {"roc_auc", "average_precision"}, "",
    ),
    "constant_target": (inline("regression", x=SIZE, y=[3.5] * ROWS), 1, {"r2"}, ""),
    "constant_forecast": (
        inline("forecasting", x=SIZE, y=[3.5] * ROWS, when=STEPS, _split=BY_TIME,
               _forecast={"period": "step", "season": 4}),
        1, {"r2", "mase"}, "",
    ),
    "constant_features": (
        inline(x=[1] * ROWS, z=["q"] * ROWS, y=LABEL), 1, set(), "x left out: constant",
    ),
    "feature_wholly_missing": (
        inline(x=[None] * ROWS, z=SIZE, y=LABEL), 1, set(), "x left out: missing in every",
    ),
    "largest_floats": (
        inline(x=[1.7e308 if v > 0 else -1.7e308 for v in SIZE], y=LABEL), 1, set(), "",
    ),
    "smallest_floats": (inline(x=[5e-324 * (v > 0) for v in SIZE], y=LABEL), 1, set(), ""),
    "integers_beyond_int64": (
        inline(x=[10**30 * (1 + (v > 0)) for v in SIZE], y=[2**80 + (v > 0) for v in SIZE]),
        1, set(), "",
    ),
    "integers_beyond_float64": (  # missing, and so the value and its indicator
        inline(x=[10**400, *SIZE[1:]], y=LABEL), 2, set(), "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("framework", ENTRY_POINTS)
@pytest.mark.parametrize("name", TRAINED)
def test_what_can_be_trained_is_trained(framework, name):
    data, features, undefined, warning = TRAINED[name]
    response = respond(framework, data)
    assert response.status == "ok", response
    [replicate] = response.replicates
    assert replicate.features == features
    assert set(replicate.undefined) == undefined
    assert all(replicate.undefined.values())
    assert any(warning in text for text in response.warnings) or not warning
    assert np.isfinite(list(replicate.metrics.values())).all()
    if name == "class_absent_from_training":
        assert response.data.classes == ("new", "no", "yes")
        assert replicate.metrics["balanced_accuracy"] == 0  # the newest rows are all of it


def test_a_constant_target_is_learned_exactly_by_an_exact_solver():
    data = TRAINED["constant_target"][0]
    assert respond("sklearn", data).replicates[0].metrics["rmse"] == 0


def test_ten_thousand_columns_are_trained():
    values = np.random.default_rng(1).normal(size=(10_000, 12))
    columns = {f"c{index}": column.tolist() for index, column in enumerate(values)}
    response = respond("pytorch", inline(**columns, y=["a", "b"] * 6))
    assert response.status == "ok", response
    assert response.replicates[0].features == 10_000


def test_nan_and_infinity_in_a_file_count_as_missing(tmp_path):
    size = ["nan", "inf", "-Infinity", "1e999", "", *SIZE[5:]]
    data = proposed(tmp_path, csv_of(["x", *size], ["y", *LABEL]))
    response = respond("sklearn", data)
    assert response.status == "ok", response
    assert response.replicates[0].features == 2  # the value and the indicator of a missing one
    assert response.data.sample.rows == ROWS


def test_text_among_numbers_makes_an_undeclared_column_categorical(tmp_path):
    data = proposed(tmp_path, csv_of(["x", *[1, 2, "three", 4] * 10], ["y", *LABEL]))
    response = respond("sklearn", data)
    assert (response.data.numeric, response.data.categorical) == (0, 1)
    assert response.replicates[0].features == 4


def test_rows_without_a_target_are_left_out(tmp_path):
    labels = ["", " ", "NA", *LABEL[3:]]
    data = proposed(tmp_path, csv_of(["x", *SIZE], ["y", *labels]))
    assert respond("sklearn", data).data.sample.rows_total == ROWS - 3


# (data, outcome, code, field, part of expected or received)
REFUSED = {
    "one_class": (inline(x=SIZE, y=["no"] * ROWS), "data_invalid", "one_class", "target", "'no'"),
    "one_class_in_a_group's_training": (
        inline(x=SIZE, y=["yes" if g == "a" else "no" for g in GROUP], who=GROUP,
               _split={**BY_GROUP, "test_fraction": 0.25}),
        "data_invalid", "one_class_in_training", "split", "30 rows of the class 'no'",
    ),
    "one_class_in_the_past": (
        inline(x=SIZE, y=["no"] * 32 + ["yes"] * 8, when=STEPS, _split=BY_TIME),
        "data_invalid", "one_class_in_training", "split", "30 rows of the class 'no'",
    ),
    "no_target_in_any_row": (
        inline("regression", x=SIZE, y=[None] * ROWS), "data_invalid", "target_missing", "target",
        "at least one row",
    ),
    "infinite_target_in_any_row": (
        inline("regression", x=SIZE, y=[10**400] * ROWS), "data_invalid", "target_missing",
        "target", "at least one row",
    ),
    "target_whose_square_overflows": (
        inline("regression", x=SIZE, y=[*SIZE[1:], -1e200]), "data_invalid", "target_too_large",
        "target", "-1e+200",
    ),
    "text_target": (
        inline("regression", x=SIZE, y=LABEL), "data_invalid", "text_in_numeric", "y", "number",
    ),
    "no_target": (inline(x=SIZE, Y=LABEL), "data_invalid", "missing_column", "target", "'y'"),
    "time_beyond_int64": (
        forecast(when=[10**30 + step for step in STEPS]), "data_invalid", "bad_time", None, "2^53",
    ),
    "time_that_float64_rounds": (
        forecast(when=[2**53 + step for step in STEPS]), "data_invalid", "bad_time", None,
        str(2**53),
    ),
    "time_before_all_time": (
        forecast(when=["0001-01-01T00:00:00+23:59"] * ROWS), "data_invalid", "bad_time", None,
        "+23:59",
    ),
    "season_beyond_int64": (
        forecast(season=10**30), "error", "invalid_value", "data.forecast.season", "2147483647",
    ),
    "lag_beyond_int64": (
        forecast(lags=[10**30]), "error", "invalid_value", "data.forecast.lags.0", "2147483647",
    ),
    "series_that_is_the_time": (
        forecast(series="when"), "data_invalid", "kind_conflict", "forecast.series", "'when'",
    ),
    "nan_in_the_request": (
        inline(x=[float("nan"), *SIZE[1:]], y=LABEL), "error", "invalid_request",
        "data.columns.x.0", "finite numbers",
    ),
    "a_list_for_a_value": (
        inline(x=[[1], *SIZE[1:]], y=LABEL), "error", "invalid_value", "data.columns.x.0",
        "text, a number, true, false or null",
    ),
}  # fmt: skip


@pytest.mark.parametrize("framework", FEW)
@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_trained_is_refused_by_its_place(framework, name):
    data, outcome, code, field, words = REFUSED[name]
    response = respond(framework, data)
    assert isinstance(response, Failure), response
    assert (response.outcome, response.error.code) == (outcome, code)
    assert response.error.field == field
    assert words in f"{response.error.expected} {response.error.received}"


HEAD = "x,y\n"
TWO = HEAD + "1,a\n2,b\n"
SERIES = {
    "task": "forecasting",
    "numeric": ["x"],
    "split": {"rule": "time", "column": "when"},
    "forecast": {"period": "step", "season": 1, "series": "x"},
}
# (content, what the descriptor declares, code, field)
FILES = {
    "duplicate_columns": ("x,y,x\n1,a,2\n", {}, "duplicate_column", "x"),
    "no_target": ("x,why\n1,a\n", {}, "missing_column", "target"),
    "text_in_a_numeric_column": (
        HEAD + "1,a\n2,b\ntwo,a\n", {"numeric": ["x"]}, "text_in_numeric", "x",
    ),
    "text_in_a_numeric_target": (TWO, {"task": "regression"}, "text_in_numeric", "y"),
    "header_only": (HEAD, {}, "no_rows", None),
    "empty": ("", {}, "no_rows", None),
    "no_row_of_the_classes": (TWO, {"classes": ["c", "d"]}, "target_missing", "target"),
    "every_target_missing": (TWO, {"missing": ["a", "b"]}, "target_missing", "target"),
    "one_class_after_cleaning": (TWO, {"missing": ["b"]}, "one_class", "target"),
    "ragged": (HEAD + "1,a,7\n", {}, "ragged", None),
    "series_declared_numeric": (
        "x,y,when\n1,2,3\n2,3,4\n", SERIES, "kind_conflict", "forecast.series",
    ),
    "not_what_was_declared": (TWO, {}, "content_changed", "content_sha256"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_cannot_be_trained_is_refused_by_its_place(name, tmp_path):
    content, changes, code, field = FILES[name]
    response = respond("sklearn", described(tmp_path, content, **changes))
    assert isinstance(response, Failure), response
    assert (response.outcome, response.error.code) == ("data_invalid", code)
    assert response.error.field == field
    assert "hostile" in response.error.message
    if name == "text_in_a_numeric_column":
        assert "row 3" in response.error.message
        assert response.error.received == "'two'"


@pytest.mark.parametrize(
    "content",
    ['{"x": [1], "y": ["a"], "x": [2]}', '[{"x": 1, "x": 2}]', '{"x": 1}\n{"y": 1, "y": 2}'],
)
def test_a_name_that_stands_twice_in_json_is_refused(content, tmp_path):
    error = respond("sklearn", described(tmp_path, content, "json")).error
    assert (error.code, error.field) == ("duplicate_column", "y" if '"y": 2' in content else "x")


@pytest.mark.parametrize(
    ("field", "value"),
    [("hidden", [2**40]), ("hidden", [10**30]), ("batch_size", 2**63), ("epochs", 10**30)],
)
def test_a_size_that_no_library_can_count_is_refused(field, value):
    model = {"kind": "network", "architecture": "mlp", field: value}
    error = respond("pytorch", inline(x=SIZE, y=LABEL), model).error
    assert error.code == "invalid_value"
    assert error.field.removesuffix(".0") == f"model.{field}"
    assert "less than or equal to" in error.expected


@pytest.mark.parametrize(
    "params",
    [
        {"estimator": "random_forest", "params": {"max_depth": 10**30}},
        {"estimator": "k_nearest_neighbors", "params": {"leaf_size": 10**30}},
        {"estimator": "mlp", "params": {"hidden_layer_sizes": ["a"]}},
        {"estimator": "linear", "params": {"verbose": "much"}},
    ],
)
def test_whatever_an_estimator_raises_about_its_parameters_is_a_refusal(params):
    error = respond("sklearn", inline(x=SIZE, y=LABEL), {"kind": "estimator", **params}).error
    assert (error.code, error.field) == ("estimator_refused", "model.params")
    assert next(iter(params["params"])) in error.received


@pytest.mark.parametrize("framework", NEURAL)
@pytest.mark.parametrize(
    ("rate", "code", "words"),
    [(60.0, "loss_exploded", "the loss exploded to"), (1e30, "loss_not_finite", "the loss became")],
)
def test_a_network_that_diverges_stops_with_epoch_and_last_good_loss(framework, rate, code, words):
    model = {**LINEAR, "epochs": 500, "optimizer": {"name": "sgd", "learning_rate": rate}}
    response = respond(framework, inline("regression", x=SIZE, y=SIZE), model, replicates=2)
    assert (response.outcome, response.error.code) == ("diverged", code)
    assert re.fullmatch(
        rf"replicate 0: {words} .* in epoch \d; the last good loss was [\d.e+]+",
        response.error.message,
    )
    assert response.error.field == "model.optimizer.learning_rate"
    assert "lower the learning rate" in response.error.remedy


@pytest.mark.parametrize(
    ("params", "code", "epoch"),
    [
        ({"learning_rate_init": 1e300}, "loss_not_finite", 2),
        ({"learning_rate_init": 1e3, "solver": "sgd"}, "loss_exploded", 2),
        ({"learning_rate_init": 1e300, "max_iter": 1}, "weights_not_finite", 1),
        ({"alpha": 1e300}, "loss_not_finite", 1),
    ],
)
def test_an_mlp_of_sklearn_that_diverges_stops_with_epoch_and_last_good_loss(params, code, epoch):
    model = {"kind": "estimator", "estimator": "mlp", "params": params}
    response = respond("sklearn", inline("regression", x=SIZE, y=SIZE), model, replicates=2)
    assert (response.outcome, response.error.code) == ("diverged", code)
    assert response.error.field == "model.params.learning_rate_init"
    assert response.error.message.startswith("replicate 0: the ")
    last = "no loss was good" if "alpha" in params else r"the last good loss was 0\.\d+"
    assert re.search(rf" epoch {epoch}; {last}$", response.error.message)


def test_a_prediction_that_overflows_is_a_divergence():
    params = {"solver": "sgd", "learning_rate_init": 1e30, "max_iter": 1}
    model = {"kind": "estimator", "estimator": "mlp", "params": params}
    response = respond("sklearn", inline("regression", x=SIZE, y=SIZE), model, replicates=2)
    assert (response.outcome, response.error.code) == ("diverged", "prediction_not_finite")
    assert response.error.message.startswith("replicate 0: 10 of 10 predictions are not")


def test_watching_an_mlp_leaves_nothing_in_it_and_changes_no_bit():
    # Not above: collecting our tests imports no framework.
    from ml.frameworks.sklearn.models import build_estimator
    from ml.frameworks.sklearn.trainer import make_learner

    part = Part(np.array(SIZE, np.float32).reshape(-1, 1), np.array(SIZE, np.float32))
    problem = Problem(inputs=1, classes=0)
    spec = EstimatorSpec(estimator="mlp", params={"max_iter": 300})
    learner = make_learner(spec, problem)
    draws = Draws(*(np.random.default_rng(2) for _ in range(3)))
    learner.fit(part, None, draws, 60.0)
    plain = build_estimator(spec, problem, np.random.default_rng(2))
    plain.fit(part.features, part.target.astype(np.float64))
    assert vars(learner._estimator).keys() == vars(plain).keys()
    assert learner._estimator.loss_curve_ == plain.loss_curve_
    assert learner.predict(part.features).tolist() == plain.predict(part.features).tolist()
