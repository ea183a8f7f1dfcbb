"""Hold training and distillation of each framework to a budget, as its warm worker does them.

A budget is in multiples of the calibration kernel, which is timed beside each cell, so that it
holds on a slower machine too. ``make perf`` runs this and keeps the timings as a run, which
`mlmatrix history` shows.
"""

import random
import statistics

import pytest

from harness.catalog.algorithms import ALGORITHMS
from harness.execute.local import LocalExecutor
from ml.core.contracts import (
    DistillRequest,
    InlineData,
    RuntimeSpec,
    TrainRequest,
    TrainResult,
)

pytest.importorskip("pytest_benchmark")
pytestmark = pytest.mark.perf

ROWS, FEATURES, ROUNDS = 1_000, 8, 5
# Three halves and more of what they take; neighbours on a machine can slow one and not the other.
BUDGETS = {
    ("sklearn", "train"): 900,
    ("pytorch", "train"): 460,
    ("tensorflow", "train"): 560,
    ("jax", "train"): 360,
    ("pytorch", "distill"): 2_000,
    ("tensorflow", "distill"): 2_000,
    ("jax", "distill"): 1_800,
}


@pytest.fixture(scope="session")
def executor(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        # The other tracks ask the compiler for less than the matrix does.
        for name in ("XLA_FLAGS", "JAX_COMPILATION_CACHE_DIR"):
            patch.delenv(name, raising=False)
        executor = LocalExecutor(tmp_path_factory.mktemp("workers"), RuntimeSpec())
        yield executor
        executor.close()


@pytest.fixture(scope="session")
def table():
    draw = random.Random(0)
    columns = {f"x{i}": [draw.gauss(0, 1) for _ in range(ROWS)] for i in range(FEATURES)}
    sums = [sum(row) for row in zip(*columns.values(), strict=True)]
    columns["y"] = [f"class {int(value > 0) + int(value > 2)}" for value in sums]
    return InlineData(
        task="classification", target="y", columns={k: tuple(v) for k, v in columns.items()}
    )


def find(name, framework):
    return next(a for a in ALGORITHMS if (a.id, a.framework) == (name, framework))


def measure(benchmark, executor, framework, mode, request):
    if benchmark.disabled:
        pytest.skip("timings are taken alone, without xdist")
    responses = []
    benchmark.pedantic(
        lambda: responses.append(executor.send(framework, mode, request, 300.0).response),
        rounds=ROUNDS,
        warmup_rounds=1,
    )
    assert [type(response) for response in responses] == [TrainResult] * (ROUNDS + 1), responses
    beside = [response.calibration_seconds for response in responses[-ROUNDS:]]
    calibration = statistics.median(beside)
    benchmark.extra_info["calibration_seconds"] = calibration
    # Each round by the kernel beside it, since the machine's load comes and goes.
    ratios = [t / c for t, c in zip(benchmark.stats.stats.data, beside, strict=True)]
    multiple = statistics.median(ratios)
    benchmark.extra_info["multiple"] = multiple
    budget = BUDGETS[framework, mode]
    assert multiple <= budget, f"{multiple:.1f} kernels of {calibration:.6f} s, budget {budget}"


@pytest.mark.parametrize("framework", ["sklearn", "pytorch", "tensorflow", "jax"])
def test_training(benchmark, executor, table, framework):
    algorithm = find("mlp", framework)
    request = TrainRequest(
        id=f"perf-{framework}",
        data=table,
        model=algorithm.model,
        preprocessing=algorithm.preprocessing,
        replicates=1,
    )
    measure(benchmark, executor, framework, "train", request)


@pytest.mark.parametrize("framework", ["pytorch", "tensorflow", "jax"])
def test_distillation(benchmark, executor, table, framework):
    algorithm = next(
        a for a in ALGORITHMS if a.framework == framework and "distill" in a.modes and a.teachers
    )
    request = DistillRequest(
        id=f"perf-{framework}",
        data=table,
        model=algorithm.model,
        preprocessing=algorithm.preprocessing,
        teachers=algorithm.teachers,
        replicates=1,
    )
    measure(benchmark, executor, framework, "distill", request)
