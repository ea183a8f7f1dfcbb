"""Compare made-up traces, and read what the gate says of them."""

import math
from dataclasses import replace

import pytest
from parity_fixture import RUNGS, make_cell, make_trace, make_traced

from harness.gates.judge import judge_cell, score_result
from harness.gates.parity import LIMITS, compare, compare_siblings, describe_comparison
from harness.store.record import RUNGS as NAMES
from harness.store.record import Comparison, Record
from ml.core.contracts import Budget, ErrorInfo, Failure, NetworkSpec, PreprocessingSpec
from ml.core.descriptor import ExpectedFailure

pytestmark = pytest.mark.unit


def ladder(this, other=None):
    rungs = compare(this, other or make_traced())
    return {rung.name: rung for rung in rungs}


def traced(**rungs):
    return make_traced("tensorflow", trace=make_trace(**rungs))


def make_record(cell, result=None, outcome="ok", comparisons=()):
    return Record(
        run="r",
        cell=cell.id,
        dataset=cell.dataset,
        algorithm=cell.algorithm,
        framework=cell.framework,
        mode=cell.mode,
        task=cell.task,
        outcome=outcome,
        reason="",
        started="2026-01-01T00:00:00+00:00",
        seconds=1.0,
        limit_seconds=60.0,
        comparisons=comparisons,
        request=cell.to_request().model_dump(mode="json"),
        result=result,
    )


def judge(cell, result, *before):
    comparisons = compare_siblings(cell, result, before)
    return judge_cell(cell, result, score_result(result), comparisons)[-1]


def test_equal_results_agree_at_every_rung_in_the_order_of_the_ladder():
    rungs = compare(make_traced("tensorflow"), make_traced())
    assert [rung.name for rung in rungs] == list(NAMES)
    assert {rung.difference for rung in rungs} == {0.0}
    assert all(rung.passes for rung in rungs)
    assert {rung.name: rung.limit for rung in rungs[2:-1]} == LIMITS


def test_a_difference_is_relative_to_the_other_by_euclidean_norms():
    found = ladder(traced(weights_10=(3.0, 4.0 + 5e-4), loss_1=(0.7 * (1 + 5e-7),)))
    assert found["weights_10"].difference == pytest.approx(1e-4)
    assert found["loss_1"].difference == pytest.approx(5e-7)
    assert (found["weights_10"].passes, found["loss_1"].passes) == (False, True)
    assert [name for name, rung in found.items() if not rung.passes] == ["weights_10"]
    huge = ladder(traced(forward=(1e200, 0.0)), make_traced(trace=make_trace(forward=(2e200, 0.0))))
    assert huge["forward"].difference == pytest.approx(0.5)


def test_outputs_below_one_unit_each_are_held_to_a_share_of_the_unit():
    def at(difference, **sizes):
        one, two = (
            trace.model_copy(update={"sizes": sizes})
            for trace in (
                make_trace(forward=(0.3, 0.4)),
                make_trace(forward=(0.3, 0.4 + difference)),
            )
        )
        found = ladder(make_traced("tensorflow", trace=two), make_traced(trace=one))
        return found["forward"].difference

    assert at(1e-6) == pytest.approx(2e-6)
    assert at(1e-6, forward=4) == pytest.approx(0.5e-6)
    assert at(1e-6, weights_10=400) == pytest.approx(2e-6)


@pytest.mark.parametrize(("name", "limit"), LIMITS.items())
def test_each_rung_holds_its_own_limit(name, limit):
    def at(share):
        values = tuple(value * (1 + share * limit) for value in RUNGS[name])
        return ladder(traced(**{name: values}))[name]

    assert at(0.9).passes
    assert not at(1.1).passes


@pytest.mark.parametrize(
    ("this", "other", "reason"),
    [
        ((math.nan, 4.0), (3.0, 4.0), "a number is not finite"),
        ((3.0, 4.0), (math.inf, 4.0), "a number is not finite"),
        ((3.0,), (3.0, 4.0), "1 numbers against 2"),
        ((), (), "there are no numbers to compare"),
        (None, (3.0, 4.0), "tensorflow did not record it"),
        ((3.0, 4.0), None, "pytorch did not record it"),
        (None, None, "pytorch and tensorflow did not record it"),
        ((1e-30, 0.0), (0.0, 0.0), "only one of the two is zero"),
        ((1e308, 0.0), (-1e-300, 0.0), "the difference is too large for a number"),
    ],
)
@pytest.mark.parametrize("name", ["forward", "weights_100"])
def test_what_cannot_be_compared_fails_with_its_reason(name, this, other, reason):
    rung = ladder(traced(**{name: this}), make_traced(trace=make_trace(**{name: other})))[name]
    assert (rung.difference, rung.passes, rung.reason) == (None, False, reason)


def test_zeros_on_both_sides_are_equal():
    found = ladder(traced(forward=(0.0, 0.0)), make_traced(trace=make_trace(forward=(0.0, 0.0))))
    assert found["forward"].difference == 0.0


