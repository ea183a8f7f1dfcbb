import json

import numpy as np
import pytest
from frames import make_frame

from ml.core.errors import DataInvalid, RequestInvalid
from ml.health.check import check
from ml.health.families import Family, judge_families
from ml.health.report import HealthReport

pytestmark = pytest.mark.unit


def dimensions_of(report):
    return {each.name: each for each in report.dimensions}


def test_an_equal_draw_is_healthy_and_its_report_is_json_both_ways():
    report = check(make_frame(1), make_frame(2))
    assert report.verdict == "healthy"
    assert report.score > 90
    assert report.p > 0.02
    assert report.schema_version == 1
    assert len(report.dimensions) == 8
    assert report.classifier.auc == pytest.approx(0.5, abs=0.1)
    assert HealthReport.model_validate_json(report.model_dump_json()) == report
    assert json.loads(report.model_dump_json())["reference"] == {"rows": 500, "tested": 500}
    assert set(dimensions_of(report)) <= set(report.effects)


def test_a_check_is_the_same_for_a_seed():
    first, second = make_frame(1, 200), make_frame(2, 200)
    assert check(first, second, seed=3) == check(first, second, seed=3)
    assert check(first, second, seed=3) != check(first, second, seed=4)


def test_a_shift_differs_and_is_found_in_its_column():
    candidate = make_frame(2)
    candidate["price"] += 0.5
    report = check(make_frame(1), candidate)
    assert report.verdict == "differs"
    distribution = dimensions_of(report)["distribution"]
    assert distribution.p <= 0.02
    assert distribution.worst[0].column == "price"
    shift = 0.5 / np.std(make_frame(1)["price"])
    assert distribution.effect == pytest.approx(shift, abs=0.15)
    assert report.score < 40


def test_a_constant_column_has_collapsed():
    candidate = make_frame(2)
    candidate["rooms"] = 3
    report = check(make_frame(1), candidate)
    assert report.verdict == "collapsed"
    assert "diversity" in report.losses
    assert "diversity changed in rooms" in " ".join(report.reasons)


def test_broken_correlations_show_in_what_columns_show_together():
    candidate = make_frame(2)
    candidate["price"] = candidate["price"].to_numpy()[::-1]
    report = check(make_frame(1), candidate)
    found = dimensions_of(report)
    assert report.verdict == "differs"
    assert found["dependence"].p <= 0.02
    assert found["dependence"].worst[0].column == "price × size"
    assert found["distribution"].p > 0.02
    assert found["dependence"].effect == pytest.approx(0.87, abs=0.1)


def test_repeated_rows_have_collapsed_and_copied_ones_differ():
    import pandas as pd

    reference, candidate = make_frame(1), make_frame(2)
    repeated = pd.concat([candidate[:400], candidate[:100]], ignore_index=True)
    report = check(reference, repeated)
    assert report.verdict == "collapsed"
    assert report.losses == ("uniqueness",)
    # Two of the permutations' median are taken off the hundred rows that were repeated.
    assert dimensions_of(report)["uniqueness"].effect == pytest.approx(0.2, abs=0.02)
    assert report.effects["uniqueness.duplicates"] == pytest.approx(0.2)
    copied = pd.concat([candidate[:400], reference[:100]], ignore_index=True)
    report = check(reference, copied)
    assert report.verdict == "differs"
    assert report.effects["uniqueness.copies"] == pytest.approx(0.2)
    assert dimensions_of(report)["uniqueness"].p <= 0.02


def test_effects_of_larger_tables_are_those_of_all_rows():
    import pandas as pd

    reference, candidate = make_frame(1, 9000), make_frame(2, 9000)
    candidate["size"] *= 0.5
    candidate = pd.concat([candidate[:8550], candidate[:450]], ignore_index=True)
    report = check(reference[["size", "city"]], candidate[["size", "city"]])
    assert report.reference.tested == 2000
    assert report.verdict == "collapsed"
    one, two = (np.sort(frame["size"]) for frame in (reference, candidate))
    exact = np.abs(one - two).mean() / one.std()
    assert report.effects["distribution.w1"] == pytest.approx(exact, rel=0.05)
    assert report.effects["uniqueness.duplicates"] == pytest.approx(0.05, abs=1e-9)
    shares = [frame["city"].value_counts(normalize=True) for frame in (reference, candidate)]
    varied = (shares[0] - shares[1]).abs().sum() / 2
    assert report.effects["composition.tv"] > varied
    assert dimensions_of(report)["uniqueness"].p <= 0.02


def test_a_missing_value_is_a_value_of_its_own():
    candidate = make_frame(2)
    candidate.loc[:99, "size"] = np.nan
    report = check(make_frame(1), candidate)
    assert report.verdict == "differs"
    assert report.effects["composition.missing"] == pytest.approx(0.2)
    assert dimensions_of(report)["composition"].worst[0].column == "size"


def test_other_columns_are_told_and_the_shared_ones_compared():
    candidate = make_frame(2).drop(columns="city").assign(floor=1)
    candidate["rooms"] = candidate["rooms"].astype(str)
    report = check(make_frame(1), candidate)
    assert report.verdict == "differs"
    told = [(each.column, each.change) for each in report.schema_differences]
    assert told == [("city", "missing"), ("floor", "added"), ("rooms", "kind")]
    assert report.schema_differences[2].candidate == "categorical"
    assert report.p > 0.02
    assert report.reasons[0] == "the candidate lacks the column city"


