"""Run cells on a Ray cluster of this machine: the records are those of local workers."""

import json
import os
import re
import socket
import subprocess
import sys
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

from harness.cell import Cell, Resources
from harness.execute import ray as room
from harness.execute.local import LocalExecutor
from harness.execute.ray import RayExecutor, claim, move_home
from harness.report.pages import build_run_page
from harness.store.journal import list_runs, read_run
from ml.core.contracts import Budget, DescriptorData, NetworkSpec, PreprocessingSpec, RuntimeSpec

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(
        find_spec("ray") is None,
        reason="ray is not installed; run: pip install 'pytest-mlmatrix[ray]'",
    ),
]

TEST = """
    import pytest

    @pytest.mark.smoke
    @pytest.mark.matrix(dataset="wine", algorithm=["linear", "mlp"], framework="pytorch")
    def test_wine(cell):
        assert cell.run().outcome == "ok"
"""
# What two runs of the same cell may differ in.
OWN = {
    *("run", "started", "seconds", "timings", "rows_per_second", "peak_memory_bytes", "verdicts"),
    *("attempts", "calibration_seconds"),
}


def make_cell(name, descriptor="none.toml", **changes):
    cell = Cell(
        dataset=name,
        algorithm="mlp",
        framework="pytorch",
        mode="train",
        task="regression",
        data=DescriptorData(path=str(descriptor)),
        model=NetworkSpec(architecture="mlp"),
        preprocessing=PreprocessingSpec(),
        budget=Budget(),
        replicates=1,
        timeout=2.0,
    )
    return replace(cell, **changes)


def refuse(pytester, *arguments):
    result = pytester.runpytest_inprocess("--matrix-executor=ray", *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    return result.stderr


# It stands first: once this process is connected to a cluster, that one is used.
def test_what_cannot_be_is_a_usage_error_with_its_remedy(pytester, monkeypatch):
    pytester.makepyfile(TEST)
    refuse(pytester, "-n1").fnmatch_lines(["*Ray spreads the cells*leave -n out*"])
    refuse(pytester, "--matrix-isolation=none").fnmatch_lines(["*leave one of them out*"])
    lone = refuse(pytester, "--matrix-ray-address=auto", "--matrix-executor=local")
    lone.fnmatch_lines(["*with --matrix-executor ray only; give it too*"])
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{closed.getsockname()[1]}"
        nowhere = refuse(pytester, f"--matrix-ray-address={place}")
    nowhere.fnmatch_lines([f"*there is no Ray cluster at {place}: *refused*without an address*"])
    monkeypatch.setitem(sys.modules, "ray", None)
    refuse(pytester).fnmatch_lines(["*'ray' is not installed; run: pip install*mlmatrix[[]ray]'*"])
    assert not (pytester.path / "reports").exists()


@pytest.fixture(scope="module")
def executor(tmp_path_factory):
    """Keep one cluster for all tests; when it is closed, nothing of it is left."""
    folder = tmp_path_factory.mktemp("ray")
    before = set(psutil.Process().children(recursive=True))
    make = partial(LocalExecutor, worker_module="ray_worker")
    executor = RayExecutor(make, folder / "workers", retries=1, cpus=2)
    # Others find the process connected from here on, and leave it so.
    assert executor.resources()["CPU"] == 2
    yield executor
    started = {
        child
        for child in set(psutil.Process().children(recursive=True)) - before
        if child.ppid() != os.getpid() or "resource_tracker" not in " ".join(child.cmdline())
    }
    folder = executor.folder
    assert folder.exists()
    executor.close()
    assert not folder.exists()
    assert len(started) > 4
    _, left = psutil.wait_procs(started, timeout=20)
    assert left == []


def test_faults_of_workers_and_of_ray_are_outcomes_and_lost_cells_are_run_again(executor, tmp_path):
    once, always = tmp_path / "once", tmp_path / "always"
    cells = {
        "orphaned_once": make_cell("orphaned_once", once),
        "orphaned": make_cell("orphaned", always),
        "greedy": make_cell(
            "greedy", resources=Resources(gpus=99), runtime=RuntimeSpec(device="cuda")
        ),
        **{
            name: make_cell(name)
            for name in ("fine", "os._exit", "hang in C", "SystemExit", "devices")
        },
    }
    executor.submit(cells.values())
    executions = {name: executor.run(cell) for name, cell in cells.items()}
    ended = {name: execution.response for name, execution in executions.items()}
    assert {name: (one.outcome, one.error.code) for name, one in ended.items()} == {
        "orphaned_once": ("error", "told"),
        "orphaned": ("crashed", "node_lost"),
        "greedy": ("unavailable", "no_node"),
        "fine": ("error", "told"),
        "os._exit": ("crashed", "worker_died"),
        "hang in C": ("timeout", "time_limit"),
        "SystemExit": ("crashed", "worker_died"),
        "devices": ("error", "told"),
    }
    assert [path.stat().st_size for path in (once, always)] == [2, 2]
    assert "its node or Ray's process there was lost: " in ended["orphaned"].error.message
    lost = {name: [f.error.code for f in one.lost] for name, one in executions.items() if one.lost}
    assert lost == {"orphaned_once": ["node_lost"], "orphaned": ["node_lost"]}
    assert "has CPU 1, GPU 99" in ended["greedy"].error.message
    assert ended["devices"].error.message == "CUDA_VISIBLE_DEVICES=''"
    assert "last words" in ended["os._exit"].error.detail
    assert executor.run(cells["fine"]).response.error.code == "told"


def test_a_node_that_is_lost_costs_an_attempt_and_no_cell(tmp_path):
    script = Path(__file__).with_name("lost_node.py")
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "tries")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads((tmp_path / "tries.json").read_text())
    assert told == [["error", "told"], ["crashed", "node_lost"]]