def test_only_trainings_too_short_for_a_rung_may_both_lack_it():
    def lacking(name, *updates):
        this, other = (
            make_traced(framework, updates=number, trace=make_trace(**{name: None}))
            for framework, number in zip(("tensorflow", "pytorch"), updates, strict=True)
        )
        return ladder(this, other)

    assert "weights_100" not in lacking("weights_100", 99, 99)
    assert "weights_10" not in lacking("weights_10", 9, 9)
    assert not lacking("weights_100", 99, 100)["weights_100"].passes
    assert not lacking("weights_10", 10, 10)["weights_10"].passes
    assert not lacking("weights_1", 0, 0)["weights_1"].passes
    short = make_traced("tensorflow", updates=99, trace=make_trace(weights_100=None))
    one_sided = ladder(short, make_traced(updates=99))["weights_100"]
    assert one_sided.reason == "tensorflow did not record it"


@pytest.mark.parametrize(
    ("rung", "changes", "reason"),
    [
        ("splits", {"content": "0" * 64}, "the content of the table is another"),
        ("splits", {"sample": "0" * 64}, "other rows of the table were used"),
        (
            "splits",
            {"splits": ("0" * 64, "2" * 64)},
            "replicates [1] are split into other rows",
        ),
        (
            "splits",
            {"splits": ("0" * 64,), "scores": ((0.75, 0.5),)},
            "1 replicates against 2",
        ),
        (
            "rows",
            {"trace": make_trace(rows="b" * 64)},
            "the rows of the first updates stand in another order",
        ),
    ],
)
def test_splits_and_row_orders_must_be_equal(rung, changes, reason):
    found = ladder(make_traced("tensorflow", **changes))
    assert [name for name, one in found.items() if not one.passes] == [rung]
    assert (found[rung].limit, found[rung].reason) == (0.0, reason)


def test_a_missing_trace_is_a_failing_rung():
    bare = make_traced("jax").model_copy(update={"parity": None})
    assert ladder(bare)["rows"].reason == "jax has no trace of its first updates"
    assert ladder(make_traced(), bare)["rows"].reason == "jax has no trace of its first updates"


def test_a_bounded_metric_differs_absolutely_and_may_by_the_spread_of_both():
    close = ((0.70, 0.5), (0.70, 0.5))
    found = ladder(make_traced(scores=((0.73, 0.5), (0.73, 0.5))), make_traced(scores=close))
    assert found["metric"].difference == pytest.approx(0.03)
    assert (found["metric"].limit, found["metric"].passes) == (0.02, False)
    assert found["metric"].values == "roc_auc 0.7 and 0.73"
    wide = ladder(make_traced(scores=((0.83, 0.5), (0.63, 0.5))), make_traced(scores=close))
    # One spread is 0.2 / sqrt(2) and the other 0; pooled, the square root of their mean square.
    assert wide["metric"].limit == pytest.approx(0.1)
    assert wide["metric"].passes


def test_an_unbounded_metric_differs_relatively():
    def rmse(one, two, *others):
        return make_traced(*others, scores=((one, 90.0), (two, 90.0)), metric="rmse", better=False)

    found = ladder(rmse(41.0, 41.0), rmse(40.0, 40.0))["metric"]
    assert (found.difference, found.limit) == (pytest.approx(0.025), 0.02)
    spread = ladder(rmse(41.0, 41.0), rmse(30.0, 50.0))["metric"]
    assert spread.limit == pytest.approx(10 / 40)
    zero = ladder(rmse(1.0, 1.0), rmse(0.0, 0.0))["metric"]
    assert (zero.passes, zero.reason) == (False, "only one of the two is zero")
    assert ladder(rmse(0.0, 0.0), rmse(0.0, 0.0))["metric"].passes


def test_an_undefined_or_another_metric_fails():
    gone = ladder(make_traced("jax", scores=((0.8, 0.5), (None, 0.5))))["metric"]
    assert (gone.passes, gone.reason) == (False, "roc_auc is not defined for jax")
    other = ladder(make_traced("jax", metric="balanced_accuracy"))["metric"]
    assert (other.passes, other.reason) == (False, "balanced_accuracy against roc_auc")


def test_only_the_same_request_of_another_framework_is_a_sibling():
    torch = make_cell()
    same = make_record(torch, make_traced())
    cell, result = make_cell("tensorflow"), make_traced("tensorflow")
    [found] = compare_siblings(cell, result, (same,))
    assert (found.frameworks, found.other) == (("pytorch", "tensorflow"), "d-mlp-pytorch-train")
    others = [
        replace(torch, model=NetworkSpec(architecture="mlp", hidden=(9,))),
        replace(torch, dataset="e"),
        replace(torch, budget=Budget(rows=70)),
        replace(torch, preprocessing=PreprocessingSpec(scale=False)),
        replace(torch, replicates=3),
    ]
    records = [
        *(make_record(other, make_traced()) for other in others),
        same.model_copy(update={"mode": "sweep"}),
        make_record(cell, make_traced("tensorflow")),
        make_record(torch, None, "timeout"),
        make_record(torch, make_traced().model_copy(update={"parity": None})),
    ]
    assert compare_siblings(cell, result, records) == ()
    bare = result.model_copy(update={"parity": None})
    assert compare_siblings(cell, bare, (same,)) == ()


