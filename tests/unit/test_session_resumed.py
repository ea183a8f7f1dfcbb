"""Settle cells of a resumed run: what is final is judged again, by today's gates, and not run."""

import random

import pytest
from report_fixture import make_result, record_of
from settings_fixture import make_cell, make_settings

from harness.gates.score import score_result
from harness.options import without_resume
from harness.recording import judge_again
from harness.session import MatrixSession
from harness.store.environment import describe_resumption, describe_run
from harness.store.journal import JOURNAL, Journal, read_run
from ml.core.contracts import ErrorInfo, RuntimeSpec

pytestmark = pytest.mark.unit


@pytest.fixture
def settings(tmp_path):
    return make_settings(tmp_path)


@pytest.fixture
def cell(settings):
    return make_cell(settings, dataset="diabetes", algorithm="linear", framework="sklearn")


def make_record(cell, **changes):
    result = make_result(cell.id, "sklearn", "regression", 0.5, False, random.Random(0))
    request = cell.to_request().model_dump(mode="json")
    made = record_of(cell.id, task="regression", request=request, result=result)
    made = judge_again(cell, made)
    return made.model_copy(update={"score": score_result(result), **changes})


def resume(settings, *records):
    def open_journal(resumed_at=None):
        return Journal(
            settings.reports / "runs/r1",
            lambda name: describe_run(name, settings.root, (), RuntimeSpec()),
            resumed_at,
        )

    journal = open_journal()
    for record in records:
        journal.append(record)
    journal = open_journal((journal.folder / JOURNAL).stat().st_size)
    journal.resume(describe_resumption(settings.root, ()))
    return MatrixSession(settings, journal, shared=False), journal


def test_a_final_record_is_taken_as_it_is_where_gates_judge_alike(settings, cell):
    record = make_record(cell)
    session, journal = resume(settings, record)
    assert session.record(cell) == record
    assert not (journal.folder / "workers").exists()
    assert (journal.folder / JOURNAL).read_bytes().count(b'"kind":"record"') == 1


def test_a_gate_that_judges_otherwise_today_counts(settings, cell):
    record = make_record(cell)
    old = record.model_copy(update={"verdicts": (), "reason": "of another day"})
    session, journal = resume(settings, old)
    judged = session.record(cell)
    assert judged == record
    assert judged.verdicts[0].gate == "outcome"
    assert read_run(journal.folder).records == (record,)


@pytest.mark.parametrize("outcome", ["error", "timeout", "out_of_memory", "diverged"])
def test_a_failure_with_a_final_outcome_stays_what_it_is(settings, cell, outcome):
    error = ErrorInfo(code="c", message="it failed")
    failed = make_record(cell, outcome=outcome, result=None, score=None, error=error)
    session, _ = resume(settings, failed)
    record = session.record(cell)
    assert (record.outcome, record.reason, record.failed) == (outcome, "it failed", True)


@pytest.mark.parametrize("outcome", ["crashed", "unavailable"])
def test_what_may_end_otherwise_is_not_final(settings, cell, outcome):
    session, _ = resume(settings, make_record(cell, outcome=outcome, result=None))
    assert session.find_final(cell) is None


def test_a_record_of_another_request_is_not_the_cells(settings, cell):
    record = make_record(cell)
    other = {**record.request, "replicates": 7}
    session, _ = resume(settings, record.model_copy(update={"request": other}))
    assert session.find_final(cell) is None


def test_a_run_that_is_not_resumed_has_no_earlier_record(settings, cell):
    journal = Journal(
        settings.reports / "runs/r1",
        lambda name: describe_run(name, settings.root, (), RuntimeSpec()),
    )
    journal.append(make_record(cell))
    assert MatrixSession(settings, journal, shared=False).find_final(cell) is None


@pytest.mark.parametrize(
    ("command", "kept"),
    [
        ("pytest -v --matrix-resume", "pytest -v"),
        ("pytest --matrix-resume r1 -v", "pytest -v"),
        ("pytest --matrix-resume -v tests", "pytest -v tests"),
        ("pytest --matrix-resume=r1 tests", "pytest tests"),
        ("pytest tests", "pytest tests"),
    ],
)
def test_the_command_to_go_on_names_the_run_once(command, kept):
    assert without_resume(command.split()) == kept.split()
