import pytest
from report_fixture import make_record

from harness.report.sayings import say_what_changes_share, say_where_frameworks_drift
from harness.store.record import Comparison, Rung, Verdict
from harness.trends.trend import Trend

pytestmark = pytest.mark.unit


def make_trend(record, state):
    return Trend(record.cell, "score", state, True, None, None, None, "", ())


RECORDS = [
    make_record(dataset, algorithm, framework)
    for dataset in ("wine", "oils")
    for algorithm in ("mlp", "cnn")
    for framework in ("pytorch", "jax")
]


def test_what_all_changed_cells_share_is_said():
    torch = [record for record in RECORDS if record.framework == "pytorch"]
    states = ["regressed", "improved", "regressed", "improved"]
    trends = [make_trend(*pair) for pair in zip(torch, states, strict=True)]
    said = list(say_what_changes_share(trends, RECORDS))
    assert said == ["All 4 cells that regressed or improved have framework pytorch."]
    mixed = [*trends, make_trend(RECORDS[1], "regressed")]
    assert list(say_what_changes_share(mixed, RECORDS)) == []
    quiet = [*trends, make_trend(RECORDS[1], "suspect")]
    assert list(say_what_changes_share(quiet, RECORDS)) == said


def test_few_changes_and_what_all_cells_share_are_no_news():
    assert list(say_what_changes_share([make_trend(RECORDS[0], "regressed")], RECORDS)) == []
    wine = [record for record in RECORDS if record.dataset == "wine"]
    trends = [make_trend(record, "regressed") for record in wine]
    assert list(say_what_changes_share(trends, wine)) == []


def drift(record, *rungs):
    found = tuple(
        Rung(name=name, difference=difference, limit=1e-6, reason=None)
        for name, difference in rungs
    )
    other = record.cell.replace("jax", "pytorch")
    compared = Comparison(frameworks=("pytorch", "jax"), other=other, rungs=found)
    fails = not compared.passes
    verdict = Verdict(gate="in_parity", status="fail" if fails else "pass", text="")
    return record.model_copy(update={"comparisons": (compared,), "verdicts": (verdict,)})


def test_pairs_that_drift_apart_are_said_with_the_first_rung_that_fails():
    jax = [record for record in RECORDS if record.framework == "jax"]
    drifting = [drift(one, ("forward", 0.0), ("weights_1", 1.0), ("metric", 1.0)) for one in jax]
    agreeing = drift(jax[0], ("forward", 1e-7))
    said = list(say_where_frameworks_drift([agreeing, *drifting[1:]]))
    assert said == ["pytorch and jax drift apart in 3 cells of 4: 3 at weights_1."]
    assert list(say_where_frameworks_drift([agreeing])) == []
