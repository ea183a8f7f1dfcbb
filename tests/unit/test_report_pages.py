import json
import os
import random
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from report_fixture import (
    HOSTILE,
    make_head,
    make_hostile,
    make_record,
    make_result,
    make_run,
    make_score,
)
from report_matrix import make_failure, make_matrix

from harness.report.datasetpage import link_dataset
from harness.report.heatmap import STEPS, ramp_step, skill, state_of
from harness.report.pages import build_run_page, summarize_run
from harness.report.site import render_page, write_site
from harness.report.text import write_number
from harness.store.record import End, TestLine, Verdict
from ml.core.errors import MatrixError, Unavailable

pytestmark = pytest.mark.unit

PASS = Verdict(gate="beats_baseline", status="pass", text="better by 0.2")
FAIL = Verdict(gate="beats_baseline", status="fail", text="better by -0.1")
DECLARED = Verdict(gate="beats_baseline", status="fail", text="better by 0", expected="too short")
OUTDATED = Verdict(gate="time_budget", status="pass", text="trained 1 s of 60 s", expected="slow")


@pytest.fixture
def mixed(tmp_path):
    return make_run(
        tmp_path / "20260314-060010-a1b2c3",
        make_record("wine", score=make_score(0.9, 0.5), verdicts=(PASS, OUTDATED)),
        make_record("oils", verdicts=(DECLARED,)),
        make_record("ames", verdicts=(FAIL,), reason=FAIL.text, score=make_score(0.4, 0.5)),
        make_failure("scat", "mlp", "tensorflow", "unavailable"),
        make_failure("digits", "mlp", "pytorch", "crashed"),
        tests=(
            TestLine(node="t.py::t[ames]", cell="ames-mlp-pytorch-train", status="failed"),
            TestLine(node="t.py::t[scat]", cell="scat-mlp-tensorflow-train", status="error"),
            TestLine(node="t.py::broken", status="failed", reason="no such column"),
            TestLine(node="t.py::t[wine]", cell="wine-mlp-pytorch-train", status="passed"),
        ),
        end=End(finished="2026-03-14T06:22:40+00:00", exit_status=1, seconds=1348.0),
    )


def make_run_of(*records):
    return make_run(Path("run"), *records)


def render(run, earlier=()):
    page = build_run_page(run, earlier)
    return render_page(page, root="", runs="runs/", newest=True)


@pytest.mark.parametrize(
    ("value", "baseline", "greater", "expected"),
    [
        (0.75, 0.5, True, 0.5),
        (1.0, 0.5, True, 1.0),
        (0.4, 0.5, True, -0.2),
        (0.5, -1.0, True, 0.75),
        (1.0, 1.0, True, None),
        (20.0, 80.0, False, 0.75),
        (120.0, 80.0, False, -0.5),
        (0.0, 80.0, False, 1.0),
        (1.0, 0.0, False, None),
    ],
)
def test_skill_is_the_share_of_the_way_from_the_baseline_to_perfect(
    value, baseline, greater, expected
):
    assert skill(make_score(value, baseline, greater)) == pytest.approx(expected)


def test_ramp_clamps_and_uses_every_step():
    assert [ramp_step(share) for share in (-3.0, 0.0, 0.5, 1.0, 7.0)] == [0, 0, 4, 8, 8]
    assert {ramp_step(number / 100) for number in range(101)} == set(range(STEPS))


@pytest.mark.parametrize(
    ("outcome", "verdicts", "expected"),
    [
        ("ok", (PASS,), "passed"),
        ("ok", (), "passed"),
        ("ok", (PASS, FAIL), "failed"),
        ("ok", (DECLARED,), "expected"),
        ("ok", (DECLARED, FAIL), "failed"),
        ("timeout", (FAIL,), "failed"),
        ("timeout", (), "failed"),
        ("timeout", (DECLARED,), "expected"),
        ("unavailable", (FAIL,), "unavailable"),
    ],
)
def test_state_of_a_cell(outcome, verdicts, expected):
    assert state_of(make_record(outcome=outcome, verdicts=verdicts)) == expected


def test_totals_count_each_cell_once(mixed):
    totals = summarize_run(mixed).totals
    assert (totals.cells, totals.passed, totals.failed) == (5, 1, 2)
    assert (totals.expected, totals.unavailable) == (1, 1)


