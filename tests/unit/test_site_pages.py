import json
import random
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from report_fixture import HOSTILE, make_head, make_record, make_result, make_run, make_score
from report_matrix import make_failure
from site_fixture import (
    ALIKE,
    ALWAYS,
    BETTER,
    BROKEN,
    FIXED,
    ODD,
    SLOWER,
    WORSE,
    make_hostile_night,
    make_nights,
    make_series,
    make_trends,
)

from harness.report.digest import digest_cell
from harness.report.distill import build_distillations
from harness.report.feed import write_feed
from harness.report.files import dump_json, name_file, read_data, write_data
from harness.report.overview import build_overview
from harness.report.pages import summarize_run
from harness.report.site import write_site
from harness.report.trendwords import write_commits, write_effect, write_interval, write_since
from harness.store.record import Verdict
from harness.trends.trend import Since, Trend
from ml.core.contracts import DistillationInfo

pytestmark = pytest.mark.unit

PASS = Verdict(gate="beats_baseline", status="pass", text="better by 0.2")
ATOM = "{http://www.w3.org/2005/Atom}"


@pytest.fixture
def nights(tmp_path):
    return make_nights(tmp_path, 6)


def overview_of(runs, trends=()):
    summaries = [summarize_run(run) for run in runs]
    base = None
    if len(runs) > 1:
        base = (summaries[1], {r.cell: digest_cells(runs[1])[r.cell] for r in runs[1].records})
    return build_overview(runs[0], summaries, base, trends)


def digest_cells(run):
    return {record.cell: digest_cell(record) for record in run.records}


def test_the_overview_says_first_what_changed(nights):
    page = overview_of(nights, make_trends(nights))
    assert page.headline == "2 regressed, 1 newly failing, 1 suspect, 1 improved, 1 fixed"
    assert page.tone == "bad"
    assert page.result == "2 of 12 cells failed"
    assert {group.anchor: [change.cell for change in group.changes] for group in page.counts} == {
        "regressed": [SLOWER, WORSE],
        "suspect": [ODD],
        "newly-failing": [BROKEN],
        "improved": [BETTER],
        "fixed": [FIXED],
        "newly-unavailable": [],
        "still-failing": [ALWAYS],
        "quiet": [ALIKE],
    }
    assert page.counts[0].anchor == "regressed"
    slower = page.counts[0].changes[0]
    assert (slower.measure, slower.effect) == ("fit time", "+12.0\N{NO-BREAK SPACE}%")
    assert slower.interval == "+10.5 to +13.5\N{NO-BREAK SPACE}%"
    assert slower.since == "since 1 run ago"
    assert slower.link == f"cell.html#{SLOWER}"
    assert slower.evidence == "change point with p = 0.001, floor 5 %"
    found = {group.anchor: group for group in page.groups}
    assert found["newly-failing"].changes[0].report.reason == (
        "no result after 300 s; the worker was killed"
    )
    assert found["fixed"].changes[0].evidence.startswith("was: crashed: the worker died")


def test_a_single_run_says_so_in_words(nights):
    page = overview_of(nights[:1])
    assert page.sayings == ("This is the only run, so there is nothing to compare it with yet.",)
    assert page.headline == "2 of 12 cells failed"
    (failing,) = [group for group in page.groups if group.kind == "failing"]
    assert failing.title == "Failing"
    assert [change.cell for change in failing.changes] == [BROKEN, ALWAYS]


def test_nothing_changed_is_said_and_what_fails_is_not_hidden(tmp_path):
    good = [make_run(tmp_path / name, make_record(verdicts=(PASS,))) for name in "ba"]
    page = overview_of(good)
    assert page.headline == "No cell changed its outcome: The one cell passed"
    assert page.tone == "good"
    calm = Trend("wine-mlp-pytorch-train", "fit", "unchanged", False, None, None, None, "", ())
    assert overview_of(good, [calm]).headline == "Nothing changed: The one cell passed"
    bad = [make_run(tmp_path / n, make_failure("wine", "mlp", "jax", "crashed")) for n in "ba"]
    page = overview_of(bad)
    assert page.headline == "No cell changed its outcome: 1 of 1 cell failed"
    assert page.tone == "bad"
    assert [group.anchor for group in page.groups] == ["still-failing"]


