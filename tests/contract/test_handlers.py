import copy
import json

import numpy as np
import pytest
from entry_points import entry_point_or_skip

from harness.catalog.algorithms import ALGORITHMS
from ml.artifacts.arrays import load_arrays
from ml.core.contracts import EstimatorSpec, Failure, NetworkSpec, TrainResult, parse_response
from ml.registry import ENTRY_POINTS
from ml.worker import serve

pytestmark = pytest.mark.contract

ACCEPTS = {algorithm.framework: type(algorithm.model) for algorithm in ALGORITHMS}
MODELS = {
    NetworkSpec: {
        "kind": "network",
        "architecture": "mlp",
        "hidden": [8],
        "optimizer": {"learning_rate": 0.05},
        "epochs": 30,
        "batch_size": 16,
    },
    EstimatorSpec: {"kind": "estimator", "estimator": "linear", "params": {"tol": 1e-3}},
}
REMOVE = object()


def table(rows=90):
    rng = np.random.default_rng(3)
    size = rng.normal(size=rows)
    colour = rng.choice(["red", "green", "blue"], rows)
    signal = size + (colour == "red") + 0.3 * rng.normal(size=rows)
    holes = rng.random(rows) < 0.1
    return {
        "size": [None if hole else float(value) for hole, value in zip(holes, size, strict=True)],
        "colour": colour.tolist(),
        "label": ["high" if value > 0.3 else "low" for value in signal],
        "value": (10 + 3 * signal).tolist(),
    }


def good_payload(framework, task="classification", **changes):
    target = "label" if task == "classification" else "value"
    columns = {name: values for name, values in table().items() if name != "label"}
    if task == "classification":
        columns = {name: values for name, values in table().items() if name != "value"}
    data = {"kind": "inline", "id": "easy", "task": task, "target": target, "columns": columns}
    model = copy.deepcopy(MODELS[ACCEPTS[framework]])
    payload = {"id": "good", "data": data, "model": model, "replicates": 2, "seed": 4}
    return {**payload, **changes}


def bad_payload(framework, place, value):
    payload = good_payload(framework)
    *above, last = place.split(".")
    spot = payload
    for part in above:
        spot = spot.setdefault(part, {})
    if value is REMOVE:
        del spot[last]
    else:
        spot[last] = value
    return payload


def handle(framework, payload):
    return entry_point_or_skip(framework).handle_train_request(payload)


def failure_of(framework, payload):
    """Handle a payload that must be refused, and check what every refusal keeps."""
    answer = handle(framework, payload)
    assert type(answer) is dict
    failure = parse_response(json.dumps(answer, allow_nan=False))
    assert isinstance(failure, Failure), answer
    assert failure.error.code != "unexpected_exception", failure.error.detail
    assert failure.error.detail is None
    assert failure.error.message
    assert failure.error.remedy
    return failure


def nest(levels):
    value = 1
    for _ in range(levels):
        value = [value]
    return value


def circle():
    value = []
    value.append(value)
    return value


