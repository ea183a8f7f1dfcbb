"""Run pytest with the plugin, as a user's project does, on a small dataset of its own."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from unused_plugins import UNUSED

from harness.store.journal import list_runs, read_run
from ml.datasets.__main__ import main

pytestmark = pytest.mark.smoke

SCRIPT = Path(sys.executable).with_name("mlmatrix")
INI = "[pytest]\nmatrix_data = tables\n"
TABLE = "\n".join(
    [
        "size,colour,price",
        *(f"{i % 13},{'red' if i % 3 else 'blue'},{2 * (i % 13) + i % 3}" for i in range(120)),
    ]
)
TESTS = """
    import pytest

    @pytest.mark.smoke
    @pytest.mark.matrix(dataset="prices", algorithm=["dummy", "linear"])
    def test_prices(cell):
        record = cell.run()
        assert record.dataset == "prices"
"""
STUDENTS = """
    @pytest.mark.smoke
    @pytest.mark.matrix(
        dataset="prices", algorithm="student", framework=["pytorch", "tensorflow"]
    )
    def test_students(cell):
        assert cell.run().result.distillation.agreement > 0.5
"""


@pytest.fixture(scope="module")
def descriptor(tmp_path_factory):
    """Let our own command describe the dataset."""
    table = tmp_path_factory.mktemp("described") / "prices.csv"
    table.write_text(TABLE)
    command = [SCRIPT, "data", "describe", table, "--target", "price"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def make_project(path, descriptor, tests=TESTS):
    """Make a project with one dataset and one file of matrix tests."""
    folder = path / "tables"
    folder.mkdir()
    (folder / "prices.csv").write_text(TABLE)
    (folder / "prices.toml").write_text(descriptor)
    (path / "pytest.ini").write_text(INI)
    (path / "test_matrix.py").write_text(textwrap.dedent(tests))


@pytest.fixture
def project(pytester, descriptor):
    make_project(pytester.path, descriptor)
    return pytester


@pytest.fixture(scope="module")
def night(tmp_path_factory, descriptor):
    """Run every framework and a student once; return what was printed, and where."""
    path = tmp_path_factory.mktemp("night")
    make_project(path, descriptor, textwrap.dedent(TESTS) + textwrap.dedent(STUDENTS))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-m", "smoke", "--matrix-replicates", "2"],
        cwd=path,
        env={**os.environ, "PYTEST_ADDOPTS": UNUSED},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout, path


def journal_of(path):
    [folder] = list_runs(path / "reports")
    return read_run(folder)


def test_cells_run_into_journal_page_and_verbose_lines(night):
    output, path = night
    lines = pytest.LineMatcher(output.splitlines())
    lines.re_match_lines(
        [
            r".*test_prices\[prices-dummy-sklearn-train\] PASSED rmse .* \(baseline .*\) .* s .*",
            r".*test_prices\[prices-linear-sklearn-train\] PASSED rmse .*",
            r".*test_prices\[prices-linear-pytorch-train\] PASSED rmse .*",
            r".*test_prices\[prices-linear-tensorflow-train\] PASSED rmse .*",
            r".*test_prices\[prices-linear-jax-train\] PASSED rmse .*",
            r"report: reports/index.html",
            r"=+ 7 passed in .*",
        ]
    )
    journal = journal_of(path)
    assert [record.outcome for record in journal.records] == ["ok"] * 7
    assert journal.damage == ()
    assert journal.end is not None
    assert journal.head.command[0] == "pytest"
    assert {len(record.result.replicates) for record in journal.records} == {2}
    assert [line.status for line in journal.tests] == ["passed"] * 7
    scores = {record.cell: record.score.value for record in journal.records}
    for other in ("tensorflow", "jax"):
        assert scores[f"prices-linear-{other}-train"] == pytest.approx(
            scores["prices-linear-pytorch-train"], rel=1e-5
        )
    assert "prices-linear-pytorch-train" in (path / "reports/index.html").read_text()


def test_a_student_is_a_cell_like_others_and_its_page_compares_it(night):
    path = night[1]
    [torch, tensorflow] = [r for r in journal_of(path).records if r.algorithm == "student"]
    assert (torch.cell, torch.mode) == ("prices-student-pytorch-distill", "distill")
    assert tensorflow.cell == "prices-student-tensorflow-distill"
    assert torch.request["teachers"] == tensorflow.request["teachers"]
    statuses = {verdict.gate: verdict.status for verdict in torch.verdicts}
    assert [statuses[gate] for gate in ("outcome", "beats_baseline", "time_budget")] == ["pass"] * 3
    assert statuses["in_band"] == "not_applicable"
    info, other = torch.result.distillation, tensorflow.result.distillation
    assert info.teacher_metrics == other.teacher_metrics
    assert info.metric_change == pytest.approx(other.metric_change, rel=1e-3)
    [page] = (path / "reports").glob("runs/*/index.html")
    text = page.read_text()
    assert f"{info.size_reduction_percent:.1f} % smaller than its teacher" in text
    assert "student · distill" in text


def test_threads_of_the_file_arrive_in_the_record_and_arguments_win(project, monkeypatch):
    project.makefile(".toml", mlmatrix='[runtime]\nthreads = 3\ncompilation = "never"\n')
    monkeypatch.setenv("MLMATRIX_DETERMINISTIC", "false")
    # JAX counts for the environment of the workers, too: it refuses threads that are not its own.
    chosen = ("-k", "linear and jax", "--matrix-compilation=always", "--matrix-replicates=1")
    result = project.runpytest_subprocess(*chosen)
    result.assert_outcomes(passed=1)
    result.stdout.re_match_lines([r"framework .* device +threads", r"jax .* cpu +3"])
    journal = journal_of(project.path)
    asked = {
        "device": "auto",
        "threads": 3,
        "deterministic": False,
        "compilation": "always",
        "models_at_once": 0,
    }
    assert journal.head.threads_per_worker == 3
    assert journal.head.runtime.model_dump() == asked
    [record] = journal.records
    assert record.request["runtime"] == asked
    assert (record.result.threads, record.result.device) == (3, "cpu")


def test_two_tests_on_a_cell_share_one_run_and_json_report_carries_the_record(project):
    project.makepyfile(
        test_matrix="""
        import pytest

        pytestmark = [
            pytest.mark.smoke,
            pytest.mark.matrix(dataset="prices", algorithm="linear", framework="sklearn"),
        ]

        def test_first(cell):
            assert cell.run() is cell.run()

        def test_second(cell):
            assert cell.run().result.replicates[0].test_rows == 30
        """
    )
    result = project.runpytest_subprocess("--json-report", "--json-report-file=out.json")
    result.assert_outcomes(passed=2)
    journal = journal_of(project.path)
    assert [record.cell for record in journal.records] == ["prices-linear-sklearn-train"]
    tests = json.loads((project.path / "out.json").read_text())["tests"]
    carried = [test["metadata"]["mlmatrix"] for test in tests]
    assert carried == [journal.records[0].model_dump(mode="json")] * 2


def test_xdist_gives_the_same_records_bit_for_bit_and_a_cell_runs_once(project, night):
    project.makepyfile(
        test_again="""
        import pytest

        @pytest.mark.smoke
        @pytest.mark.matrix(dataset="prices", algorithm="linear", framework="pytorch")
        @pytest.mark.parametrize("number", range(6))
        def test_again(cell, number):
            cell.run()
        """
    )
    report = ("--matrix-replicates=2", "--json-report", "--json-report-file=out.json")
    # Tests on one cell go to both processes, which the plugin's own way would keep together.
    spread = project.runpytest_subprocess("-n2", "--dist=load", "-k", "pytorch or jax", *report)
    spread.assert_outcomes(passed=8)
    journal = journal_of(project.path)
    lines = (journal.folder / "records.jsonl").read_text().splitlines()
    assert sum('"kind":"record"' in line for line in lines) == 2

    def essence(records):
        return {
            record.cell: [
                (r.metrics, r.baseline, r.split_sha256, r.history) for r in record.result.replicates
            ]
            for record in records
        }

    found = essence(journal.records)
    assert set(found) == {"prices-linear-pytorch-train", "prices-linear-jax-train"}
    alone = [record for record in journal_of(night[1]).records if record.cell in found]
    assert found == essence(alone)
    assert journal.end is not None
    tests = json.loads((project.path / "out.json").read_text())["tests"]
    assert {test["metadata"]["mlmatrix"]["cell"] for test in tests} == set(found)


def test_a_failing_gate_fails_a_test_that_does_not_look_unless_it_is_declared(project, capsys):
    noise = "\n".join(["size,price", *(f"{i % 13},{(i * 7919) % 101}" for i in range(120))])
    declared = """
