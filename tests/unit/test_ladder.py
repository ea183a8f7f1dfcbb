"""Sum up a run's comparisons, in the closing table and by `mlmatrix parity`."""

import json

import pytest
from parity_fixture import append, make_cell, make_trace, make_traced, open_journal

from harness.cli import main
from harness.execute.executor import Execution
from harness.recording import make_record
from harness.store.journal import read_run
from harness.store.ladder import list_comparisons, sum_up_pairs
from harness.store.record import RUNGS
from harness.terminal import summarize_parity
from ml.core.descriptor import ExpectedFailure

pytestmark = pytest.mark.unit

RUN = "20260314-060010-a1b2c3"
DECLARED = ExpectedFailure(cells="b-mlp-jax-*", gate="in_parity", reason="known to drift apart")


def fill(folder, traces):
    """Append a cell per (dataset, framework), each with its trace, and return the records."""
    journal = open_journal(folder)
    return [
        append(
            journal,
            make_cell(framework, dataset=dataset, expected_failures=(DECLARED,)),
            make_traced(framework, updates=50, trace=trace),
        )
        for (dataset, framework), trace in traces.items()
    ]


@pytest.fixture
def reports(tmp_path):
    near = make_trace(weights_10=(3.0, 4.00001), weights_100=None)
    plain = make_trace(weights_100=None)
    fill(
        tmp_path / "runs" / RUN,
        {
            ("a", "pytorch"): plain,
            ("a", "tensorflow"): near,
            ("b", "pytorch"): make_trace(),
            ("b", "tensorflow"): make_trace(forward=(0.5,)),
            ("b", "jax"): make_trace(weights_10=(3.0, 4.001)),
            ("c", "pytorch"): make_trace(),
            ("c", "tensorflow"): make_trace(),
        },
    )
    return tmp_path


@pytest.fixture
def records(reports):
    return read_run(reports / "runs" / RUN).records


def test_a_pair_has_a_row_with_its_worst_at_each_rung(records):
    pairs = sum_up_pairs(list_comparisons(records))
    assert [row.frameworks for row in pairs] == [
        ("pytorch", "tensorflow"),
        ("pytorch", "jax"),
        ("tensorflow", "jax"),
    ]
    first = pairs[0]
    assert (first.cells, first.failed, first.expected) == (3, 1, 0)
    worst = dict(zip(RUNGS, first.worst, strict=True))
    assert worst["weights_10"].rung.difference == pytest.approx(2e-6)
    assert worst["weights_10"].compared.cells == ("a-mlp-pytorch-train", "a-mlp-tensorflow-train")
    assert worst["forward"].rung.reason == "1 numbers against 3"
    assert [worst[name].state for name in ("forward", "loss_1")] == ["failed", "passed"]
    assert (pairs[1].cells, pairs[1].failed, pairs[1].expected) == (1, 0, 1)


def test_a_failing_rung_is_worse_than_a_larger_difference_within_its_limit(tmp_path):
    wide, narrow = ((0.9, 0.5), (0.7, 0.5)), ((0.77, 0.5), (0.77, 0.5))
    results = {
        ("a", "pytorch"): wide,
        ("a", "jax"): ((0.96, 0.5), (0.7, 0.5)),
        ("b", "pytorch"): ((0.745, 0.5), (0.745, 0.5)),
        ("b", "jax"): narrow,
    }
    records = []
    for (dataset, framework), scores in results.items():
        execution = Execution(make_traced(framework, scores=scores), 1.0)
        cell = make_cell(framework, dataset=dataset)
        before = [record for record in records if record.dataset == dataset]
        records.append(make_record(RUN, cell, execution, "now", before))
    [row] = sum_up_pairs(list_comparisons(records))
    assert row.worst[-1].rung.difference == pytest.approx(0.025)
    assert not row.worst[-1].rung.passes


