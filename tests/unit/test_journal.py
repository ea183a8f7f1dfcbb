"""Write, tear and read journals."""

import multiprocessing

import pytest
from report_fixture import record_of

from harness.store.environment import describe_run
from harness.store.journal import JOURNAL, Journal, check_version, list_runs, now, read_run
from harness.store.record import End, TestLine, parse_line
from ml.core.contracts import RuntimeSpec
from ml.core.errors import MatrixError

pytestmark = pytest.mark.unit

RUNTIME = RuntimeSpec()


def make_record(cell="wine-mlp-pytorch-train", reason="", **others):
    request = {"nested": {"list": [1, None, "é"]}}
    return record_of(cell, outcome="crashed", reason=reason, request=request, **others)


@pytest.fixture
def journal(tmp_path):
    return Journal(
        tmp_path / "reports/runs/r1",
        lambda name: describe_run(name, tmp_path, ("pytest",), RUNTIME),
    )


def append_many(folder, number):
    journal = Journal(folder, lambda name: describe_run(name, folder, ("pytest",), RUNTIME))
    for index in range(50):
        journal.append(make_record(f"d{number}x{index}-mlp-pytorch-train", reason="x" * 9_000))


def test_nothing_is_made_before_the_first_line(journal):
    assert not journal.exists
    assert not journal.folder.exists()


def test_lines_come_back_equal_behind_one_head(journal):
    record, test = make_record(), TestLine(node="t.py::t", cell=None, status="failed", reason="é")
    end = End(finished=now(), exit_status=1, seconds=3.5)
    for line in (record, test, end):
        journal.append(line)
    found = read_run(journal.folder)
    assert (found.records, found.tests, found.end) == ((record,), (test,), end)
    assert found.damage == ()
    assert found.head.run == "r1"
    assert found.head.cores >= 1
    assert found.head.packages["pytest"]
    lines = (journal.folder / JOURNAL).read_text().splitlines()
    assert [parse_line(line).kind for line in lines] == ["run", "record", "test", "end"]


def test_a_torn_line_costs_only_itself_and_is_named(journal):
    first, second = make_record(), make_record("wine-linear-pytorch-train")
    journal.append(first)
    path = journal.folder / JOURNAL
    path.write_bytes(path.read_bytes() + second.model_dump_json().encode()[:200])
    journal.append(second)
    found = read_run(journal.folder)
    assert found.records == (first, second)
    [damage] = found.damage
    assert "line 3" in damage


def test_a_newer_version_is_named_and_not_misread(journal):
    journal.append(make_record())
    path = journal.folder / JOURNAL
    path.write_text(
        path.read_text().replace('"kind":"record","version":2', '"kind":"record","version":3')
    )
    found = read_run(journal.folder)
    assert found.records == ()
    assert found.damage == (
        f"{path}, line 2: a line of version 3; expected version 2 or an earlier one; "
        "upgrade pytest-mlmatrix",
    )
    assert journal.find("wine-mlp-pytorch-train") is None
    with pytest.raises(MatrixError, match="line 2: a line of version 3"):
        check_version(journal.folder)


def test_several_processes_append_whole_lines(journal):
    context = multiprocessing.get_context("spawn")
    writers = [
        context.Process(target=append_many, args=(journal.folder, number)) for number in range(3)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    found = read_run(journal.folder)
    assert found.damage == ()
    assert len(found.records) == 150
    assert found.head is not None


def test_a_record_is_found_by_its_cell_and_the_last_one_counts(journal):
    assert journal.find("wine-mlp-pytorch-train") is None
    journal.append(make_record("wine-mlp-pytorch-train", reason="first"))
    journal.append(make_record("wine-linear-pytorch-train", reason="about wine-mlp-pytorch-train"))
    assert journal.find("wine-mlp-pytorch-train").reason == "first"
    assert journal.find("wine-mlp-tensorflow-train") is None
    journal.append(make_record("wine-mlp-pytorch-train", reason="again"))
    assert next(r.reason for r in read_run(journal.folder).records) == "again"


def test_runs_are_listed_newest_first_and_folders_without_journal_are_none(tmp_path):
    for name in ("20260101-000000-aa", "20261231-000000-aa", "20260601-000000-aa"):
        Journal(
            tmp_path / "runs" / name, lambda run: describe_run(run, tmp_path, (), RUNTIME)
        ).append(make_record())
    (tmp_path / "runs" / "empty").mkdir()
    assert [path.name[:8] for path in list_runs(tmp_path)] == ["20261231", "20260601", "20260101"]
    assert list_runs(tmp_path / "nowhere") == []


def test_a_run_outside_git_has_no_commit(tmp_path):
    head = describe_run("r", tmp_path, ("pytest", "-q"), RuntimeSpec(threads=3))
    assert (head.git_commit, head.git_branch, head.git_dirty) == (None, None, None)
    assert head.command == ("pytest", "-q")
    assert head.threads_per_worker == head.runtime.threads == 3
