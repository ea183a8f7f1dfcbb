"""Judge timings of hand-made series: suspect, confirmed, cleared, returned, accepted."""

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trends_fixture import confirm, make_noise, make_points, make_series, make_timing

from harness.trends.judge import judge_series
from harness.trends.rule import Rule
from harness.trends.watch import Reference, Watch, decide

pytestmark = pytest.mark.unit
RULE = Rule()
QUIET = make_noise(40, seed=3)
SLOW = [1.2, 1.21, 1.19, 1.2]


def test_a_young_series_is_not_judged_and_says_from_when_on():
    trend = judge_series(make_timing([1.0] * 10 + [9.0]))
    assert trend.state == "unchanged"
    assert trend.evidence == "11 runs in this environment, judged from 27 on"


def test_a_quiet_series_is_unchanged_with_its_level_and_band():
    trend = judge_series(make_timing(QUIET))
    assert (trend.state, trend.since, trend.effect) == ("unchanged", None, None)
    assert [(s.first, s.last) for s in trend.segments] == [(0, 39)]
    segment = trend.segments[0]
    assert segment.level == pytest.approx(1.0, abs=0.015)
    assert segment.low == pytest.approx(math.exp(-1.645 * 0.03), abs=0.02)
    assert segment.high == pytest.approx(math.exp(1.645 * 0.03), abs=0.02)


def test_a_night_that_stands_out_is_suspect_and_no_more():
    trend = judge_series(make_timing([*QUIET, 1.3]))
    assert (trend.state, trend.changed) == ("suspect", False)
    assert trend.effect == pytest.approx(0.3, abs=0.02)
    assert trend.interval[0] < trend.effect < trend.interval[1]
    assert (trend.since.run_before, trend.since.run_after) == ("00039", "00040")
    assert "not yet confirmed by reruns" in trend.evidence


def test_reruns_confirm_a_regression():
    trend = judge_series(make_timing([*QUIET, 1.2]), confirmations=[confirm(40, SLOW)])
    assert (trend.state, trend.changed) == ("regressed", True)
    assert (trend.since.commit_before, trend.since.commit_after) == ("c39", "c40")
    assert trend.effect == pytest.approx(0.2, abs=0.015)
    assert trend.interval[0] < 0.2 < trend.interval[1]
    assert "confirmed after 00040 by 3 reruns" in trend.evidence
    assert [(s.first, s.last) for s in trend.segments] == [(0, 39), (40, 40)]
    assert trend.segments[1].level == pytest.approx(1.2)


def test_reruns_clear_a_spike_and_the_same_points_raise_it_no_more():
    spike = make_timing([*QUIET, 1.3])
    cleared = [confirm(40, [1.0, 0.99, 1.01, 1.0])]
    trend = judge_series(spike, confirmations=cleared)
    assert (trend.state, trend.effect) == ("unchanged", None)
    assert "00040 was suspect and cleared by 4 reruns" in trend.evidence
    after = make_timing([*QUIET, 1.3, 1.0, 1.01])
    assert judge_series(after, confirmations=cleared).state == "unchanged"
    # A new night that stands out is a new suspicion.
    again = make_timing([*QUIET, 1.3, 1.3])
    assert judge_series(again, confirmations=cleared).state == "suspect"


def test_too_few_reruns_leave_it_suspect_and_the_most_that_are_allowed_clear_it():
    series = make_timing([*QUIET, 1.2])
    assert judge_series(series, confirmations=[confirm(40, [1.2])]).state == "suspect"
    between = [1.0, 1.06] * RULE.reruns
    assert judge_series(series, confirmations=[confirm(40, between[:4])]).state == "suspect"
    trend = judge_series(series, confirmations=[confirm(40, between[: RULE.reruns])])
    assert trend.state == "unchanged"


def test_reruns_of_others_and_of_nights_that_nobody_suspected_decide_nothing():
    series = make_timing([*QUIET, 1.3])
    found = confirm(40, SLOW)
    others = [replace(found, cell="other"), replace(found, measure="seconds"), confirm(20, SLOW)]
    assert judge_series(series, confirmations=others).state == "suspect"


def test_no_single_rerun_decides_however_far_it_is():
    reference = Reference(level=0.0, spread=0.03, error=0.1, count=50)
    assert decide([10.0, 10.0], reference, RULE, worse=True).verdict == "open"
    assert decide([10.0, 10.0, 10.0], reference, RULE, worse=True).verdict == "told"
    assert decide([-10.0], reference, RULE, worse=True).verdict == "open"
    assert decide([-10.0, -10.0], reference, RULE, worse=True).verdict == "cleared"


