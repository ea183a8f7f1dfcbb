"""Load artifacts into the framework that wrote them and into the others, and refuse bad ones."""

import json

import numpy as np
import pytest

from ml.core.errors import DataInvalid, RequestInvalid
from ml.predictor import Predictor
from ml.registry import entry_point

pytestmark = pytest.mark.contract

ROWS = 80
COLUMNS = {
    "size": [None if i % 11 == 0 else float(i % 17) for i in range(ROWS)],
    "colour": [("red", "green", "blue", None)[i % 4] for i in range(ROWS)],
}
TARGETS = {
    "regression": [3.0 * (i % 17) + (i % 4) for i in range(ROWS)],
    "classification": [("low", "mid", "high")[i % 17 // 6] for i in range(ROWS)],
}
NETWORK = {"kind": "network", "architecture": "mlp", "epochs": 3, "batch_size": 16}
NEW = {"colour": ["red", "violet", None], "size": [1, None, 1e9], "unused": [1, 2, 3]}


def train(framework, task, folder):
    payload = {
        "data": {
            "kind": "inline",
            "task": task,
            "target": "y",
            "columns": COLUMNS | {"y": TARGETS[task]},
        },
        "model": NETWORK if framework != "sklearn" else {"kind": "estimator", "estimator": "svm"},
        "replicates": 1,
        "artifact_dir": str(folder),
    }
    response = entry_point(framework).handle_train_request(payload)
    assert response["status"] == "ok", response
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return train("pytorch", "classification", tmp_path_factory.mktemp("artifact"))


@pytest.mark.parametrize("task", list(TARGETS))
def test_a_network_predicts_alike_wherever_it_is_loaded(task, tmp_path):
    for writer in ("pytorch", "tensorflow"):
        path = train(writer, task, tmp_path / writer)
        own = Predictor.load(path).predict(NEW)
        assert own.shape == ((3, 3) if task == "classification" else (3,))
        for reader in ("pytorch", "tensorflow"):
            np.testing.assert_allclose(Predictor.load(path, reader).predict(NEW), own, rtol=1e-5)


def test_an_estimator_predicts_as_it_was_trained(tmp_path):
    predictor = Predictor.load(train("sklearn", "classification", tmp_path))
    assert predictor.classes == ("high", "low", "mid")
    probabilities = predictor.predict(COLUMNS)
    found = [predictor.classes[place] for place in probabilities.argmax(axis=1)]
    wanted = TARGETS["classification"]
    assert np.mean([a == b for a, b in zip(found, wanted, strict=True)]) > 0.8


def test_a_network_and_an_estimator_are_not_loaded_into_each_other(folder, tmp_path):
    with pytest.raises(RequestInvalid, match="of pytorch cannot be loaded into sklearn"):
        Predictor.load(folder, "sklearn")
    path = train("sklearn", "regression", tmp_path)
    with pytest.raises(RequestInvalid, match="of sklearn cannot be loaded into pytorch"):
        Predictor.load(path, "pytorch")


def copy(folder, target):
    for path in folder.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target / "manifest.json"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"model_file": "../model.safetensors"}, "artifact_unreadable"),
        ({"model_file": "absent.safetensors"}, "artifact_unreadable"),
        ({"model_sha256": "0" * 64}, "artifact_changed"),
        ({"schema_version": 2}, "artifact_unreadable"),
        ({"preprocessing": {}}, "artifact_unreadable"),
        ({"model": NETWORK | {"hidden": [3]}}, "artifact_mismatch"),
        ({"model": {"kind": "estimator"}}, "artifact_unreadable"),
        ({"classes": ["a", "b"]}, "artifact_mismatch"),
    ],
)
def test_a_changed_manifest_is_refused(folder, tmp_path, change, code):
    manifest = copy(folder, tmp_path)
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | change))
    with pytest.raises(DataInvalid) as caught:
        Predictor.load(tmp_path)
    assert caught.value.code == code


@pytest.mark.parametrize("content", ["", "[]", '{"a"', "null"])
def test_a_manifest_that_is_none_is_refused(folder, tmp_path, content):
    copy(folder, tmp_path).write_text(content)
    with pytest.raises(DataInvalid, match="there is no artifact that can be read"):
        Predictor.load(tmp_path)


def test_a_cut_model_file_is_refused(folder, tmp_path):
    copy(folder, tmp_path)
    model = tmp_path / "model.safetensors"
    model.write_bytes(model.read_bytes()[:-1])
    with pytest.raises(DataInvalid, match="is not the model that its manifest was written with"):
        Predictor.load(tmp_path)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"size": [1]}, "there is no column 'colour'"),
        (NEW | {"size": [1, "two", 3]}, "column 'size', row 2 holds text"),
        (NEW | {"size": [1]}, "unequal length"),
    ],
)
def test_columns_that_do_not_fit_are_named(folder, columns, message):
    with pytest.raises(DataInvalid, match=message):
        Predictor.load(folder).predict(columns)
