"""Measure from how many updates on compiling pays: ``python benchmarks/compilation.py``.

For every network of the catalog in TensorFlow: what an update costs in the graph and in XLA, in
microseconds, what the first epoch costs more than a warm one, in seconds, and after how many
updates the time that XLA saves has made up for that. ``ml.frameworks.tensorflow.trainer`` decides
by such numbers.
Medians of interleaved rounds over 20 features; a window of 20 values for the recurrent ones.

For JAX: the seconds of the first training in a process, of a single update, as it is compiled
and op by op. JAX compiles every operation by itself then, so that no work is small enough for it.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"):
    os.environ[_name] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

import argparse
import statistics
import time
from typing import Literal

import numpy as np

from harness.catalog.algorithms import NETWORKS
from ml.core.contracts import NetworkSpec, RuntimeSpec
from ml.core.learner import Draws, Part, Problem
from ml.frameworks.tensorflow.handlers import ADAPTER
from ml.frameworks.tensorflow.trainer import updates_to_compile

Choice = Literal["always", "never"]
FEATURES = 20


def train(spec: NetworkSpec, problem: Problem, part: Part, choice: Choice) -> float:
    """Return the seconds of a training from scratch."""
    ADAPTER.prepare(RuntimeSpec(compilation=choice))
    rng = np.random.default_rng
    started = time.perf_counter()
    ADAPTER.make_learner(spec, problem).fit(part, None, Draws(rng(0), rng(1), rng(2)), 1e9)
    return time.perf_counter() - started


def train_once_in_jax(spec: NetworkSpec) -> tuple[float, float]:
    """Return the seconds of a first training of one update, compiled and then op by op."""
    import jax

    from ml.frameworks.jax.handlers import ADAPTER as JAX

    JAX.prepare(RuntimeSpec())
    rng = np.random.default_rng
    features = rng(0).normal(size=(spec.batch_size, FEATURES)).astype(np.float32)
    seconds = []
    for op_by_op in (False, True):
        started = time.perf_counter()
        with jax.disable_jit(op_by_op):
            learner = JAX.make_learner(spec, Problem(inputs=FEATURES, classes=0))
            learner.fit(Part(features, features[:, 0]), None, Draws(rng(0), rng(1), rng(2)), 1e9)
        seconds.append(time.perf_counter() - started)
    return seconds[0], seconds[1]


def measure(spec: NetworkSpec, rows: int, rounds: int) -> dict[Choice, tuple[float, float]]:
    """Return the seconds of an update and the surplus of the first training, by choice."""
    window = tuple(range(FEATURES)) if spec.architecture == "rnn" else ()
    problem = Problem(inputs=FEATURES, classes=0, window=window)
    rng = np.random.default_rng(0)
    features = rng.normal(size=(rows, FEATURES)).astype(np.float32)
    part = Part(features, features[:, 0] + 0.1 * rng.normal(size=rows).astype(np.float32))
    choices: tuple[Choice, ...] = ("never", "always")
    first = {choice: train(spec, problem, part, choice) for choice in choices}
    warm: dict[Choice, list[float]] = {choice: [] for choice in choices}
    for _ in range(rounds):
        for choice in choices:
            warm[choice].append(train(spec, problem, part, choice))
    updates = spec.epochs * -(-rows // spec.batch_size)
    medians = {choice: statistics.median(warm[choice]) for choice in choices}
    return {choice: (medians[choice] / updates, first[choice] - medians[choice]) for choice in warm}


def main() -> None:
    """Print one line per network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    print(
        f"{'network':<12}{'graph us':>10}{'XLA us':>9}{'trace s':>9}{'compile s':>11}"
        f"{'pays from':>11}{'taken from':>12}"
    )
    for name, network in NETWORKS.items():
        spec = network.model_copy(update={"epochs": 5, "patience": 0})
        found = measure(spec, asked.rows, asked.rounds)
        (graph, traced), (compiled, surplus) = found["never"], found["always"]
        saved = graph - compiled
        pays = f"{max(surplus - traced, 0) / saved:,.0f}" if saved > 0 else "never"
        print(
            f"{name:<12}{graph * 1e6:>10.0f}{compiled * 1e6:>9.0f}{traced:>9.2f}{surplus:>11.2f}"
            f"{pays:>11}{updates_to_compile(spec):>12,}",
            flush=True,
        )
    compiled_s, by_op_s = train_once_in_jax(
        NETWORKS["mlp"].model_copy(update={"epochs": 1, "patience": 0})
    )
    print(f"JAX, mlp, one update: compiled {compiled_s:.2f} s, op by op {by_op_s:.2f} s")


if __name__ == "__main__":
    main()
