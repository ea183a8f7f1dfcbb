import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.trends.ranks import (
    Entry,
    mean_ranks,
    normalise,
    rank_algorithms,
    rank_frameworks,
)

pytestmark = pytest.mark.unit

SCORES = np.array(
    [
        [0.81, 0.78, 0.70, 0.60],
        [0.92, 0.90, 0.71, 0.52],
        [0.73, 0.77, 0.66, 0.61],
        [0.88, 0.80, 0.75, 0.50],
        [0.69, 0.65, 0.52, 0.53],
        [0.95, 0.91, 0.80, 0.62],
        [0.77, 0.765, 0.60, 0.55],
        [0.84, 0.89, 0.73, 0.58],
        [0.90, 0.83, 0.77, 0.57],
        [0.79, 0.733, 0.68, 0.59],
    ]
)


def entry(dataset="d", algorithm="a", framework="sklearn", **changes):
    values = {
        "mode": "train",
        "score": 0.9,
        "baseline": 0.5,
        "greater_is_better": True,
        "fit_seconds": 1.0,
        "failed": False,
    }
    values |= changes
    if values["failed"]:
        values |= {"score": None, "baseline": None, "fit_seconds": None}
    return Entry(dataset=dataset, algorithm=algorithm, framework=framework, **values)


def table(scores, **changes):
    return [
        entry(f"d{row}", f"a{place}", score=float(score), **changes)
        for row, line in enumerate(scores)
        for place, score in enumerate(line)
    ]


def ranks_by_name(ranking):
    return {one.name: one.rank for one in ranking.standings}


def test_pairs_have_the_numbers_of_scikit_posthocs():
    # The best is 1 above the baseline, so that differences are as they stand.
    entries = [
        entry(f"d{row}", f"a{place}", score=float(score), baseline=float(line.max()) - 1)
        for row, line in enumerate(SCORES)
        for place, score in enumerate(line)
    ]
    found = rank_algorithms(entries, tie=0.0)
    # posthoc_wilcoxon(p_adjust="holm") of scikit-posthocs 0.17.1
    assert [round(pair.p, 6) for pair in found.pairs] == [0.150391, *[0.011719] * 5]
    assert [one.rank for one in found.standings] == pytest.approx([1.2, 1.8, 3.1, 3.9])
    assert found.friedman.statistic == pytest.approx(27.0)
    # posthoc_nemenyi_friedman gives 1.9 apart 0.0055, 1.3 apart 0.1096.
    assert 1.3 < found.critical_difference < 1.9
    assert found.groups == ((0, 1),)
    first = found.pairs[0]
    assert (first.wins, first.losses, first.ties) == (8, 2, 0)
    assert found.datasets == tuple(sorted(f"d{row}" for row in range(10)))


def test_scores_within_the_tolerance_are_a_tie():
    scores = np.array([[1.0, 0.995, 0.5], [0.0, 0.0, 1.0]])
    assert mean_ranks(scores, 0.01).tolist() == [[1.5, 1.5, 3.0], [2.5, 2.5, 1.0]]
    assert mean_ranks(scores, 0.0).tolist() == [[1.0, 2.0, 3.0], [2.5, 2.5, 1.0]]
    worst = np.array([[-np.inf, 0.2, -np.inf]])
    assert mean_ranks(worst).tolist() == [[2.5, 1.0, 2.5]]


def test_normalised_scores_are_0_at_the_baseline_and_1_at_the_best():
    values = np.array([[0.9, 0.7, 0.3], [0.4, 0.3, 0.5], [2.0, 2.0, 2.0]])
    found = normalise(values, np.array([0.5, 0.5, 2.0]))
    assert found == pytest.approx(np.array([[1.0, 0.5, -0.5], [-0.5, -1.0, 0.0], [0.0] * 3]))


def test_an_error_is_better_where_it_is_smaller():
    entries = [
        entry("d", "a", score=2.0, baseline=5.0, greater_is_better=False),
        entry("d", "b", score=3.0, baseline=5.0, greater_is_better=False),
    ]
    found = rank_algorithms(entries)
    assert ranks_by_name(found) == {"a": 1.0, "b": 2.0}
    assert [one.score for one in found.standings] == pytest.approx([1.0, 2 / 3])