def test_headline_and_ending(mixed, tmp_path):
    page = build_run_page(mixed, ())
    assert page.headline == "2 of 5 cells failed, and 2 more tests"
    assert page.tone == "bad"
    assert page.summary.ending == "finished, with failing tests"
    assert page.summary.took == "22 min 28 s"
    assert page.summary.commit == "0123456789 + local changes"
    assert page.tests == "2 failed, 1 error, 1 passed"
    good = build_run_page(make_run(tmp_path, make_record(verdicts=(PASS,))), ())
    assert (good.headline, good.tone) == ("The one cell passed", "good")


def test_a_run_without_end_was_cut_off(tmp_path):
    run = make_run(tmp_path, make_record(verdicts=(PASS,)), end=None, damage=("line 3: torn",))
    page = build_run_page(run, ())
    assert page.tone == "warn"
    assert page.summary.finished is False
    assert page.headline == "Not finished: 1 cell recorded, none failed"
    assert page.summary.ending == "cut off: its journal has no end"
    html = render(run)
    assert "line 3: torn" in html
    assert "cut off" in html


def test_a_run_without_head_or_cells_has_a_page(tmp_path):
    html = render(make_run(tmp_path / "torn", head=None, end=None))
    assert "No cell was recorded" in html
    assert "the machine is not known" in html
    assert "This is the first run here" in html


def test_failures_stand_first_then_expected_then_unavailable(mixed):
    page = build_run_page(mixed, ())
    order = [row.dataset for row in page.rows]
    assert order == ["digits", "ames", "oils", "scat", "wine"]
    assert [row.state for row in page.rows] == [
        "failed",
        "failed",
        "expected",
        "unavailable",
        "passed",
    ]
    html = render(mixed)
    places = [html.index(f'id="{name}"') for name in ("failures", "heatmaps", "cells", "runs")]
    assert places == sorted(places)


def test_failures_give_reason_error_and_command(mixed):
    crashed, beaten = build_run_page(mixed, ()).failed
    assert crashed.outcome_word == "crashed"
    assert crashed.reason == "the worker died of SIGSEGV while it trained"
    assert crashed.verdicts == ()
    assert crashed.error.remedy == "read the worker's log"
    assert crashed.rerun == "pytest -m slow_matrix -k digits-mlp-pytorch-train"
    assert beaten.outcome_word == "gate failed"
    assert [(v.gate, v.text) for v in beaten.verdicts] == [("beats_baseline", "better by -0.1")]
    assert beaten.reason == ""
    assert build_run_page(mixed, ()).kinds == ("1 × crashed", "1 × beats_baseline")


def test_expected_failures_and_outdated_declarations_stand_apart(mixed):
    page = build_run_page(mixed, ())
    (expected,) = page.expected
    assert expected.cell == "oils-mlp-pytorch-train"
    assert expected.verdicts[0].expected == "too short"
    assert "oils-mlp-pytorch-train" not in [entry.cell for entry in page.failed]
    assert page.outdated == (
        ("wine-mlp-pytorch-train", "cell-wine-mlp-pytorch-train", "time_budget"),
    )
    (unavailable,) = page.unavailable
    assert unavailable.error.remedy == "pip install 'pytest-mlmatrix[tensorflow]'"


def test_failing_tests_are_listed_unless_a_failing_cell_explains_them(mixed):
    tests = build_run_page(mixed, ()).failed_tests
    assert [test.node for test in tests] == ["t.py::t[scat]", "t.py::broken"]
    assert tests[0].rerun == "pytest 't.py::t[scat]'"
    assert tests[1].reason == "no such column"


def test_a_failing_test_is_in_the_headline_of_passing_cells():
    line = TestLine(node="t.py::t", status="failed")
    run = make_run(Path("run"), make_record(verdicts=(PASS,)), tests=(line,))
    page = build_run_page(run, ())
    assert (page.headline, page.tone) == ("The one cell passed, but 1 test failed", "bad")


def test_no_failure_is_said_plainly(tmp_path):
    run = make_run(tmp_path, make_record(verdicts=(PASS,)), make_record("oils", verdicts=(PASS,)))
    html = render(run)
    assert "All 2 cells passed" in html
    assert "Nothing failed but what was declared to fail." in html


