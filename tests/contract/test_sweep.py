import json
import sys

import numpy as np
import pytest
from sweep_payloads import (
    ESTIMATOR,
    NETWORK,
    NETWORK_SPACE,
    ROWS,
    answer,
    payload_of,
    poisoned,
    sweep,
    told,
)

from ml.core.contracts import Failure, parse_response
from ml.registry import ENTRY_POINTS, entry_point
from ml.worker import serve

pytest.importorskip("optuna")

pytestmark = pytest.mark.contract


SCALARS = {
    "optimizer.learning_rate": NETWORK_SPACE["optimizer.learning_rate"],
    "optimizer.weight_decay": {"kind": "float", "low": 0.0, "high": 0.1},
}


@pytest.mark.parametrize("framework", ENTRY_POINTS)
def test_every_framework_tunes_a_model(framework):
    # One shape, which is compiled once.
    space = None if framework == "sklearn" else SCALARS
    result = sweep(framework, space=space, replicates=2)
    info = result.sweep
    assert [trial.index for trial in info.trials] == list(range(8))
    declared = info.trials[0]
    if framework == "sklearn":
        # The estimator's own defaults.
        expected = {"params.n_neighbors": 5, "params.p": 2.0, "params.weights": "uniform"}
    else:
        expected = {"optimizer.learning_rate": 0.02, "optimizer.weight_decay": 0.0}
    assert declared.settings == expected
    assert len({str(trial.settings) for trial in info.trials}) == 8
    values = {trial.index: trial.value for trial in info.trials if trial.outcome == "ok"}
    assert len(values) > 1
    assert values[info.best] == max(values.values())
    assert info.epochs == sum(trial.epochs for trial in info.trials)
    assert info.ended == "trials"
    assert info.resumed_trials == 0
    assert info.validation_rows == result.replicates[0].validation_rows or framework == "sklearn"
    assert len(info.default_metrics) == len(result.replicates) == 2
    # Both are measured on the one split that the trials were chosen on.
    assert result.replicates[0].split_sha256 == result.replicates[1].split_sha256
    assert result.metric == "roc_auc"
    assert 0 < info.default_metrics[0]["roc_auc"] <= 1
    assert result.versions["optuna"]
    assert (result.parity is None) == (framework == "sklearn")


def test_what_is_pruned_was_trained_in_part_and_what_survives_as_if_nothing_were_looked_at():
    whole = sweep("pytorch", pruner="none", trials=9).sweep
    halved = sweep("pytorch", pruner="successive_halving", trials=9).sweep
    for trial, reference in zip(halved.trials, whole.trials, strict=True):
        assert trial.settings == reference.settings
        if trial.outcome == "ok":
            assert trial.value == reference.value
            assert [step for step, _ in trial.steps] == [1, 4, 8]
        else:
            assert trial.epochs in (1, 4)
    assert halved.epochs < whole.epochs / 2


def test_no_epoch_is_trained_twice(monkeypatch):
    from ml.core import sweep as module
    from ml.core.loop import Training

    trained, searched = [], []
    draw, refit = Training.draw_order, module.run_opened

    def counted(training):
        trained.append(training)
        return draw(training)

    def begins(*given):
        searched.append(len(trained))
        return refit(*given)

    monkeypatch.setattr(Training, "draw_order", counted)
    monkeypatch.setattr(module, "run_opened", begins)
    result = sweep("pytorch", pruner="hyperband", trials=9, epochs=70)
    assert searched[0] == result.sweep.epochs <= 70
    assert {trial.outcome for trial in result.sweep.trials} == {"ok", "pruned"}


LINEAR = {
    "model": {"kind": "estimator", "estimator": "linear"},
    "space": {
        "params.C": {"kind": "float", "low": 1e-3, "high": 10.0, "log": True},
        "params.fit_intercept": {"kind": "choice", "values": [True, False]},
    },
}


