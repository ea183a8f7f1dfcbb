"""Sweep for real: in sessions that are killed and resumed, on the command line, in a terminal."""

import json
import os
import pty
import select
import shlex
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
from unused_plugins import UNUSED

import harness
from harness.catalog.algorithms import ALGORITHMS
from harness.store.journal import list_runs, read_run
from harness.store.trials import read_trials
from ml.core.contracts import Choice
from ml.core.settings import apply_settings

pytestmark = pytest.mark.system

SOURCE = Path(harness.__file__).parents[1]
ESTIMATORS = [entry for entry in ALGORITHMS if entry.space and entry.framework == "sklearn"]
SMALL = ("--matrix-rows=120", "--matrix-replicates=1")
# It notes each training, and takes its time where a file asks for that.
SLOW = """
import os
import time
from pathlib import Path

from sklearn.linear_model import LogisticRegression

HERE = Path(__file__).parent


class Slow(LogisticRegression):
    def fit(self, features, target):
        if (HERE / "slow").exists():
            time.sleep(0.5)
        with (HERE / "fits.txt").open("a") as stream:
            print(self.C, file=stream, flush=True)
        return super().fit(features, target)
"""
CONFTEST = """
from slow_model import Slow

from harness.declare import algorithm
from ml.core.contracts import FloatRange


def pytest_matrix_algorithms():
    space = {"C": FloatRange(low=0.01, high=100.0, log=True)}
    return [algorithm("slow", Slow, tasks=["classification"], space=space)]
"""
TESTS = """
import pytest


@pytest.mark.slow_matrix
@pytest.mark.matrix(dataset="wine", algorithm="slow", mode="sweep")
def test_sweep(cell):
    record = cell.run()
    assert record.result.sweep.best >= 0
"""
CELL = "wine-slow-sklearn-sweep"


@pytest.fixture
def project(tmp_path):
    for name, text in (
        ("slow_model.py", SLOW),
        ("conftest.py", CONFTEST),
        ("test_sweeps.py", TESTS),
        ("pytest.ini", "[pytest]\n"),
    ):
        (tmp_path / name).write_text(text)
    return tmp_path


def environment():
    return {**os.environ, "PYTHONPATH": str(SOURCE), "PYTEST_ADDOPTS": UNUSED}


def start(folder, *command, **streams):
    return subprocess.Popen(
        [sys.executable, *command],
        cwd=folder,
        env=environment(),
        text=True,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams},
    )


def finish(process):
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def run_pytest(folder, *arguments):
    common = ("-p", "no:cacheprovider", "-m", "slow_matrix", *SMALL)
    return finish(start(folder, "-m", "pytest", *common, *arguments))


def sweep(folder, *arguments, **streams):
    common = ("--rows", "120", "--replicates", "1")
    code = "import sys; from harness.cli import main; sys.exit(main())"
    return start(folder, "-c", code, "sweep", *arguments, *common, **streams)


def wait_for_trials(folder, count):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for path in folder.glob(f"reports/runs/*/sweeps/{CELL}.jsonl"):
            if len(read_trials(path)) >= count:
                return path
        time.sleep(0.02)
    raise AssertionError("no trials")


def read_newest(folder):
    run = read_run(list_runs(folder / "reports")[0])
    [record] = run.records
    return run, record


def test_a_sweep_is_a_cell_with_a_file_of_trials_that_no_request_names(project):
    status, out, err = run_pytest(project, "--matrix-trials=6", "-v")
    assert status == 0, out + err
    assert f"test_sweep[{CELL}] PASSED balanced_accuracy" in out
    run, record = read_newest(project)
    info = record.result.sweep
    assert (record.outcome, record.mode, len(info.trials)) == ("ok", "sweep", 6)
    assert record.request["sweep"]["trials"] == 6
    assert record.request["sweep"]["journal"] is None
    assert sorted(t.index for t in read_trials(run.folder / "sweeps" / f"{CELL}.jsonl")) == [
        *range(6)
    ]
    assert (project / "reports/index.html").exists()
    fits = (project / "fits.txt").read_text()
    status, out, _ = run_pytest(project, "--matrix-trials=6", "--matrix-resume")
    assert status == 0, out
    assert (project / "fits.txt").read_text() == fits


