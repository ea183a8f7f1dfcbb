"""Measure our training beside what users would otherwise pick: ``python benchmarks/training.py``.

Everything runs in this process, on one thread, interleaved round by round; figures are medians
of the rounds, in milliseconds, wall and CPU, and the first call in seconds. A round trains twice
with each form and times the second: a worker trains with one framework, cell after cell, and
finds its code in the processor's caches. The last columns say how many times as fast as the named
peers ours is; read only those, times differ by machine.
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
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import peers

from ml.core.contracts import NetworkSpec, OptimizerSpec, RuntimeSpec
from ml.core.learner import Draws, Part, Problem
from ml.registry import ENTRY_POINTS, entry_point

EPOCHS = {2_000: 20, 20_000: 5, 200_000: 2}
BATCHES = (32, 256, 1024)
PEERS: dict[str, Callable[[peers.Work], peers.Train]] = {
    "raw torch loop": peers.make_raw_torch,
    "bare lax.scan": peers.make_bare_scan,
    "raw TF in XLA": peers.make_raw_tensorflow,
    "skorch": peers.make_skorch,
    "lightning": peers.make_lightning,
    "keras.fit": peers.make_keras,
    "scikeras": peers.make_scikeras,
    "sklearn MLP": peers.make_sklearn_mlp,
}
COMPARED = (*PEERS,)


@dataclass
class Timing:
    """Collect one form's calls."""

    first: float = 0.0
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


def make_ours(framework: str, work: peers.Work, whole: bool) -> peers.Train:
    """Train through our learner; ``whole`` adds a validation part and early stopping's copies."""
    adapter = entry_point(framework).ADAPTER
    # A warm compiled epoch is what a night of many cells runs; the first call has its price.
    adapter.prepare(RuntimeSpec(compilation="always"))
    spec = NetworkSpec(
        architecture="mlp",
        hidden=peers.HIDDEN,
        optimizer=OptimizerSpec(learning_rate=peers.LEARNING_RATE),
        epochs=work.epochs,
        batch_size=work.batch_size,
        patience=work.epochs if whole else 0,
    )
    train = Part(work.features, work.labels)
    rows = len(work.labels) // 10
    validation = Part(work.features[:rows], work.labels[:rows]) if whole else None

    def run() -> Any:
        rng = np.random.default_rng
        learner = adapter.make_learner(spec, Problem(inputs=20, classes=2))
        return learner.fit(train, validation, Draws(rng(0), rng(1), rng(2)), 1e9)

    return run


def measure(forms: dict[str, peers.Train], rounds: int) -> dict[str, Timing]:
    """Call every form once, then in turn ``rounds`` times, each time twice; time the second."""
    timings = {name: Timing() for name in forms}
    for number in range(rounds + 1):
        for name, train in forms.items():
            # As timeit does: what one form leaves behind is not collected at another's cost.
            gc.collect()
            gc.disable()
            if number > 0:
                train()
            wall, cpu = time.perf_counter(), time.process_time()
            train()
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            gc.enable()
            if number == 0:
                timings[name].first = wall
            else:
                timings[name].wall.append(wall)
                timings[name].cpu.append(cpu)
    return timings


def show(rows: int, batch: int, timings: dict[str, Timing]) -> None:
    """Print one table: each form's times, and its speed against the compared peers."""
    print(f"\nN = {rows:,}, batch {batch}, {EPOCHS[rows]} epochs")
    compared = [name for name in COMPARED if name in timings]
    print(
        f"{'form':<26}{'wall ms':>9}{'cpu ms':>9}{'first s':>9}"
        + "".join(f"{'× ' + name:>18}" for name in compared)
    )
    for name, timing in timings.items():
        wall = statistics.median(timing.wall)
        ratios = [statistics.median(timings[peer].wall) / wall for peer in compared]
        print(
            f"{name:<26}{wall * 1e3:>9.0f}{statistics.median(timing.cpu) * 1e3:>9.0f}"
            f"{timing.first:>9.2f}" + "".join(f"{ratio:>18.1f}" for ratio in ratios)
        )


def main() -> None:
    """Measure the sizes, batches and peers that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="*", default=list(EPOCHS), choices=list(EPOCHS))
    parser.add_argument("--batch", type=int, nargs="*", default=list(BATCHES))
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=list(PEERS))
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    neural = [name for name in ENTRY_POINTS if name != "sklearn"]
    for rows in asked.rows:
        rng = np.random.default_rng(0)
        features = rng.normal(size=(rows, 20)).astype(np.float32)
        labels = (features[:, 0] + 0.5 * rng.normal(size=rows) > 0).astype(np.int64)
        for batch in asked.batch:
            work = peers.Work(features, labels, batch, EPOCHS[rows])
            forms = {}
            for framework in neural:
                forms[f"ours, {framework}"] = make_ours(framework, work, whole=False)
                forms[f"ours, {framework}, whole"] = make_ours(framework, work, whole=True)
            forms |= {name: PEERS[name](work) for name in asked.peers}
            show(rows, batch, measure(forms, asked.rounds))


if __name__ == "__main__":
    main()
