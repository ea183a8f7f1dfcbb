import random
from pathlib import Path

import pytest
from report_fixture import (
    HOSTILE,
    break_contract,
    make_record,
    make_result,
    make_run,
    make_score,
)

from harness.report.best import compare_best
from harness.report.columns import HEIGHT, WIDTH, build_profile, draw_bars
from harness.report.comparisons import write_comparisons
from harness.report.contractview import build_contract
from harness.report.datasetpage import build_datasets, link_dataset
from harness.report.files import name_file, write_data
from harness.report.profiles import Profiled, gather_profiles
from harness.report.reference import RUNS_LOOKED, Reference, choose_reference
from ml.core.contracts import ErrorInfo

pytestmark = pytest.mark.unit

PROFILE = {
    "version": 1,
    "id": "wine",
    "title": "Wines of three growers",
    "task": "classification",
    "target": "grower",
    "rows": 200,
    "sampled": 100,
    "content_sha256": "84df51b46f14e330" * 4,
    "origin": "UCI",
    "licence": "CC BY 4.0",
    "note": None,
    "split": "time",
    "split_column": "date",
    "test_fraction": 0.25,
    "columns": [
        {
            "name": "grower",
            "role": "target",
            "type": "categorical",
            "missing": 0,
            "distinct": 7,
            "top": [["a", 60], ["b", 30]],
            "others": 10,
        },
        {
            "name": "date",
            "role": "time",
            "type": "numeric",
            "first": "2001-01",
            "last": "2009-04",
            "missing": 0,
            "distinct": 100,
            "min": 372.0,
            "mean": 420.0,
            "median": 420.0,
            "max": 471.0,
            "histogram": [6] * 16,
        },
        {
            "name": "alcohol",
            "role": "feature",
            "type": "numeric",
            "missing": 25,
            "distinct": 60,
            "min": 11.03,
            "mean": 13.0006,
            "median": None,
            "max": 14.83,
            "histogram": [0] * 15 + [75],
        },
        {"name": "group", "role": "group", "type": "code", "missing": 0, "distinct": 4},
    ],
    "preview": [["a", "2001-01", 13.123456789, 1.0], ["b", "2001-02", None, 2.0]],
}


def make_cell(algorithm, framework, value, **changes):
    draw = random.Random(f"{algorithm} {framework}")
    cell = f"wine-{algorithm}-{framework}-train"
    result = make_result(cell, framework, "classification", 0.5, framework != "sklearn", draw)
    return make_record(
        "wine", algorithm, framework, score=make_score(value, 0.5), result=result, **changes
    )


def make_reference(*records, passed_over=0):
    return Reference("20260314-060010-a1b2c3", None, tuple(records), passed_over)


def build_wine(*records, profiled=None, passed_over=0):
    references = {"wine": make_reference(*records, passed_over=passed_over)}
    profiles = {"wine": profiled or Profiled(None, "no table")}
    index, (page,) = build_datasets(references, profiles)
    return index, page


def test_the_newest_run_that_is_large_enough_is_the_reference():
    assert choose_reference([13, 273, 270]) == 1
    assert choose_reference([137, 273]) == 0
    assert choose_reference([10]) == 0
    # Older runs than these do not count, however large.
    assert choose_reference([10] * RUNS_LOOKED + [1000]) == 0
    with pytest.raises(ValueError, match="empty"):
        choose_reference([])


def test_a_profile_becomes_rows_with_words_and_values():
    profile = build_profile(PROFILE)
    assert profile.sampled == (
        "Statistics of 100 rows, drawn at random with a fixed seed from 200."
    )
    facts = dict(profile.facts)
    assert facts["Split"] == "time by date, 25% for testing"
    assert "Note" not in facts
    grower, date, alcohol, group = profile.columns
    assert grower.frequent == "a (60%), b (30%), others (10%)"
    assert grower.bars.count("M") == 3
    assert [number.text for number in date.numbers] == ["0", "100", "2001-01", "–", "–", "2009-04"]
    assert date.type == "time"
    assert date.numbers[2].value == 372.0
    assert [number.text for number in alcohol.numbers] == [
        "25 (25.0%)",
        "60",
        "11.03",
        "13.00",
        "–",
        "14.83",
    ]
    assert alcohol.bars_title == "16 bins from 11.03 to 14.83; the fullest has 75 rows"
    assert group.bars == ""
    assert profile.heads == (
        ("grower", False),
        ("date", False),
        ("alcohol", True),
        ("group", False),
    )
    assert profile.preview == (("a", "2001-01", "13.1235", "1"), ("b", "2001-02", None, "2"))
    assert profile.cut == ""
    wide = build_profile(PROFILE | {"preview": [row[:2] for row in PROFILE["preview"]]})
    assert wide.cut == "The first 2 of 4 columns."


