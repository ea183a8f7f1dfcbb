from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from planned_actions import action, gained

from ml.core.contracts import CheckName
from ml.core.descriptor import read_descriptor
from ml.core.recommendations import cost_of, expected_gain, rank_actions
from ml.core.splits import split_rows
from ml.datasets.load import load_table
from ml.health.actions import derive_actions
from ml.health.cells import Cells
from ml.health.mending import Case, mend
from ml.health.recommend import recommend
from ml.health.report import (
    ClassifierTest,
    Dimension,
    Finding,
    HealthReport,
    SchemaDifference,
    Side,
)
from ml.health.signatures import Match
from ml.health.staging import Stage, repeated_rows, write_stage

pytestmark = pytest.mark.unit


def finding(column, statistic, standing=10.0):
    return Finding(column=column, statistic=statistic, effect=0.5, standing=standing)


def report_of(*dimensions, verdict="differs", differences=(), losses=()):
    return HealthReport(
        verdict=verdict,
        score=10.0,
        p=0.005,
        alpha=0.02,
        seed=0,
        tolerance=0.0,
        group=None,
        reference=Side(rows=100, tested=100),
        candidate=Side(rows=100, tested=100),
        dimensions=tuple(
            Dimension(name=name, effect=0.5, null=0.1, p=p, score=score, worst=worst)
            for name, score, p, worst in dimensions
        ),
        schema_differences=differences,
        losses=losses,
        classifier=ClassifierTest(reason="none"),
        detectable=None,
        detectable_unit=None,
        effects={},
        reasons=(),
    )


def test_an_expected_gain_is_shrunken_and_past_gains_count_beside_proxies():
    assert expected_gain([0.3]) == pytest.approx(0.15)
    assert expected_gain([0.3, 0.3, 0.3]) == pytest.approx(0.225)
    assert expected_gain([0.3], [0.6]) == pytest.approx(0.3)
    assert expected_gain([0.3], [9.0, 0.0, 0.0, 0.0]) == pytest.approx(0.06)
    assert expected_gain([]) == 0
    assert cost_of(action("add_reference", rows=50, added=100), 100) == 2.5


def test_actions_are_ranked_by_gain_over_cost_and_what_was_gained_before_changes_the_order():
    cheap, dear = action("winsorise", rows=10), action("restore_column", rows=100)
    gains = {"winsorise": gained(0.10), "restore_column": gained(0.15)}
    ranked = rank_actions([dear, cheap], 100, gains)
    assert [one.action for one in ranked] == ["winsorise", "restore_column"]
    assert ranked[0].gain == pytest.approx(0.05)
    assert ranked[0].value == pytest.approx(0.05 / 1.1)
    later = rank_actions([dear, cheap], 100, gains, {"restore_column": [0.3, 0.3]})
    assert [one.action for one in later] == ["restore_column", "winsorise"]
    assert (later[0].past, later[0].measured) == (2, 0.15)


def test_survivors_come_first_then_what_was_not_measured_then_losses():
    names = ["drop_flagged", "rescale", "winsorise", "fill_missing", "drop_copies"]
    gains = {
        "drop_flagged": gained(-0.2),
        "rescale": gained(0.4),
        "winsorise": gained(0.5, 0.1),
        "drop_copies": gained(-0.1),
        "fill_missing": gained(None),
    }
    ranked = rank_actions([action(name, rows=10) for name in names], 100, gains)
    assert [one.action for one in ranked] == [
        "winsorise",
        "rescale",
        "fill_missing",
        "drop_copies",
        "drop_flagged",
    ]
    assert ranked[1].gain == pytest.approx((0.4 + 0.1) / 3)
    assert ranked[2].gain is None
    assert ranked[2].value == pytest.approx(0.25 / 1.1)