def test_a_killed_sweep_goes_on_and_trains_no_trial_again(project):
    (project / "slow").touch()
    process = start(project, "-m", "pytest", "-m", "slow_matrix", *SMALL, "--matrix-trials=12")
    path = wait_for_trials(project, 3)
    process.kill()
    process.communicate()
    time.sleep(1.5)  # Until the guard has ended its worker.
    (project / "slow").unlink()
    known = read_trials(path)
    before = len((project / "fits.txt").read_text().splitlines())
    assert read_run(list_runs(project / "reports")[0]).records == ()
    status, out, err = run_pytest(project, "--matrix-trials=12", "--matrix-resume")
    assert status == 0, out + err
    _, record = read_newest(project)
    info = record.result.sweep
    assert info.resumed_trials == len(known) >= 3
    assert len(info.trials) == 12
    assert {t.index: t for t in known}.items() <= {t.index: t for t in info.trials}.items()
    after = len((project / "fits.txt").read_text().splitlines())
    # The trials that were left, the tuned model, and the default where that is another one.
    assert after - before == 12 - len(known) + 1 + (info.best != 0)


def test_trials_of_another_search_are_set_aside_when_a_run_is_resumed(project):
    status, out, _ = run_pytest(project, "--matrix-trials=3")
    assert status == 0, out
    status, out, err = run_pytest(project, "--matrix-trials=5", "--matrix-resume")
    assert status == 0, out + err
    run, record = read_newest(project)
    assert (len(record.result.sweep.trials), record.result.sweep.resumed_trials) == (5, 0)
    sweeps = run.folder / "sweeps"
    assert len(read_trials(sweeps / f"{CELL}.1.jsonl")) == 3
    assert len(read_trials(sweeps / f"{CELL}.jsonl")) == 5


def test_the_command_writes_an_ordinary_run_and_plain_lines_to_a_pipe(project):
    arguments = ("--dataset", "wine", "--algorithm", "slow,svm", "--trials", "4", "--patience", "9")
    status, out, err = finish(sweep(project, *arguments))
    assert (status, err) == (0, "")
    assert "\x1b" not in out
    lines = out.splitlines()
    assert lines[0].startswith("run 2")
    assert lines[0].endswith(": 2 sweeps")
    assert any(
        line.startswith(f"{CELL}: ok, 4/4 trials, 0 pruned, 0 failed, best ") for line in lines
    )
    header = next(place for place, line in enumerate(lines) if line.startswith("cell "))
    cells = {line.split()[0]: line.split()[1:] for line in lines[header + 1 : header + 3]}
    assert set(cells) == {CELL, "wine-svm-sklearn-sweep"}
    run = read_run(list_runs(project / "reports")[0])
    assert run.head.command[:4] == ("mlmatrix", "sweep", "--dataset", "wine")
    assert run.end.exit_status == 0
    for record in run.records:
        metric, tuned, default, trials = cells[record.cell][:4]
        assert (metric, trials) == ("balanced_accuracy", "4")
        assert tuned == f"{record.score.value:.4g}"
        [known] = record.result.sweep.default_metrics
        assert default == f"{known[metric]:.4g}"
        assert record.request["sweep"]["patience"] == 9
    assert f"report: {project / 'reports/index.html'}" in lines
    code = "import sys; from harness.cli import main; sys.exit(main())"
    status, out, _ = finish(start(project, "-c", code, "history", CELL))
    assert status == 0
    assert run.folder.name in out


def test_the_command_prints_json_and_nothing_else(project):
    arguments = ("--dataset", "wine", "--algorithm", "slow", "--trials", "3", "--format=json")
    status, out, err = finish(sweep(project, *arguments))
    assert status == 0, err
    found = json.loads(out)
    [cell] = found["cells"]
    assert (cell["cell"], cell["outcome"], cell["trials"], cell["ended"]) == (
        CELL,
        "ok",
        3,
        "trials",
    )
    assert set(cell["settings"]) == {"params.C"}
    assert found["run"] == list_runs(project / "reports")[0].name
    assert CELL in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--dataset", "wime", "--algorithm", "slow"), "no dataset 'wime' (did you mean 'wine'?)"),
        (("--dataset", "wine", "--algorithm", "sloww"), "did you mean 'slow'?"),
        (("--dataset", "wine", "--algorithm", "dummy"), "dummy has no search space"),
        (
            ("--dataset", "diabetes", "--algorithm", "slow"),
            "slow on diabetes: it is made for class",
        ),
        (("--dataset", "wine", "--algorithm", "slow", "--trials", "many"), "--trials: expected a"),
        (("--dataset", "wine", "--algorithm", "slow", "--epochs", "0"), "--epochs: "),
        (("--dataset", "wine", "--algorithm", "slow", "--resume", "r9"), "there are no runs in"),
    ],
)
def test_a_mistake_is_one_line_and_status_2_and_leaves_nothing(project, arguments, words):
    status, out, err = finish(sweep(project, *arguments))
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("error: ")
    assert words in err
    assert not (project / "reports").exists()