[[expected_failures]]
cells = "declared-linear-*"
gate = "beats_baseline"
reason = "the prices are noise, made for this test"
"""
    tables = project.path / "tables"
    for name, more in (("noise", ""), ("declared", declared)):
        (tables / f"{name}.csv").write_text(noise)
        assert main(["describe", f"tables/{name}.csv", "--target", "price"]) == 0
        (tables / f"{name}.toml").write_text(capsys.readouterr().out + more)
    project.makepyfile(
        test_matrix="""
        import pytest

        @pytest.mark.smoke
        @pytest.mark.matrix(dataset=["noise", "declared"], algorithm="linear", framework="sklearn")
        def test_prices(cell):
            cell.run()
        """
    )
    result = project.runpytest_subprocess("-rx")
    result.assert_outcomes(failed=1, xfailed=1)
    result.stdout.re_match_lines(
        [
            r".*test_prices\[noise-linear-sklearn-train\].*",
            r".*beats_baseline: rmse .* against .*: better by .*",
        ]
    )
    result.stdout.fnmatch_lines(
        ["XFAIL *declared-*beats_baseline: the prices are noise, made for this test*"]
    )


def test_a_killed_worker_is_an_outcome_and_the_next_cells_run(project):
    project.makepyfile(
        test_matrix="""
        import os
        import signal
        import threading
        import time

        import psutil
        import pytest

        def kill_busy_worker():
            while True:
                time.sleep(0.05)
                for child in psutil.Process().children(recursive=True):
                    if "remote.py" in " ".join(child.cmdline()) and child.cpu_percent(0.3) > 15:
                        os.kill(child.pid, signal.SIGKILL)
                        return

        @pytest.mark.smoke
        @pytest.mark.matrix(
            dataset=["diabetes", "digits", "prices"], algorithm="mlp", framework="pytorch"
        )
        def test_killed(cell):
            if cell.cell.dataset == "digits":
                threading.Thread(target=kill_busy_worker).start()
            cell.run()
        """
    )
    project.makeconftest(
        """
        from dataclasses import replace

        def pytest_matrix_cells(cells):
            # Long enough to be caught at work.
            counts = {"digits": 16}
            cells[:] = [replace(one, replicates=counts.get(one.dataset, 1)) for one in cells]
        """
    )
    result = project.runpytest_subprocess("--matrix-models-at-once", "1")
    result.assert_outcomes(passed=2, failed=1)
    outcomes = {record.cell: record.outcome for record in journal_of(project.path).records}
    assert outcomes == {
        "diabetes-mlp-pytorch-train": "ok",
        "digits-mlp-pytorch-train": "crashed",
        "prices-mlp-pytorch-train": "ok",
    }
    result.stdout.fnmatch_lines(["*outcome: crashed: the worker was killed by signal 9 (SIGKILL)*"])


def test_a_cell_beyond_its_limit_is_a_timeout(project):
    project.makepyfile(
        test_matrix="""
        import pytest

        @pytest.mark.smoke
        @pytest.mark.matrix(dataset="digits", algorithm="mlp", framework="sklearn")
        def test_slow(cell):
            cell.run()
        """
    )
    result = project.runpytest_subprocess("--matrix-replicates=100", "--matrix-timeout=1.5")
    result.assert_outcomes(failed=1)
    [record] = journal_of(project.path).records
    assert record.outcome == "timeout"
    assert record.reason == "no result within 1.5 s; the worker was killed"
    result.stdout.fnmatch_lines(["*remedy: raise --matrix-timeout*"])