def test_a_cell_that_could_not_run_this_time_is_no_silent_skip(tmp_path):
    missing = make_failure("wine", "mlp", "pytorch", "unavailable")
    always = make_failure("oils", "mlp", "jax", "unavailable")
    before = make_run(tmp_path / "a", make_record(verdicts=(PASS,)), always)
    page = overview_of([make_run(tmp_path / "b", missing, always), before])
    assert (page.headline, page.tone) == ("1 newly unavailable", "warn")
    (group,) = page.groups
    assert [change.cell for change in group.changes] == ["wine-mlp-pytorch-train"]
    assert group.changes[0].report.reason == "tensorflow is not installed"


def test_what_was_not_judged_or_did_not_run_is_said(nights):
    fewer = make_run(nights[0].folder, *nights[0].records[1:], make_record("new", verdicts=(PASS,)))
    page = overview_of([fewer, *nights[1:]])
    assert page.sayings == (
        f"1 cell of the run {nights[1].folder.name} did not run this time.",
        "1 cell ran that the run before did not have.",
        "No series was judged, so nothing is said of scores, times and memory.",
    )


@pytest.mark.parametrize(
    ("effect", "text"),
    [(0.123, "+12.3 %"), (-0.05, "−5.0 %"), (2e-7, "+2e-05 %"), (1.5, "+150 %"), (0.0, "0 %")],
)
def test_an_effect_has_a_sign_and_a_percentage(effect, text):
    assert write_effect(effect).replace("\N{NO-BREAK SPACE}", " ") == text
    assert write_effect(None) == write_interval(None) == ""


def test_since_when_is_a_range_of_commits_and_runs():
    since = Since("a", "b", "0" * 40, "1" * 40)
    assert write_commits(since) == "0000000000..1111111111"
    assert write_commits(Since("a", "b", None, "1" * 40)) == "unknown..1111111111"
    assert write_commits(Since("a", "b", "1" * 40, "1" * 40)) == "1111111111 in both"
    places = {"c": 0, "b": 3}
    assert write_since(since, places) == "since 3 runs ago"
    assert write_since(Since("a", "c", None, None), places) == "since this run"
    assert write_since(Since("a", "gone", None, None), places) == "since run gone"


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "a/b", "\x00", "C:\\x", "ä" * 300, ".", "", "\ud800"]
)
def test_a_file_name_is_safe_whatever_the_name_is(name):
    stem = name_file("cell", name)
    assert stem.startswith("cell-")
    assert not set(stem) - set("abcdefghijklmnopqrstuvwxyz0123456789_-")
    assert len(stem) < 100
    assert name_file("cell", name + "x") != stem


def test_names_that_look_alike_have_files_of_their_own():
    names = ["a b", "a-b", "A-B", "a/b"]
    assert len({name_file("cell", name) for name in names}) == 4


def test_data_survives_and_can_end_no_script(tmp_path):
    value = {"name": "</script><!--\u2028 &", "numbers": [1.5, float("nan"), float("inf")]}
    assert write_data(tmp_path, "x", value)
    text = (tmp_path / "data" / "x.js").read_text()
    assert text.startswith('mlmatrixData("x",{')
    assert not set("<>&\u2028") & set(text)
    assert read_data(tmp_path, "x") == {"name": value["name"], "numbers": [1.5, None, None]}
    assert not write_data(tmp_path, "x", value)
    (tmp_path / "data" / "x.js").write_text("torn")
    assert read_data(tmp_path, "x") is None
    assert json.loads(dump_json("</script>")) == "</script>"


class Links(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.found, self.ids, self.tags = [], set(), []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, *sorted(name for name, _ in attrs)))
        for name, value in attrs:
            if name in ("href", "src"):
                self.found.append(value)
            if name == "id":
                self.ids.add(value)


def test_every_link_leads_to_a_file_and_its_place(tmp_path, nights):
    write_site(tmp_path, nights, series=make_series(nights), trends=make_trends(nights))
    # What is not this part's: these two pages come with the datasets and algorithms.
    later = {"datasets.html", "algorithms.html"}
    broken = []
    for page in tmp_path.rglob("*.html"):
        links = Links(page.read_text())
        for link in links.found:
            path, _, fragment = link.partition("#")
            if link.startswith("data:") or Path(path).name in later:
                continue
            target = page.parent / path if path else page
            if not target.exists() or (not path and fragment not in links.ids):
                broken.append((page.name, link))
    assert broken == []