def weights_of(framework, content):
    """Return an artifact's numbers as bytes: a file of skops has other names in it each time."""
    if framework != "sklearn":
        return content
    from ml.frameworks.sklearn.serialization import load_estimator

    estimator = load_estimator(content)
    return estimator.coef_.tobytes() + estimator.intercept_.tobytes()


@pytest.mark.parametrize(("framework", "folds"), [("sklearn", 3), ("pytorch", 1)])
def test_nothing_before_the_end_depends_on_the_test_rows(framework, folds, tmp_path):
    changes = {"sampler": "tpe", "trials": 12, "folds": folds, "replicates": 2}
    changes |= {**LINEAR, "pruner": "none"} if framework == "sklearn" else {}
    clean = payload_of(framework, **changes)
    results, weights = [], []
    for name, payload in (("clean", clean), ("poisoned", poisoned(clean, range(120, ROWS)))):
        result = answer(framework, {**payload, "artifact_dir": str(tmp_path / name)})
        assert result.status == "ok", result
        results.append(result)
        [model] = (tmp_path / name).glob("model.*")
        weights.append(weights_of(framework, model.read_bytes()))
    one, other = results
    assert one.replicates[0].test_rows == 40
    found = [{**told(result.sweep), "default_metrics": None} for result in results]
    assert found[0] == found[1]
    assert len({trial.value for trial in one.sweep.trials}) > 3
    assert one.sweep.importance
    assert weights[0] == weights[1]
    assert one.parity == other.parity
    for before, after in zip(one.replicates, other.replicates, strict=True):
        assert before.history == after.history
        assert before.split_sha256 == after.split_sha256
        assert before.metrics["roc_auc"] > after.metrics["roc_auc"] + 0.1
    for before, after in zip(one.sweep.default_metrics, other.sweep.default_metrics, strict=True):
        assert before["roc_auc"] > after["roc_auc"] + 0.1


def test_a_fold_is_prepared_by_its_training_rows():
    from ml.core.contracts import SweepRequest
    from ml.core.folds import make_folds
    from ml.datasets.load import table_from_values

    request = SweepRequest.model_validate_json(json.dumps(payload_of("pytorch", folds=3)))
    adapter = entry_point("sklearn").ADAPTER
    folds, values = make_folds(request, adapter, table_from_values(request.data))
    assert len(folds) == 3
    # Windows of 30 of the 120 rows before the test, each half a window before the last.
    assert values == 60
    for fold in folds:
        means = fold.train.features[:, :2].mean(axis=0)
        assert np.abs(means).max() < 1e-6
        assert np.abs(fold.validation.features[:, :2].mean(axis=0)).max() > 0.01
        both = np.concatenate([fold.train.features, fold.validation.features])
        assert len({row.tobytes() for row in both}) == len(both)


def test_a_failed_trial_is_a_row_with_its_reason_and_the_sweep_goes_on():
    space = {"optimizer.learning_rate": {"kind": "choice", "values": [0.02, 0.05, 1e18]}}
    model = {**NETWORK, "optimizer": {"name": "sgd", "learning_rate": 0.02}}
    result = sweep("pytorch", space=space, model=model, pruner="none")
    by_rate = {one.settings["optimizer.learning_rate"]: one for one in result.sweep.trials}
    assert len(by_rate) == len(result.sweep.trials) == 3
    failed = by_rate.pop(1e18)
    assert failed.outcome == "diverged"
    assert "became" in failed.reason
    assert failed.value is None
    assert f"in epoch {failed.epochs};" in failed.reason
    assert all(trial.outcome == "ok" for trial in by_rate.values())
    assert any("1 of 3 trials failed" in text for text in result.warnings)