def test_heatmap_has_a_square_per_cell_and_a_gap_where_there_is_none(tmp_path):
    run = make_run(
        tmp_path,
        make_record("wine", "linear", score=make_score(0.75, 0.5)),
        make_record("wine", "mlp", verdicts=(FAIL,), score=make_score(0.4, 0.5)),
        make_record("ames", "linear", task="regression", score=make_score(2e4, 8e4, False)),
        make_failure("oils", "mlp", "pytorch", "timeout"),
        make_record("wine", "mlp", "tensorflow", mode="sweep", score=make_score(1.0, 1.0)),
    )
    pytorch, tensorflow = build_run_page(run, ()).heatmaps
    assert pytorch.columns == ("linear", "mlp")
    assert [task for task, _ in pytorch.groups] == ["classification", "regression"]
    oils, wine = pytorch.groups[0][1]
    assert oils.squares[0] is None
    timeout = oils.squares[1]
    assert (timeout.symbol, timeout.value, timeout.note) == ("✕", "", "timeout")
    linear, mlp = wine.squares
    assert (linear.value, linear.step, linear.symbol) == ("0.750", 4, "")
    assert (mlp.value, mlp.step, mlp.symbol, mlp.note) == ("0.400", None, "✕", "gate")
    assert linear.title.splitlines() == [
        "wine-linear-pytorch-train",
        "roc_auc 0.7500, baseline 0.5000",
        "improvement 0.250 ± 0.010, skill 50%",
        "1.50 s",
    ]
    ((_, (ames,)),) = pytorch.groups[1:]
    assert (ames.metric, ames.squares[0].value, ames.squares[0].step) == ("roc_auc ↓", "20.0k", 6)
    assert tensorflow.columns == ("mlp · sweep",)
    assert tensorflow.groups[0][1][0].squares[0].step is None


def test_row_has_means_over_replicates_and_what_is_missing_sorts_last():
    result = make_result("c", "pytorch", "classification", 0.5, True, random.Random(1))
    record = make_record(score=make_score(0.75, 0.5), verdicts=(PASS,), result=result)
    run = make_run_of(record, make_failure("oils", "mlp", "pytorch", "timeout"))
    failed, passed = build_run_page(run, ()).rows
    fits = [replicate.timings.fit for replicate in result.replicates]
    assert passed.numbers[0].text == "0.7500"
    assert passed.numbers[2].text == "+0.250 ± 0.010"
    assert passed.numbers[3].value == pytest.approx(sum(fits) / 3)
    assert passed.numbers[8].text == "50"
    assert passed.gates == "✓ 1/1"
    assert [number.value for number in failed.numbers] == [None] * 4 + [1.5] + [None] * 4
    assert failed.gates == "✕ outcome"


def test_detail_shows_each_replicate_against_its_baseline():
    result = make_result("c", "pytorch", "regression", 0.5, True, random.Random(1))
    first = result.replicates[0].model_copy(update={"undefined": {"r2": "one row"}, "metrics": {}})
    result = result.model_copy(
        update={
            "replicates": (first, *result.replicates[1:]),
            "device": "cuda:0",
            "threads": 2,
        }
    )
    (row,) = build_run_page(make_run_of(make_record(result=result)), ()).rows
    rmse = dict(row.detail.metrics)["rmse"]
    expected = [write_number(r.metrics["rmse"], 4) for r in result.replicates[1:]]
    assert [pair[0] for pair in rmse] == ["–", *expected]
    assert rmse[0][1] == write_number(first.baseline["rmse"], 4)
    assert row.detail.undefined == (("replicate 0", "r2", "one row"),)
    assert dict(row.detail.facts)["rows"] == ("6375 / 1125 / 2500",) * 3
    assert dict(row.detail.facts)["stopped"][1] == "early stopping"
    assert len(row.detail.curves.curves) == 3
    assert "parameters, device cuda:0, 2 threads" in row.detail.model


