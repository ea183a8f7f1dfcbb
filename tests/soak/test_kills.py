"""Kill whole runs at random moments, resume them, and count what was lost."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from unused_plugins import UNUSED

import harness
from harness.store.journal import JOURNAL, list_runs, read_run
from ml.datasets.__main__ import main

pytestmark = pytest.mark.soak

KILLS = int(os.environ.get("MLMATRIX_SOAK_KILLS", "6"))
KILLS_IN_A_RUN = 12
DATASETS = ("anvils", "barrels", "candles", "drums", "eggs")
ALGORITHMS = ("dummy", "linear", "k_nearest_neighbors", "svm", "hist_gradient_boosting")
CELLS = {f"{d}-{a}-sklearn-train" for d in DATASETS for a in ALGORITHMS}
TESTS = f"""
import pytest

@pytest.mark.smoke
@pytest.mark.matrix(dataset={list(DATASETS)}, framework="sklearn", algorithm={list(ALGORITHMS)})
def test_cells(cell):
    cell.run()
"""
# A test's line is printed whole only after its record was handed to the operating system.
ENDED = re.compile(r"PASSED|FAILED|XFAIL|ERROR")
CELL = re.compile(r"test_cells\[([\w-]+)\]")


@dataclass
class Kept:
    """Hold what a run has acknowledged: lines of records, and cells whose tests have ended.

    ``torn`` are the ends of the journal that had no line's end when the run was killed.
    """

    lines: set[bytes] = field(default_factory=set)
    cells: set[str] = field(default_factory=set)
    torn: set[bytes] = field(default_factory=set)


@pytest.fixture
def project(tmp_path, monkeypatch, capsys):
    """Make a project whose cells train within milliseconds."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tables").mkdir()
    for shift, name in enumerate(DATASETS):
        rows = [
            f"{i % 13},{'red' if i % 3 else 'blue'},{2 * (i % 13) + shift + i / 100}"
            for i in range(60)
        ]
        (tmp_path / f"tables/{name}.csv").write_text("\n".join(["size,colour,price", *rows]))
        assert main(["describe", f"tables/{name}.csv", "--target", "price"]) == 0
        (tmp_path / f"tables/{name}.toml").write_text(capsys.readouterr().out)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmatrix_data = tables\n")
    (tmp_path / "test_cells.py").write_text(TESTS)
    return tmp_path