# (name, place in the payload, value, code, field, part of the remedy)
REFUSED = [
    ("misspelt_path", "sweep.space", {"optimizer.lerning_rate": NETWORK_SPACE["norm"]},
     "unknown_hyperparameter", "sweep.space.optimizer.lerning_rate", "optimizer.learning_rate"),
    ("bound", "sweep.space", {"dropout": {"kind": "float", "low": 0.0, "high": 1.0}},
     "invalid_space", "sweep.space.dropout", "correct"),
    ("no_space", "sweep.space", {}, "invalid_value", "sweep.space", "correct"),
    ("range", "sweep.space", {"dropout": {"kind": "float", "low": 0.5, "high": 0.1}},
     "invalid_value", "sweep.space.dropout", "correct"),
    ("kind", "sweep.space", {"dropout": {"kind": "real", "low": 0.1, "high": 0.2}},
     "invalid_value", "sweep.space.dropout.kind", "correct"),
    ("dimension", "sweep.space", {"dropout": {"kind": "float", "low": 0.1, "hihg": 0.2}},
     "unknown_field", "sweep.space.dropout.hihg", "'high'"),
    ("value", "sweep.space", {"norm": {"kind": "choice", "values": [{"a": 1}]}},
     "invalid_value", "sweep.space.norm.values.0", "correct"),
    ("sampler", "sweep.sampler", "best", "invalid_value", "sweep.sampler", "correct"),
    ("field", "sweep.trails", 3, "unknown_field", "sweep.trails", "'trials'"),
    ("folds", "sweep.pruner", "wilcoxon", "invalid_value", "sweep", "correct"),
    ("grid", "sweep.sampler", "grid", "space_not_finite",
     "sweep.space.optimizer.learning_rate", "choice"),
    ("checkpoint", "checkpoint", {"folder": "x", "every_epochs": 1}, "no_checkpoints",
     "checkpoint", "sweep.journal"),
    ("kind_of_model", "model", ESTIMATOR, "model_kind", "model.kind", "'network'"),
    ("no_validation", "data.split.validation_fraction", 1e-9, "no_validation_rows",
     "data.split.validation_fraction", "raise"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("place", "value", "code", "field", "remedy"),
    [pytest.param(*case, id=name) for name, *case in REFUSED],
)
def test_a_request_that_cannot_be_swept_is_refused_with_its_place(
    place, value, code, field, remedy
):
    payload = payload_of("pytorch")
    *above, last = place.split(".")
    spot = payload
    for part in above:
        spot = spot[part]
    spot[last] = value
    failure = answer("pytorch", payload)
    assert isinstance(failure, Failure)
    assert failure.outcome in ("error", "data_invalid")
    assert (failure.error.code, failure.error.field) == (code, field)
    assert remedy in failure.error.remedy
    assert failure.error.detail is None


def test_an_estimators_parameters_are_known_by_their_names():
    space = {"params.n_neighbours": {"kind": "int", "low": 1, "high": 9}}
    failure = answer("sklearn", payload_of("sklearn", space=space))
    assert failure.error.field == "sweep.space.params.n_neighbours"
    assert failure.error.remedy == "did you mean 'params.n_neighbors'?"
    model = {"kind": "estimator", "estimator": "linaer"}
    assert answer("sklearn", payload_of("sklearn", model=model)).error.code == "unknown_name"


def test_without_optuna_a_sweep_is_unavailable_and_says_how_to_get_it(monkeypatch):
    payload = payload_of("sklearn")
    module = entry_point("sklearn")
    for name in [name for name in sys.modules if name.split(".")[0] == "optuna"]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("search", "sweep", "trial_batches"):
        monkeypatch.delitem(sys.modules, f"ml.core.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "optuna", None)
    failure = parse_response(json.dumps(module.handle_sweep_request(payload)))
    assert failure.outcome == "unavailable"
    assert "'optuna'" in failure.error.message
    assert failure.error.remedy == "pip install 'pytest-mlmatrix[sweep]'"


def test_a_worker_sweeps(tmp_path):
    payload = payload_of("sklearn", trials=2)
    result = parse_response(serve("sklearn", "sweep", json.dumps(payload)))
    assert result.status == "ok"
    assert len(result.sweep.trials) == 2
