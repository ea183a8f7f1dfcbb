"""End sweeps in each way: failing trials, limits, journals; and go on with them."""

import json

import pytest
from sweep_payloads import (
    ESTIMATOR,
    NETWORK,
    answer,
    payload_of,
    sweep,
    told,
)

from ml.core.contracts import Failure, NetworkSpec
from ml.core.imported import PROJECT
from ml.registry import entry_point

pytest.importorskip("optuna")

pytestmark = pytest.mark.system


MODULE = """
import numpy as np
from sklearn.linear_model import LogisticRegression

class Moody(LogisticRegression):
    def __init__(self, mood="good", C=1.0):
        super().__init__(C=C)
        self.mood = mood

    def fit(self, X, y):
        if self.mood == "greedy":
            raise MemoryError("no room")
        if self.mood == "broken":
            raise KeyError("a fault of its own")
        return super().fit(X, y)
"""


@pytest.fixture
def moody(tmp_path, monkeypatch):
    (tmp_path / "moody_project.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv(PROJECT, str(tmp_path))
    return {"kind": "imported", "target": "moody_project:Moody"}


def test_whatever_a_trial_raises_is_its_own_row(moody):
    space = {"params.mood": {"kind": "choice", "values": ["good", "greedy", "broken", "best"]}}
    trials = sweep("sklearn", space=space, model=moody).sweep.trials
    rows = {trial.settings["params.mood"]: (trial.outcome, trial.reason) for trial in trials}
    assert rows["good"] == rows["best"] == ("ok", "")
    assert rows["greedy"][0] == "out_of_memory"
    assert rows["broken"][0] == "error"
    assert "a fault of its own" in rows["broken"][1]


def test_a_sweep_without_any_value_names_the_most_frequent_reason(moody):
    space = {
        "params.mood": {"kind": "choice", "values": ["broken", "greedy"]},
        "params.C": {"kind": "choice", "values": [0.5, 2.0]},
    }
    model = {**moody, "params": {"mood": "greedy"}}
    failure = answer("sklearn", payload_of("sklearn", space=space, model=model))
    assert isinstance(failure, Failure)
    # The declared model is outside of the space, and is greedy, too.
    assert failure.outcome == "out_of_memory"
    assert failure.error.code == "no_trial_succeeded"
    assert "none of the 5 trials has a value: 3 ended with out_of_memory" in failure.error.message
    assert "no room" in failure.error.message
    assert failure.error.field == "sweep.space"
    assert failure.error.remedy


def test_settings_that_do_not_fit_each_other_are_a_row():
    space = {
        "heads": {"kind": "choice", "values": [4, 5]},
        "width": {"kind": "choice", "values": [20, 24]},
    }
    model = {
        "kind": "network", "architecture": "transformer", "hidden": [4], "width": 24, "heads": 4,
        "epochs": 1, "batch_size": 64,
    }  # fmt: skip
    info = sweep("pytorch", space=space, model=model).sweep
    rows = {(one.settings["width"], one.settings["heads"]): one for one in info.trials}
    assert len(rows) == 4
    assert rows[24, 5].outcome == "error"
    assert "width 24 cannot be parted among 5 heads" in rows[24, 5].reason
    assert [rows[key].outcome for key in ((20, 4), (20, 5), (24, 4))] != ["error"] * 3


@pytest.mark.parametrize(
    ("framework", "limits", "ended", "trials"),
    [
        ("sklearn", {"epochs": 6}, "epochs", 6),
        ("sklearn", {"epochs": 7, "folds": 2, "pruner": "none"}, "epochs", 3),
        ("sklearn", {"sampler": "grid"}, "exhausted", 6),
        ("pytorch", {"epochs": 20, "pruner": "none"}, "epochs", 4),
        ("pytorch", {"epochs": 1}, "epochs", 1),
    ],
)
def test_a_sweep_ends_by_whichever_limit_comes_first(framework, limits, ended, trials):
    info = sweep(framework, **{"trials": 50, **limits}).sweep
    assert info.ended == ended
    assert len(info.trials) == trials
    if "epochs" in limits:
        assert info.epochs <= limits["epochs"]
        assert info.epochs > limits["epochs"] - 4


def test_a_sweep_ends_where_none_was_better_for_long():
    info = sweep("pytorch", trials=60, patience=8).sweep
    assert info.ended == "patience"
    assert 8 <= len(info.trials) - 1 - info.best < 8 + 4


def test_what_a_journal_holds_is_not_trained_again(tmp_path, monkeypatch):
    path = str(tmp_path / "trials.jsonl")
    first = sweep("pytorch", journal=path)
    from ml.core import trial_batches

    def refuse(*_):
        raise AssertionError("a recorded trial is trained")

    monkeypatch.setattr(trial_batches, "open_trainees", refuse)
    again = sweep("pytorch", journal=path)
    assert again.sweep.trials == first.sweep.trials
    assert again.sweep.resumed_trials == 8


def test_a_sweep_goes_on_from_wherever_its_journal_was_cut(tmp_path):
    path = tmp_path / "trials.jsonl"
    changes = {"sampler": "tpe", "trials": 7, "epochs": 40}
    whole = sweep("pytorch", **changes, journal=str(path)).sweep
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) == 1 + len(whole.trials)
    for count in (0, 2, 5):
        path.write_bytes(b"".join(lines[: count + 1]) + b'{"kind":"tri')
        resumed = sweep("pytorch", **changes, journal=str(path)).sweep
        assert told(resumed) == {**told(whole), "resumed_trials": count}
        assert len(path.read_bytes().splitlines()) == len(lines)


