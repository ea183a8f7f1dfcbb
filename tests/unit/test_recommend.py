import json
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from harness.cascade import CASCADE, compare, make_cell, run_cascade, score_of
from harness.options import Settings
from harness.recommendwords import describe_tried
from harness.store.gains import (
    Done,
    Gained,
    append_gains,
    find_open,
    past_gains,
    read_gains,
    settle_gains,
)
from harness.store.record import Record
from ml.core.contracts import (
    CheckName,
    DataSummary,
    ReplicateResult,
    SampleInfo,
    Timings,
    TrainResult,
)
from ml.core.descriptor import read_descriptor
from ml.core.errors import DataInvalid, MatrixError
from ml.core.recommendations import (
    Action,
    Plan,
    ProxyGain,
    cost_of,
    expected_gain,
    rank_actions,
)
from ml.core.splits import split_rows
from ml.datasets.load import load_table
from ml.health.actions import derive_actions
from ml.health.cells import Cells, Sampled
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
from ml.health.staging import (
    Stage,
    part_reference,
    repeated_rows,
    settle_target,
    write_stage,
)

pytestmark = pytest.mark.unit


def action(name, severity=0.5, rows=0, added=0, columns=()):
    return Action(
        action=name,
        dimension="coverage",
        columns=columns,
        rows=rows,
        added=added,
        severity=severity,
        reason="planted",
    )


def gained(*values):
    return [ProxyGain(proxy=f"p{place}", gain=value) for place, value in enumerate(values)]


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


def record(cell, score, outcome="ok"):
    replicate = ReplicateResult(
        index=0,
        split_sha256="",
        train_rows=10,
        validation_rows=0,
        test_rows=10,
        features=1,
        metrics={"r2": score},
        baseline={"r2": 0.0},
    )
    result = TrainResult(
        id=cell.id,
        framework="sklearn",
        data=DataSummary(
            id="t",
            task="regression",
            content_sha256="",
            numeric=1,
            categorical=0,
            classes=(),
            sample=SampleInfo(method="all", rows=20, rows_total=20, rows_sha256=""),
        ),
        metric="rmse",
        greater_is_better=False,
        replicates=(replicate,),
        parameters=1,
        timings=Timings(),
        rows_per_second=1.0,
        peak_memory_bytes=1,
        artifact_bytes=1,
        versions={},
        threads=1,
    )
    return Record(
        run="r",
        cell=cell.id,
        dataset=cell.dataset,
        algorithm=cell.algorithm,
        framework=cell.framework,
        mode="train",
        task="regression",
        outcome=outcome,
        reason="planted" if outcome != "ok" else "",
        started="",
        seconds=1.0,
        limit_seconds=1.0,
        request=cell.to_request().model_dump(mode="json"),
        result=result if outcome == "ok" else None,
    )


@pytest.fixture
def settings(tmp_path):
    return Settings(
        root=tmp_path,
        data=(),
        reports=tmp_path,
        require=(),
        rows=100,
        replicates=1,
        seconds=1.0,
        timeout=1.0,
        strict_tracks=False,
    )


def plan_of(*actions):
    names = ["", *(one.name for one in actions)]
    return Plan(
        verdict="differs",
        score=10.0,
        rows=100,
        target="y",
        task="regression",
        actions=actions,
        tables={name: f"/t/{name or 'as_it_is'}.toml" for name in names},
    )


def test_larger_proxies_see_the_better_half_and_a_failed_one_is_a_reason(settings):
    names = ["rescale", "winsorise", "add_reference", "drop_copies"]
    plan = plan_of(*(action(name) for name in names))
    scores = {"as_it_is": 0.1, "rescale": 0.7, "winsorise": 0.5, "add_reference": 0.3}
    asked = []

    def run(cell):
        asked.append((cell.dataset, cell.algorithm, cell.seed))
        crashed = cell.dataset == "drop_copies"
        return record(cell, scores.get(cell.dataset, 0.0), "crashed" if crashed else "ok")

    tried = run_cascade(plan, CASCADE, settings, run, {}, lambda *_: None)
    assert [name for name, algorithm, _ in asked if algorithm == "linear"] == ["as_it_is", *names]
    assert [n for n, a, _ in asked if a == "random_forest"] == ["as_it_is", "rescale", "winsorise"]
    assert [n for n, a, _ in asked if a == "mlp"] == ["as_it_is", "rescale"]
    assert len({seed for *_, seed in asked}) == 1
    assert [one.action for one in tried.recommendations] == [
        "rescale",
        "winsorise",
        "add_reference",
        "drop_copies",
    ]
    assert tried.recommendations[0].gain == pytest.approx(0.6 * 3 / 4)
    last = tried.recommendations[-1]
    assert last.gain is None
    assert last.proxies[0].reason == "crashed: planted"
    assert tried.scores == {proxy.name: 0.1 for proxy in CASCADE}
    lines = describe_tried(plan, tried.recommendations, [])
    assert "rescale" in lines[1]
    assert "worth" not in " ".join(lines)
    little = rank_actions(plan.actions, 100, {"rescale": gained(0.002)})
    assert describe_tried(plan, little, [])[-1].startswith("no action gains 0.005")