def test_a_failed_cell_counts_as_the_baseline_and_the_other_ways_are_shown():
    entries = [
        entry("d0", "a", failed=True),
        entry("d0", "b", score=0.6),
        entry("d0", "c", score=0.4),
        entry("d1", "a", score=0.9),
        entry("d1", "b", score=0.8),
        entry("d1", "c", score=0.7),
    ]
    found = rank_algorithms(entries)
    assert ranks_by_name(found) == {"a": 1.5, "b": 1.5, "c": 3.0}
    assert {one.name: one.failed for one in found.standings} == {"a": 1, "b": 0, "c": 0}
    ways = {one.failures: (one.datasets, one.ranks, one.order) for one in found.rerankings}
    assert ways == {
        "baseline": (2, (1.5, 1.5, 3.0), True),
        "left_out": (1, (1.0, 2.0, 3.0), True),
        "worst": (2, (2.0, 1.5, 2.5), False),
    }


def test_where_every_dataset_has_a_failure_none_is_left():
    entries = [entry("d0", "a", failed=True), entry("d0", "b"), entry("d0", "c", score=0.7)]
    (left_out,) = [o for o in rank_algorithms(entries).rerankings if o.failures == "left_out"]
    assert (left_out.datasets, left_out.ranks) == (0, ())


def test_a_dataset_that_one_did_not_run_on_is_no_failure():
    entries = table(SCORES[:4, :2])
    entries.remove(next(one for one in entries if (one.dataset, one.algorithm) == ("d3", "a1")))
    found = rank_algorithms(entries)
    assert found.datasets == ("d0", "d1", "d2")
    assert found.absent == ("d3",)
    assert [one.failed for one in found.standings] == [0, 0]


def test_who_shares_too_few_datasets_is_left_out():
    entries = [*table(SCORES[:, :3]), entry("d0", "rare"), entry("d1", "rare")]
    found = rank_algorithms(entries)
    assert found.left_out == (("rare", 2),)
    assert len(found.datasets) == 10
    assert {one.name for one in found.standings} == {"a0", "a1", "a2"}


def test_a_dataset_without_any_score_is_no_ground():
    entries = [*table(SCORES[:2, :2]), *(entry("d9", name, failed=True) for name in ("a0", "a1"))]
    found = rank_algorithms(entries)
    assert found.datasets == ("d0", "d1")
    assert found.absent == ("d9",)


def test_nothing_to_compare_gives_none():
    assert rank_algorithms([]) is None
    assert rank_algorithms([entry("d0", "a"), entry("d1", "b")]) is None
    assert rank_frameworks([entry(framework="jax"), entry("d", "b", "pytorch")]) is None


def test_an_algorithm_is_the_mean_over_its_frameworks():
    entries = [
        entry("d", "mlp", "pytorch", score=0.9),
        entry("d", "mlp", "jax", score=0.7),
        entry("d", "svm", "sklearn", score=0.85),
        entry("d", "svm", "sklearn", mode="sweep", score=0.95),
    ]
    found = rank_algorithms(entries)
    assert ranks_by_name(found) == {"svm · sweep": 1.0, "svm": 2.0, "mlp": 3.0}
    assert found.standings[2].score == pytest.approx((0.8 - 0.5) / 0.45)


def test_frameworks_are_compared_by_the_algorithms_they_share():
    entries = [
        entry("d0", "mlp", "pytorch", score=0.8),
        entry("d0", "mlp", "sklearn", score=0.7),
        entry("d0", "forest", "sklearn", score=0.99),
        entry("d1", "mlp", "pytorch", score=0.8),
        entry("d1", "forest", "sklearn", score=0.99),
    ]
    found = rank_frameworks(entries)
    assert found.datasets == ("d0",)
    assert found.absent == ("d1",)
    assert ranks_by_name(found) == {"pytorch": 1.0, "sklearn": 2.0}


def test_none_on_the_front_is_beaten_in_both():
    seconds = {"a0": 4.0, "a1": 1.0, "a2": 2.0, "a3": 2.0}
    entries = [
        Entry(**(vars(one) | {"fit_seconds": seconds[one.algorithm]})) for one in table(SCORES)
    ]
    found = rank_algorithms(entries)
    assert {one.name for one in found.standings if one.front} == {"a0", "a1"}
    assert [one.seconds for one in found.standings] == pytest.approx([4.0, 1.0, 2.0, 2.0])
    assert found.timed == 10