def test_a_journal_of_another_request_is_refused(tmp_path):
    path = str(tmp_path / "trials.jsonl")
    kept = {"trials": 2, "journal": path}
    sweep("sklearn", **kept)
    # Where the model is put is nothing to the trials.
    assert sweep("sklearn", **kept, artifact_dir=str(tmp_path)).sweep.resumed_trials == 2
    other = payload_of("sklearn", **kept)
    other["data"]["columns"]["size"][0] += 1.0
    model = {**ESTIMATOR, "params": {"n_neighbors": 3}}
    for payload in (
        other,
        payload_of("sklearn", **{**kept, "trials": 3}),
        payload_of("sklearn", **kept, sampler="tpe"),
        payload_of("sklearn", **kept, model=model),
    ):
        assert answer("sklearn", payload).error.code == "journal_mismatch"


def test_a_winner_that_cannot_be_refitted_gives_way_to_the_next(monkeypatch):
    from ml.core import sweep as module
    from ml.core.errors import TrainingDiverged

    plain = sweep("pytorch", trials=6, pruner="none")
    refit = module.run_opened

    def fails_once(request, *given):
        if request.model == plain_model:
            raise TrainingDiverged("replicate 0: the loss became nan")
        return refit(request, *given)

    from ml.core.settings import apply_settings

    best = plain.sweep.trials[plain.sweep.best]
    declared = NetworkSpec.model_validate_json(json.dumps(NETWORK))
    plain_model = apply_settings(declared, best.settings) if best.index else declared
    monkeypatch.setattr(module, "run_opened", fails_once)
    other = sweep("pytorch", trials=6, pruner="none")
    ranked = sorted(plain.sweep.trials, key=lambda trial: (-trial.value, trial.index))
    assert [ranked[0].index, ranked[1].index] == [plain.sweep.best, other.sweep.best]
    assert any("could not be refitted" in text for text in other.warnings)


def test_a_member_of_a_population_goes_on_from_anothers_weights_and_moments(tmp_path):
    from ml.core.contracts import SweepRequest
    from ml.core.folds import make_folds
    from ml.core.members import WORST, Member, Setup
    from ml.datasets.load import table_from_values

    request = SweepRequest.model_validate_json(json.dumps(payload_of("pytorch", sampler="pbt")))
    adapter = entry_point("pytorch").ADAPTER
    [fold], _ = make_folds(request, adapter, table_from_values(request.data))
    setup = Setup(adapter, request, request.model.model_copy(update={"epochs": 40}), fold)
    assert setup.interval == 4

    def member(name, index=0):
        (tmp_path / name).mkdir()
        return Member(setup, name, index, tmp_path / name)

    low, high = {"optimizer.learning_rate": 0.003}, {"optimizer.learning_rate": 0.03}
    whole, first, other = member("whole"), member("first"), member("other")
    straight = [whole.train(settings) for settings in (low, high, low)]
    assert [one["epochs"] for one in straight] == [4, 8, 12]
    assert len({one["value"] for one in straight}) == 3
    assert first.train(low) == straight[0]
    first.keep(tmp_path / "kept")
    other.train(high)
    other.take(tmp_path / "kept")
    assert other.train(high) == {**straight[1], "origin": ("first", 4)}
    assert other.train(low) == straight[2]
    broken = member("broken", 1)
    failed = broken.train({"optimizer.learning_rate": 1e30})
    assert failed["value"] == -WORST
    assert failed["failed"][0] == "diverged"
    assert broken.train(low)["failed"] == failed["failed"]
    broken.take(tmp_path / "kept")
    assert broken.train(high)["failed"] is None