def test_a_candidate_that_cannot_be_trained_on_is_worth_a_dummy_and_a_crash_nothing(settings):
    plan = plan_of(action("rescale"))
    before, after = (make_cell(plan, name, CASCADE[0], settings) for name in ("", "rescale"))
    invalid = compare(CASCADE[0], record(before, 0, "data_invalid"), record(after, 0.4))
    assert (invalid.before, invalid.gain) == (0.0, 0.4)
    assert "a dummy stands in its place" in invalid.reason
    crashed = compare(CASCADE[0], record(before, 0, "crashed"), record(after, 0.4))
    assert crashed.gain is None
    assert crashed.reason == "as it is: crashed, planted"
    assert score_of(record(after, -500.0)) == -1.0


def done(name="rescale:price", at="2026-01-01", before=0.2):
    return Done(
        action=name,
        candidate="/c",
        reference="/r",
        target="y",
        at=at,
        score=10.0,
        before={"linear": before},
        test_sha256="t",
    )


def test_what_was_gained_is_kept_read_back_and_counts_next_time(tmp_path):
    path = tmp_path / "deep" / "gains.jsonl"
    assert read_gains(path) == ([], [])
    append_gains(path, [done()])
    with path.open("a") as stream:
        stream.write('{"kind":"done","act')
    append_gains(path, [done("drop_repeated", "2026-01-02")])
    with path.open("a") as stream:
        stream.write(json.dumps(done("sing").model_dump()) + "\n")
    lines, damage = read_gains(path)
    assert [line.action for line in lines] == ["rescale:price", "drop_repeated"]
    assert ["line 2" in damage[0], "line 4: there is no action 'sing'" in damage[1]] == [True, True]
    waiting = find_open(lines, "/c", "/r", "y")
    assert [one.action for one in waiting] == ["rescale:price", "drop_repeated"]
    assert find_open(lines, "/other", "/r", "y") == []
    assert settle_gains(waiting, 10.0, {"linear": 0.2}, "t", "now") == []
    settled = settle_gains(waiting, 70.0, {"linear": 0.6, "mlp": 0.9}, "t", "now")
    assert [(one.gain, one.lift) for one in settled] == 2 * [(pytest.approx(0.2), 30.0)]
    assert settle_gains(waiting, 70.0, {"linear": 0.6}, "other rows", "now")[0].gain is None
    append_gains(path, settled)
    lines, _ = read_gains(path)
    assert find_open(lines, "/c", "/r", "y") == []
    assert past_gains(lines, lifts=False) == {
        "rescale": [pytest.approx(0.2)],
        "drop_repeated": [pytest.approx(0.2)],
    }
    assert past_gains(lines, lifts=True)["rescale"] == [0.3]
    assert isinstance(lines[-1], Gained)


def test_a_file_of_gains_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MatrixError, match="cannot be written"):
        append_gains(tmp_path / "file" / "gains.jsonl", [done()])


def sampled(hashes, groups=None):
    hashes = np.asarray(hashes, dtype=np.uint64)
    cells = Cells({"row": hashes.astype(np.float64)}, len(hashes))
    groups = hashes if groups is None else np.asarray(groups, dtype=np.uint64)
    return Sampled(cells, np.arange(len(hashes)), hashes, groups)


def test_rows_that_are_tested_are_neither_added_nor_known_to_the_candidate():
    reference, candidate = sampled([*range(1000), *range(1000)]), sampled(range(500))
    donors, test = (
        set(part.columns["row"])
        for part in part_reference(reference, candidate, grouped=False, seed=0)
    )
    assert not donors & test
    assert min(test) >= 500
    assert 200 < len(test) < 300
    assert 400 < len(donors) < 600
    groups = np.arange(1000) // 10
    parts = part_reference(sampled(range(1000), groups), sampled([]), grouped=True, seed=0)
    named = [set(part.columns["row"].astype(int) // 10) for part in parts]
    assert not named[0] & named[1]
    assert sum(map(len, named)) == 100


def test_a_target_says_its_task():
    columns = {
        "label": np.array(["a", None, "b"], dtype=object),
        "count": np.array([0.0, 1.0, np.nan]),
        "price": np.array([0.5, 1.0, np.nan]),
    }
    assert [settle_target(columns, name, None) for name in columns] == [
        "classification",
        "classification",
        "regression",
    ]
    assert settle_target(columns, "count", "regression") == "regression"
    with pytest.raises(DataInvalid, match="holds words"):
        settle_target(columns, "label", "regression")
    with pytest.raises(DataInvalid, match="no column 'size' to predict"):
        settle_target(columns, "size", None)


def test_cells_of_versions_of_a_table_share_a_seed_and_others_do_not(settings):
    plan = plan_of(action("rescale"))
    cells = [make_cell(plan, name, CASCADE[0], settings) for name in ("", "rescale")]
    assert cells[0].dataset != cells[1].dataset
    assert cells[0].seed == cells[1].seed
    assert replace(cells[0], seeded_as=None).seed != cells[0].seed


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