def test_the_feed_holds_regressions_with_ids_that_stay(nights):
    moments = {run.folder.name: run.head.started for run in nights}
    trends = make_trends(nights)
    feed = write_feed(trends, moments, nights[0].head.started)
    root = ElementTree.fromstring(feed)
    entries = root.findall(f"{ATOM}entry")
    titles = [
        entry.findtext(f"{ATOM}title").replace("\N{NO-BREAK SPACE}", " ") for entry in entries
    ]
    assert titles == [f"{SLOWER}: fit time regressed +12.0 %", f"{WORSE}: score regressed −5.0 %"]
    assert entries[0].find(f"{ATOM}link").get("href") == f"cell.html#{SLOWER}"
    assert entries[0].findtext(f"{ATOM}updated") == "2026-02-05T02:00:00+00:00"
    ids = [entry.findtext(f"{ATOM}id") for entry in entries]
    assert len(set(ids)) == 2
    later = write_feed(trends[:1], moments, "2030-01-01T00:00:00+00:00")
    assert ids[0] == ElementTree.fromstring(later).find(f"{ATOM}entry").findtext(f"{ATOM}id")


def test_the_feed_escapes_what_it_is_given():
    since = Since("a", "b", None, None)
    evil = Trend(f"{HOSTILE}\x00", "fit", "regressed", True, since, None, None, "\x1b]]>&", ())
    root = ElementTree.fromstring(write_feed([evil], {}, "no date"))
    entry = root.find(f"{ATOM}entry")
    assert entry.findtext(f"{ATOM}title") == f"{HOSTILE}�: fit time regressed"
    assert "�]]>&" in entry.findtext(f"{ATOM}summary")


def test_hostile_names_change_no_element_of_the_site(tmp_path):
    found = []
    for text in (HOSTILE, "a plain one"):
        reports = tmp_path / str(len(text))
        run, trends = make_hostile_night(reports / "runs" / "20260314-060010-a1b2c3", text)
        write_site(reports, [run], series=make_series([run]), trends=trends)
        pages = ("index.html", "runs.html", "cells.html", "cell.html", "compare.html")
        tags = []
        for page in pages:
            html = (reports / page).read_text()
            assert "<script>alert" not in html
            assert "<img" not in html
            tags += Links(html).tags
        found.append([tag for tag in tags if tag[0] != "wbr"])
        assert all(path.suffix in (".js", ".css") for path in (reports / "data").iterdir())
    assert found[0] == found[1]


def test_a_student_stands_beside_its_teachers():
    draw = random.Random(1)
    result = make_result("c", "pytorch", "classification", 0.5, True, draw)
    student = sum(one.metrics["roc_auc"] for one in result.replicates) / 3
    info = DistillationInfo(
        teacher_metrics=({"roc_auc": 0.8},) * 3,
        teacher_parameters=50_000,
        teacher_artifact_bytes=200_000,
        teacher_fit=6.0,
        teacher_latency=0.4,
        student_latency=0.1,
        size_reduction_percent=90.0,
        metric_change=student - 0.8,
        speed_up=4.0,
        agreement=0.95,
    )
    result = result.model_copy(update={"distillation": info, "artifact_bytes": 20_000})
    record = make_record(
        algorithm="student",
        mode="distill",
        result=result,
        request={"teachers": [{"framework": "sklearn", "model": {"estimator": "random_forest"}}]},
    )
    plain = make_record(score=make_score(0.9, 0.5))
    (one,) = build_distillations([plain, record], {record.cell: "anchor"})
    assert one.teachers == "random_forest (sklearn)"
    assert one.agreement == "0.950"
    sides = {side.name: side for side in one.sides}
    assert list(sides) == ["roc_auc ↑", "parameters", "size", "latency per 1,000 rows", "fit"]
    assert sides["roc_auc ↑"].better is False
    assert sides["roc_auc ↑"].teacher == "0.8000"
    assert (sides["size"].change, sides["size"].better) == ("× 0.1", True)
    assert sides["latency per 1,000 rows"].change == "× 0.25"
    assert sides["fit"].teacher == "2.00 s"


def test_a_run_without_head_or_cells_has_a_site(tmp_path):
    torn = make_run(tmp_path / "runs" / "torn", head=None, end=None, damage=("line 3: torn",))
    index = write_site(tmp_path, [torn])
    html = index.read_text()
    assert "line 3: torn" in html
    assert "the machine is not known" in html
    head = make_head("ended")
    good = make_run(tmp_path / "runs" / "zlater", make_record(verdicts=(PASS,)), head=head)
    html = write_site(tmp_path, [good, torn]).read_text()
    assert "No earlier run finished with cells, so there is none to compare with." in html
