"""Read what the terminal says of records and of the way so far."""

import pytest
from report_fixture import record_of

from harness.store.journal import RunJournal
from harness.store.record import Score, Verdict
from harness.terminal import (
    Progress,
    cell_facts,
    describe_load,
    describe_record,
    expected_reason,
    explain_failure,
    summarize_run,
)
from ml.core.contracts import ErrorInfo

pytestmark = pytest.mark.unit

SCORE = Score(
    metric="rmse", greater_is_better=False, value=2.0, baseline=5.0, improvement=3.0, spread=0.5
)


def make_record(cell, outcome="ok", reason="", score=SCORE, error=None, **gates):
    verdicts = tuple(
        Verdict(gate=gate, status=status, text=f"{gate} text", expected=expected)
        for gate, (status, expected) in gates.items()
    )
    told = {"outcome": outcome, "reason": reason, "score": score, "error": error}
    return record_of(cell, **told, verdicts=verdicts, seconds=1.25)


def test_a_cell_in_one_phrase():
    assert describe_record(make_record("a-b-sklearn-train")) == "rmse 2 (baseline 5) 1.2 s"
    crashed = make_record("a-b-sklearn-train", "crashed", "signal 9", score=None)
    assert describe_record(crashed) == "crashed: signal 9 (1.2 s)"


def test_a_failure_names_gate_code_field_expected_received_and_remedy():
    error = ErrorInfo(
        code="c", message="m", field="f", expected="e", received="r", remedy="do", detail="one\ntwo"
    )
    record = make_record(
        "a-b-sklearn-train",
        "error",
        "m",
        None,
        error,
        outcome_=("fail", None),
        other=("pass", None),
    )
    assert explain_failure(record).splitlines() == [
        "a-b-sklearn-train: outcome error",
        "  outcome_: outcome_ text",
        "  code: c",
        "  field: f",
        "  expected: e",
        "  received: r",
        "  remedy: do",
        "  detail:",
        "    one",
        "    two",
    ]


def test_only_a_declared_failure_has_an_expected_reason():
    declared = make_record("a-b-sklearn-train", beats_baseline=("fail", "hard data"))
    assert expected_reason(declared) == "beats_baseline: hard data (beats_baseline text)"
    assert expected_reason(make_record("a-b-sklearn-train", beats_baseline=("pass", "old"))) is None
    assert cell_facts(declared)["failed"] is False
    broken = make_record("a-b-sklearn-train", beats_baseline=("fail", None))
    assert cell_facts(broken)["failed"] is True


def test_progress_counts_cells_once_and_speaks_every_ten_seconds():
    moments = iter([0.0, 4.0, 9.0, 10.0, 12.0, 24.0])
    progress = Progress(total=10, clock=lambda: next(moments))
    assert progress.update("a", failed=False) is None
    assert progress.update("a", failed=False) is None
    line = progress.update("b", failed=True)
    assert line == "matrix: 2/10 cells done, 1 failed, about 40 s left"
    assert progress.update("c", failed=False) is None
    line = progress.update("d", failed=False)
    assert line == "matrix: 4/10 cells done, 1 failed, about 36 s left"


def test_the_summary_counts_by_framework_and_lists_reasons():
    records = (
        make_record("a-b-sklearn-train", beats_baseline=("pass", None)),
        make_record("b-b-sklearn-train", beats_baseline=("fail", "hard data")),
        make_record("c-b-sklearn-train", beats_baseline=("pass", "was hard")),
        make_record("d-b-sklearn-train", beats_baseline=("fail", "hard data")),
        make_record("a-b-pytorch-train", reason="too slow", time_budget=("fail", None)),
        make_record("a-b-tensorflow-train", "unavailable", "no", None, outcome_=("fail", None)),
    )
    lines = summarize_run(RunJournal(None, None, records, (), None, ("line 7: torn",)))
    rows = {line.split()[0]: line.split()[1:6] for line in lines[1:5]}
    assert lines[0].split()[:6] == ["framework", "cells", "ok", "failed", "expected", "unavailable"]
    assert rows == {
        "pytorch": ["1", "1", "1", "0", "0"],
        "sklearn": ["4", "4", "0", "2", "0"],
        "tensorflow": ["1", "0", "0", "0", "1"],
        "total": ["6", "5", "1", "2", "1"],
    }
    assert lines[5:] == [
        "",
        "failed:",
        "  a-b-pytorch-train  too slow",
        "",
        "failed as declared:",
        "  beats_baseline: hard data",
        "    b-b-sklearn-train  beats_baseline text",
        "    d-b-sklearn-train  beats_baseline text",
        "",
        "passed against the declaration:",
        "  c-b-sklearn-train  beats_baseline passes; its declared failure can go",
        "damaged: line 7: torn",
    ]


def test_more_threads_than_cores_are_warned_of():
    assert describe_load(2, 1, 2) is None
    line = describe_load(2, 2, 3)
    assert line.startswith("matrix: 2 processes train with 2 threads each, on 3 cores: ")
    assert line.endswith("whose product is at most 3")
