"""Search an MLP beside what users would otherwise pick: ``python benchmarks/sweeps.py``.

Ours, Optuna with skorch, and Ray Tune with ASHA each get the same split of one real dataset, the
same space, number of trials, successive halving and budget of epochs, on one thread. A round runs
each once, with a seed of its own; figures are medians of the rounds. ``to the same score`` is how
long each took to reach the lower of its own and our best score of the round, and the last column
how many times as fast ours was. The peers get prepared arrays; ours is the whole request, with
reading and preparing the table, and with refitting and measuring the winner in ``whole``.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import sweep_peers
import torch

from ml.core.contracts import (
    Budget,
    Choice,
    DescriptorData,
    FloatRange,
    IntRange,
    NetworkSpec,
    SweepRequest,
    SweepSpec,
    TrainResult,
    parse_response,
)
from ml.core.metrics import primary_metric
from ml.core.splits import sample_rows, split_rows
from ml.datasets.load import load_table
from ml.preprocessing.preprocessor import fit_preprocessor
from ml.pytorch import handle_sweep_request

DATA = Path(__file__).parents[1] / "ml" / "data"
SPACE = {
    "optimizer.learning_rate": FloatRange(
        low=sweep_peers.LEARNING_RATE[0], high=sweep_peers.LEARNING_RATE[1], log=True
    ),
    "optimizer.weight_decay": FloatRange(
        low=sweep_peers.WEIGHT_DECAY[0], high=sweep_peers.WEIGHT_DECAY[1], log=True
    ),
    "hidden.layers": IntRange(low=sweep_peers.LAYERS[0], high=sweep_peers.LAYERS[1]),
    "hidden.units": Choice(values=sweep_peers.UNITS),
    "batch_size": Choice(values=sweep_peers.BATCHES),
}


def make_request(asked: argparse.Namespace, seed: int) -> SweepRequest:
    """Return our request; its trials stop early by successive halving alone."""
    return SweepRequest(
        id="sweep",
        data=DescriptorData(path=str(DATA / f"{asked.dataset}.toml")),
        model=NetworkSpec(
            architecture="mlp",
            hidden=(32, 32),
            epochs=asked.most_epochs,
            patience=0,
            batch_size=128,
        ),
        seed=seed,
        replicates=1,
        budget=Budget(rows=asked.rows, seconds=1e6),
        sweep=SweepSpec(
            space=SPACE, sampler="tpe", trials=asked.trials, epochs=asked.epochs, batch=asked.batch
        ),
    )


def make_task(asked: argparse.Namespace, request: SweepRequest) -> sweep_peers.Task:
    """Prepare for the peers the arrays that our trials are trained on, and our rungs."""
    full = load_table(DATA / f"{asked.dataset}.toml")
    table = full.take(sample_rows(full, request.budget.rows, request.seed)[0])
    split = split_rows(table, request.seed, 0, validation=True)
    preprocessor = fit_preprocessor(request.preprocessing, table, split.train)
    return sweep_peers.Task(
        features=preprocessor.transform(table, split.train),
        labels=table.target[split.train].astype("int64"),
        validation_features=preprocessor.transform(table, split.validation),
        validation_labels=table.target[split.validation].astype("int64"),
        metric=primary_metric(table),
        trials=asked.trials,
        most_epochs=asked.most_epochs,
        least_epochs=asked.most_epochs // 16,
        reduction=4,
        epochs=asked.epochs,
        seed=seed_of(request),
    )


def seed_of(request: SweepRequest) -> int:
    """Return a seed that every library takes."""
    return request.seed % 2**31


def search_with_ours(request: SweepRequest) -> tuple[sweep_peers.Course, float]:
    """Answer the request; return the course of its trials and the seconds of the whole."""
    started = time.perf_counter()
    response = parse_response(handle_json(request))
    whole = time.perf_counter() - started
    assert isinstance(response, TrainResult), response
    assert response.sweep is not None
    course = sweep_peers.Course()
    course.epochs, course.trials = response.sweep.epochs, len(response.sweep.trials)
    used, batch = 0.0, request.sweep.batch
    for start in range(0, course.trials, batch):
        told = response.sweep.trials[start : start + batch]
        used += sum(trial.seconds for trial in told)
        values = [trial.value for trial in told if trial.value is not None]
        best = max(values + [point[1] for point in course.points[-1:]])
        course.points.append((used, best))
    return course, whole


def handle_json(request: SweepRequest) -> str:
    """Return the response to the request as it crosses the wall."""
    import json

    return json.dumps(handle_sweep_request(request.model_dump(mode="json")))


PEERS: dict[str, Callable[[sweep_peers.Task], sweep_peers.Course]] = {
    "Optuna + skorch": sweep_peers.search_with_optuna,
    "Ray Tune, ASHA": sweep_peers.search_with_ray,
}


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", default="bank_marketing", help="one with two classes")
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=640, help="of all trials together")
    parser.add_argument("--most-epochs", type=int, default=32, help="of one trial")
    parser.add_argument("--batch", type=int, default=8, help="trials that ours trains together")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=list(PEERS))
    asked = parser.parse_args()
    torch.set_num_threads(1)
    rows: dict[str, list[tuple[float, ...]]] = {}
    # Once before anything is timed: imports are at nobody's cost.
    search_with_ours(make_request(argparse.Namespace(**vars(asked) | {"trials": 2}), 0))
    for number in range(asked.rounds):
        request = make_request(asked, number)
        task = make_task(asked, request)
        ours, whole = search_with_ours(request)
        rows.setdefault("ours", []).append(
            (ours.trials, ours.epochs, ours.seconds, ours.best, ours.seconds, 1.0)
        )
        rows.setdefault("ours, whole", []).append(
            (ours.trials, ours.epochs, whole, ours.best, whole, ours.seconds / whole)
        )
        for name in asked.peers:
            course = PEERS[name](task)
            common = min(course.best, ours.best)
            took = course.reach(common)
            rows.setdefault(name, []).append(
                (
                    course.trials,
                    course.epochs,
                    course.seconds,
                    course.best,
                    took,
                    took / ours.reach(common),
                )
            )
    print(
        f"{asked.dataset}, {asked.rows:,} rows at most, {asked.trials} trials, "
        f"{asked.epochs} epochs in all, medians of {asked.rounds} rounds\n"
    )
    print(
        f"{'search':<18}{'trials':>7}{'epochs':>8}{'seconds':>9}"
        f"{task.metric:>10}{'to the same score':>19}{'times ours':>12}"
    )
    for name, figures in rows.items():
        trials, epochs, seconds, best, took, ratio = map(
            statistics.median, zip(*figures, strict=True)
        )
        print(
            f"{name:<18}{trials:>7.0f}{epochs:>8.0f}{seconds:>9.2f}{best:>10.4f}"
            f"{took:>19.2f}{ratio:>12.1f}"
        )


if __name__ == "__main__":
    main()
