"""Interrupt a run, resume it, reuse its records, and change what they depend on."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from unused_plugins import UNUSED

import harness
from harness.cli import main
from harness.store.journal import JOURNAL, list_runs, read_run

pytestmark = pytest.mark.system

SOURCE = Path(harness.__file__).parents[1]
CELLS = [f"wine-{name}-sklearn-train" for name in ("dummy", "linear", "k_nearest_neighbors")]
TESTS = """
import os
import signal
import threading
from pathlib import Path

import psutil
import pytest


# Whoever starts the tests in the background may have had the signal ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.smoke
@pytest.mark.matrix(
    dataset="wine", framework="sklearn", algorithm=["dummy", "linear", "k_nearest_neighbors"]
)
def test_wine(cell):
    if cell.cell.algorithm == "linear" and not Path("interrupted").exists():
        Path("interrupted").touch()
        # Its worker does not answer while it is suspended: only the interrupt can end this.
        for child in psutil.Process().children(recursive=True):
            child.suspend()
            threading.Timer(1.0, child.resume).start()
        threading.Timer(0.3, interrupt).start()
    cell.run()
"""
SMALL = ("--matrix-rows=200", "--matrix-replicates=1")


def run_pytest(folder, *arguments, source=SOURCE):
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        env={**os.environ, "PYTEST_ADDOPTS": UNUSED, "PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        check=False,
    )


def lines_of(folder, kind):
    lines = (folder / JOURNAL).read_bytes().splitlines()
    return [line for line in lines if line.startswith(f'{{"kind":"{kind}"'.encode())]


def folder_of(process):
    try:
        return process.cwd()
    except psutil.Error:
        return ""


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """Interrupt a run in its second cell, then tear the journal's last line."""
    path = tmp_path_factory.mktemp("interrupted")
    (path / "test_wine.py").write_text(TESTS)
    (path / "pytest.ini").write_text("[pytest]\n")
    done = run_pytest(path, *SMALL)
    left = [process for process in psutil.process_iter() if str(path) in folder_of(process)]
    # What only tracks resources ends by itself, once it sees that it is alone.
    psutil.wait_procs(left, timeout=10)
    left = [process for process in left if str(path) in folder_of(process)]
    [folder] = list_runs(path / "reports")
    kept = lines_of(folder, "record")
    with (folder / JOURNAL).open("ab") as stream:
        stream.write(kept[0][:300])
    return path, done, kept, left


@pytest.fixture(scope="module")
def resumed(interrupted):
    """Resume the run by the command that it printed."""
    path, done, _, _ = interrupted
    [told] = [line for line in done.stdout.splitlines() if "--matrix-resume" in line]
    command = shlex.split(told.partition("to go on: ")[2])
    return run_pytest(path, *(part for part in command[1:] if part != "-v"))


def test_an_interrupt_stops_at_once_and_says_how_to_go_on(interrupted):
    path, done, kept, left = interrupted
    assert done.returncode == pytest.ExitCode.INTERRUPTED
    [folder] = list_runs(path / "reports")
    assert [json.loads(line)["cell"] for line in kept] == CELLS[:1]
    assert "2 of 3 cells have no record; to go on: pytest -v" in done.stdout
    assert f"{' '.join(SMALL)} --matrix-resume={folder.name}" in done.stdout
    assert left == []


def test_a_resumed_run_runs_what_has_no_record_and_judges_all(interrupted, resumed):
    path, _, kept, _ = interrupted
    assert "3 passed" in resumed.stdout, resumed.stdout
    [folder] = list_runs(path / "reports")
    assert f"matrix: resuming {folder.name}: 1 of 3 cells have their record" in resumed.stdout
    assert "for 2 cells, by the records of" in resumed.stdout
    run = read_run(folder)
    assert sorted(record.cell for record in run.records) == sorted(CELLS)
    assert {record.outcome for record in run.records} == {"ok"}
    records = lines_of(folder, "record")
    assert records[0] == kept[0]
    assert len(records) == 3 + 1  # the torn line begins as one
    assert len(lines_of(folder, "run")) == 1
    [again] = run.resumed
    assert "--matrix-resume=" in " ".join(again.command)
    assert run.end.exit_status == 0
    assert {test.status for test in run.tests} == {"passed"}
    assert len(run.tests) == 3