def test_what_has_ended_is_recorded_though_its_test_never_ran(executor, pytester):
    pytester.makepyfile(
        TEST.replace(
            "assert cell.run().outcome",
            """from pathlib import Path
        import time
        session = cell._session
        while Path("stop").exists() and len(session._executor._submitted) == 2:
            session.record_ended()
            time.sleep(0.1)
        if Path("stop").exists():
            raise KeyboardInterrupt
        assert cell.run().outcome""",
        )
    )
    pytester.path.joinpath("stop").touch()
    options = ("-p", "no:cacheprovider", "--matrix-rows=100", "--matrix-executor=ray")
    result = pytester.runpytest_inprocess(*options, no_reraise_ctrlc=True)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    [folder] = list_runs(pytester.path / "reports")
    kept = {record.cell for record in read_run(folder).records}
    assert len(kept) >= 1
    pytester.path.joinpath("stop").unlink()
    again = pytester.runpytest_inprocess(*options, "--matrix-resume")
    again.assert_outcomes(passed=2)
    run = read_run(folder)
    assert len(run.records) == 2
    assert executor.run(make_cell("fine")).response.error.code == "told"


def test_an_error_of_the_node_names_what_every_node_needs(executor):
    broken = RayExecutor(partial(open, "no such", "file"), Path("logs"))
    failure = broken.run(make_cell("fine")).response
    assert (failure.outcome, failure.error.code) == ("error", "node_raised")
    assert "TypeError" in failure.error.message
    assert "same Python, packages and files" in failure.error.remedy
    broken.close()
    assert executor.run(make_cell("fine")).response.error.code == "told"


def plain(value):
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items() if key not in OWN}
    if isinstance(value, list):
        # Nodes have no folder in common where an earlier table is remembered.
        return [plain(one) for one in value if not is_drift(one)]
    return value


def is_drift(value):
    return isinstance(value, dict) and value.get("name") == "drift"


def test_the_same_matrix_gives_the_same_records_on_ray_as_locally(executor, pytester):
    pytester.makepyfile(TEST)
    options = ("-p", "no:cacheprovider", "--matrix-rows=200", "--matrix-replicates=2")
    for where in ("ray", "local"):
        result = pytester.runpytest_inprocess(*options, "--matrix-executor", where)
        result.assert_outcomes(passed=2)
    runs = {run.head.executor: run for run in map(read_run, list_runs(pytester.path / "reports"))}
    remote, local = runs["ray"], runs["local"]
    assert (remote.head.cluster["nodes"], remote.head.cluster["CPU"]) == (1, 2)
    assert local.head.cluster == {}
    shown = dict(build_run_page(remote, ()).environment)["Executor"]
    assert re.fullmatch(r"ray: 1 node, 2 CPU, (\d+ GPU, )?[\d.]+ [MGT]iB", shown)
    # Those that took longest in the first run come first in the second.
    pairs = (sorted(run.records, key=lambda record: record.cell) for run in (remote, local))
    for one, other in zip(*pairs, strict=True):
        assert one.cell == other.cell
        assert plain(one.model_dump(mode="json")) == plain(other.model_dump(mode="json"))
        assert [(v.gate, v.status) for v in one.verdicts] == [
            (v.gate, v.status) for v in other.verdicts
        ]
    assert all(record.result.replicates[1].metrics for record in remote.records)
    assert all(record.result.parity for record in remote.records)
    assert executor.run(make_cell("fine")).response.error.code == "told"


def test_a_cell_claims_its_threads_and_a_gpu_where_it_is_asked_for_one():
    needs = Resources(cpus=2, gpus=0.5, memory_mib=3)
    cell = make_cell("fine", resources=needs)
    assert claim(cell) == {"CPU": 2, "GPU": 0, "memory": 3 * 2**20}
    cell = replace(cell, runtime=RuntimeSpec(device="cuda", threads=4))
    assert claim(cell) == {"CPU": 4, "GPU": 0.5, "memory": 3 * 2**20}
    assert claim(make_cell("fine")) == {"CPU": 1, "GPU": 0, "memory": 0}


def test_our_own_datasets_are_found_where_the_node_has_them():
    cell = make_cell("wine", Path("/elsewhere/ml/data/wine.toml"))
    moved = move_home(cell, Path("/elsewhere/ml")).data
    assert moved == DescriptorData(path=str(room.ML_FOLDER / "data/wine.toml"))
    assert move_home(cell, Path("/other/ml")) is cell