class Tags(HTMLParser):
    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.names, self.text = [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.names.append((tag, *sorted(name for name, _ in attrs)))

    def handle_data(self, data):
        self.text.append(data)


def test_hostile_text_changes_no_element_of_the_page(tmp_path):
    hostile, plain = (
        render(make_hostile(tmp_path / "run", text), (summarize_run(make_hostile(tmp_path, text)),))
        for text in (HOSTILE, "plain")
    )
    assert Tags(hostile).names == Tags(plain).names
    assert "<script>alert" not in hostile
    assert "<img" not in hostile
    assert "".join(Tags(hostile).text).count(HOSTILE) > 20


def test_requests_survive_the_script_block(tmp_path):
    html = render(make_hostile(tmp_path / "run"))
    block = html.split('<script type="application/json" id="requests">')[1].split("</script>")[0]
    requests = json.loads(block)
    assert [json.loads(text) for text in requests.values()] == [
        {HOSTILE: HOSTILE},
        {"id": "wine-mlp-pytorch-train", "seed": 2**63 - 1},
    ]


def test_anchors_are_valid_and_distinct_whatever_the_names_are():
    run = make_run_of(make_record("a b"), make_record("a<b"), make_record("a_b"))
    anchors = [row.anchor for row in build_run_page(run, ()).rows]
    assert sorted(anchors) == [
        "cell-a_b-mlp-pytorch-train",
        "cell-a_b-mlp-pytorch-train.2",
        "cell-a_b-mlp-pytorch-train.3",
    ]


def test_the_page_asks_for_nothing_outside_its_folder(tmp_path):
    html = render(make_matrix(tmp_path / "run"))
    assert "default-src 'none'; style-src 'self'; script-src 'self'" in html
    for word in ("http:", "https:", "//cdn", "@import", " style=", " onclick", "javascript:"):
        assert word not in html


def test_a_page_of_250_cells_stays_below_a_megabyte(tmp_path):
    run = make_matrix(tmp_path / "run")
    size = len(render(run).encode())
    assert len(run.records) == 273
    assert size / len(run.records) * 250 < 1_000_000


def test_site_has_index_run_pages_and_assets(tmp_path):
    names = ["20260314-060010-a1b2c3", "20260313-060007-0f9e8d", "20260312-060003-77aa01"]
    runs = [make_run(tmp_path / "runs" / name, make_record(verdicts=(PASS,))) for name in names]
    assert write_site(tmp_path, runs) == tmp_path / "index.html"
    index = (tmp_path / "index.html").read_text()
    assert 'href="assets/report.css"' in index
    assert 'href="runs/20260314-060010-a1b2c3/index.html"' in index
    assert 'href="compare.html#a=20260313-060007-0f9e8d&amp;b=20260314-060010-a1b2c3"' in index
    middle = (tmp_path / "runs" / names[1] / "index.html").read_text()
    assert 'href="../../assets/report.css"' in middle
    assert 'href="../../index.html"' in middle
    assert 'href="../20260312-060003-77aa01/index.html"' in middle
    assert "a1b2c3" not in middle
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert {name for name in files if not name.startswith(("data/", "assets/"))} == {
        *("index.html", "runs.html", "cells.html", "cell.html", "compare.html", "feed.xml"),
        *("datasets.html", "algorithms.html", "frameworks.html", "health.html"),
        link_dataset("wine"),
        *(f"runs/{name}/index.html" for name in names),
    }
    assert {"assets/report.css", "assets/report.js", "assets/plotly.min.js"} <= files


def test_earlier_pages_are_kept_until_their_journal_or_the_assets_change(tmp_path):
    folders = [tmp_path / "runs" / name for name in ("2-new", "1-old")]
    runs = [make_run(folder, make_record(verdicts=(PASS,))) for folder in folders]
    write_site(tmp_path, runs)
    old = folders[1] / "index.html"

    def kept():
        old.write_text("kept")
        write_site(tmp_path, runs)
        return old.read_text() == "kept"

    assert kept()
    journal = folders[1] / "records.jsonl"
    journal.write_text("")
    os.utime(journal, (0, 0))
    assert kept()
    os.utime(journal, (2**32, 2**32))
    assert not kept()
    os.utime(journal, (0, 0))
    (tmp_path / "assets" / "report.css").write_text("old style")
    assert not kept()
    old.unlink()
    write_site(tmp_path, runs)
    assert old.exists()


def test_a_site_without_runs_is_refused(tmp_path):
    with pytest.raises(MatrixError, match="no run to show"):
        write_site(tmp_path, [])
    assert list(tmp_path.iterdir()) == []


def test_without_jinja2_the_remedy_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(Unavailable) as caught:
        write_site(tmp_path, [make_run(tmp_path / "runs" / "1", make_record())])
    assert caught.value.remedy == "pip install 'pytest-mlmatrix[report]'"


def test_unknown_commit_is_a_dash(tmp_path):
    head = make_head("run", git_commit=None, git_branch=None, git_dirty=None)
    summary = summarize_run(make_run(tmp_path, make_record(), head=head))
    assert (summary.commit, summary.branch) == ("–", "–")