def test_bars_stand_on_the_ground_and_none_is_lost():
    assert draw_bars([4, 0, 1]) == f"M0 {HEIGHT}v-24h12v24zM26 {HEIGHT}v-6h12v6z"
    assert "v-1h" in draw_bars([10_000, 1])
    assert draw_bars([]) == draw_bars([0, 0]) == ""
    last = draw_bars([1] * 16).split("M")[-1]
    assert float(last.split()[0]) + 5 <= WIDTH


def test_the_best_of_the_frameworks_stand_side_by_side():
    records = [
        make_cell("mlp", "pytorch", 0.8),
        make_cell("linear", "pytorch", 0.7),
        make_cell("mlp", "tensorflow", 0.85),
        make_cell("svm", "sklearn", 0.6),
        make_record("wine", "mlp", "jax", outcome="crashed", reason="it died of SIGSEGV"),
    ]
    best = compare_best(records)
    assert best.frameworks == ("PyTorch", "TensorFlow", "scikit-learn")
    assert best.algorithms == ("mlp", "mlp", "svm")
    assert best.cells[0] == "wine-mlp-pytorch-train"
    assert best.missing == (("JAX", "it died of SIGSEGV"),)
    facts = {name: (texts, place) for name, texts, place in best.facts}
    assert facts["roc_auc"] == (("0.8000 ± 0.010", "0.8500 ± 0.010", "0.6000 ± 0.010"), 1)
    assert facts["baseline's roc_auc"] == (("0.5000",) * 3, None)
    assert facts["log_loss"][1] is not None
    assert best.verdict == (
        "PyTorch's best, mlp, and TensorFlow's, mlp, are 0.0500 apart in roc_auc; "
        "TensorFlow's is better."
    )


def test_on_the_same_splits_the_replicates_are_compared_too():
    one, two = make_cell("mlp", "pytorch", 0.8), make_cell("mlp", "tensorflow", 0.7)

    def with_metrics(record, *values):
        replicates = tuple(
            replicate.model_copy(update={"metrics": {"roc_auc": value}, "split_sha256": str(n)})
            for n, (replicate, value) in enumerate(
                zip(record.result.replicates, values, strict=True)
            )
        )
        result = record.result.model_copy(update={"replicates": replicates})
        return record.model_copy(update={"result": result})

    records = [with_metrics(one, 0.9, 0.8, 0.7), with_metrics(two, 0.5, 0.75, 0.85)]
    assert compare_best(records).verdict.endswith(
        "PyTorch's is better. On the same splits it is so in 2 of 3 replicates "
        "(from -0.15 to +0.4)."
    )


def test_of_an_error_the_smallest_is_the_best():
    records = [
        make_record(
            "ames",
            algorithm,
            "pytorch",
            task="regression",
            score=make_score(value, 9.0, greater_is_better=False, metric="rmse"),
        )
        for algorithm, value in (("mlp", 3.0), ("linear", 2.0))
    ]
    assert compare_best(records).algorithms == ("linear",)
    assert compare_best([make_record(outcome="error", reason="x")]) is None


def test_a_page_tells_the_states_of_its_cells_best_first():
    error = ErrorInfo(code="x", message="x")
    index, page = build_wine(
        make_cell("linear", "jax", 0.7),
        make_record("wine", "svm", "sklearn", outcome="timeout", reason="300 s", error=error),
        make_cell("mlp", "pytorch", 0.9),
        passed_over=2,
    )
    assert [cell.algorithm for cell in page.cells] == ["mlp", "linear", "svm"]
    assert page.cells[2].word == "timeout"
    assert page.cells[2].reason == "300 s"
    assert page.summary == "3 cells, 2 passed, 1 failed"
    assert [number.text for number in page.cells[0].numbers[:2]] == ["0.9000", "0.5000"]
    assert page.cells[0].numbers[3].value == pytest.approx(0.8)
    assert page.reason == "no table"
    told = "2 newer runs have less than half as many cells, and are not shown here."
    assert page.passed_over == index.passed_over == told
    (line,) = index.lines
    assert line.best == "mlp (pytorch)"
    assert line.failed == 1
    assert [number.value for number in line.numbers] == [45_211, None, 3, 1, 0.9, 0.8]


def test_a_link_is_safe_whatever_the_name():
    assert link_dataset("wine").startswith("datasets/dataset-wine-")
    for name in (HOSTILE, "../../etc/passwd", "a" * 500):
        link = link_dataset(name)
        assert ".." not in link
        assert link.count("/") == 1
        assert len(link) < 120