# (name, place, value, code, field, part of expected, part of received, part of the remedy)
REFUSED = [
    ("data_missing", "data", REMOVE, "missing_field", "data", "value", "nothing", "add data"),
    ("model_missing", "model", REMOVE, "missing_field", "model", "value", "nothing", "add model"),
    ("target_missing", "data.target", REMOVE, "missing_field", "data.target", "", "nothing", ""),
    ("kind_missing", "model.kind", REMOVE, "missing_field", "model.kind", "", "", "model.kind"),
    ("kind_unknown", "model.kind", "tree", "invalid_value", "model.kind", "'network'", "tree", ""),
    ("misspelt", "sede", 1, "unknown_field", "sede", "seed", "1", "mean 'seed'"),
    ("misspelt_budget", "budget.row", 5, "unknown_field", "budget.row", "rows", "5", "'rows'"),
    ("misspelt_data", "data.targt", "y", "unknown_field", "data.targt", "target", "y", "target"),
    ("misspelt_split", "data.split.rul", "x", "unknown_field", "data.split.rul", "", "", "'rule'"),
    ("unlike_any", "zzzzzz", None, "unknown_field", "zzzzzz", "seed", "None", "leave it out"),
    ("text_seed", "seed", "7", "invalid_value", "seed", "integer", "'7'", "correct seed"),
    ("float_seed", "seed", 7.5, "invalid_value", "seed", "integer", "7.5", ""),
    ("negative_seed", "seed", -1, "invalid_value", "seed", "greater", "-1", ""),
    ("no_replicates", "replicates", 0, "invalid_value", "replicates", "greater", "0", ""),
    ("version_2", "schema_version", 2, "invalid_value", "schema_version", "1", "2", ""),
    ("no_time", "budget.seconds", 0, "invalid_value", "budget.seconds", "greater than 0", "0", ""),
    ("nan", "budget.rows", float("nan"), "invalid_request", "budget.rows", "finite", "nan", ""),
    ("inf", "data.columns.size", [1.0, float("inf")], "invalid_request", "data.columns.size.1",
     "finite", "inf", "null"),
    ("numpy", "data.columns.size", [np.float32(1)], "invalid_request", "data.columns.size.0",
     "numbers", "float32", "plain Python"),
    ("bytes", "id", b"cell", "invalid_request", "id", "strings", "b'cell'", ""),
    ("set", "extra", {1}, "invalid_request", "extra", "arrays", "{1}", ""),
    ("big_integer", "seed", 10**5000, "invalid_request", None, "numbers", "", ""),
    ("circle", "extra", circle(), "invalid_request", None, "arrays", "", ""),
    ("nested", "extra", nest(400), "invalid_request", None, "nesting", "recursion", "flatten"),
    ("nested_deeper", "extra", nest(50_000), "invalid_request", None, "", "RecursionError", ""),
    ("surrogate", "data.id", "\ud800", "invalid_request", None, "Unicode", "hex escape", ""),
    ("path_as_name", "data.id", "../x", "invalid_value", "data.id", "pattern", "../x", ""),
    ("no_split_column", "data.split", {"rule": "group"}, "invalid_value", "data",
     "needs split.column", "inline", ""),
    ("no_forecast", "data.task", "forecasting", "invalid_value", "data", "[forecast]", "", ""),
    ("descriptor_absent", "data", {"kind": "descriptor", "path": "none/such.toml"},
     "descriptor_unreadable", "none/such.toml", "TOML", "FileNotFoundError", "mend"),
    ("descriptor_folder", "data", {"kind": "descriptor", "path": "."},
     "descriptor_unreadable", ".", "TOML", "IsADirectoryError", ""),
    ("descriptor_null", "data", {"kind": "descriptor", "path": "a\0b"},
     "descriptor_unreadable", "a\0b", "TOML", "null byte", ""),
    ("few_rows", "budget.rows", 3, "budget_too_small", "budget.rows", "4 rows", "3 of 90", "raise"),
]  # fmt: skip


@pytest.mark.parametrize("framework", ENTRY_POINTS)
@pytest.mark.parametrize(
    ("place", "value", "code", "field", "expected", "received", "remedy"),
    [pytest.param(*case, id=name) for name, *case in REFUSED],
)
def test_a_bad_request_is_refused_by_its_field(
    framework, place, value, code, field, expected, received, remedy
):
    failure = failure_of(framework, bad_payload(framework, place, value))
    error = failure.error
    assert (error.code, error.field) == (code, field)
    assert expected in error.expected
    assert received in error.received
    assert remedy in error.remedy
    is_data = code in ("descriptor_unreadable", "budget_too_small")
    assert failure.outcome == ("data_invalid" if is_data else "error")
    assert failure.id == ("request" if field == "id" else "good")


@pytest.mark.parametrize("framework", ENTRY_POINTS)
@pytest.mark.parametrize(("given", "meant"), [("dta", "data"), ("modle", "model")])
def test_a_misspelt_field_is_named_before_the_one_that_is_thereby_missing(framework, given, meant):
    payload = good_payload(framework)
    payload[given] = payload.pop(meant)
    error = failure_of(framework, payload).error
    assert (error.code, error.field) == ("unknown_field", given)
    assert error.remedy == f"did you mean {meant!r}?"


@pytest.mark.parametrize("framework", ENTRY_POINTS)
@pytest.mark.parametrize("payload", [None, [], "train", 7, b"{}", float("nan"), {1: 2}, object()])
def test_what_is_no_request_at_all_is_refused(framework, payload):
    failure = failure_of(framework, payload)
    assert failure.error.code in ("invalid_request", "unknown_field")
    assert failure.error.expected
    assert failure.error.received
    assert (failure.id, failure.outcome) == ("request", "error")


@pytest.mark.parametrize("framework", ENTRY_POINTS)
def test_an_id_that_is_no_unicode_is_answered_all_the_same(framework):
    failure = failure_of(framework, {"id": "a\ud800b"})
    assert failure.id == "a?b"


def columns(**changes):
    return {name: cells[:12] for name, cells in table().items() if name != "value"} | changes


