"""Sweep at length: each sampler and pruner, journals cut anywhere, processes killed anywhere."""

import json
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from sweep_payloads import NETWORK, answer, payload_of, sweep, told

from ml.core.contracts import parse_response
from ml.registry import entry_point

pytest.importorskip("optuna")

pytestmark = pytest.mark.system

SAMPLERS = ("random", "grid", "tpe", "gp", "cmaes")
PRUNERS = ("none", "median", "wilcoxon", "successive_halving", "hyperband")


@pytest.mark.parametrize("framework", ["sklearn", "pytorch"])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_gives_the_same_trials_again(framework, sampler):
    changes = {"sampler": sampler, "trials": 6, "batch": 2, "pruner": "none"}
    first, again = (sweep(framework, **changes).sweep for _ in range(2))
    assert told(first) == told(again)
    assert all(trial.outcome == "ok" for trial in first.trials)
    assert len(first.trials) == 6
    assert first.ended == "trials"


def value_after(trial, place, folds):
    values = [value for _, value in trial.steps[:place]]
    return values[-1] if folds == 1 else sum(values) / place


@pytest.mark.parametrize("framework", ["sklearn", "pytorch"])
@pytest.mark.parametrize("pruner", PRUNERS)
def test_every_pruner_gives_the_same_trials_again_and_ends_only_what_is_worse(framework, pruner):
    folds = 6 if pruner == "wilcoxon" or framework == "sklearn" else 1
    changes = {"pruner": pruner, "trials": 12, "folds": folds}
    first, again = (sweep(framework, **changes).sweep for _ in range(2))
    assert told(first) == told(again)
    pruned = [trial for trial in first.trials if trial.outcome == "pruned"]
    assert bool(pruned) == (pruner != "none")
    complete = [trial for trial in first.trials if trial.outcome == "ok"]
    for trial in pruned:
        place = len(trial.steps)
        further = [value_after(one, place, folds) for one in first.trials if len(one.steps) > place]
        assert value_after(trial, place, folds) < max(further)
    expected = 8 if framework == "pytorch" else 1
    assert {trial.epochs for trial in complete} == {expected * folds}


@pytest.mark.parametrize(
    ("framework", "changes"),
    [
        ("sklearn", {"sampler": "tpe"}),
        ("sklearn", {"sampler": "tpe", "pruner": "median", "folds": 3}),
        ("pytorch", {"sampler": "tpe"}),
        ("pytorch", {"sampler": "cmaes", "pruner": "hyperband"}),
        ("pytorch", {"pruner": "wilcoxon", "folds": 5}),
        ("pytorch", {"epochs": 75}),
    ],
)
def test_a_sweep_goes_on_from_wherever_its_journal_was_cut(framework, changes, tmp_path):
    changes = {"trials": 12, **changes}
    whole = sweep(framework, **changes)
    path = tmp_path / "trials.jsonl"
    kept = sweep(framework, **changes, journal=str(path))
    assert told(kept.sweep) == told(whole.sweep)
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) == 1 + len(whole.sweep.trials)
    for count in (0, 1, 3, 6, len(lines) - 2, len(lines) - 1):
        path.write_bytes(b"".join(lines[: count + 1]) + b'{"kind":"tri')
        resumed = sweep(framework, **changes, journal=str(path))
        assert resumed.sweep.resumed_trials == count
        assert told(resumed.sweep) == {**told(whole.sweep), "resumed_trials": count}
        assert resumed.replicates[0].metrics == whole.replicates[0].metrics
        assert len(path.read_bytes().splitlines()) == len(lines)


@pytest.mark.parametrize(("framework", "folds"), [("sklearn", 1), ("sklearn", 3), ("pytorch", 1)])
def test_a_sweep_that_is_out_of_time_ends_with_what_it_has(framework, folds):
    info = sweep(framework, trials=5000, batch=64, seconds=0.2, folds=folds).sweep
    assert info.ended == "seconds"
    assert 0 < len(info.trials) < 5000
    assert info.trials[info.best].value is not None
    for trial in info.trials:
        if trial.outcome == "timeout":
            assert "seconds were used up" in trial.reason