def test_a_report_asks_for_actions_by_its_dimensions_columns_and_signatures():
    report = report_of(
        ("distribution", 0.0, 0.005, (finding("price", "w1"), finding("size", "ks", 2.0))),
        ("composition", 40.0, 0.005, (finding("city", "levels"), finding("kind", "missing", 5.0))),
        ("dependence", 50.0, 0.005, (finding("a × b", "fisher"), finding("a × c", "fisher"))),
        ("diversity", 90.0, 0.005, (finding("city", "lost_levels"),)),
        ("spectrum", 60.0, 0.5, (finding("all", "rank"),)),
        ("uniqueness", 80.0, 0.005, (finding("all", "duplicates"),)),
    )
    found = derive_actions(report, target="size")
    assert [one.name for one in found] == [
        "rescale:price",
        "winsorise:price",
        "restore_levels:city",
        "fill_missing:kind",
        "restore_column:a",
        "drop_column:a",
        "drop_repeated",
    ]
    assert found[2].dimension == "composition"
    assert found[2].severity == 0.6
    match = Match(kind="outlier_cells", distance=1.0, confidence=0.9)
    likely = derive_actions(report, matches=[match])
    assert likely[0].name == "winsorise:price"
    assert "looks like outlier_cells (90% sure)" in likely[0].reason
    unsure = match.model_copy(update={"confidence": 0.4})
    assert derive_actions(report, matches=[unsure])[0].name == "rescale:price"
    assert [one.action for one in recommend(report)][:2] == ["rescale:price", "winsorise:price"]
    assert {one.gain for one in recommend(report)} == {None}


def test_a_healthy_report_asks_for_nothing_and_a_schema_for_its_columns():
    changed = ("distribution", 0.0, 0.005, (finding("price", "w1"),))
    assert derive_actions(report_of(changed, verdict="healthy")) == ()
    differences = (
        SchemaDifference(column="a", change="missing"),
        SchemaDifference(column="b", change="kind", reference="numeric", candidate="categorical"),
        SchemaDifference(column="c", change="added"),
    )
    found = derive_actions(report_of(differences=differences))
    assert [one.name for one in found] == ["restore_column:a", "convert_column:b"]


def test_the_target_is_reweighted_and_never_restored():
    report = report_of(("composition", 0.0, 0.005, (finding("y", "tv"),)))
    assert [one.name for one in derive_actions(report, target="y")] == ["reweight_target:y"]
    assert [one.name for one in derive_actions(report)] == ["restore_column:y"]


def case(**columns):
    """Return a case of 100 rows and 200 donors, in which x tells y, and a few words."""
    draw = np.random.default_rng(0)

    def made(rows):
        x = draw.standard_normal(rows)
        words = np.array(["a", "b", "c", None], dtype=object)
        return {"x": x, "y": 2 * x, "word": words[draw.integers(0, 4, rows)]}

    cells, donors = Cells(made(100), 100), Cells(made(200), 200)
    for name, values in columns.items():
        cells = cells.replaced(name, values(cells.columns))
    marks = np.arange(100) % 10 == 0
    return Case(cells, donors, marks, marks, "y", {3: ("x",)}, trusted=("x", "word"))


def mended(name, column=None, **columns):
    given = case(**columns)
    return given, mend(given, action(name, columns=(column,) if column else ()))


def test_rows_are_dropped_and_cells_of_flagged_rows_are_emptied():
    given, found = mended("drop_repeated")
    assert found.cells.rows == 90
    assert np.flatnonzero(found.touched).tolist() == list(range(0, 100, 10))
    given, found = mended("mend_flagged")
    assert np.flatnonzero(np.isnan(found.cells.columns["x"])).tolist() == [3]
    assert np.isfinite(given.cells.columns["x"]).all()
    assert mended("drop_flagged")[1].cells.rows == 99


def test_a_scale_is_undone_and_outliers_are_bounded():
    given, found = mended("rescale", "x", x=lambda c: 100 * c["x"] + 7)
    sides = found.cells.columns["x"], given.donors.columns["x"]
    one, two = (np.quantile(side, [0.25, 0.5, 0.75]) for side in sides)
    assert one[1] == pytest.approx(two[1])
    assert one[2] - one[0] == pytest.approx(two[2] - two[0])
    assert found.touched.all()
    given, found = mended("winsorise", "x", x=lambda c: np.where(np.arange(100) == 4, 1e6, c["x"]))
    assert found.touched[4]
    assert found.cells.columns["x"].max() < 5
    assert mended("winsorise", "word")[1] is None


