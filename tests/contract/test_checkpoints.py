"""Kill trainings and take them up again: the result is that of a training in one go."""

import errno
import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.register_assert_rewrite("test_handlers", "test_request_order")

from test_handlers import failure_of, good_payload, handle  # noqa: E402
from test_learners import NEURAL  # noqa: E402
from test_request_order import ROOT, without_measures  # noqa: E402

from ml.artifacts.arrays import load_arrays  # noqa: E402
from ml.registry import ENTRY_POINTS, entry_point  # noqa: E402

pytestmark = pytest.mark.contract

WORKER = Path(__file__).with_name("killed_worker.py")
OPTIMIZERS = {
    "adam": {"name": "adam", "learning_rate": 0.05},
    "adamw": {"name": "adamw", "learning_rate": 0.05, "weight_decay": 0.1},
    "sgd": {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9},
}


def payload_of(framework, folder, optimizer="adam", **changes):
    """Return a request that has all that a training carries from epoch to epoch."""
    model = {
        "kind": "network",
        "architecture": "mlp",
        "hidden": [8],
        "norm": "batch",
        "dropout": 0.2,
        "optimizer": OPTIMIZERS[optimizer],
        "schedule": {"name": "cosine", "warmup": 1.5},
        "class_weight": "balanced",
        "epochs": 60,
        "batch_size": 16,
        "patience": 7,
    }
    checkpoint = {"folder": str(folder / "kept"), "every_epochs": 2}
    changes = {"artifact_dir": str(folder / "model"), "checkpoint": checkpoint, **changes}
    return good_payload(framework, model=model, **changes)


def outcome_of(framework, payload):
    """Return what must be equal to the last bit, and how many epochs each replicate resumed."""
    answer = without_measures(handle(framework, payload))
    assert answer["status"] == "ok", answer
    assert answer["weights"]
    resumed = [replicate.pop("resumed_epochs") for replicate in answer["replicates"]]
    return answer, resumed


def in_one_go(framework, folder, optimizer="adam"):
    payload = payload_of(framework, folder / "whole", optimizer, checkpoint=None)
    expected, resumed = outcome_of(framework, payload)
    assert resumed == [0, 0]
    first = expected["replicates"][0]
    # Patience is counted over the kill, and the best weights are not the last ones.
    assert (first["stopped"], first["epochs"]) == ("early_stopping", first["best_epoch"] + 7)
    return expected


def test_a_killed_training_resumes_to_the_bits_of_one_in_one_go(tmp_path):
    running = {}
    for framework in NEURAL:
        if importlib.util.find_spec(ENTRY_POINTS[framework][1]) is None:
            continue
        folder = tmp_path / framework
        folder.mkdir()
        (folder / "request").write_text(json.dumps(payload_of(framework, folder)))
        running[framework] = subprocess.Popen(
            [sys.executable, str(WORKER), framework, str(folder / "request"), "3"],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        )
    assert running
    for framework, process in running.items():
        folder = tmp_path / framework
        kept = folder / "kept" / "replicate-000.safetensors"
        expected = in_one_go(framework, folder)
        assert process.wait(timeout=120) == -signal.SIGKILL, framework
        assert len(load_arrays(kept.read_bytes())["history_train"]) == 6
        assert len(list(kept.parent.iterdir())) == 2, "a file was left half way"
        found, resumed = outcome_of(framework, payload_of(framework, folder))
        assert resumed == [6, 0]
        assert found == expected, framework
        assert sorted(path.name for path in kept.parent.iterdir()) == [
            "replicate-000.safetensors",
            "replicate-001.safetensors",
        ]


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("framework", NEURAL)
def test_a_full_disk_keeps_the_last_checkpoint(framework, optimizer, tmp_path, monkeypatch):
    expected = in_one_go(framework, tmp_path, optimizer)
    payload = payload_of(framework, tmp_path, optimizer)
    left, replace = [2], Path.replace

    def replace_while_there_is_room(path, target):
        if left[0] == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        left[0] -= 1
        return replace(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace_while_there_is_room)
        error = failure_of(framework, payload).error
    assert (error.code, error.field) == ("checkpoint_not_written", "checkpoint.folder")
    assert "No space left" in error.message
    assert "still there" in error.remedy
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["replicate-000.safetensors"]
    assert outcome_of(framework, payload) == (expected, [4, 0])


def test_a_complete_training_returns_its_result_without_training(tmp_path):
    payload = payload_of("pytorch", tmp_path, checkpoint=None)
    payload["checkpoint"] = {"folder": str(tmp_path / "kept"), "every_seconds": 3600.0}
    first, resumed = outcome_of("pytorch", payload)
    assert resumed == [0, 0]
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "kept").iterdir()}
    assert len(before) == 2
    again, resumed = outcome_of("pytorch", payload)
    assert again == first
    assert resumed == [replicate["epochs"] for replicate in first["replicates"]]
    assert handle("pytorch", payload)["rows_per_second"] == 0
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "kept").iterdir()} == before