def test_the_test_of_reruns_adds_log_likelihood_ratios_of_known_size():
    # Step: log 1.05 in spreads of 0.03; a rerun at the moved level, no error of the reference.
    reference = Reference(level=0.0, spread=0.03, error=0.0, count=50)
    step = math.log(1.05) / 0.03
    found = decide([math.log(1.05)], reference, RULE, worse=True)
    assert found.ratio == pytest.approx(step**2 / 2)


def test_a_regression_stands_until_reruns_confirm_that_it_went():
    nights = [*QUIET, *make_noise(30, seed=5, level=1.2)]
    told = [confirm(40, SLOW)]
    assert judge_series(make_timing(nights), confirmations=told).state == "regressed"
    back = [*nights, 1.0]
    assert judge_series(make_timing(back), confirmations=told).state == "regressed"
    gone = [*told, confirm(70, [1.0, 1.01, 0.99, 1.0, 1.0])]
    trend = judge_series(make_timing(back), confirmations=gone)
    assert trend.state == "unchanged"
    assert "the change of 00040 is undone" in trend.evidence
    assert [s.first for s in trend.segments] == [0, 40, 70]


def test_one_night_is_enough_to_look_whether_a_regression_is_mended():
    nights = [*QUIET, *([1.2] * 12)]
    told = [confirm(40, SLOW)]
    trend = judge_series(make_timing([*nights, 1.0]), confirmations=told)
    assert "suspect again: 1 run since 00052 better by -16.7%" in trend.evidence
    # Of one better night without a regression before it, nothing is said yet.
    assert judge_series(make_timing([*([1.2] * 40), 1.0])).state == "unchanged"


def test_autocorrelation_widens_the_reference():
    watch = Watch(RULE)
    watch.begin([0.02, 0.02, 0.02, -0.02, -0.02, -0.02] * 8, None)
    # Of 47 neighbours 32 agree and 15 do not: rho 17/48, less its bias, and one error more.
    rho = 17 / 48
    rho += (1 + 3 * rho) / 48 + 1 / math.sqrt(48)
    assert watch.inflation(watch.refer()) == pytest.approx((1 + rho) / (1 - rho))
    watch.begin([0.02, -0.02] * 24, None)
    assert watch.inflation(watch.refer()) == 1.0


def test_the_most_reruns_that_do_not_decide_clear():
    reference = Reference(level=0.0, spread=0.03, error=0.0, count=50)
    middle = math.log(1.05) / 2
    assert decide([middle] * (RULE.reruns - 1), reference, RULE, worse=True).verdict == "open"
    assert decide([middle] * RULE.reruns, reference, RULE, worse=True).verdict == "cleared"


def test_an_improvement_is_found_and_old_after_a_while():
    nights = [*QUIET, *make_noise(RULE.holds + 2, seed=5, level=0.8)]
    told = [confirm(40, [0.8, 0.79, 0.81, 0.8]), confirm(41, [0.8, 0.79, 0.81, 0.8])]
    trend = judge_series(make_timing(nights[:42]), confirmations=told)
    assert trend.state == "improved"
    assert trend.effect == pytest.approx(-0.2, abs=0.02)
    assert judge_series(make_timing(nights), confirmations=told).state == "unchanged"


def test_where_more_is_better_less_is_a_regression():
    series = replace(make_timing([*QUIET, 0.8]), greater_is_better=True)
    trend = judge_series(series, confirmations=[confirm(40, [0.8, 0.79, 0.81, 0.8])])
    assert trend.state == "regressed"
    assert trend.effect == pytest.approx(-0.2, abs=0.02)


def test_an_accepted_level_is_no_regression():
    series = make_timing([*QUIET, 1.2, 1.2])
    told = [confirm(40, SLOW)]
    assert judge_series(series, confirmations=told, accepted="00039").state == "regressed"
    assert judge_series(series, confirmations=told, accepted="00040").state == "unchanged"


def test_another_environment_is_another_level_and_no_regression():
    slower = make_points(make_noise(30, seed=4, level=2.0), 40, environment="other")
    trend = judge_series(make_series(make_points(QUIET), slower))
    assert trend.state == "unchanged"
    assert [(s.first, s.last) for s in trend.segments] == [(0, 39), (40, 69)]
    assert trend.segments[1].level == pytest.approx(2.0, rel=0.02)


