import re

import pytest
from report_fixture import HOSTILE, make_hostile, make_record, make_run, make_score

from harness.report.summary import MOST_ROWS, choose_base, compare_records, escape, write_summary
from harness.store.record import End, TestLine

pytestmark = pytest.mark.unit

ASKED = {"replicates": 3, "budget": {"rows": 200}, "data": {"path": "/here/wine.toml"}}


def scored(dataset, value, greater_is_better=True, spread=0.01, **changes):
    score = make_score(value, 0.5, greater_is_better, spread)
    return make_record(dataset, **({"score": score, "request": ASKED} | changes))


def lost(dataset, reason="the worker was killed by signal 9 (SIGKILL)"):
    return make_record(dataset, outcome="crashed", reason=reason)


@pytest.fixture
def base(tmp_path):
    return make_run(
        tmp_path / "20260313-060010-aaaaaa",
        scored("breaks", 0.9),
        lost("mends"),
        lost("stays_lost"),
        scored("steady", 0.9),
        scored("better", 0.8),
        scored("worse", 2.0, greater_is_better=False),
        scored("noisy", 0.8, spread=0.2),
        scored("elsewhere", 0.8),
        scored("asked_otherwise", 0.8),
        scored("gone", 0.9),
    )


@pytest.fixture
def run(tmp_path):
    moved = {**ASKED, "data": {"path": "/there/wine.toml"}, "runtime": {"threads": 2}}
    return make_run(
        tmp_path / "20260314-060010-bbbbbb",
        lost("breaks"),
        scored("mends", 0.9),
        lost("stays_lost", "no result within 1 s | killed"),
        scored("steady", 0.905),
        scored("better", 0.82),
        scored("worse", 2.5, greater_is_better=False),
        scored("noisy", 0.9, spread=0.05),
        scored("elsewhere", 0.7, request=moved),
        scored("asked_otherwise", 0.7, request={**ASKED, "replicates": 1}),
        scored("fresh", 0.9),
        tests=(TestLine(node="test_a.py::test_b", status="failed", reason="assert 1 == 2"),),
        end=End(finished="2026-03-14T06:22:40.000+00:00", exit_status=1, seconds=75.0),
    )


def test_changes_are_told_apart(run, base):
    changes = compare_records(run, base)
    assert [one.cell.partition("-")[0] for one in changes.newly_failing] == ["breaks"]
    assert [cell.partition("-")[0] for cell in changes.fixed] == ["mends"]
    assert [
        (one.cell.partition("-")[0], one.before, one.after, one.spread, one.improved)
        for one in changes.metrics
        if one.beyond
    ] == [
        ("worse", 2.0, 2.5, 0.01, False),
        ("elsewhere", 0.8, 0.7, 0.01, False),
        ("better", 0.8, 0.82, 0.01, True),
    ]
    assert changes.appeared == ("fresh-mlp-pytorch-train",)
    assert changes.vanished == ("gone-mlp-pytorch-train",)
    assert changes.unlike == ("asked_otherwise-mlp-pytorch-train",)


def test_the_summary_reads_from_the_totals_to_the_report(run, base):
    assert write_summary(run, base, "reports/index.html").splitlines() == [
        "## Matrix: 2 of 10 cells failed, and 1 more test",
        "",
        "| cells | passed | failed | failed as declared | unavailable | took |",
        "| --- | --- | --- | --- | --- | --- |",
        "| 10 | 8 | 2 | 0 | 0 | 75.0 s |",
        "",
        "### Failed cells",
        "",
        "| cell | outcome | reason |",
        "| --- | --- | --- |",
        "| breaks-mlp-pytorch-train | crashed | the worker was killed by signal 9 (SIGKILL) |",
        r"| stays\_lost-mlp-pytorch-train | crashed | no result within 1 s \| killed |",
        "",
        "### Failed tests",
        "",
        "| test | status | reason |",
        "| --- | --- | --- |",
        r"| test\_a.py::test\_b | failed | assert 1 == 2 |",
        "",
        "### Changes",
        "",
        "Against the run 20260313-060010-aaaaaa of 2026-03-14 06:00 UTC, "
        "0123456789 + local changes:",
        "",
        "**Newly failing**",
        "",
        "| cell | outcome | reason |",
        "| --- | --- | --- |",
        "| breaks-mlp-pytorch-train | crashed | the worker was killed by signal 9 (SIGKILL) |",
        "",
        "**Metrics beyond their spread**",
        "",
        "| cell | metric | before | now | spread |  |",
        "| --- | --- | --- | --- | --- | --- |",
        r"| worse-mlp-pytorch-train | roc\_auc | 2.000 | 2.500 | 0.0100 | worse |",
        r"| elsewhere-mlp-pytorch-train | roc\_auc | 0.8000 | 0.7000 | 0.0100 | worse |",
        r"| better-mlp-pytorch-train | roc\_auc | 0.8000 | 0.8200 | 0.0100 | better |",
        "",
        "<details><summary>1 cell fixed</summary>",
        "",
        "- mends-mlp-pytorch-train",
        "",
        "</details>",
        "",
        "<details><summary>1 cell new</summary>",
        "",
        "- fresh-mlp-pytorch-train",
        "",
        "</details>",
        "",
        "<details><summary>1 cell of the base run did not run</summary>",
        "",
        "- gone-mlp-pytorch-train",
        "",
        "</details>",
        "",
        "<details><summary>1 cell asked for differently, metrics not compared</summary>",
        "",
        r"- asked\_otherwise-mlp-pytorch-train",
        "",
        "</details>",
        "",
        "Report: reports/index.html",
    ]


def test_the_base_is_the_newest_earlier_run_that_finished(run, base, tmp_path):
    cut_off = make_run(tmp_path / "20260313-090000-aaaaaa", scored("wine", 0.9), end=None)
    empty = make_run(tmp_path / "20260313-080000-aaaaaa")
    later = make_run(tmp_path / "20260315-080000-aaaaaa", scored("wine", 0.9))
    oldest = make_run(tmp_path / "20260101-080000-aaaaaa", scored("wine", 0.9))
    assert choose_base(run, [later, run, cut_off, empty, base, oldest]) is base
    assert choose_base(oldest, [later, run, oldest]) is None
    alone = write_summary(later, None, None)
    assert alone.endswith("### Changes\n\nThere is no earlier run.\n")
    assert write_summary(later, later, None).endswith("0123456789 + local changes: none.\n")
    assert "was not finished: cut off" in write_summary(cut_off, None, None)


def test_nothing_of_a_record_is_markdown_or_html(tmp_path):
    text = f"{HOSTILE} | a *b* `c` [d](e)\n# f\x1b[31m \\ ~g~"
    run = make_hostile(tmp_path / "20260314-060010-bbbbbb", text)
    shown = write_summary(run, make_run(tmp_path / "20260313-060010-aaaaaa"), text)
    assert "<script" not in shown
    assert "<img" not in shown
    assert "\x1b" not in shown
    assert r"\| a \*b\* \`c\` \[d\](e) \# f \[31m \\ \~g\~" in shown
    rows = [line for line in shown.splitlines() if line.startswith("|")]
    assert len(rows) == 9
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {4, 7}
    assert escape("x" * 1000) == "x" * 399 + "…"


def test_many_failures_are_cut(tmp_path):
    records = [lost(f"d{number}") for number in range(MOST_ROWS + 2)]
    shown = write_summary(make_run(tmp_path / "20260314-060010-bbbbbb", *records), None, None)
    assert shown.count("| crashed |") == MOST_ROWS
    assert "… and 2 more." in shown
