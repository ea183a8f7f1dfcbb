"""Judge hand-made results, and read every number of the verdicts."""

from dataclasses import replace

import pytest

from harness.cell import Cell
from harness.gates.band import Accepted
from harness.gates.judge import GATES, judge_cell, score_result
from harness.store.baselines import Band
from harness.store.rows import hash_entry
from ml.core.contracts import (
    Budget,
    DataSummary,
    DescriptorData,
    ErrorInfo,
    EstimatorSpec,
    Failure,
    PreprocessingSpec,
    ReplicateResult,
    SampleInfo,
    Timings,
    TrainResult,
)
from ml.core.descriptor import ExpectedFailure

pytestmark = pytest.mark.unit

CELL = Cell(
    dataset="d",
    algorithm="linear",
    framework="sklearn",
    mode="train",
    task="regression",
    data=DescriptorData(path="d.toml"),
    model=EstimatorSpec(estimator="linear"),
    preprocessing=PreprocessingSpec(),
    budget=Budget(seconds=10.0),
    replicates=3,
    timeout=60.0,
)


def make_result(metric, pairs, better, fit=1.0, stopped="completed"):
    replicates = tuple(
        ReplicateResult(
            index=index,
            split_sha256="0" * 64,
            train_rows=6,
            validation_rows=0,
            test_rows=2,
            features=1,
            metrics={} if value is None else {metric: value},
            baseline={metric: baseline},
            undefined={metric: "one class only"} if value is None else {},
            stopped=stopped if index == 1 else "completed",
        )
        for index, (value, baseline) in enumerate(pairs)
    )
    sample = SampleInfo(method="all", rows=8, rows_total=8, rows_sha256="0" * 64)
    return TrainResult(
        id="d",
        framework="sklearn",
        data=DataSummary(
            id="d",
            task="regression",
            content_sha256="0" * 64,
            numeric=1,
            categorical=0,
            classes=(),
            sample=sample,
        ),
        metric=metric,
        greater_is_better=better,
        replicates=replicates,
        parameters=2,
        timings=Timings(fit=fit),
        rows_per_second=1.0,
        peak_memory_bytes=1,
        artifact_bytes=1,
        versions={},
        threads=1,
    )


def verdicts(cell, result):
    found = judge_cell(cell, result, score_result(result))
    assert tuple(verdict.gate for verdict in found) == tuple(GATES)
    return {verdict.gate: verdict for verdict in found}


def test_improvement_is_positive_when_the_model_is_better_whatever_the_metric():
    higher = score_result(make_result("roc_auc", [(0.8, 0.5), (0.7, 0.5)], True))
    assert (higher.value, higher.baseline) == (pytest.approx(0.75), 0.5)
    assert higher.improvement == pytest.approx(0.25)
    assert higher.spread == pytest.approx(0.05 * 2**0.5)
    lower = score_result(make_result("rmse", [(2.0, 5.0), (3.0, 5.0)], False))
    assert lower.improvement == pytest.approx(2.5)
    assert score_result(make_result("rmse", [(2.0, 5.0)], False)).spread == 0.0


@pytest.mark.parametrize(
    ("pairs", "status"),
    [
        ([(2.0, 5.0), (2.5, 5.0), (3.0, 5.0)], "pass"),
        ([(4.9, 5.0), (4.8, 5.0), (5.1, 5.0)], "fail"),
        ([(5.0, 5.0), (5.0, 5.0), (5.0, 5.0)], "fail"),
        ([(6.0, 5.0), (6.0, 5.0), (6.0, 5.0)], "fail"),
        # Better everywhere, but by less than the replicates differ.
        ([(4.9, 5.0), (4.9, 5.0), (1.0, 5.0)], "fail"),
    ],
)
def test_a_model_must_beat_the_baseline_by_more_than_the_spread(pairs, status):
    verdict = verdicts(CELL, make_result("rmse", pairs, False))["beats_baseline"]
    assert verdict.status == status
    assert verdict.breaks == (status == "fail")


def test_the_verdict_has_the_numbers():
    result = make_result("rmse", [(2.0, 5.0), (2.5, 5.0), (3.0, 5.0)], False)
    verdict = verdicts(CELL, result)["beats_baseline"]
    assert verdict.text == "rmse 2.5 against 5: better by 2.5, spread 0.5"