def test_a_conftest_that_cannot_be_read_is_one_line(project):
    (project / "conftest.py").write_text("import nothing_of_that_name\n")
    status, out, err = finish(sweep(project, "--dataset", "wine", "--algorithm", "slow"))
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "nothing_of_that_name" in err


def test_an_interrupt_keeps_what_is_known_and_says_how_to_go_on(project):
    (project / "slow").touch()
    arguments = ("--dataset", "wine", "--algorithm", "slow", "--trials", "12")
    process = sweep(project, *arguments)
    path = wait_for_trials(project, 2)
    process.send_signal(signal.SIGINT)
    status, out, err = finish(process)
    assert status == 2, err
    assert "Traceback" not in out + err
    [line] = [line for line in out.splitlines() if "to go on: " in line]
    command = shlex.split(line.partition("to go on: ")[2])
    assert command[:2] == ["mlmatrix", "sweep"]
    run = list_runs(project / "reports")[0]
    assert command[-1] == f"--resume={run.name}"
    assert read_run(run).end.exit_status == 2
    known = len(read_trials(path))
    (project / "slow").unlink()
    code = "import sys; from harness.cli import main; sys.exit(main())"
    status, out, err = finish(start(project, "-c", code, *command[1:]))
    assert status == 0, out + err
    _, record = read_newest(project)
    assert record.result.sweep.resumed_trials == known >= 2
    assert len(record.result.sweep.trials) == 12
    assert len(list_runs(project / "reports")) == 1


def test_in_a_terminal_a_table_lives_while_sweeps_run(project):
    pytest.importorskip("rich")
    (project / "slow").touch()
    ours, theirs = pty.openpty()
    arguments = ("--dataset", "wine", "--algorithm", "slow", "--trials", "6")
    process = sweep(project, *arguments, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    while select.select([ours], [], [], 60)[0]:
        try:
            part = os.read(ours, 65536)
        except OSError:
            break
        if not part:
            break
        shown += part
    os.close(ours)
    assert process.wait(60) == 0, shown.decode()
    live, _, closing = shown.decode().rpartition("\x1b")
    counts = [f"{done}/6" for done in range(7)]
    assert sum(count in live for count in counts) >= 3
    assert "trials" in live
    assert CELL in closing
    assert "tuned" in closing


@pytest.mark.parametrize("entry", ESTIMATORS, ids=lambda e: f"{e.id}-{e.tasks[0]}")
def test_every_bound_of_an_estimators_space_is_one_that_it_trains_with(entry):
    np = pytest.importorskip("numpy")
    pytest.importorskip("sklearn")
    from ml.core.learner import Problem
    from ml.frameworks.sklearn.models import build_estimator

    draw = np.random.default_rng(0)
    features = draw.normal(size=(80, 4)).astype(np.float32)
    bounds = {
        path: one.values if isinstance(one, Choice) else (one.low, one.high)
        for path, one in entry.space.items()
    }
    most = max(map(len, bounds.values()))
    together = [
        {path: values[min(place, len(values) - 1)] for path, values in bounds.items()}
        for place in range(most)
    ]
    for task in entry.tasks[:2]:
        classes = 2 if task == "classification" else 0
        target = features[:, 0] + features[:, 1] * 0.5
        for settings in together:
            model = apply_settings(entry.model, settings)
            problem = Problem(inputs=4, classes=classes)
            estimator = build_estimator(model, problem, np.random.default_rng(1))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                estimator.fit(features, target > 0 if classes else target)
            assert np.isfinite(estimator.predict(features).astype(float)).all(), settings
