import numpy as np
import pytest

from ml.core.errors import DataInvalid, RequestInvalid
from ml.health.conformal import adjust, conformal_p
from ml.health.locate import locate_rows
from ml.health.located import LocatedRows
from ml.health.surprise import fit_tail

pytestmark = pytest.mark.unit


def make_frame(seed, rows=400):
    import pandas as pd

    draw = np.random.default_rng(seed)
    size = draw.standard_normal(rows)
    return pd.DataFrame(
        {
            "size": size,
            "price": size + 0.1 * draw.standard_normal(rows),
            "city": draw.choice(["Rome", "Oslo", "Bonn"], rows, p=[0.6, 0.3, 0.1]),
        }
    )


def test_a_conformal_p_is_the_share_of_scores_as_high_with_the_row_itself():
    p = conformal_p(np.array([1.0, 2.0, 2.0, 5.0]), np.array([6.0, 5.0, 2.0, 0.0]))
    assert p.tolist() == [0.2, 0.4, 0.8, 1.0]


def test_p_values_are_adjusted_as_benjamini_and_hochberg_do():
    assert adjust(np.array([0.04, 0.01, 0.03, 0.5])) == pytest.approx(
        [0.16 / 3, 0.04, 0.16 / 3, 0.5]
    )
    assert adjust(np.array([0.9, 0.8])).tolist() == [0.9, 0.9]


def test_a_tail_is_extrapolated_by_its_own_weight():
    light = fit_tail(np.sort(np.random.default_rng(1).exponential(1.0, 20_000)))
    assert light.shape < 0.1
    assert -np.log(light.shares(np.array([12.0]))[0]) == pytest.approx(12.0, abs=2.0)
    heavy = fit_tail(np.sort(np.random.default_rng(1).pareto(3.0, 20_000)))
    assert heavy.shape == pytest.approx(1 / 3, abs=0.1)


def test_nothing_is_flagged_in_an_equal_draw_and_the_result_is_the_same_for_a_seed():
    located = locate_rows(make_frame(1), make_frame(2), seed=5)
    assert located.flagged == ()
    assert located.found == {}
    assert (located.total, located.rows, located.scanned) == (400, 400, 400)
    assert located == locate_rows(make_frame(1), make_frame(2), seed=5)


def test_an_outlier_is_found_in_its_cell_and_its_value_is_told():
    candidate = make_frame(2)
    candidate.loc[20:49, "price"] = 40.0
    located = locate_rows(make_frame(1), candidate)
    assert {each.row for each in located.flagged} == set(range(20, 50))
    assert located.found == {"cell": 30}
    first = located.flagged[0].columns[0]
    assert (first.column, first.value) == ("price", 40.0)
    assert first.surprise > 20
    assert located.flagged[0].confidence >= 0.9
    assert LocatedRows.model_validate_json(located.model_dump_json()) == located


def test_a_pair_of_usual_values_that_never_meet_is_seen_by_distance():
    candidate = make_frame(2)
    usual = candidate["size"].abs().between(1.2, 1.6).to_numpy()
    candidate.loc[usual, "price"] *= -1.0
    located = locate_rows(make_frame(1), candidate, attributions=False)
    rows = {each.row for each in located.flagged}
    assert rows >= set(np.flatnonzero(usual).tolist())
    assert len(rows) <= usual.sum() + 2
    seen = next(each for each in located.flagged if each.channel == "distance")
    assert {each.column for each in seen.columns[:2]} == {"price", "size"}
    assert sum(each.attribution for each in seen.columns) == pytest.approx(1.0)


def test_repeated_rows_and_rows_copied_from_the_reference_are_told_apart():
    reference, candidate = make_frame(1), make_frame(2)
    candidate.iloc[:30] = candidate.iloc[100:130].to_numpy()
    candidate.iloc[200:240] = reference.iloc[50:90].to_numpy()
    candidate = candidate.astype(reference.dtypes)
    located = locate_rows(reference, candidate)
    rows = {
        channel: {each.row for each in located.flagged if each.channel == channel}
        for channel in located.found
    }
    assert rows == {
        "repeated": {*range(30), *range(100, 130)},
        "copied": set(range(200, 240)),
    }


def test_a_larger_table_repeats_more_rows_by_chance():
    import pandas as pd

    def make(seed, rows):
        draw = np.random.default_rng(seed)
        return pd.DataFrame({"a": draw.integers(0, 200, rows), "b": draw.integers(0, 200, rows)})

    # Without the correction 179 rows of this pair are called repeated.
    assert locate_rows(make(2, 300), make(3, 3000), attributions=False).found == {}


def test_categories_of_other_groups_are_usual_where_rows_come_in_groups():
    import pandas as pd

    draw = np.random.default_rng(1)

    def make(first):
        day = np.repeat(np.arange(first, first + 40), 10)
        return pd.DataFrame(
            {"day": day, "crew": np.char.add("crew", day.astype(str)), "x": draw.random(400)}
        )

    reference, candidate = make(0), make(40)
    assert locate_rows(reference, candidate, group="day", attributions=False).found == {}
    plain = [frame.drop(columns="day") for frame in (reference, candidate)]
    assert sum(locate_rows(*plain, attributions=False).found.values()) > 200


def test_one_group_tells_nothing_of_others():
    reference, candidate = make_frame(1).assign(day=1), make_frame(2).assign(day=2)
    candidate["price"] += 5.0
    located = locate_rows(reference, candidate, group="day")
    assert located.flagged == ()
    assert "one group only" in located.reasons[-1]


def test_the_reference_itself_has_no_copies():
    located = locate_rows(make_frame(1), make_frame(1))
    assert located.flagged == ()
    assert "same rows" in located.reasons[-1]


def test_at_most_so_many_rows_of_a_channel_are_listed_and_all_are_counted():
    candidate = make_frame(2)
    candidate.loc[20:79, "price"] = 40.0
    located = locate_rows(make_frame(1), candidate, most=7, attributions=False)
    assert located.found["cell"] == 60
    assert len(located.flagged) == sum(min(7, found) for found in located.found.values())


def test_a_column_that_one_table_lacks_is_left_out_and_named():
    located = locate_rows(make_frame(1), make_frame(2).drop(columns="city"))
    assert located.flagged == ()
    assert "city" in located.reasons[0]
    with pytest.raises(DataInvalid, match="no column in common"):
        locate_rows(make_frame(1)[["size"]], make_frame(2)[["city"]])


@pytest.mark.parametrize(("name", "value"), [("level", 0), ("level", 1.0), ("tolerance", -1.0)])
def test_a_level_or_tolerance_that_is_none_is_refused(name, value):
    with pytest.raises(RequestInvalid, match=f"{name} {value}"):
        locate_rows(make_frame(1), make_frame(2), **{name: value})
