"""Let sessions write, resume and show runs of one folder at the same time."""

import os
import threading

import pytest
from report_fixture import record_of

from harness.report.site import write_site
from harness.store.environment import describe_resumption, describe_run
from harness.store.journal import JOURNAL, Journal, find_run, hold_run, list_runs, now, read_run
from harness.store.record import End, TestLine
from ml.core.contracts import RuntimeSpec
from ml.core.errors import MatrixError

pytestmark = pytest.mark.unit

CELL = "wine-mlp-pytorch-train"


def open_journal(reports, name="r1", resumed_at=None):
    return Journal(
        reports / "runs" / name,
        lambda run: describe_run(run, reports, ("pytest",), RuntimeSpec()),
        resumed_at,
    )


def make(cell=CELL, **changes):
    return record_of(cell, outcome="crashed", request={}, **changes)


def resume(reports, name="r1"):
    size = (reports / "runs" / name / JOURNAL).stat().st_size
    journal = open_journal(reports, name, size)
    journal.resume(describe_resumption(reports, ("pytest", "--matrix-resume")))
    return journal


def test_a_resumed_journal_tells_what_came_before_from_what_is_new(tmp_path):
    first = open_journal(tmp_path)
    first.append(make(reason="first"))
    first.append(TestLine(node="t.py::a", cell=CELL, status="failed"))
    first.append(TestLine(node="t.py::b", status="passed"))
    first.append(End(finished=now(), exit_status=2, seconds=1.0))
    journal = resume(tmp_path)
    assert journal.find(CELL) is None
    assert journal.find_earlier(CELL).reason == "first"
    assert read_run(journal.folder).end is None
    journal.append(make(reason="second"))
    journal.append(TestLine(node="t.py::a", cell=CELL, status="passed"))
    assert journal.find(CELL).reason == "second"
    assert journal.find_earlier(CELL).reason == "first"
    run = read_run(journal.folder)
    assert [record.reason for record in run.records] == ["second"]
    assert {test.node: test.status for test in run.tests} == {
        "t.py::a": "passed",
        "t.py::b": "passed",
    }
    assert len(run.resumed) == 1
    assert run.damage == ()
    again = resume(tmp_path)
    assert again.find_earlier(CELL).reason == "second"


@pytest.mark.parametrize("kept", [10, 0.5, -1])
def test_a_torn_head_is_written_again_and_a_torn_record_costs_only_itself(tmp_path, kept):
    journal = open_journal(tmp_path)
    journal.append(make())
    path = journal.folder / JOURNAL
    head, record = path.read_bytes().splitlines(keepends=True)
    torn = {10: head[:10], 0.5: head + record[: len(record) // 2], -1: head + record[:-1]}[kept]
    path.write_bytes(torn)
    other = "wine-linear-pytorch-train"
    resumed = resume(tmp_path)
    # A line that lacks only its end is whole.
    assert (resumed.find_earlier(CELL) is not None) == (kept == -1)
    resumed.append(make(other))
    run = read_run(journal.folder)
    assert run.head.run == "r1"
    assert len(run.damage) == (kept != -1)
    assert run.records[-1].cell == other


def test_bytes_that_are_no_text_cost_only_their_line(tmp_path):
    journal = open_journal(tmp_path)
    journal.append(make())
    with (journal.folder / JOURNAL).open("ab") as stream:
        stream.write(b'{"kind":"record","cell":"\xff\x00\x80')
    journal.append(make("wine-linear-pytorch-train"))
    run = read_run(journal.folder)
    assert len(run.records) == 2
    assert len(run.damage) == 1


def test_a_run_is_written_by_one_session_and_found_by_its_name(tmp_path):
    for name in ("20260101-000000-aa", "20260102-000000-bb"):
        open_journal(tmp_path, name).append(make())
    folder = find_run(tmp_path, "20260101-000000-aa")
    assert folder.name == "20260101-000000-aa"
    assert find_run(tmp_path, None).name == "20260102-000000-bb"
    with pytest.raises(MatrixError, match=r"the newest are 20260102-000000-bb, 20260101"):
        find_run(tmp_path, "20260101-000000-ab")
    held = hold_run(folder)
    with pytest.raises(MatrixError, match="20260101-000000-aa is still being written"):
        hold_run(folder)
    os.close(held)
    os.close(hold_run(folder))


def test_pages_written_at_the_same_time_are_whole_for_every_reader(tmp_path):
    wrong, stop = [], threading.Event()

    def session(number):
        for round_ in range(2):
            journal = open_journal(tmp_path, f"r{number}{round_}")
            journal.append(make(f"d{number}-mlp-pytorch-train"))
            journal.append(End(finished=now(), exit_status=0, seconds=1.0))
            runs = [read_run(folder) for folder in list_runs(tmp_path)]
            wrong.extend(text for run in runs for text in run.damage)
            write_site(tmp_path, runs)

    def reader():
        while not stop.wait(0.01):
            pages = list(tmp_path.rglob("index.html"))
            wrong.extend(p for p in pages if not p.read_text().rstrip().endswith("</html>"))

    sessions = [threading.Thread(target=session, args=(number,)) for number in range(2)]
    watcher = threading.Thread(target=reader)
    for thread in (watcher, *sessions):
        thread.start()
    for thread in sessions:
        thread.join()
    stop.set()
    watcher.join()
    assert wrong == []
    assert len(list_runs(tmp_path)) == 4
    assert all((folder / "index.html").exists() for folder in list_runs(tmp_path))
    assert not list(tmp_path.rglob(".index.html-*"))