def start(project, output, *arguments):
    paths = os.pathsep.join(map(str, [Path(harness.__file__).parents[1]]))
    with output.open("wb") as stream:
        return subprocess.Popen(
            [sys.executable, "-m", "pytest", "-v", "--matrix-replicates=1", *arguments],
            cwd=project,
            env={
                **os.environ,
                "PYTEST_ADDOPTS": UNUSED,
                "PYTHONPATH": paths,
                "PYTHONUNBUFFERED": "1",
            },
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def ended_cells(output):
    lines = [line for line in output.read_text().splitlines() if ENDED.search(line)]
    return {cell for line in lines for cell in CELL.findall(line)}


def kill_at_random(process, output, draw, full):
    """Kill the process group at a moment of the session, or as a test of it ends."""
    deadline = time.monotonic() + draw.uniform(0, full)
    wanted = draw.choice([None, draw.randint(1, len(CELLS))])
    while process.poll() is None:
        if wanted is None and time.monotonic() > deadline:
            break
        if wanted is not None and len(ended_cells(output)) >= wanted:
            time.sleep(draw.uniform(0, 0.05))
            break
        time.sleep(0.003)
    else:
        return False
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    process.wait()
    return True


def test_runs_killed_at_random_moments_lose_nothing_and_are_resumed(project, capsys):
    draw = random.Random(20260314)
    counts = Counter()
    output = project / "output.txt"
    began = time.monotonic()
    process = start(project, output)
    process.wait()
    assert process.returncode == 0, output.read_text()
    full = time.monotonic() - began
    while counts["kills"] < KILLS:
        known = set(list_runs(project / "reports"))
        kept, in_this_run = Kept(), 0
        folder = None
        while in_this_run < KILLS_IN_A_RUN and counts["kills"] < KILLS:
            spread = draw.choice([(), ("-n2",)])
            resume = () if folder is None else (f"--matrix-resume={folder.name}",)
            process = start(project, output, *spread, *resume)
            if not kill_at_random(process, output, draw, full):
                break
            counts["kills"] += 1
            in_this_run += 1
            kept.cells |= ended_cells(output)
            found = set(list_runs(project / "reports")) - known
            if folder is None and found:
                [folder] = found
            if folder is not None:
                take_or_tear(folder, draw, kept)
        process.wait()
        if folder is None:
            counts["killed before their first record"] += in_this_run
            assert not kept.cells
            continue
        process = start(project, output, f"--matrix-resume={folder.name}")
        process.wait()
        counts["runs"] += 1
        judge(folder, process, kept, counts, output)
    text = ", ".join(
        f"{counts[name]} {name}"
        for name in (
            "kills",
            "killed before their first record",
            "runs",
            "records acknowledged",
            "records lost",
            "records trained again",
            "torn lines healed",
            "journals unreadable",
            "runs not completed by resume",
        )
    )
    with capsys.disabled():
        print(f"\nsoak: {text}, in {time.monotonic() - began:.0f} s")
    assert counts["records lost"] == 0
    assert counts["records trained again"] == 0
    assert counts["journals unreadable"] == 0
    assert counts["runs not completed by resume"] == 0


def take_or_tear(folder, draw, kept):
    """Take the whole lines as acknowledged; tear one at times, as a kill within a write does."""
    journal = folder / JOURNAL
    content = journal.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    torn = content[len(whole) :]
    records = [line for line in whole.splitlines() if line.startswith(b'{"kind":"record"')]
    kept.lines.update(records)
    if not torn and records and draw.random() < 0.3:
        torn = records[-1][: draw.randint(1, len(records[-1]) - 1)]
        with journal.open("ab") as stream:
            stream.write(torn)
    if torn:
        kept.torn.add(torn)


def judge(folder, process, kept, counts, output):
    lines = (folder / JOURNAL).read_bytes().splitlines()
    run = read_run(folder)
    recorded = Counter(record.cell for record in run.records)
    counts["records acknowledged"] += len(kept.lines)
    counts["records lost"] += len(kept.lines - set(lines))
    counts["records lost"] += len(kept.cells - recorded.keys())
    damaged = {lines[int(re.search(r", line (\d+):", text)[1]) - 1] for text in run.damage}
    trained = [line for line in lines if line.startswith(b'{"kind":"record"')]
    counts["records trained again"] += len([x for x in trained if x not in damaged]) - len(CELLS)
    counts["torn lines healed"] += len(kept.torn)
    counts["journals unreadable"] += run.head is None or not damaged <= kept.torn
    done = process.returncode == 0 and set(recorded) == CELLS
    done = done and run.end is not None and {r.outcome for r in run.records} == {"ok"}
    if not done:
        counts["runs not completed by resume"] += 1
        sys.stderr.write(output.read_text()[-4000:])


def test_two_runs_at_once_do_each_other_no_harm_and_neither_can_be_resumed(project):
    outputs = [project / "one.txt", project / "two.txt"]
    running = [start(project, outputs[0]), start(project, outputs[1], "-n2")]
    while not ended_cells(outputs[0]) and running[0].poll() is None:
        time.sleep(0.01)
    folder = next(
        folder
        for folder in list_runs(project / "reports")
        if "-n2" not in read_run(folder).head.command
    )
    refused = start(project, project / "three.txt", f"--matrix-resume={folder.name}")
    assert refused.wait() == pytest.ExitCode.USAGE_ERROR
    text = f"--matrix-resume: run {folder.name} is still being written by another session"
    assert text in (project / "three.txt").read_text()
    assert [process.wait() for process in running] == [0, 0], outputs[0].read_text()
    runs = [read_run(folder) for folder in list_runs(project / "reports")]
    assert len(runs) == 2
    for run in runs:
        assert {record.cell for record in run.records} == CELLS
        assert len(run.records) == len(CELLS)
        assert (run.damage, run.resumed, run.end.exit_status) == ((), (), 0)
        assert (run.folder / "index.html").read_text().rstrip().endswith("</html>")
    index = (project / "reports/index.html").read_text()
    assert all(run.folder.name in index for run in runs)
    assert "cut off" not in index