def test_a_dataset_of_an_older_run_is_shown_as_that_has_it(tmp_path):
    newest = make_run(tmp_path / "runs" / "2", make_cell("mlp", "pytorch", 0.9))
    ames = make_record("ames", "mlp", "pytorch", task="regression", outcome="error", reason="x")
    older = make_run(tmp_path / "runs" / "1", ames)
    old = tmp_path / "datasets" / "dataset-gone-0123456789ab.html"
    old.parent.mkdir()
    old.touch()
    runs = {"wine": "2", "ames": "1", "lost": "0"}
    write_comparisons(tmp_path, [newest, older], [1, 1], runs)
    pages = {path.name.split("-")[1]: path.read_text() for path in Path(old.parent).iterdir()}
    assert sorted(pages) == ["ames", "wine"]
    assert "<span>run 1, " in pages["ames"]
    assert "<span>run 2, " in pages["wine"]
    assert "There is no preview: " in pages["wine"]


def test_the_contract_that_is_shown_is_the_worst(tmp_path):
    kept = make_cell("mlp", "pytorch", 0.9)
    assert build_contract([make_record("wine", "mlp", "jax", outcome="timeout")]) is None
    view = build_contract([kept])
    assert view.summary == "1 warning in 3 checks of 900 rows."
    assert [(row.name, row.word, row.state) for row in view.rows] == [
        ("Declared columns", "passed", "passed"),
        ("Rows on both sides of the split", "as declared", "passed"),
        ("A column that tells the target", "warning", "expected"),
    ]
    assert view.rows[0].notes == ()
    reason = "a flight leaves each day by the same schedule"
    assert view.rows[1].notes == (f"Declared as natural: {reason}",)
    assert view.rows[2].notes == ("column 'city' alone predicts the target, with a skill of 0.961",)
    error = ErrorInfo(code="contract_breached", message=HOSTILE, contract=break_contract(HOSTILE))
    broken = make_record("wine", "svm", "sklearn", outcome="data_invalid", error=error)
    view = build_contract([kept, broken])
    assert view.summary == (
        "1 breach and 1 warning in 4 checks of 300 rows. No model was trained on them."
    )
    assert (view.rows[3].word, view.rows[3].state, view.rows[3].symbol) == ("breach", "failed", "✕")
    run = make_run(tmp_path / "runs" / "1", kept, broken)
    write_comparisons(tmp_path, [run], [2], {"wine": "1"})
    [page] = [path.read_text() for path in (tmp_path / "datasets").glob("dataset-wine-*.html")]
    assert page.count("✕ breach</span>") == 1
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>" not in page


def test_a_table_with_another_content_has_that_one_check():
    error = ErrorInfo(
        code="content_changed",
        message="it is not the table that is declared",
        expected="rows = 3",
        received="rows = 2",
        detail="column 'size': 1 value is above 5, up to 9",
    )
    record = make_record("wine", "svm", "sklearn", outcome="data_invalid", error=error)
    [row] = build_contract([record]).rows
    assert (row.name, row.word, row.found) == ("Content", "breach", error.message)
    assert row.notes == ("Declared: rows = 3", "Found: rows = 2", error.detail)


def test_a_table_that_broke_its_contract_is_shown_all_the_same(tmp_path):
    error = ErrorInfo(code="contract_breached", message="x", contract=break_contract("x"))
    broken = make_record("wine", "svm", "sklearn", outcome="data_invalid", error=error)
    content = error.contract.content_sha256
    kept = PROFILE | {"content_sha256": content}
    write_data(tmp_path, name_file("profile", f"wine {content}"), kept)
    assert gather_profiles(tmp_path, [broken])["wine"].profile == kept


def make_hostile_profile():
    """Make a profile in which every text that a file can bring is the hostile one."""
    levels = {"top": [[HOSTILE, 60], ["b", 30]]}
    columns = [
        column | {"name": HOSTILE} | (levels if "top" in column else {})
        for column in PROFILE["columns"]
    ]
    texts = dict.fromkeys(("title", "target", "origin", "licence", "note", "split_column"), HOSTILE)
    return PROFILE | texts | {"columns": columns, "preview": [[HOSTILE] * 4]}


def test_hostile_tables_and_names_stay_text(tmp_path):
    record = make_cell("mlp", "pytorch", 0.9)
    content = record.result.data.content_sha256
    write_data(tmp_path, name_file("profile", f"wine {content}"), make_hostile_profile())
    hostile = [
        make_record("wine", HOSTILE, "sklearn", score=make_score(0.8, 0.5)),
        make_record("wine", HOSTILE + "2", "sklearn", outcome="error", reason=HOSTILE),
    ]
    run = make_run(tmp_path / "runs" / "1", record, *hostile)
    write_comparisons(tmp_path, [run], [3], {"wine": "1"})
    pages = {path.name: path.read_text() for path in tmp_path.rglob("*.html")}
    assert len(pages) == 4
    seen = {
        name.split("-")[0]: html.count("&lt;script&gt;alert(1)") for name, html in pages.items()
    }
    assert seen.pop("dataset") > 20
    assert seen.pop("algorithms.html") > 10
    for html in pages.values():
        assert "<script>" not in html
        assert "<img" not in html
