"""Break the contract of a project's tables, and see what becomes of the matrix's cells."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from unused_plugins import UNUSED

import harness
from harness.store.journal import list_runs, read_run

pytestmark = pytest.mark.system

SOURCE = Path(harness.__file__).parents[1]
TABLES = """
from pathlib import Path

import numpy as np
import pandas as pd


def claims():
    kind, seed = Path(__file__).with_name("kind").read_text().split()
    draw = np.random.default_rng(int(seed))
    rows = 900
    amount, age = draw.normal(size=(2, rows))
    paid = np.where(amount + 0.5 * draw.normal(size=rows) > 0, "yes", "no")
    frame = pd.DataFrame(
        {"amount": amount, "age": age, "region": draw.choice(list("nesw"), rows), "paid": paid}
    )
    if kind == "answered":
        frame["state"] = np.where(paid == "yes", "settled", "open")
    if kind == "collapsed":
        frame["region"] = "n"
        frame["age"] = frame["age"].round() * 0.05
    return frame
"""
CONFTEST = """
from tables import claims

from harness.declare import dataset
from ml.core.contracts import ExpectedBreach


def pytest_matrix_datasets():
    reason = "the state is known when a claim is made"
    expected = [ExpectedBreach(check="predictor", column="state", reason=reason)]
    declared = expected if {declared} else []
    return [
        dataset(
            "claims", claims, task="classification", target="paid", expected_breaches=declared
        )
    ]
"""
TESTS = """
import pytest


@pytest.mark.smoke
@pytest.mark.matrix(
    dataset="claims", framework="sklearn", algorithm=["linear", "dummy"], mode=["train", "sweep"]
)
def test_claims(cell):
    cell.run()
"""
CELLS = ("claims-dummy-sklearn-train", "claims-linear-sklearn-sweep", "claims-linear-sklearn-train")
SMALL = ("--matrix-rows=600", "--matrix-replicates=1", "--matrix-trials=2")


@pytest.fixture
def project(tmp_path):
    pytest.importorskip("sklearn")
    pytest.importorskip("optuna")
    (tmp_path / "tables.py").write_text(TABLES)
    (tmp_path / "test_claims.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    return tmp_path


def run(project, kind, *arguments, declared=False):
    """Run the matrix on one kind of table and return pytest's result and the cells' records."""
    (project / "kind").write_text(kind)
    (project / "conftest.py").write_text(CONFTEST.replace("{declared}", str(declared)))
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *SMALL, *arguments]
    done = subprocess.run(
        command,
        cwd=project,
        env={**os.environ, "PYTEST_ADDOPTS": UNUSED, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=False,
    )
    records = read_run(list_runs(project / "reports")[0]).records
    assert sorted(record.cell for record in records) == sorted(CELLS), done.stdout
    return done, records


def drift_of(record):
    contract = record.result.contract if record.result else record.error.contract
    return next(check for check in contract.checks if check.name == "drift")


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_column_that_tells_the_target_makes_all_cells_data_invalid(project, workers):
    pytest.importorskip("xdist")
    done, records = run(project, "answered 0", f"-n{workers}")
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout
    assert {record.outcome for record in records} == {"data_invalid"}
    told = "column 'state' alone predicts the target, with a skill of 1.000"
    assert {record.reason for record in records} == {
        f"dataset claims breaks its contract: predictor: {told}"
    }
    assert {record.error.contract.breaches[0].column for record in records} == {"state"}
    assert all(v.status == "not_applicable" for record in records for v in record.verdicts[1:])
    _, records = run(project, "answered 0", f"-n{workers}", declared=True)
    assert {record.outcome for record in records} == {"ok"}
    found = {record.result.contract.breaches[0].expected for record in records}
    assert found == {"the state is known when a claim is made"}


def test_a_table_that_collapsed_is_refused_until_a_sound_one_comes(project):
    _, records = run(project, "sound 0")
    assert {record.outcome for record in records} == {"ok"}
    first = records[0].result.contract.content_sha256
    _, records = run(project, "sound 0")
    assert {drift_of(r).found for r in records} == {"the table is that of the last run"}
    for _ in range(2):
        _, records = run(project, "collapsed 1")
        assert {record.outcome for record in records} == {"data_invalid"}
        assert {drift_of(record).status for record in records} == {"breach"}
        assert "collapsed beside the last run's table" in records[0].reason
    state = json.loads((project / "reports/sketches/claims/table.json").read_text())
    assert state["content"] == first
    _, records = run(project, "sound 2", "-n2")
    assert {record.outcome for record in records} == {"ok"}
    assert {drift_of(record).found for record in records} == {
        f"healthy beside the last run's table, {first[:12]}"
    }
    # A run that is resumed keeps its records, and tells the same of what it still has to run.
    [name] = [folder.name for folder in list_runs(project / "reports")[:1]]
    done, again = run(project, "sound 2", f"--matrix-resume={name}")
    assert "3 of 3 cells have their record" in done.stdout
    assert [drift_of(record) for record in again] == [drift_of(record) for record in records]