def test_a_column_is_restored_from_the_nearest_rows_of_the_reference():
    stuck = {"word": lambda c: np.full(100, "a", dtype=object)}
    _, found = mended("restore_column", "word", **stuck)
    assert set(found.cells.columns["word"]) == {"a", "b", "c"}
    half = {"x": lambda c: np.where(np.arange(100) < 50, 7.0, c["x"])}
    _, found = mended("restore_column", "x", **half)
    assert np.flatnonzero(found.touched).tolist() == list(range(50))
    assert 7.0 not in found.cells.columns["x"]
    given = case(z=lambda c: np.where(np.arange(100) < 60, np.nan, 3 * c["x"]))
    given = Case(
        given.cells,
        given.donors.replaced("z", 3 * given.donors.columns["x"]),
        *(2 * [given.repeated]),
        "y",
        trusted=("x",),
    )
    found = mend(given, action("fill_missing", columns=("z",)))
    assert np.count_nonzero(found.touched) == 60
    error = found.cells.columns["z"] - 3 * given.cells.columns["x"]
    assert np.quantile(np.abs(error), 0.9) < 0.3
    assert mend(given, action("restore_column", columns=("y",))) is None


def test_lost_levels_come_back_with_rows_of_the_reference_and_lie_among_the_others():
    _, found = mended(
        "restore_levels", "word", word=lambda c: np.where(c["word"] == "c", "a", c["word"])
    )
    words = found.cells.columns["word"]
    assert found.added == np.count_nonzero(words == "c") > 10
    assert 3 * np.count_nonzero(words[:30] == "c") > np.count_nonzero(words == "c") / 2
    assert mended("restore_levels", "word")[1] is None


def test_classes_get_the_shares_of_the_reference():
    given = case()
    labels = np.array(["no"] * 90 + ["yes"] * 10, dtype=object)
    usual = np.array(["no", "yes"] * 100, dtype=object)
    given = Case(
        given.cells.replaced("y", labels),
        given.donors.replaced("y", usual),
        given.repeated,
        given.copied,
        "y",
    )
    found = mend(given, action("reweight_target", columns=("y",)))
    assert np.unique(found.cells.columns["y"], return_counts=True)[1].tolist() == [50, 50]
    assert np.count_nonzero(found.touched) == 50


def test_text_is_read_as_numbers_where_the_reference_has_them():
    given = case(x=lambda c: np.full(100, np.nan))
    raw = np.array(["1.5", "word", None, "inf", *["2"] * 96], dtype=object)
    given = Case(given.cells, given.donors, given.repeated, given.copied, unfit={"x": raw})
    found = mend(given, action("convert_column", columns=("x",)))
    np.testing.assert_array_equal(found.cells.columns["x"][:5], [1.5, *3 * [np.nan], 2])
    assert np.count_nonzero(found.touched) == 97


def test_repeats_are_counted_beyond_those_of_the_reference():
    hashes = np.array([5, 7, 5, 7, 5, 9], dtype=np.uint64)
    reference = np.array([5, 5, 1], dtype=np.uint64)
    assert repeated_rows(hashes, reference).tolist() == [False, False, False, True, True, False]


def test_a_staged_table_is_an_ordinary_dataset_with_the_same_test_rows(tmp_path):
    pytest.importorskip("pyarrow")
    given = case()
    stage = Stage(given, given.donors.take(np.arange(50)), "y", "regression")
    paths = [
        Path(write_stage(stage, cells, name, tmp_path))
        for name, cells in (("as_it_is", given.cells), ("less", given.cells.take(np.arange(60))))
    ]
    tables = [load_table(path) for path in paths]
    assert [table.rows for table in tables] == [150, 110]
    assert [(t.numeric_names, t.categorical_names) for t in tables] == 2 * [(("x",), ("word",))]
    tested = [split_rows(table, seed=1, replicate=0).test for table in tables]
    assert [rows.tolist() for rows in tested] == 2 * [list(range(50))]
    np.testing.assert_array_equal(*(t.target[:50] for t in tables))
    assert len({table.content_sha256 for table in tables}) == 2
    declared = {one.check for one in read_descriptor(paths[0]).expected_breaches}
    assert declared == set(get_args(CheckName))
