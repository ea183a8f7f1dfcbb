"""Judge metrics of hand-made series, to the digit and by intervals."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trends_fixture import make_metric, make_points, make_series

from harness.trends.judge import judge_series
from harness.trends.rule import Rule

pytestmark = pytest.mark.unit


def judge(values, **fields):
    return judge_series(make_metric(values, **fields))


def across(before, after, better=True, **changed):
    points = (make_points(before), make_points(after, len(before), **changed))
    return judge_series(make_series(*points, kind="metric", better=better, measure="score"))


def test_a_series_without_points_says_so():
    trend = judge([])
    assert (trend.state, trend.segments, trend.evidence) == ("unchanged", (), "no run has a value")


def test_a_constant_series_is_unchanged_on_one_segment():
    trend = judge([0.9] * 5)
    assert (trend.state, trend.changed, trend.since) == ("unchanged", False, None)
    assert [(s.first, s.last, s.level) for s in trend.segments] == [(0, 4, 0.9)]
    assert trend.evidence == "the same to the digit in 5 runs"


def test_the_last_digit_changes_a_series_but_not_its_state():
    trend = judge([0.9, 0.9, 0.9 + 1e-9])
    assert (trend.state, trend.changed) == ("unchanged", True)
    assert trend.effect == pytest.approx(1e-9 / 0.9, rel=1e-5)
    assert (trend.since.run_before, trend.since.run_after) == ("00001", "00002")
    assert "less than the minimum effect of 0.001" in trend.evidence


def test_replicates_that_cancel_are_a_change_all_the_same():
    trend = judge([(0.5, 0.75), (0.75, 0.5)])
    assert (trend.state, trend.changed, trend.effect) == ("unchanged", True, 0.0)
    assert "2 of 2 replicates differ, by 0.25 at most" in trend.evidence


def test_a_drop_is_a_regression_since_its_commits_with_an_interval_of_no_width():
    trend = judge([0.8, 0.8, 0.76, 0.76])
    assert trend.state == "regressed"
    assert trend.changed is False
    assert (trend.since.commit_before, trend.since.commit_after) == ("c1", "c2")
    assert trend.effect == pytest.approx(-0.05)
    assert trend.interval == pytest.approx((-0.05, -0.05))
    assert [(s.first, s.last, s.level) for s in trend.segments] == [(0, 1, 0.8), (2, 3, 0.76)]


@pytest.mark.parametrize(("better", "state"), [(True, "improved"), (False, "regressed")])
def test_what_grows_is_better_or_worse_as_the_metric_says(better, state):
    trend = judge([0.8, 0.9], better=better)
    assert (trend.state, trend.changed, trend.effect) == (state, True, pytest.approx(0.125))


def test_the_minimum_effect_is_absolute_for_scores_and_relative_for_losses():
    assert judge([0.01, 0.0095]).state == "unchanged"
    assert judge([0.01, 0.0105], better=False).state == "regressed"
    assert judge([250.0, 250.2], better=False).state == "unchanged"
    assert judge([250.0, 250.3], better=False).state == "regressed"


def test_a_regression_stands_until_the_value_returns():
    values = [0.9] * 3 + [0.8] * 40
    assert judge(values).state == "regressed"
    trend = judge([*values, 0.9])
    assert (trend.state, trend.changed) == ("unchanged", True)
    assert "back on the level before 00003" in trend.evidence


def test_a_regression_that_is_undone_in_part_stands_with_what_is_left():
    trend = judge([0.9, 0.9, 0.7, 0.7, 0.85])
    assert trend.state == "regressed"
    assert trend.effect == pytest.approx((0.85 - 0.9) / 0.9)
    assert trend.since.run_after == "00002"


def test_what_was_won_and_is_lost_again_is_no_news_but_losing_more_is():
    assert judge([0.8, 0.9, 0.8]).state == "unchanged"
    assert judge([0.8, 0.9, 0.85]).state == "regressed"


def test_an_improvement_is_spoken_of_for_a_while():
    holds = Rule().holds
    assert judge([0.8] + [0.9] * holds).state == "improved"
    assert judge([0.8] + [0.9] * (holds + 1)).state == "unchanged"


def test_an_accepted_level_is_no_regression():
    series = make_metric([0.9, 0.8, 0.8])
    assert judge_series(series, accepted="00000").state == "regressed"
    assert judge_series(series, accepted="00001").state == "unchanged"


def test_small_steps_in_one_direction_add_up():
    trend = judge([0.9 - 0.0004 * step for step in range(4)])
    assert trend.state == "regressed"
    assert (trend.since.run_before, trend.since.run_after) == ("00000", "00003")
    assert trend.effect == pytest.approx(-0.0012 / 0.9)


def test_another_environment_is_compared_in_pairs_of_shared_splits():
    before, after = (0.80, 0.90, 0.70), (0.79, 0.889, 0.691)
    trend = across([before], [after], environment="other")
    # Differences -0.010, -0.011, -0.009: mean -0.010, standard error 0.001 / sqrt(3), t(2; 0.995).
    half = 9.924843 * 0.001 / math.sqrt(3)
    assert trend.state == "regressed"
    assert trend.effect == pytest.approx(-0.01 / 0.8)
    assert trend.interval == pytest.approx(((-0.01 - half) / 0.8, (-0.01 + half) / 0.8))
    assert "another environment since 00001" in trend.evidence
    assert "paired over 3 shared splits" in trend.evidence


def test_another_environment_whose_interval_holds_zero_is_not_told():
    trend = across([(0.80, 0.90, 0.70)], [(0.78, 0.91, 0.69)], environment="other")
    assert (trend.state, trend.changed) == ("unchanged", True)


def test_another_table_shares_no_split_and_is_compared_by_welch():
    before, after = (0.80, 0.81, 0.79), (0.70, 0.71, 0.69)
    trend = across([before], [after], data="other")
    # Equal variances: 4 degrees of freedom, standard error sqrt(2 * 0.0001 / 3), t(4; 0.995).
    half = 4.604095 * math.sqrt(2 * 0.0001 / 3)
    assert trend.state == "regressed"
    assert trend.interval == pytest.approx(((-0.1 - half) / 0.8, (-0.1 + half) / 0.8), rel=1e-5)
    assert "Welch, 3 and 3 replicates" in trend.evidence


def test_a_single_replicate_across_environments_is_said_and_not_told():
    trend = across([(0.9,)], [(0.5,)], environment="other")
    assert (trend.state, trend.interval) == ("unchanged", None)
    assert "a single replicate has no interval" in trend.evidence


def test_after_an_untold_step_the_new_environment_is_exact_again():
    points = (make_points([0.9]), make_points([0.8, 0.8, 0.75], 1, environment="other"))
    trend = judge_series(make_series(*points, kind="metric", better=True))
    assert trend.state == "regressed"
    assert trend.effect == pytest.approx(-0.05 / 0.8)


def test_a_level_of_zero_before_has_no_relative_effect():
    trend = judge([0.0, 0.5])
    assert (trend.state, trend.effect, trend.interval) == ("improved", None, None)


@given(
    st.lists(st.tuples(st.sampled_from([0.2, 0.5, 0.5004, 0.9]), st.sampled_from("ab")), min_size=1)
)
def test_segments_cover_the_series_and_the_newest_has_the_newest_value(nights):
    points = [
        make_points([value], place, environment=environment)
        for place, (value, environment) in enumerate(nights)
    ]
    trend = judge_series(make_series(*points, kind="metric", better=True))
    places = [place for s in trend.segments for place in range(s.first, s.last + 1)]
    assert places == list(range(len(nights)))
    assert trend.segments[-1].level == nights[-1][0]
