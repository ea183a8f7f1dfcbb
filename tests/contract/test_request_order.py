import importlib.util
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from harness.catalog.algorithms import ALGORITHMS
from ml.core.contracts import EstimatorSpec
from ml.registry import ENTRY_POINTS, entry_point

pytestmark = pytest.mark.contract

ROOT = Path(__file__).parents[2]
WORKER = Path(__file__).with_name("order_worker.py")
ACCEPTS = {algorithm.framework: type(algorithm.model) for algorithm in ALGORITHMS}


def data(task, rows, seed):
    rng = np.random.default_rng(seed)
    columns = {f"x{number}": rng.normal(size=rows).round(6).tolist() for number in range(4)}
    columns["c"] = rng.choice(["a", "b", "ü"], rows).tolist()
    signal = np.array(columns["x0"]) - np.array(columns["x1"]) + 0.5 * rng.normal(size=rows)
    columns["y"] = signal.tolist()
    if task == "classification":
        columns["y"] = ["yes" if value > 0 else "no" for value in signal]
    return {"kind": "inline", "task": task, "target": "y", "columns": columns}


def requests_for(framework):
    """Return requests that share as much as they can: architecture, widths, or an algorithm.

    The first two differ in their number of rows only, so that what was compiled for one may
    serve the other; a failing one stands between.
    """
    if ACCEPTS[framework] is EstimatorSpec:
        models = [
            {"kind": "estimator", "estimator": "mlp", "params": {"max_iter": 20}},
            {"kind": "estimator", "estimator": "mlp", "params": {"max_iter": 20}},
            {"kind": "estimator", "estimator": "hist_gradient_boosting", "params": {"max_iter": 9}},
            {"kind": "estimator", "estimator": "random_forest", "params": {"n_estimators": 9}},
        ]
        broken = {"kind": "estimator", "estimator": "linear", "params": {"C": -1.0}}
    else:
        network = {"kind": "network", "hidden": [12, 6], "epochs": 9, "batch_size": 16}
        network["optimizer"] = {"learning_rate": 0.02}
        models = [
            {**network, "architecture": "mlp"},
            {**network, "architecture": "mlp"},
            {
                **network,
                "architecture": "linear",
                "optimizer": {"name": "sgd", "learning_rate": 0.01, "momentum": 0.9},
            },
            {**network, "architecture": "mlp", "norm": "batch", "dropout": 0.2},
        ]
        broken = {**models[2], "optimizer": {"name": "sgd", "learning_rate": 1e30}}
    tables = [
        data("classification", 120, 1),
        data("classification", 87, 2),
        data("regression", 120, 3),
        data("regression", 64, 4),
    ]
    task = "classification" if ACCEPTS[framework] is EstimatorSpec else "regression"
    pairs = [*zip(models, tables, strict=True)]
    pairs.insert(2, (broken, data(task, 90, 5)))
    return [
        {"id": f"r{number}", "data": table, "model": model, "replicates": 1, "seed": 11 + number}
        for number, (model, table) in enumerate(pairs)
    ]


def weights_of(folder):
    """Return an artifact's model: the bytes of safetensors, or those of the arrays in a skops."""
    [model] = folder.glob("model*")
    if model.suffix == ".safetensors":
        return model.read_bytes()
    # A zip holds the times of its members, and the schema addresses in memory.
    with zipfile.ZipFile(model) as content:
        return sorted(content.read(name) for name in content.namelist() if name.endswith(".npy"))


def without_measures(answer):
    """Return an answer without what is measured, and its artifact's weights instead of its path."""
    measured = (
        *("timings", "rows_per_second", "peak_memory_bytes", "calibration_seconds"),
        *("replicates", "artifact"),
    )
    plain = {name: value for name, value in answer.items() if name not in measured}
    if answer.get("artifact"):
        plain["weights"] = weights_of(Path(answer["artifact"]))
    plain["replicates"] = [
        {name: value for name, value in replicate.items() if name != "timings"}
        for replicate in answer.get("replicates", [])
    ]
    return plain


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """Let a process of each framework serve its requests there and back, all at once."""
    folder = tmp_path_factory.mktemp("order")
    running = {}
    for framework in ENTRY_POINTS:
        if importlib.util.find_spec(ENTRY_POINTS[framework][1]) is None:
            continue
        requests = requests_for(framework)
        batch = [
            {**request, "artifact_dir": str(folder / f"{framework}-{place}")}
            for place, request in enumerate(requests + requests[::-1])
        ]
        (folder / f"{framework}.requests").write_text(json.dumps(batch))
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
            "PYTHONHASHSEED": "0",
        }
        running[framework] = subprocess.Popen(
            [sys.executable, str(WORKER), framework, str(folder), framework], env=environment
        )
    # All of them are waited for before one is looked at, so that none stays behind.
    ended = {name: process.wait(timeout=120) for name, process in running.items()}
    logs = {name: folder / f"{name}.log" for name, status in ended.items() if status}
    assert not {name: log.read_text() if log.exists() else "" for name, log in logs.items()}
    return {name: json.loads((folder / f"{name}.answers").read_text()) for name in running}


@pytest.mark.parametrize("framework", ENTRY_POINTS)
def test_a_result_does_not_depend_on_what_its_worker_did_before(framework, answers):
    if framework not in answers:
        pytest.skip(f"{framework} is not installed")
    served = answers[framework]
    count = len(served) // 2
    assert [answer["status"] for answer in served[:count]] == ["ok", "ok", "error", "ok", "ok"]
    assert served[2]["outcome"] == ("error" if ACCEPTS[framework] is EstimatorSpec else "diverged")
    for first, again in zip(served[:count], reversed(served[count:]), strict=True):
        assert first["id"] == again["id"]
        assert without_measures(first) == without_measures(again)
    for answer in served[:2]:
        assert answer["replicates"][0]["metrics"]["roc_auc"] > 0.6
        assert answer["threads"] == 1
    hashes = {r["split_sha256"] for answer in served for r in answer.get("replicates", [])}
    assert len(hashes) == 4


@pytest.mark.parametrize("framework", ENTRY_POINTS)
def test_a_fresh_process_gives_the_result_of_a_warm_one(framework, answers, tmp_path):
    if framework not in answers:
        pytest.skip(f"{framework} is not installed")
    fresh = answers[framework][0]
    # This process has served others before, and one that shares what was compiled.
    for request in requests_for(framework)[1::-1]:
        asked = {**request, "artifact_dir": str(tmp_path / request["id"])}
        warm = entry_point(framework).handle_train_request(asked)
    assert (warm["id"], warm["status"]) == (fresh["id"], "ok")
    assert without_measures(warm) == without_measures(fresh)