def test_a_torn_line_is_told_in_the_terminal_and_on_the_page(interrupted, resumed):
    path = interrupted[0]
    [damage] = read_run(list_runs(path / "reports")[0]).damage
    assert f"damaged: {damage}" in resumed.stdout
    page = (path / "reports/index.html").read_text()
    assert "1 damaged line in the journal" in page
    assert "resumed once" in page


def test_a_run_that_a_later_version_wrote_to_is_not_resumed(tmp_path):
    folder = tmp_path / "reports/runs/20260314-060012-4f0c2a"
    folder.mkdir(parents=True)
    (folder / JOURNAL).write_text('{"kind":"run","version":99,"run":"r"}\n')
    done = run_pytest(tmp_path, f"--matrix-resume={folder.name}")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    place = (
        f"--matrix-resume: {folder.relative_to(tmp_path) / JOURNAL}, line 1: a line of version 99"
    )
    assert place in done.stderr.replace(f"{tmp_path}/", "")
    assert "upgrade pytest-mlmatrix" in done.stderr
    assert (folder / JOURNAL).read_text().count("\n") == 1


@pytest.mark.parametrize("name", ["nothing", "test_wine.py"])
def test_a_run_that_there_is_none_of_is_a_usage_error_that_lists_them(
    resumed, interrupted, monkeypatch, capsys, name
):
    monkeypatch.chdir(interrupted[0])
    [folder] = list_runs(interrupted[0] / "reports")
    status = pytest.main(["--co", "-q", "-p", "no:cacheprovider", f"--matrix-resume={name}"])
    assert status == pytest.ExitCode.USAGE_ERROR
    told = capsys.readouterr().err
    assert f"--matrix-resume: there is no run {name!r}" in told
    assert f"the newest are {folder.name}" in told
    assert ("write --matrix-resume=newest test_wine.py" in told) == (name == "test_wine.py")


def test_a_record_is_reused_until_a_module_of_its_cell_changes(
    resumed, interrupted, tmp_path, monkeypatch, capsys
):
    path = interrupted[0]
    [origin] = list_runs(path / "reports")
    for package in ("ml", "harness"):
        shutil.copytree(
            SOURCE / package, tmp_path / package, ignore=shutil.ignore_patterns("tables")
        )
    unchanged = run_pytest(path, *SMALL, "--matrix-reuse", source=tmp_path)
    assert "3 passed" in unchanged.stdout, unchanged.stdout
    assert f"  3 of run {origin.name}" in unchanged.stdout
    assert not (list_runs(path / "reports")[0] / "workers").exists()
    first = {record.cell: record for record in read_run(origin).records}
    for record in read_run(list_runs(path / "reports")[0]).records:
        assert record.reused == origin.name
        assert record.result == first[record.cell].result
        assert record.key == first[record.cell].key

    helper = tmp_path / "ml/core/splits.py"
    helper.write_text(helper.read_text() + "\n# changed\n")
    chosen = ("--matrix-reuse", "-k", "dummy")
    changed = run_pytest(path, *SMALL, *chosen, source=tmp_path)
    assert "1 passed" in changed.stdout, changed.stdout
    [record] = read_run(list_runs(path / "reports")[0]).records
    assert record.reused is None
    assert record.key != first[record.cell].key
    assert "reused" not in changed.stdout.replace("--matrix-reuse", "")

    # This process has the helper as it was.
    monkeypatch.chdir(path)
    assert main(["why", CELLS[0], "--", "--matrix-rows=100"]) == 0
    told = capsys.readouterr().out
    assert f"module ml.core.splits: {SOURCE / 'ml/core/splits.py'}" in told
    assert "request: budget.rows: 200 → 100; replicates: 1 → 3" in told
    assert told.endswith("--matrix-reuse runs it again\n")
    assert main(["why", CELLS[1]]) == 0
    told = capsys.readouterr().out
    assert "parts has changed" in told
    assert told.endswith(f"--matrix-reuse takes the record of run {origin.name}\n")
    assert main(["why", "wine-mlpp-sklearn-train"]) == 2