DATA = [
    ("one_class", {"columns": columns(label=["low"] * 12)}, "one_class", "target"),
    ("no_target", {"target": "lable"}, "missing_column", "target"),
    ("no_rows", {"columns": {"size": [], "label": []}}, "no_rows", None),
    ("no_columns", {"columns": {}}, "missing_column", "target"),
    ("ragged", {"columns": columns(size=[1.0])}, "ragged", "size"),
    ("text_target", {"task": "regression"}, "text_in_numeric", "label"),
    ("all_missing", {"columns": columns(label=[None] * 12)}, "target_missing", "target"),
    ("no_features", {"columns": {"label": ["low", "high"] * 9}}, "no_features", None),
    ("lone_classes", {"columns": columns(label=[str(n) for n in range(12)])}, "too_few_rows", None),
    ("positive", {"positive": "middle"}, "positive_unknown", "positive"),
    ("leak", {"split": {"rule": "group", "column": "label"}}, "target_leak", "split.column"),
    ("group", {"split": {"rule": "group", "column": "who"}}, "missing_column", "split.column"),
]  # fmt: skip


@pytest.mark.parametrize("framework", ENTRY_POINTS)
@pytest.mark.parametrize(
    ("changes", "code", "field"), [pytest.param(*case, id=name) for name, *case in DATA]
)
def test_bad_data_is_refused_by_its_column(framework, changes, code, field):
    payload = good_payload(framework)
    payload["data"] |= {"columns": columns(), **changes}
    failure = failure_of(framework, payload)
    assert (failure.outcome, failure.error.code) == ("data_invalid", code)
    assert field in (None, failure.error.field)
    assert failure.error.expected or failure.error.received or code == "target_leak"
    assert "easy" in failure.error.message
    if code == "missing_column" and payload["data"]["columns"] and field == "target":
        assert "did you mean 'label'?" in failure.error.remedy


@pytest.mark.parametrize("framework", ENTRY_POINTS)
def test_a_model_of_another_kind_is_refused(framework):
    accepted = ACCEPTS[framework]
    other = next(kind for kind in MODELS if kind is not accepted)
    error = failure_of(framework, good_payload(framework, model=MODELS[other])).error
    assert (error.code, error.field) == ("model_kind", "model.kind")
    assert error.expected == repr(MODELS[accepted]["kind"])
    assert error.received == repr(MODELS[other]["kind"])
    assert framework in error.message


@pytest.mark.parametrize("framework", [name for name in ACCEPTS if ACCEPTS[name] is EstimatorSpec])
@pytest.mark.parametrize(
    ("model", "code", "field", "words"),
    [
        ({"estimator": "liner"}, "unknown_name", "model.estimator", "did you mean 'linear'?"),
        ({"estimator": "zzz"}, "unknown_name", "model.estimator", "choose one of these"),
        ({"params": {"max_itr": 5}}, "unknown_name", "model.params.max_itr", "mean 'max_iter'?"),
        ({"params": {"C": -1.0}}, "estimator_refused", "model.params", "correct the parameters"),
        ({"params": {"C": "much"}}, "estimator_refused", "model.params", "correct the parameters"),
        ({"params": {"solver": "magic"}}, "estimator_refused", "model.params", "correct"),
        (
            {"estimator": "k_nearest_neighbors", "params": {"n_neighbors": 10_000}},
            "estimator_refused",
            "model.params",
            "correct the parameters",
        ),
        ({"params": {"C": {"a": 1}}}, "invalid_value", None, "correct"),
    ],
)
def test_a_bad_estimator_is_refused_by_its_parameter(framework, model, code, field, words):
    payload = good_payload(framework)
    payload["model"] |= model
    error = failure_of(framework, payload).error
    assert error.code == code
    assert field in (None, error.field)
    assert words in error.remedy
    assert error.received


@pytest.mark.parametrize("framework", [name for name in ACCEPTS if ACCEPTS[name] is NetworkSpec])
@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("model.architecture", "gan"),
        ("model.architecture", REMOVE),
        ("model.hidden", [0]),
        ("model.epochs", "9"),
        ("model.epochs", -1),
        ("model.batch_size", 0),
        ("model.optimizer.learning_rate", -1e-3),
        ("model.optimizer.learnig_rate", 1e-3),
        ("model.optimizer.beta1", 1),
        ("model.activation", "swoosh"),
        ("model.epoch", 3),
    ],
)
def test_a_bad_network_is_refused_by_its_field(framework, place, value):
    error = failure_of(framework, bad_payload(framework, place, value)).error
    assert error.field.removesuffix(".0") == place
    assert error.expected
    assert error.received


@pytest.mark.parametrize("framework", [name for name in ACCEPTS if ACCEPTS[name] is NetworkSpec])
def test_a_training_that_diverges_is_an_outcome(framework):
    payload = good_payload(framework, "regression")
    payload["model"]["optimizer"] = {"name": "sgd", "learning_rate": 1e12}
    failure = failure_of(framework, payload)
    assert (failure.outcome, failure.error.code) == ("diverged", "loss_not_finite")


