"""Run faults of every kind in real workers: each is an outcome with its reason."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest
from fault_kinds import FAULTS, SECONDS_OF_A_CHILD, Fault

from harness.cell import Cell
from harness.execute import process, remote
from harness.execute.local import LocalExecutor
from ml.core.contracts import Budget, DescriptorData, NetworkSpec, PreprocessingSpec, RuntimeSpec

pytestmark = pytest.mark.system

MORE = {
    "dies_at_once": Fault(None, "crashed", "worker_died", "code 3"),
    "babbles": Fault(None, "error", "bad_response", "is not a response"),
}
DETAILS = {
    "unprintable": "in act",
    "KeyboardInterrupt": "in act",
    "os._exit": "last words\nand from C",
    "segfault": "Segmentation fault",
    "abort": "Aborted",
}
LOST = ("crashed", "timeout", "out_of_memory")


def make_cell(name, timeout=1.0):
    return Cell(
        dataset=name,
        algorithm="mlp",
        framework="pytorch",
        mode="train",
        task="regression",
        data=DescriptorData(path="none.toml"),
        model=NetworkSpec(architecture="mlp"),
        preprocessing=PreprocessingSpec(),
        budget=Budget(),
        replicates=1,
        timeout=timeout,
    )


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    return tmp_path_factory.mktemp("workers")


@pytest.fixture(scope="module")
def shared(logs):
    executor = LocalExecutor(logs, worker_module="fault_worker", memory_limit=200)
    yield executor
    executor.close()


@pytest.fixture
def executor(tmp_path):
    executor = LocalExecutor(tmp_path / "workers", worker_module="fault_worker")
    yield executor
    executor.close()


def ask(executor):
    """Run a cell that does no harm, and return what it finds: process, folder, environment."""
    response = executor.run(make_cell("fine", timeout=30)).response
    assert response.error.code == "told", response.error
    return json.loads(response.error.message)


def is_running(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def left_running():
    return [
        found
        for found in psutil.process_iter(["cmdline", "status"])
        if SECONDS_OF_A_CHILD in (found.info["cmdline"] or ())
    ]


@pytest.mark.parametrize("name", [*FAULTS, *MORE])
def test_a_fault_is_an_outcome_and_the_next_cell_is_untouched(shared, logs, name):
    fault = {**FAULTS, **MORE}[name]
    before = ask(shared)
    patient = 1.0 if fault.outcome == "timeout" else 30.0
    failure = shared.run(make_cell(name, timeout=patient)).response
    # This worker answers what it finds where one of a framework would have a result.
    expected = ("error", "told") if fault.outcome == "ok" else (fault.outcome, fault.code)
    assert (failure.outcome, failure.error.code) == expected
    assert fault.words in failure.error.message
    assert DETAILS.get(name, "") in (failure.error.detail or "")
    after = ask(shared)
    assert {**after, "pid": 0} == {**before, "pid": 0}
    replaced = fault.outcome in LOST or fault.words == '{"status": "ok"}' or name == "child left"
    if name != "huge allocation":
        assert (before["pid"] != after["pid"]) == replaced
    assert not left_running()
    assert (logs / "pytorch.log").stat().st_size <= process.LOG_BYTES


def test_a_breach_of_memory_names_use_limit_and_option(shared):
    error = shared.run(make_cell("runaway memory", timeout=30)).response.error
    assert "more than the limit of 200 MiB; they were killed" in error.message
    assert "--matrix-memory" in error.remedy


def test_an_idle_worker_that_was_killed_costs_no_cell(executor):
    for _ in range(3):
        idle = ask(executor)["pid"]
        os.kill(idle, signal.SIGKILL)
        assert ask(executor)["pid"] != idle


def test_what_a_framework_starts_for_itself_is_no_cells_and_ends_with_its_worker(executor):
    first, again = (executor.run(make_cell("helped", timeout=30)).response for _ in range(2))
    assert first.error.code == "told"
    worker = json.loads(first.error.message)["pid"]
    assert json.loads(again.error.message)["pid"] == worker
    [helper] = remote.descendants(worker)
    executor.close()
    assert not psutil.pid_exists(helper)


def test_a_call_that_was_interrupted_costs_the_next_one_nothing(executor):
    # Whoever starts the tests in the background may have had the signal ignored.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    before = ask(executor)["pid"]
    threading.Timer(0.5, signal.raise_signal, [signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt):
        executor.run(make_cell("hang in Python", timeout=30))
    signal.signal(signal.SIGINT, handler)
    assert ask(executor)["pid"] != before


def test_a_worker_starts_with_the_threads_of_its_runtime(tmp_path):
    executor = LocalExecutor(tmp_path, RuntimeSpec(threads=3), worker_module="fault_worker")
    try:
        assert ask(executor)["environment"]["OMP_NUM_THREADS"] == "3"
    finally:
        executor.close()


def test_a_fresh_executor_gives_each_cell_a_process_of_its_own(tmp_path):
    executor = LocalExecutor(tmp_path, worker_module="fault_worker", fresh=True)
    pids = [ask(executor)["pid"] for _ in range(2)]
    assert pids[0] != pids[1]
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_closing_leaves_no_process_behind(executor):
    worker = ask(executor)["pid"]
    # Other tests of this process may have kept workers of their own.
    guards = [c for c in psutil.Process().children() if remote.__file__ in c.cmdline()]
    [guard] = [one for one in guards if worker in remote.descendants(one.pid)]
    executor.close()
    assert not guard.is_running()
    assert not psutil.pid_exists(worker)


HARNESS = """
import sys, time
from pathlib import Path
from harness.execute.process import WorkerProcess

worker = WorkerProcess(Path(sys.argv[1]), 1, 2**40)
worker.ask("fault_worker", "pytorch", "warm", "{}", 30)
print(worker._guard.pid, flush=True)
worker.ask("fault_worker", "pytorch", "train", '{"id": "child left"}', 30)
worker = WorkerProcess(Path(sys.argv[1]), 1, 2**40)
print(worker._guard.pid, flush=True)
worker.ask("fault_worker", "pytorch", "train", '{"id": "runaway child"}', 30)
"""


def test_a_harness_that_is_killed_leaves_no_process_behind(tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", HARNESS, str(tmp_path / "log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as harness:
        first, second = (int(harness.stdout.readline()) for _ in range(2))
        for _ in range(200):
            below = remote.descendants(second)
            if len(below) == 2:  # The worker, and the child that it waits for.
                break
            time.sleep(0.05)
        harness.kill()
    assert len(below) == 2
    for _ in range(200):
        alive = [pid for pid in (first, second, *below) if is_running(pid)]
        if not alive:
            break
        time.sleep(0.05)
    assert not alive