@pytest.mark.parametrize(
    ("place", "value", "name"),
    [
        ("model.optimizer.learning_rate", 0.04, "model.optimizer.learning_rate"),
        ("model.patience", 8, "model.patience"),
        ("model.hidden", [8, 8], "model.hidden.1"),
        ("seed", 5, "seed"),
        ("preprocessing.scale", False, "preprocessing.scale"),
        ("data.columns.size", [0.5] * 90, "data.content_sha256"),
        ("data.split.test_fraction", 0.3, "data.split_sha256"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused_by_what_differs(tmp_path, place, value, name):
    payload = payload_of("pytorch", tmp_path, replicates=1)
    assert handle("pytorch", payload)["status"] == "ok"
    kept = tmp_path / "kept" / "replicate-000.safetensors"
    before = kept.read_bytes()
    *above, last = place.split(".")
    spot = payload
    for part in above:
        spot = spot.setdefault(part, {})
    spot[last] = value
    error = failure_of("pytorch", payload).error
    assert (error.code, error.field) == ("checkpoint_mismatch", "checkpoint.folder")
    assert name in error.message
    assert name in error.received
    assert str(tmp_path / "kept") in error.message
    assert str(kept) in error.remedy
    assert kept.read_bytes() == before


def test_another_framework_is_another_training(tmp_path):
    assert handle("pytorch", payload_of("pytorch", tmp_path, replicates=1))["status"] == "ok"
    error = failure_of("jax", payload_of("jax", tmp_path, replicates=1)).error
    assert error.code == "checkpoint_mismatch"
    assert 'framework "pytorch"' in error.expected
    assert 'framework "jax"' in error.received


def test_what_no_training_depends_on_may_change(tmp_path):
    payload = payload_of("pytorch", tmp_path, replicates=1)
    first, _ = outcome_of("pytorch", payload)
    other = {**payload, "id": "renamed", "artifact_dir": str(tmp_path / "other")}
    other["checkpoint"] = {**payload["checkpoint"], "every_epochs": 9}
    again, resumed = outcome_of("pytorch", other)
    assert resumed == [first["replicates"][0]["epochs"]]
    assert again == {**first, "id": "renamed"}


def test_a_damaged_checkpoint_is_an_outcome_with_its_remedy(tmp_path):
    payload = payload_of("pytorch", tmp_path, replicates=1)
    assert handle("pytorch", payload)["status"] == "ok"
    kept = tmp_path / "kept" / "replicate-000.safetensors"
    kept.write_bytes(kept.read_bytes()[:-1])
    failure = failure_of("pytorch", payload)
    assert (failure.outcome, failure.error.code) == ("data_invalid", "checkpoint_unreadable")
    assert str(kept) in failure.error.message
    assert "delete" in failure.error.remedy


def test_estimators_keep_no_checkpoints(tmp_path):
    checkpoint = {"folder": str(tmp_path / "kept"), "every_epochs": 1}
    for framework in ENTRY_POINTS:
        if framework in NEURAL:
            continue
        payload = good_payload(framework, checkpoint=checkpoint)
        error = failure_of(framework, payload).error
        assert (error.code, error.field) == ("no_checkpoints", "checkpoint")
        assert framework in error.message
        assert "network" in error.remedy
        assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize(
    ("checkpoint", "field", "expected"),
    [
        ({"folder": "kept"}, "checkpoint", "every_epochs or every_seconds"),
        ({"folder": "", "every_epochs": 1}, "checkpoint.folder", "at least 1"),
        (
            {"folder": "kept", "every_epochs": 0},
            "checkpoint.every_epochs",
            "greater than or equal to 1",
        ),
        ({"folder": "kept", "every_epochs": 2.5}, "checkpoint.every_epochs", "integer"),
        ({"folder": "kept", "every_seconds": 0}, "checkpoint.every_seconds", "greater than 0"),
        ({"folder": "kept", "every_epoch": 1}, "checkpoint.every_epoch", "every_epochs"),
        ("kept", "checkpoint", "an object"),
    ],
)
def test_a_checkpoint_that_says_too_little_is_refused(checkpoint, field, expected):
    error = failure_of("pytorch", good_payload("pytorch", checkpoint=checkpoint)).error
    assert error.field == field
    assert expected in error.expected


def test_a_student_goes_on_where_its_training_was_kept(tmp_path):
    teacher = {"framework": "sklearn", "model": {"kind": "estimator", "estimator": "linear"}}
    payload = payload_of("pytorch", tmp_path, teachers=[teacher], replicates=1)
    distill = entry_point("pytorch").handle_distill_request
    first, again = distill(payload), distill(payload)
    assert (first["status"], again["status"]) == ("ok", "ok"), (first, again)
    one, other = first["replicates"][0], again["replicates"][0]
    assert other["resumed_epochs"] == one["epochs"] > 0
    assert (other["history"], other["metrics"]) == (one["history"], one["metrics"])
    assert again["distillation"]["agreement"] == first["distillation"]["agreement"]
    payload["teachers"] = [{**teacher, "preprocessing": {"scale": False}}]
    refused = distill(payload)
    assert refused["error"]["code"] == "checkpoint_mismatch"
    assert "teachers.0.preprocessing.scale" in refused["error"]["message"]
    assert "data.prepared_sha256" in refused["error"]["message"]