def test_two_machines_that_take_turns_keep_a_level_each():
    fast = make_points(make_noise(60, seed=4))
    slow = make_points(make_noise(60, seed=5, level=2.0), environment="other")
    points = tuple(fast[place] if place % 2 else slow[place] for place in range(60))
    assert judge_series(make_series(points)).state == "unchanged"
    spiked = (*points[:59], replace(points[59], value=1.3))
    assert judge_series(make_series(spiked)).state == "suspect"


def test_a_regression_stands_while_a_new_environment_is_young():
    first = make_points([*QUIET, 1.2])
    second = make_points([3.0], 41, environment="other")
    trend = judge_series(make_series(first, second), confirmations=[confirm(40, SLOW)])
    assert trend.state == "regressed"
    assert trend.evidence.startswith("1 run in this environment, judged from 27 on; measured as")


def test_a_slow_machine_is_taken_out_by_its_calibration():
    points = make_points([*QUIET, 1.5], calibration=0.1)
    slow = (*points[:-1], replace(points[-1], calibration=0.15))
    assert judge_series(make_series(points)).state == "suspect"
    trend = judge_series(make_series(slow))
    assert trend.state == "unchanged"
    # Bands are drawn in the series' own units.
    assert trend.segments[0].level == pytest.approx(1.0, abs=0.02)


def test_reruns_are_calibrated_as_their_series_is():
    series = make_series(make_points([*QUIET, 1.2], calibration=0.1))
    slow_machine = confirm(40, [1.8] * 4, calibrations=(0.15,) * 4)
    assert judge_series(series, confirmations=[slow_machine]).state == "regressed"
    no_change = confirm(40, [1.5] * 4, calibrations=(0.15,) * 4)
    assert judge_series(series, confirmations=[no_change]).state == "unchanged"


def test_the_old_side_takes_the_place_of_the_past():
    series = make_timing([*QUIET, 1.2])
    both_slow = confirm(40, SLOW, old=tuple(SLOW))
    assert judge_series(series, confirmations=[both_slow]).state == "unchanged"


def test_without_reruns_later_nights_decide():
    slow = make_noise(12, seed=6, level=1.2)
    states = [judge_series(make_timing([*QUIET, *slow[:nights]])).state for nights in range(1, 13)]
    assert states[0] == "suspect"
    assert states[-1] == "regressed"
    assert "the nights that followed alone" in judge_series(make_timing([*QUIET, *slow])).evidence


def test_since_names_every_run_at_which_the_change_may_have_come():
    # The first slower night is half way: the change came with it or with the next.
    nights = [*QUIET, 1.05, 1.1, 1.1]
    found = [confirm(run, [1.1, 1.11, 1.09, 1.1]) for run in (42,)]
    trend = judge_series(make_timing(nights), confirmations=found)
    assert trend.state == "regressed"
    assert (trend.since.run_before, trend.since.run_after) == ("00039", "00041")


def test_a_change_under_half_the_floor_is_never_told():
    exact = [1.0] * 40 + [1.02] * 10
    assert judge_series(make_timing(exact)).state == "unchanged"
    assert judge_series(make_timing([1.0 + 1e-9 * (n % 7) for n in range(50)])).state == "unchanged"


def test_values_of_zero_are_judged_without_an_error():
    assert judge_series(make_timing([0.0] * 40)).state == "unchanged"


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.floats(1e-6, 1e6), st.booleans())
def test_the_unit_of_a_series_does_not_matter(seed, unit, stepped):
    draw = random.Random(seed)
    nights = make_noise(45, seed=seed)
    if stepped:
        nights[40:] = [value * 1.15 for value in nights[40:]]
    reruns = [nights[-1] * (1 + draw.gauss(0, 0.03)) for _ in range(RULE.reruns)]
    found = [confirm(run, reruns) for run in range(40, 45)]
    scaled = [replace(each, values=tuple(v * unit for v in reruns)) for each in found]
    plain = judge_series(make_timing(nights), confirmations=found)
    other = judge_series(make_timing([v * unit for v in nights]), confirmations=scaled)
    assert (plain.state, plain.since) == (other.state, other.since)
    assert [(s.first, s.last) for s in plain.segments] == [
        (s.first, s.last) for s in other.segments
    ]
    assert plain.effect is None or plain.effect == pytest.approx(other.effect, rel=1e-6, abs=1e-9)