@pytest.mark.parametrize("framework", ENTRY_POINTS)
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_good_request_is_answered_with_a_result(framework, task):
    payload = good_payload(framework, task)
    if task == "regression" and ACCEPTS[framework] is EstimatorSpec:
        payload["model"]["params"] = {"alpha": 0.5}
    sent = json.dumps(payload)
    answer = handle(framework, payload)
    assert json.dumps(payload) == sent
    result = parse_response(json.dumps(answer, allow_nan=False))
    assert isinstance(result, TrainResult), answer
    assert (result.id, result.framework, result.data.id) == ("good", framework, "easy")
    assert (result.data.numeric, result.data.categorical) == (1, 1)
    assert result.data.classes == (("high", "low") if task == "classification" else ())
    assert result.data.sample.rows == result.data.sample.rows_total == 90
    assert [replicate.index for replicate in result.replicates] == [0, 1]
    assert len({replicate.split_sha256 for replicate in result.replicates}) == 2
    for replicate in result.replicates:
        assert replicate.train_rows + replicate.validation_rows + replicate.test_rows == 90
        assert replicate.features == 5  # size, size:missing and three colours
        if task == "classification":
            assert replicate.metrics["roc_auc"] > 0.85 > replicate.baseline["roc_auc"] == 0.5
        else:
            assert replicate.metrics["rmse"] < 0.7 * replicate.baseline["rmse"]
        assert replicate.undefined == {}
    assert result.metric == ("roc_auc" if task == "classification" else "rmse")
    assert result.greater_is_better == (task == "classification")
    assert result.artifact is None
    assert result.parameters > 0


@pytest.mark.parametrize("framework", ENTRY_POINTS)
def test_frameworks_see_the_same_test_rows(framework):
    answer = handle(framework, good_payload(framework))
    reference = handle("sklearn", good_payload("sklearn"))
    for one, other in zip(answer["replicates"], reference["replicates"], strict=True):
        assert one["test_rows"] == other["test_rows"]
        assert one["baseline"]["accuracy"] == other["baseline"]["accuracy"]
    assert answer["data"] == reference["data"]


@pytest.mark.parametrize("framework", ENTRY_POINTS)
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_an_artifact_is_written_where_it_is_asked_for(framework, task, tmp_path):
    folder = tmp_path / "models" / "one"
    payload = good_payload(framework, task, artifact_dir=str(folder))
    payload["model"].pop("params", None)
    answer = handle(framework, payload)
    assert answer["status"] == "ok", answer
    assert answer["artifact"] == str(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["framework"] == framework
    assert manifest["task"] == task
    assert manifest["metrics"] == answer["replicates"][0]["metrics"]
    assert manifest["data_sha256"] == answer["data"]["content_sha256"]
    assert manifest["classes"] == answer["data"]["classes"]
    assert (manifest["target"] is None) == (task == "classification")
    (model,) = [path for path in folder.iterdir() if path.name != "manifest.json"]
    content = model.read_bytes()
    assert len(content) == answer["artifact_bytes"] > 0
    if ACCEPTS[framework] is NetworkSpec:
        arrays = load_arrays(content)
        assert [array.shape for array in arrays.values()] == [(5, 8), (8,), (8, 1), (1,)]
        assert sum(array.size for array in arrays.values()) == answer["parameters"]
    else:
        from ml.frameworks.sklearn.serialization import load_estimator

        assert load_estimator(content).n_features_in_ == 5


@pytest.mark.parametrize("framework", ENTRY_POINTS)
def test_an_artifact_folder_that_cannot_be_is_refused(framework, tmp_path):
    taken = tmp_path / "file"
    taken.write_text("here")
    error = failure_of(framework, good_payload(framework, artifact_dir=str(taken))).error
    assert (error.code, error.field) == ("artifact_not_written", "artifact_dir")
    assert error.received == str(taken)
    assert taken.read_text() == "here"


@pytest.mark.parametrize("framework", ENTRY_POINTS)
def test_the_worker_serves_json_as_the_handler_serves_dicts(framework):
    payload = good_payload(framework)
    served = json.loads(serve(framework, "train", json.dumps(payload)))
    direct = handle(framework, payload)
    for one, other in zip(served["replicates"], direct["replicates"], strict=True):
        assert one["metrics"] == other["metrics"]
        assert one["history"] == other["history"]
    refused = parse_response(serve(framework, "train", "[]"))
    assert refused.error.code == "invalid_request"
    assert isinstance(json.loads(serve(framework, "warm", "{}"))["pid"], int)


@pytest.mark.parametrize("operation", ["train", "warm"])
@pytest.mark.parametrize("framework", ["keras", "", "../ml", "ml.worker"])
def test_the_worker_refuses_an_unknown_framework(framework, operation):
    failure = parse_response(serve(framework, operation, "{}"))
    assert isinstance(failure, Failure)
    assert (failure.error.code, failure.error.field) == ("unknown_framework", "framework")
    assert failure.error.expected == "one of " + ", ".join(ENTRY_POINTS)
    assert failure.error.received == repr(framework)