def test_of_two_as_good_the_slower_is_not_on_the_front():
    entries = [
        entry("d", "slow", fit_seconds=2.0),
        entry("d", "fast", fit_seconds=1.0),
        entry("d", "twin", fit_seconds=1.0),
    ]
    found = rank_algorithms(entries)
    assert {one.name for one in found.standings if one.front} == {"fast", "twin"}


def test_seconds_are_a_geometric_mean():
    entries = [
        entry(f"d{number}", name, fit_seconds=seconds)
        for name in ("a", "b")
        for number, seconds in enumerate((1.0, 4.0, 16.0))
    ]
    assert rank_algorithms(entries).standings[0].seconds == pytest.approx(4.0)


def test_below_the_baseline_a_mean_score_counts_as_0():
    found = rank_algorithms(table([[0.9, 0.1], [0.9, 0.7]]))
    assert [one.score for one in found.standings] == pytest.approx([1.0, 0.25])


def test_a_pair_within_the_tolerance_wins_nothing():
    found = rank_algorithms(table([[0.9, 0.899], [0.9, 0.7]]))
    (pair,) = found.pairs
    assert (pair.wins, pair.losses, pair.ties) == (1, 0, 1)


def test_a_failure_in_one_framework_is_a_failure():
    entries = [
        entry("d", "mlp", "pytorch"),
        entry("d", "mlp", "jax", failed=True),
        entry("d", "svm"),
    ]
    found = rank_algorithms(entries)
    assert {one.name: one.failed for one in found.standings} == {"svm": 0, "mlp": 1}
    assert {one.name: one.score for one in found.standings} == pytest.approx(
        {"svm": 1.0, "mlp": 0.5}
    )


def test_seconds_stand_on_the_datasets_that_all_have_a_time_on():
    entries = [
        entry("d0", "a", fit_seconds=1.0),
        entry("d0", "b", fit_seconds=4.0),
        entry("d1", "a", fit_seconds=100.0),
        entry("d1", "b", failed=True),
    ]
    found = rank_algorithms(entries)
    assert found.timed == 1
    assert [one.seconds for one in found.standings] == pytest.approx([1.0, 4.0])


def test_intervals_stand_around_the_rank_and_repeat():
    one, two = (rank_algorithms(table(SCORES), seed=3) for _ in range(2))
    assert one == two
    for standing in one.standings:
        assert 1.0 <= standing.low <= standing.rank <= standing.high <= 4.0
    assert one.standings[0].low < one.standings[0].high
    assert rank_algorithms(table(SCORES[:1])).standings[0].low == 1.0


def test_too_few_datasets_tell_no_pair_apart():
    found = rank_algorithms(table(SCORES[:3]))
    assert found.least_p == 1.0
    assert found.groups == ((0, 1, 2, 3),)
    assert found.critical_difference is None


SQUARES = st.lists(
    st.lists(st.integers(1, 999), min_size=3, max_size=3), min_size=1, max_size=6
).map(lambda rows: np.array(rows) / 1000)


@settings(max_examples=30, deadline=None)
@given(SQUARES)
def test_ranks_depend_on_the_order_of_scores_only(scores):
    plain = rank_algorithms(table(scores, baseline=0.0), tie=0.0)
    bent = rank_algorithms(table(scores**3, baseline=0.0), tie=0.0)
    assert ranks_by_name(plain) == ranks_by_name(bent)


@settings(max_examples=30, deadline=None)
@given(SQUARES, st.randoms(use_true_random=False))
def test_the_order_of_the_cells_is_of_no_account(scores, random):
    entries = table(scores, baseline=0.0)
    shuffled = random.sample(entries, len(entries))
    assert rank_algorithms(entries) == rank_algorithms(shuffled)


@settings(max_examples=30, deadline=None)
@given(SQUARES)
def test_the_ranks_of_a_dataset_have_one_sum(scores):
    assert mean_ranks(scores, 0.05).sum(axis=1) == pytest.approx(6.0)
