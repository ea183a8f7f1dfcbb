"""Run faults of every kind in real workers: each is an outcome with its reason."""

import os
import signal
from pathlib import Path

import psutil
import pytest

from harness.cell import Cell
from harness.execute.local import LocalExecutor
from ml.core.contracts import Budget, NetworkSpec, PreprocessingSpec, RuntimeSpec

pytestmark = pytest.mark.contract


def make_cell(name):
    return Cell(
        dataset=name,
        algorithm="mlp",
        framework="pytorch",
        mode="train",
        task="regression",
        descriptor=Path("none.toml"),
        model=NetworkSpec(architecture="mlp"),
        preprocessing=PreprocessingSpec(),
        budget=Budget(),
        replicates=1,
        timeout=1.0,
    )


@pytest.fixture
def executor(tmp_path):
    executor = LocalExecutor(tmp_path / "workers", worker_module="fault_worker")
    yield executor
    executor.close()


@pytest.mark.parametrize(
    ("fault", "outcome", "code", "message", "detail"),
    [
        ("raises", "error", "worker_raised", "Unprintable (it could not", "in raise_unprintable"),
        ("exits", "crashed", "worker_died", "exited with code 7 before it answered", ""),
        ("dies", "crashed", "worker_died", "exited with code 3", "last words\nand from C"),
        ("dies_at_once", "crashed", "worker_died", "the worker", ""),
        ("segfaults", "crashed", "worker_died", "signal 11 (SIGSEGV)", "Segmentation fault"),
        ("aborts", "crashed", "worker_died", "signal 6 (SIGABRT)", "Aborted"),
        ("killed", "crashed", "worker_died", "signal 9 (SIGKILL)", ""),
        ("hangs", "timeout", "time_limit", "no result within 1 s", ""),
        ("hangs_in_c", "timeout", "time_limit", "no result within 1 s", ""),
        ("babbles", "error", "bad_response", "is not a response", ""),
    ],
)
def test_a_fault_is_an_outcome_and_the_next_cell_runs(
    executor, fault, outcome, code, message, detail
):
    before = executor.run(make_cell("fine")).response
    failure = executor.run(make_cell(fault)).response
    assert (failure.outcome, failure.error.code) == (outcome, code)
    assert message in failure.error.message
    assert detail in (failure.error.detail or "")
    after = executor.run(make_cell("fine")).response
    assert (before.outcome, after.outcome) == ("data_invalid", "data_invalid")
    replaced = before.error.message != after.error.message
    assert replaced == (outcome in ("crashed", "timeout"))


def test_an_idle_worker_that_was_killed_costs_no_cell(executor):
    for _ in range(3):
        idle = int(executor.run(make_cell("fine")).response.error.message)
        os.kill(idle, signal.SIGKILL)
        response = executor.run(make_cell("fine")).response
        assert response.outcome == "data_invalid", response.error
        assert response.error.message != str(idle)


def test_a_worker_starts_with_the_threads_of_its_runtime(tmp_path):
    executor = LocalExecutor(tmp_path, RuntimeSpec(threads=3), worker_module="fault_worker")
    try:
        assert executor.run(make_cell("threads")).response.error.message == "3"
    finally:
        executor.close()


def test_closing_leaves_no_process_behind(executor):
    executor.run(make_cell("fine"))
    children = [c for c in psutil.Process().children() if "remote.py" in " ".join(c.cmdline())]
    assert len(children) == 1
    executor.close()
    assert not [child for child in children if child.is_running()]
