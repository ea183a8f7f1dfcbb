"""Run the matrix beside what its users have installed, and by the options that they know."""

import json
import re
from xml.etree import ElementTree

import pytest

pytestmark = pytest.mark.system

MODELS = """
import os
import time
from pathlib import Path

from sklearn.linear_model import LogisticRegression


class Flaky(LogisticRegression):
    def fit(self, X, y):
        if not Path("tried").exists():
            Path("tried").touch()
            raise OSError("the first time it fails")
        return super().fit(X, y)


class Fails(LogisticRegression):
    def fit(self, X, y):
        raise ValueError("it cannot be fitted")


class Sleeps(LogisticRegression):
    def fit(self, X, y):
        time.sleep(float(os.environ.get("SLEEP", "0")))
        return super().fit(X, y)
"""
CONFTEST = """
from harness.declare import algorithm

def pytest_matrix_algorithms():
    tasks = ["classification"]
    return [algorithm(n.lower(), f"models:{n}", tasks=tasks) for n in ("Flaky", "Fails", "Sleeps")]
"""
TESTS = """
import pytest

@pytest.mark.smoke
@pytest.mark.matrix(
    dataset="wine", framework="sklearn", algorithm=["fails", "flaky", "linear", "sleeps"]
)
def test_wine(cell):
    cell.run()
"""
SMALL = ("--matrix-rows=120", "--matrix-replicates=1")


@pytest.fixture
def project(pytester, monkeypatch):
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:hypothesispytest -p no:anyio")
    pytester.makepyfile(models=MODELS, test_wine=TESTS)
    pytester.makeconftest(CONFTEST)
    return pytester


def node(name):
    return f"test_wine.py::test_wine[[]wine-{name}-sklearn-train]"


def read_runs(project):
    """Return the records of each run by algorithm, the oldest run first."""
    runs = []
    for journal in sorted(project.path.glob("reports/runs/*/records.jsonl")):
        lines = [json.loads(line) for line in journal.read_text().splitlines()]
        runs.append({one["algorithm"]: one for one in lines if one["kind"] == "record"})
    return runs


def metrics(records):
    return {
        name: [replicate["metrics"] for replicate in record["result"]["replicates"]]
        for name, record in records.items()
        if record["result"]
    }


def test_reruns_train_again_and_every_order_gives_the_same_numbers(project):
    result = project.runpytest_subprocess(
        *SMALL, "-v", "--reruns=1", "-p", "randomly", "-p", "no:cacheprovider",
        "--randomly-seed=1", "--junitxml=junit.xml", "--durations=2",
        "--durations-min=0.001",
    )  # fmt: skip
    outcomes = result.parseoutcomes()
    assert (outcomes["passed"], outcomes["failed"], outcomes["rerun"]) == (3, 1, 2)
    [records] = read_runs(project)
    flaky, fails = records["flaky"], records["fails"]
    assert flaky["outcome"] == "ok"
    [attempt] = flaky["attempts"]
    assert (attempt["outcome"], fails["outcome"]) == ("error", "error")
    assert "OSError: the first time it fails" in attempt["reason"]
    assert [one["reason"] for one in fails["attempts"]] == [fails["reason"]]
    result.stdout.fnmatch_lines(["*attempt 1: error: OSError: the first time it fails*"])

    cases = ElementTree.parse(project.path / "junit.xml").getroot().iter("testcase")
    told = {
        case.get("name"): failure.text
        for case in cases
        if (failure := case.find("failure")) is not None
    }
    assert list(told) == ["test_wine[wine-fails-sklearn-train]"]
    assert "ValueError: it cannot be fitted" in told["test_wine[wine-fails-sklearn-train]"]
    slowest = result.stdout.str().partition("slowest 2 durations")[2]
    assert re.search(r"s (call|setup) +test_wine.py::test_wine\[wine-", slowest)

    # The next seed gives another order, and the same numbers.
    project.runpytest_subprocess(*SMALL, "-p", "randomly", "--randomly-seed=4")
    first, second = read_runs(project)
    assert list(first) != list(second)
    assert metrics(first) == metrics(second)
    assert len(metrics(first)) == 3


def test_last_failed_failed_first_and_stop_at_the_first(project):
    both = ("-k", "fails or sleeps")
    stopped = project.runpytest_subprocess(*SMALL, *both, "-x", "-p", "no:randomly")
    stopped.assert_outcomes(failed=1)
    assert list(read_runs(project)[0]) == ["fails"]
    last = project.runpytest_subprocess(*SMALL, "--lf", "-v", "-p", "no:randomly")
    last.assert_outcomes(failed=1)
    last.stdout.fnmatch_lines([f"{node('fails')} FAILED*"])
    first = project.runpytest_subprocess(
        *SMALL, "--ff", "--collect-only", "-q", "-p", "no:randomly"
    )
    assert ["fails" in line for line in first.stdout.lines[:4]] == [True, False, False, False]


def test_a_time_limit_of_pytest_timeout_is_recorded_and_the_next_cell_runs(project, monkeypatch):
    monkeypatch.setenv("SLEEP", "60")
    result = project.runpytest_subprocess(
        *SMALL, "-v", "-k", "sleeps or linear", "--timeout=6", "-p", "no:randomly",
        "-p", "no:cacheprovider",
    )  # fmt: skip
    result.assert_outcomes(failed=1, passed=1, deselected=2)
    [records] = read_runs(project)
    assert (records["sleeps"]["outcome"], records["linear"]["outcome"]) == ("timeout", "ok")
    error = records["sleeps"]["error"]
    assert error["code"] == "interrupted"
    assert "Timeout" in error["message"]
    assert records["linear"]["seconds"] < 30
