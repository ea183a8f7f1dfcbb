"""Measure many models at once against one after another: ``python benchmarks/many_models.py``.

K replicates of a network (MLP of 64 and 32 units on 2,000 rows of 20 features, a binary task,
Adam, 200 validation rows, early stopping's copies) differ in initial weights and in the order of
their rows. They are trained one by one and as one computation, by turns in this process on one
thread. A figure is the time together in percent of the time one by one, the median of the rounds,
by processor seconds; each round is paired. Read only ratios, times differ by machine. Under the
table stand the largest difference in any weight, and what is chosen where nothing is asked for.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"):
    os.environ[_name] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import gc
import statistics
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.artifacts.arrays import load_arrays
from ml.core.contracts import NetworkSpec, OptimizerSpec, RuntimeSpec
from ml.core.learner import Adapter, Draws, Member, Part, Problem
from ml.registry import ENTRY_POINTS, entry_point

ROWS, FEATURES, HIDDEN = 2_000, 20, (64, 32)
MODELS = (1, 2, 4, 8, 16, 32)
BATCHES = (32, 64, 128, 256, 512, 1024)
OTHERS_AT = 8
ONE_BY_ONE = 1


def make_members(count: int, batch: int, epochs: int) -> list[Member]:
    """Return replicates that differ in their random streams alone."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(ROWS, FEATURES)).astype(np.float32)
    labels = (features[:, 0] + 0.5 * rng.normal(size=ROWS) > 0).astype(np.int64)
    spec = NetworkSpec(
        architecture="mlp",
        hidden=HIDDEN,
        optimizer=OptimizerSpec(learning_rate=1e-3),
        epochs=epochs,
        batch_size=batch,
        patience=epochs,
    )
    train, held = Part(features, labels), Part(features[:200], labels[:200])
    streams = [[np.random.default_rng([k, name]) for name in range(3)] for k in range(count)]
    problem = Problem(inputs=FEATURES, classes=2)
    return [Member(spec, problem, train, held, Draws(*own), 1e9) for own in streams]


def train(adapter: Adapter, members: Sequence[Member], at_once: int) -> tuple[float, list[Any]]:
    """Return the processor seconds of training the members, and their weights."""
    assert adapter.open_cohort is not None
    # As timeit does: what one form leaves behind is not collected at another's cost.
    gc.collect()
    gc.disable()
    started = time.process_time()
    cohort = adapter.open_cohort(members, at_once)
    cohort.advance({index: one.spec.epochs for index, one in enumerate(members)})
    seconds = time.process_time() - started
    gc.enable()
    return seconds, [_flat(cohort.learner(index)) for index in range(len(members))]


def _flat(learner: Any) -> NDArray[np.float32]:
    return np.concatenate([a.ravel() for a in load_arrays(learner.serialize()).values()])


def compare(
    adapter: Adapter, count: int, batch: int, at_once: int, rounds: int, epochs: int
) -> Any:
    """Return the time together as a share of the time one by one, and the weights' difference."""
    shares, furthest = [], 0.0
    for number in range(rounds + 1):
        alone, expected = train(adapter, make_members(count, batch, epochs), ONE_BY_ONE)
        together, found = train(adapter, make_members(count, batch, epochs), at_once)
        apart = (np.abs(a - b).max() for a, b in zip(found, expected, strict=True))
        furthest = max(furthest, *map(float, apart))
        if number:
            shares.append(together / alone)
    return statistics.median(shares), furthest


def show_table(adapter: Adapter, asked: argparse.Namespace) -> None:
    """Print the table of one framework: models across, batch sizes down."""
    print(f"\n{adapter.name}: time together in percent of the time one by one")
    print(
        f"{'batch':>6}" + "".join(f"{f'K={count}':>9}" for count in asked.models) + "   automatic"
    )
    furthest = 0.0
    for batch in asked.batch:
        line, chosen = f"{batch:>6}", adapter.models_at_once(make_members(1, batch, 1)[0], 0)
        for count in asked.models:
            share, apart = compare(adapter, count, batch, 64, asked.rounds, asked.epochs)
            furthest = max(furthest, apart)
            line += f"{100 * share:>8.0f}%"
        most = max(asked.models)
        share, _ = compare(adapter, most, batch, 0, asked.rounds, asked.epochs)
        print(f"{line}   K={chosen}: {most} models in {100 * share:.0f}%", flush=True)
    print(f"largest difference in a weight: {furthest:.1e}")


def main() -> None:
    """Measure the frameworks, batches and numbers of models that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, nargs="*", default=list(MODELS))
    parser.add_argument("--batch", type=int, nargs="*", default=list(BATCHES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--others", action="store_true", help="the other frameworks too, at K=8")
    asked = parser.parse_args()
    adapters = {}
    for name in ENTRY_POINTS:
        if name == "pytorch" or asked.others:
            adapters[name] = entry_point(name).ADAPTER
            adapters[name].prepare(RuntimeSpec())
    show_table(adapters.pop("pytorch"), asked)
    for name, adapter in adapters.items():
        if adapter.open_cohort is None:
            print(f"\n{name} trains no networks: its estimators are fitted one by one")
            continue
        for batch in asked.batch:
            share, apart = compare(adapter, OTHERS_AT, batch, OTHERS_AT, asked.rounds, asked.epochs)
            print(f"{name}, K={OTHERS_AT}, batch {batch}: {100 * share:.0f}%, apart {apart:.1e}")


if __name__ == "__main__":
    main()
