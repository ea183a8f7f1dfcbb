"""Run sessions under limits, with retries, and in this process: the options arrive."""

import os
import resource
import subprocess
import sys

import pytest
from unused_plugins import UNUSED

from harness.report.pages import build_run_page
from harness.report.site import render_page
from harness.store.journal import list_runs, read_run

pytestmark = pytest.mark.system

TESTS = """
    import pytest

    @pytest.mark.system
    @pytest.mark.matrix(dataset="wine", algorithm=["dummy", "linear"], framework="sklearn")
    def test_wine(cell):
        cell.run()
"""
BREAKS_ONE = """
    from ml.core import replicates

    genuine = replicates.sample_rows

    def sample_rows(table, rows, seed):
        print("printed in the cell")
        replicates.sample_rows = genuine
        secret = 6 * 7
        raise RuntimeError("unforeseen")

    replicates.sample_rows = sample_rows
"""
SMALL = ("--matrix-rows", "120", "--matrix-replicates", "1")


def run_pytest(folder, *arguments, text="", file_bytes=None):
    """Run pytest as a user does, with this text typed in; return what it prints and its run.

    With ``file_bytes`` no file can grow larger, as on a disk that is full.
    """
    full = (file_bytes, resource.RLIM_INFINITY)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *SMALL, *arguments],
        cwd=folder,
        input=text,
        capture_output=True,
        text=True,
        timeout=120,
        env={
            **os.environ,
            "PYTEST_ADDOPTS": UNUSED,
            "PYTHONPATH": os.pathsep.join(sys.path),
        },
        check=False,
        preexec_fn=lambda: file_bytes and resource.setrlimit(resource.RLIMIT_FSIZE, full),
    )
    [run] = list_runs(folder / "reports")
    return done.stdout, read_run(run)


def test_a_breach_of_memory_is_tried_again_and_every_attempt_is_told(pytester):
    pytester.makepyfile(test_wine=TESTS)
    options = ("--matrix-memory", "20", "--matrix-retry", "out_of_memory, crashed: 1")
    printed, run = run_pytest(pytester.path, *options, "-k", "linear", "-v")
    [record] = run.records
    [attempt] = record.attempts
    assert (record.outcome, record.error.code) == ("out_of_memory", "memory_limit")
    assert attempt.outcome == "out_of_memory"
    assert "more than the limit of 20 MiB; they were killed" in attempt.reason
    assert f"  attempt 1: out_of_memory: {attempt.reason} (" in printed
    assert f"{record.cell}  attempt 1: out_of_memory" in printed
    assert ", attempt 2)" in printed
    page = render_page(build_run_page(run, ()), root="", runs="runs/", newest=True)
    assert "attempt 1 of 2: out of memory, " in page
    assert attempt.reason in page


def test_in_this_process_a_debugger_stops_where_the_cell_raised(pytester):
    pytester.makepyfile(test_wine=TESTS)
    pytester.makeconftest(BREAKS_ONE)
    options = ("--matrix-isolation", "none", "--matrix-timeout", "0.001", "--matrix-memory", "1")
    printed, run = run_pytest(pytester.path, *options, "--pdb", text="p secret\nc\n")
    assert "(Pdb) 42" in printed
    assert "conftest.py(9)sample_rows()" in printed
    assert "captured stdout" in printed
    assert "printed in the cell" in printed
    assert "1 failed, 1 passed" in printed
    records = {record.algorithm: record for record in run.records}
    assert records["dummy"].outcome == "error"
    assert records["dummy"].reason == "RuntimeError('unforeseen')"
    assert records["linear"].outcome == "ok"
    assert not (run.folder / "workers").exists()


@pytest.mark.parametrize("isolation", ["warm", "fresh"])
def test_a_debugger_stops_at_a_test_whose_cell_ran_in_a_worker(pytester, isolation):
    tests = TESTS.replace(
        "cell.run()", "record = cell.run()\n        assert record.score.value > 1"
    )
    pytester.makepyfile(test_wine=tests)
    options = ("--matrix-isolation", isolation, "-k", "linear", "--pdb")
    printed, run = run_pytest(pytester.path, *options, text="p record.cell, 6 * 7\nc\n")
    assert "(Pdb) ('wine-linear-sklearn-train', 42)" in printed
    assert "1 failed" in printed
    [record] = run.records
    assert record.outcome == "ok"


def test_a_disk_that_is_full_costs_records_and_no_session(pytester):
    pytester.makepyfile(test_wine=TESTS)
    arguments = ("-p", "no:cacheprovider", "-n", "2", "--matrix-threads", "64")
    printed, run = run_pytest(pytester.path, *arguments, file_bytes=1000)
    assert "INTERNALERROR" not in printed
    assert "2 failed" in printed
    assert "wine-linear-sklearn-train has run, and its record cannot be written: " in printed
    assert "name another folder with --matrix-reports" in printed
    assert "the journal lacks what could not be written: [Errno 27]" in printed
    assert run.damage == ()
    assert run.records == ()
    # That is told once, and before anything runs.
    assert printed.count("matrix: 2 processes train with 64 threads each, on ") == 1
