"""Say on the page what a run did not train itself, and that it was gone on with."""

import pytest
from report_fixture import make_head, make_run, record_of

from harness.report.pages import build_run_page
from harness.report.site import render_page
from harness.store.record import End, Resumed

pytestmark = pytest.mark.unit

END = End(finished="2026-03-14T07:00:00.000+00:00", exit_status=0, seconds=9.0)
RESUMED = Resumed(started="2026-03-14T06:30:00.000+00:00", command=("pytest",))


def test_reused_cells_and_resumed_sessions_are_told(tmp_path):
    reused = record_of("wine-mlp-pytorch-train", reused="20260313-060000-aaaaaa")
    own = record_of("wine-linear-pytorch-train")
    run = make_run(tmp_path, reused, own, head=make_head("r"), end=END, resumed=(RESUMED, RESUMED))
    page = build_run_page(run, ())
    assert page.reused == "1 cell reused from earlier runs"
    assert page.summary.ending == "finished (resumed 2 times)"
    assert page.summary.took == ""
    assert [row.detail.reused for row in page.rows] == ["20260313-060000-aaaaaa", None]
    html = render_page(page, root="", runs="runs/", newest=True)
    assert html.count("trained in run 20260313-060000-aaaaaa") == 1
    assert "1 cell reused from earlier runs" in html


def test_a_run_of_its_own_says_nothing_of_it(tmp_path):
    page = build_run_page(make_run(tmp_path, record_of("a-b-pytorch-train"), end=END), ())
    assert (page.reused, page.summary.ending, page.summary.took) == ("", "finished", "9.00 s")
    assert "Reused" not in render_page(page, root="", runs="runs/", newest=True)