def test_tables_without_a_common_column_differ():
    report = check(make_frame(1)[["size"]], make_frame(2)[["city"]])
    assert report.verdict == "differs"
    assert report.score == 0
    assert report.dimensions == ()


def test_too_few_rows_are_not_called_healthy():
    report = check(make_frame(1, 30), make_frame(2, 30))
    assert report.verdict == "insufficient_power"
    assert report.detectable > 0.5
    assert report.detectable_unit == "standard deviations"
    assert "more rows" in report.reasons[0]


def test_a_table_is_no_copy_of_itself():
    reference = make_frame(1)
    report = check(reference, reference.sample(frac=1, random_state=0))
    assert report.verdict == "healthy"
    assert report.reasons == ("both tables hold the same rows",)


def test_jitter_within_the_tolerance_is_no_difference():
    candidate = make_frame(2)
    draw = np.random.default_rng(0)
    candidate["rooms"] = candidate["rooms"] + 0.02 * draw.standard_normal(500)
    assert check(make_frame(1), candidate).verdict != "healthy"
    assert check(make_frame(1), candidate, tolerance=0.1).verdict == "healthy"


def make_days(seed, first):
    """Return rows of 30 days, each with a level of its own."""
    draw = np.random.default_rng(seed)
    days = np.repeat(np.arange(first, first + 30), 20)
    frame = make_frame(seed, 600)
    for name in ("size", "price"):
        frame[name] += np.repeat(3.0 * draw.standard_normal(30), 20)
    return frame.assign(day=days)


def test_rows_of_a_group_are_permuted_together():
    first, second = make_days(3, 0), make_days(4, 30)
    assert check(first.drop(columns="day"), second.drop(columns="day")).verdict != "healthy"
    report = check(first, second, group="day")
    assert report.p > 0.02
    # Thirty days a side tell less than six hundred rows would.
    assert report.detectable > 0.6
    assert report.verdict == "insufficient_power"
    assert "day" not in str(report.dimensions)


def test_a_statistic_that_is_no_number_is_named_and_nothing_is_called_healthy():
    draw = np.random.default_rng(0)
    sound = Family("distribution", "ks", draw.random((3, 200)), ("a", "b", "c"))
    values = draw.random((2, 200))
    values[1, 0] = np.nan
    judged = judge_families([sound, Family("spectrum", "rank", values, ("a", "b"))])
    assert judged.broken == ("spectrum: rank",)
    assert judged.p > 0.005


def test_a_largest_statistic_is_significant_and_a_common_one_is_not():
    draw = np.random.default_rng(0)
    values = draw.random((5, 200))
    plain = judge_families([Family("distribution", "ks", values, tuple("abcde"))])
    assert plain.p > 0.02
    values = values.copy()
    values[3, 0] = 9.0
    judged = judge_families([Family("distribution", "ks", values, tuple("abcde"))])
    assert judged.p == pytest.approx(1 / 200)
    assert int(np.argmax(judged.standings["distribution", "ks"])) == 3


@pytest.mark.parametrize("changed", [{"alpha": 0.0}, {"alpha": 1.5}, {"tolerance": -1.0}])
def test_a_term_that_means_nothing_is_refused(changed):
    with pytest.raises(RequestInvalid) as caught:
        check(make_frame(1), make_frame(2), **changed)
    assert caught.value.field in changed


@pytest.mark.parametrize("table", [5, "no/such.csv", "here.txtt", "x://y/z.csv"])
def test_what_is_no_table_is_one_line(table):
    from ml.core.errors import MatrixError

    with pytest.raises(MatrixError) as caught:
        check(make_frame(1), table)
    assert "\n" not in str(caught.value)


def test_any_type_of_column_is_compared():
    import datetime
    from decimal import Decimal

    import pandas as pd

    frame = make_frame(1, 100)
    odd = pd.DataFrame(
        {
            "list": [[place % 3] for place in range(100)],
            "bytes": [b"\xff", b"a"] * 50,
            "mixed": [1, "a", None, 2.5] * 25,
            "decimal": [Decimal(place) for place in range(100)],
            "day": [datetime.date(2024, 1, 1 + place % 28) for place in range(100)],
            "span": pd.to_timedelta(range(100), unit="min"),
            "nothing": [None] * 100,
            "whole": pd.array([1, None] * 50, dtype="Int64"),
            "level": frame["city"].astype("category"),
            "endless": [np.inf, 1.0] * 50,
            7: frame["size"],
        }
    )
    report = check(odd, odd[::-1])
    assert report.reasons[0] == "both tables hold the same rows"
    assert report.schema_differences == ()
    two = pd.concat([odd, odd[["whole"]]], axis=1)
    with pytest.raises(DataInvalid, match="two columns 'whole'"):
        check(odd, two)


def test_no_rows_and_no_group_are_refused():
    with pytest.raises(DataInvalid, match="no rows"):
        check(make_frame(1), make_frame(2)[:0])
    with pytest.raises(DataInvalid, match="no column 'day'"):
        check(make_frame(1), make_frame(2), group="day")
    with pytest.raises(DataInvalid, match="no column 'day'"):
        check(make_days(1, 0), make_frame(2), group="day")