def test_the_order_of_the_frameworks_says_what_the_difference_is_relative_to():
    large = make_trace(weights_10=(6.0, 8.0))
    torch, flow = make_traced(), make_traced("tensorflow", trace=large)
    [later] = compare_siblings(make_cell("tensorflow"), flow, [make_record(make_cell(), torch)])
    [sooner] = compare_siblings(make_cell(), torch, [make_record(make_cell("tensorflow"), flow)])
    assert later.rungs == sooner.rungs
    assert later.rungs[6].difference == 1.0
    assert (later.frameworks, later.other) == (sooner.frameworks, "d-mlp-pytorch-train")
    assert sooner.other == "d-mlp-tensorflow-train"


def test_the_gate_names_the_pair_the_rung_the_difference_and_the_limit():
    torch = make_record(make_cell(), make_traced())
    jax = make_record(make_cell("jax"), make_traced("jax"))
    drifted = make_traced("tensorflow", trace=make_trace(weights_10=(3.0, 4.00155)))
    verdict = judge(make_cell("tensorflow"), drifted, torch)
    assert (verdict.gate, verdict.status, verdict.expected) == ("in_parity", "fail", None)
    assert verdict.text == (
        "pytorch and tensorflow drift apart at weights_10: relative difference 3.1e-04, "
        "limit 1e-05; up to weights_1 they agree"
    )
    two = judge(make_cell("tensorflow"), drifted, jax, torch)
    assert two.text.startswith(verdict.text + "; tensorflow and jax drift apart at weights_10")
    near = make_traced("tensorflow", trace=make_trace(weights_10=(3.0, 4.00004)))
    good = judge(make_cell("tensorflow"), near, torch, jax)
    assert good.status == "pass"
    assert good.text == (
        "pytorch and tensorflow agree, least at weights_10: relative difference 8.0e-06, "
        "limit 1e-05; tensorflow and jax agree, least at weights_10: relative difference 8.0e-06, "
        "limit 1e-05"
    )


def test_the_failing_pair_stands_first_and_reasons_take_the_place_of_numbers():
    jax = make_record(make_cell("jax"), make_traced("jax", trace=make_trace(forward=(1.0,))))
    torch = make_record(make_cell(), make_traced())
    text = judge(make_cell("tensorflow"), make_traced("tensorflow"), torch, jax).text
    assert text == (
        "tensorflow and jax drift apart at forward: 1 numbers against 3; up to rows they agree; "
        "pytorch and tensorflow agree in every digit"
    )
    rungs = compare(make_traced("jax", splits=("0" * 64, "2" * 64)), make_traced())
    pair = Comparison(frameworks=("pytorch", "jax"), other="c", rungs=tuple(rungs))
    assert describe_comparison(pair) == (
        "pytorch and jax drift apart at splits: replicates [1] are split into other rows"
    )
    rungs = compare(make_traced("jax", scores=((0.6, 0.5), (0.6, 0.5))), make_traced())
    pair = Comparison(frameworks=("pytorch", "jax"), other="c", rungs=tuple(rungs))
    assert describe_comparison(pair) == (
        "pytorch and jax drift apart at metric: roc_auc 0.75 and 0.6, difference 1.5e-01, "
        "limit 0.05; up to weights_100 they agree"
    )


def test_without_trace_or_sibling_the_gate_does_not_apply():
    alone = judge(make_cell(), make_traced())
    assert (alone.status, alone.text) == (
        "not_applicable",
        "no other framework has run this cell before",
    )
    bare = make_traced().model_copy(update={"parity": None})
    assert judge(make_cell(), bare).text == "the model has no first updates to compare"
    failure = Failure(id="d", outcome="timeout", error=ErrorInfo(code="c", message="m"))
    verdict = judge_cell(make_cell(), failure, None)[-1]
    assert (verdict.gate, verdict.status) == ("in_parity", "not_applicable")


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ("d-mlp-jax-*", "known to drift"),
        ("d-mlp-pytorch-train", "known to drift"),
        ("d-mlp-*", "known to drift"),
        ("d-mlp-tensorflow-*", None),
    ],
)
def test_a_declaration_for_either_cell_covers_their_comparison(cells, expected):
    declared = ExpectedFailure(cells=cells, gate="in_parity", reason="known to drift")
    cell = make_cell("jax", expected_failures=(declared,))
    drifted = make_traced("jax", trace=make_trace(weights_10=(3.0, 5.0)))
    torch = make_record(make_cell(), make_traced())
    assert judge(cell, drifted, torch).expected == expected
    # Two comparisons fail, so that a declaration for one of the two siblings is not enough.
    flow = make_record(make_cell("tensorflow"), make_traced("tensorflow"))
    both = judge(cell, drifted, torch, flow)
    assert both.expected == (None if cells == "d-mlp-pytorch-train" else expected)
    assert both.breaks == (both.expected is None)