def test_the_closing_table_shows_pairs_and_signs_what_failed(records):
    header, *lines = summarize_parity(records)
    assert header.split() == ["frameworks", "cells", "failed", "expected", *RUNGS]
    assert [" ".join(line.split()) for line in lines] == [
        "pytorch – tensorflow 3 1 0 equal equal ✕ none 0 0 0 2.0e-06 0 0",
        "pytorch – jax 1 0 1 equal equal 0 0 0 0 △ 2.0e-04 0 0",
        "tensorflow – jax 1 0 1 equal equal △ none 0 0 0 △ 2.0e-04 0 0",
    ]
    assert summarize_parity(records[:1]) == []


def test_the_ladder_is_printed_worst_first_and_fails(reports, capsys):
    assert main(["parity", "--reports", str(reports)]) == 1
    title, header, *lines = capsys.readouterr().out.splitlines()
    assert title == f"run {RUN}"
    assert header.split() == ["dataset", "algorithm", "mode", "frameworks", *RUNGS]
    assert [line.split()[:6] for line in lines[:5]] == [
        ["b", "mlp", "train", "pytorch", "–", "tensorflow"],
        ["b", "mlp", "train", "tensorflow", "–", "jax"],
        ["b", "mlp", "train", "pytorch", "–", "jax"],
        ["a", "mlp", "train", "pytorch", "–", "tensorflow"],
        ["c", "mlp", "train", "pytorch", "–", "tensorflow"],
    ]
    assert " ".join(lines[3].split()[6:]) == "equal equal 0 0 0 0 2.0e-06 – 0"
    assert lines[5].split()[:4] == ["limit", "equal", "equal", "1e-06"]
    assert lines[7:9] == [
        "beyond the limit:",
        "  b-mlp-pytorch-train and b-mlp-tensorflow-train, forward: 1 numbers against 3",
    ]
    assert lines[-2:] == [
        "  b-mlp-pytorch-train and b-mlp-jax-train, weights_10: 2.0e-04, limit 1e-05",
        "    known to drift apart",
    ]


def test_the_json_has_every_rung_and_declared_failures_pass(tmp_path, capsys):
    drifted = make_trace(weights_10=(3.0, 4.001))
    fill(tmp_path / "runs" / RUN, {("b", "jax"): drifted, ("b", "pytorch"): make_trace()})
    fill(tmp_path / "runs" / "20250101-000000-aaaaaa", {("a", "jax"): make_trace()})
    assert main(["parity", RUN, "--format", "json", "--reports", str(tmp_path)]) == 0
    found = json.loads(capsys.readouterr().out)
    [one] = found["comparisons"]
    assert (found["run"], one["state"], one["expected"]) == (
        RUN,
        "expected",
        "known to drift apart",
    )
    assert one["frameworks"] == ["pytorch", "jax"]
    assert one["cells"] == ["b-mlp-pytorch-train", "b-mlp-jax-train"]
    rungs = {rung.pop("name"): rung for rung in one["rungs"]}
    assert list(rungs) == list(RUNGS)
    assert rungs["weights_10"]["difference"] == pytest.approx(2e-4)
    assert (rungs["weights_10"]["limit"], rungs["weights_10"]["passes"]) == (1e-5, False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "run 20260314-060010-a1b2c3 compared no two frameworks; expected the same network"),
        (["20260314-060010-a1b2c4"], "did you mean '20260314-060010-a1b2c3'?"),
        (["../runs"], "there is no run '../runs' in"),
    ],
)
def test_without_a_comparison_or_a_run_there_is_one_clear_line(
    tmp_path, capsys, arguments, message
):
    fill(tmp_path / "runs" / RUN, {("a", "jax"): make_trace()})
    assert main(["parity", *arguments, "--reports", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_folder_without_runs_is_named(tmp_path, capsys):
    assert main(["parity", "--reports", str(tmp_path)]) == 2
    assert f"there are no runs in {tmp_path / 'runs'}" in capsys.readouterr().err