def test_a_baseline_is_not_held_against_itself():
    dummy = replace(CELL, algorithm="dummy", is_baseline=True)
    result = make_result("rmse", [(5.0, 5.0)], False)
    assert verdicts(dummy, result)["beats_baseline"].status == "not_applicable"


def test_an_undefined_metric_fails_with_its_reason():
    result = make_result("roc_auc", [(0.9, 0.5), (None, 0.5)], True)
    verdict = verdicts(CELL, result)["beats_baseline"]
    assert verdict.status == "fail"
    assert verdict.text == "roc_auc is not defined; replicate 1: one class only"


def test_the_time_budget_fails_on_the_clock_and_on_a_training_that_was_cut():
    pairs = [(2.0, 5.0), (2.0, 5.0)]
    assert verdicts(CELL, make_result("rmse", pairs, False))["time_budget"].status == "pass"
    late = verdicts(CELL, make_result("rmse", pairs, False, fit=10.5))["time_budget"]
    assert (late.status, late.text) == ("fail", "trained 10.5 s of 10 s")
    cut = verdicts(CELL, make_result("rmse", pairs, False, stopped="time_budget"))["time_budget"]
    assert cut.status == "fail"
    assert cut.text.endswith("replicates [1] were stopped before they were done")


def test_a_failure_fails_the_outcome_and_leaves_the_other_gates_open():
    failure = Failure(
        id="d", outcome="diverged", error=ErrorInfo(code="loss_not_finite", message="epoch 3")
    )
    found = {verdict.gate: verdict for verdict in judge_cell(CELL, failure, None)}
    assert found["outcome"].status == "fail"
    assert found["outcome"].text == "diverged: epoch 3"
    assert {found[gate].status for gate in ("beats_baseline", "time_budget")} == {"not_applicable"}


def test_a_declaration_covers_its_gate_and_cells_only():
    declared = ExpectedFailure(
        cells="d-lin*-train", gate="beats_baseline", reason="pure noise here"
    )
    cell = replace(CELL, expected_failures=(declared,))
    result = make_result("rmse", [(6.0, 5.0)], False, fit=99.0)
    found = verdicts(cell, result)
    assert (found["beats_baseline"].expected, found["beats_baseline"].breaks) == (
        "pure noise here",
        False,
    )
    assert found["time_budget"].breaks
    assert verdicts(replace(cell, algorithm="mlp"), result)["beats_baseline"].breaks


def in_band(value, metric="rmse", better=False, environment="here", entry=None, **limits):
    band = Band(
        **{"level": 1.0, "low": 0.9, "high": 1.1, **limits},
        runs=3,
        since="20260101-000000-aaaaaa",
        environment="here",
        entry=entry or hash_entry(CELL.to_request().model_dump(mode="json")),
    )
    result = make_result(metric, [(value, 9.0)] * 2, better)
    accepted = Accepted({(CELL.id, "score"): band}, environment)
    verdicts = judge_cell(CELL, result, score_result(result), accepted=accepted)
    return next((v.status, v.text) for v in verdicts if v.gate == "in_band")


def test_a_score_is_held_to_the_worse_end_of_its_band():
    numbers = "rmse {}, accepted 0.9 to 1.1 since 20260101-000000-aaaaaa"
    assert in_band(1.05) == ("pass", numbers.format("1.05"))
    assert in_band(1.2) == ("fail", numbers.format("1.2"))
    status, text = in_band(0.8)
    assert status == "pass"
    assert text == numbers.format("0.8") + ": better; to keep that, run `mlmatrix baseline update`"
    assert in_band(0.8, "r2", better=True)[0] == "fail"
    assert in_band(1.2, "r2", better=True)[0] == "pass"


def test_a_band_speaks_for_its_own_environment_and_request_only():
    elsewhere = in_band(5.0, environment="there")
    assert elsewhere == ("not_applicable", "the accepted band is that of another environment")
    smaller = in_band(5.0, entry="another")
    assert smaller == ("not_applicable", "the accepted band is that of another request")
    result = make_result("rmse", [(None, 1.0)] * 2, False)
    verdicts = judge_cell(CELL, result, score_result(result), accepted=Accepted({}, "here"))
    assert [v.text for v in verdicts if v.gate == "in_band"] == ["there is no accepted band"]
