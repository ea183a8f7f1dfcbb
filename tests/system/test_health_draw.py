"""Draw what two sketches know, beside what the tables themselves say."""

import numpy as np
import pytest

from ml.health.check import check, sketch_side
from ml.health.draw import draw_tables

pytestmark = pytest.mark.system


def make_frame(seed, rows=400):
    import pandas as pd

    draw = np.random.default_rng(seed)
    size = draw.standard_normal(rows)
    return pd.DataFrame(
        {
            "size": size,
            "price": size + 0.3 * draw.standard_normal(rows),
            "rooms": draw.integers(1, 7, rows),
            "city": draw.choice(list("abcdefghijklmn"), rows),
            "rare": (np.arange(rows) == 7).astype(float),
            "sold": draw.random(rows) < 0.3,
        }
    )


@pytest.fixture(scope="module")
def drawn():
    first, second = make_frame(1), make_frame(2)
    second["price"] = np.random.default_rng(5).permutation(second["price"].to_numpy())
    second.loc[:99, "size"] = np.nan
    second["city"] = second["city"].where(second["city"] > "c", "z")
    one = sketch_side(first, None, None, 0)
    two = sketch_side(second, one.layout, None, 0)
    drawing = draw_tables(one, two, check(one, two))
    return first, second, drawing, {each.column: each for each in drawing.distributions}


def test_shares_of_bars_and_gaps_are_those_of_all_rows(drawn):
    first, _, drawing, found = drawn
    assert drawing.columns == 6
    for one in found.values():
        for side in (0, 1):
            total = sum(bar.shares[side] for bar in one.bars) + one.missing[side]
            assert total == pytest.approx(1, abs=1e-3)
    assert found["size"].missing == (0.0, 0.25)
    assert found["size"].medians[0] == pytest.approx(first["size"].median(), abs=0.02)
    inner = [bar for bar in found["size"].bars if None not in (bar.low, bar.high)]
    for bar in inner[5:25]:
        counted = first["size"].between(bar.low, bar.high, inclusive="left").mean()
        assert bar.shares[0] == pytest.approx(counted, abs=0.004)


def test_a_number_of_few_values_has_a_bar_a_value(drawn):
    first, _, _, found = drawn
    bars = {bar.label: bar.shares for bar in found["rooms"].bars if bar.label is not None}
    known = first["rooms"].value_counts(normalize=True)
    for value in range(2, 6):
        assert bars[str(value)][0] == pytest.approx(known[value], abs=1e-4)
    assert found["rooms"].medians[0] == first["rooms"].median()


def test_levels_that_changed_most_are_drawn_and_the_others_summed(drawn):
    first, second, _, found = drawn
    bars = found["city"].bars
    shares = {bar.label: bar.shares for bar in bars}
    assert shares["z"] == (0.0, pytest.approx((second["city"] == "z").mean(), abs=1e-4))
    assert bars[-1].levels == len(set(first["city"]) | {"z"}) - (len(bars) - 1)
    distance = sum(
        abs((first["city"] == level).mean() - (second["city"] == level).mean())
        for level in {*first["city"], "z"}
    )
    assert found["city"].distance == pytest.approx(distance / 2, abs=1e-3)


def test_a_broken_correlation_is_drawn_and_a_single_row_makes_none(drawn):
    _, _, drawing, _ = drawn
    grid = drawing.correlations
    one, other = grid.columns.index("size"), grid.columns.index("price")
    assert grid.reference[one][other] > 0.8
    assert abs(grid.candidate[one][other]) < 0.2
    assert grid.reference[one][one] is None
    assert "rare" not in grid.columns
    assert set(drawing.floors) >= {"dependence", "composition"}


def test_columns_that_stand_out_come_first(drawn):
    _, _, drawing, found = drawn
    assert "composition" in found["city"].dimensions
    assert {one.column for one in drawing.distributions[:2]} == {"city", "size"}