def test_an_adapter_without_a_cohort_trains_whole():
    from ml.core.contracts import SweepRequest
    from ml.core.sweep import run_sweep

    adapter = replace(entry_point("pytorch").ADAPTER, open_cohort=None)
    request = SweepRequest.model_validate_json(json.dumps(payload_of("pytorch", trials=4)))
    alone = run_sweep(request, adapter).sweep
    together = sweep("pytorch", trials=4, pruner="none").sweep
    assert [one.value for one in alone.trials] == [one.value for one in together.trials]


def test_a_sweep_that_is_killed_at_any_time_goes_on_to_the_same_end(tmp_path):
    """Kill it again and again, each time a few trials or moments later, until it comes through."""
    model = {**NETWORK, "epochs": 60, "batch_size": 4}
    changes = {"sampler": "tpe", "trials": 24, "batch": 4, "model": model, "pruner": "hyperband"}
    journal = tmp_path / "trials.jsonl"
    (tmp_path / "payload.json").write_text(
        json.dumps(payload_of("pytorch", **changes, journal=str(journal)))
    )
    whole = answer("pytorch", payload_of("pytorch", **changes))
    seed = random.randrange(2**32)
    draw, kills = random.Random(seed), 0
    while not (tmp_path / "response.json").exists():
        child = subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / "sweep_worker.py"), str(tmp_path)]
        )
        until = len(lines_of(journal)) + draw.randint(1, 5)
        while child.poll() is None and len(lines_of(journal)) < until:
            time.sleep(0.002)
        time.sleep(draw.random() / 20)
        if child.poll() is None and kills < 3:
            child.send_signal(signal.SIGKILL)
            kills += 1
        child.wait(60)
    resumed = parse_response((tmp_path / "response.json").read_text())
    assert kills == 3, seed
    assert resumed.status == "ok", (seed, resumed)
    assert resumed.sweep.resumed_trials >= 3, seed
    assert {**told(resumed.sweep), "resumed_trials": 0} == told(whole.sweep), seed
    assert [one.metrics for one in resumed.replicates] == [one.metrics for one in whole.replicates]


def lines_of(path):
    return path.read_bytes().splitlines() if path.exists() else []


def test_a_population_learns_its_settings_on_the_way(tmp_path):
    """Train it twice, since Ray draws from generators of the whole process."""
    pytest.importorskip("ray")
    space = {
        "optimizer.learning_rate": {"kind": "float", "low": 1e-5, "high": 0.3, "log": True},
        "batch_size": {"kind": "int", "low": 16, "high": 64, "step": 16},
    }
    model = {**NETWORK, "epochs": 20}
    changes = {"sampler": "pbt", "trials": 6, "space": space, "model": model}
    journal = str(tmp_path / "trials.jsonl")
    first = sweep("pytorch", **changes, journal=journal)
    assert told(sweep("pytorch", **changes).sweep) == told(first.sweep)
    trials = first.sweep.trials
    assert [trial.index for trial in trials] == list(range(6))
    assert all([step for step, _ in one.steps] == list(range(2, 21, 2)) for one in trials)
    assert first.sweep.epochs == 6 * 20
    assert any(one.reason.startswith("went on from trial ") for one in trials)
    for trial in trials:
        assert trial.outcome == "ok"
        assert 1e-5 <= trial.settings["optimizer.learning_rate"] <= 0.3
        assert trial.settings["batch_size"] in (16, 32, 48, 64)
    assert trials[first.sweep.best].value == max(one.value for one in trials)
    assert first.sweep.importance == {}
    # What the worst have taken over is better than what they began with.
    assert min(one.steps[-1][1] for one in trials) > min(one.steps[0][1] for one in trials) + 0.2
    resumed = sweep("pytorch", **changes, journal=journal).sweep
    assert {**told(resumed), "resumed_trials": 0} == told(first.sweep)
    assert resumed.resumed_trials == 6


@pytest.mark.parametrize(
    ("framework", "changes", "field"),
    [
        ("sklearn", {}, "model.kind"),
        ("pytorch", {}, "sweep.space.hidden.units"),
        ("pytorch", {"folds": 2}, "sweep.space.hidden.units"),
        ("pytorch", {"model": {**NETWORK, "schedule": {"name": "cosine"}}}, "model.schedule.name"),
    ],
)
def test_what_cannot_be_a_population_is_refused(framework, changes, field):
    failure = answer(framework, payload_of(framework, sampler="pbt", **changes))
    assert failure.error.code == "no_population"
    assert failure.error.field == field
    assert "'tpe'" in failure.error.remedy
