"""Say what changed between two made-up runs."""

from dataclasses import replace

import pytest

from harness.trends.blame import ORDER, Side, blame

pytestmark = pytest.mark.unit
CELL = "wine-mlp-pytorch-train"
OLD = Side(
    run="20260101-old",
    commit="a" * 40,
    branch="main",
    environment={"cpu": "EPYC 7", "threads": "1", "package torch": "2.13.0"},
    data="d" * 64,
    entry="e" * 64,
    request={"model": {"hidden": [64, 32], "optimizer": {"name": "adam"}}, "seed": 1},
)
NEW = replace(OLD, run="20260102-new")


def texts(new, old=OLD, kind="timing"):
    return [(cause.kind, cause.text) for cause in blame(CELL, old, new, kind).causes]


def test_where_nothing_changed_it_says_so():
    ((kind, text),) = texts(NEW)
    assert kind == "unknown"
    assert text.startswith("nothing that is recorded changed")


def test_every_change_is_named():
    new = replace(
        NEW,
        commit="b" * 40,
        branch="feature",
        dirty=True,
        environment={"cpu": "Xeon", "threads": "1", "package torch": "2.14.0", "package ray": "2"},
        data="f" * 64,
        entry="0" * 64,
        request={"model": {"hidden": [64], "optimizer": {"name": "adam"}}, "rows": 5},
    )
    assert texts(new) == [
        ("hardware", "cpu: EPYC 7 → Xeon"),
        ("data", "the table's content: dddddddddd → ffffffffff"),
        (
            "entry",
            "the catalog's entry or its request: model.hidden: [64, 32] → [64]; "
            "rows is new: 5; seed is gone: 1",
        ),
        ("packages", "ray: not there → 2"),
        ("packages", "torch: 2.13.0 → 2.14.0"),
        (
            "commits",
            "commits aaaaaaaaaa..bbbbbbbbbb, see: git log --oneline aaaaaaaaaa..bbbbbbbbbb "
            "(from branch main to feature)",
        ),
        ("uncommitted", "uncommitted changes in 20260102-new"),
    ]


def test_a_metric_suspects_the_machine_last_and_a_timing_first():
    new = replace(NEW, environment={"cpu": "Xeon"}, commit="b" * 40, data="f" * 64)
    kinds = {kind: [cause for cause, _ in texts(new, kind=kind)] for kind in ORDER}
    assert kinds["metric"] == ["data", "commits", "packages", "hardware", "hardware"]
    assert kinds["timing"] == ["hardware", "hardware", "data", "packages", "commits"]
    assert kinds["memory"] == ["data", "packages", "commits", "hardware", "hardware"]


def test_an_entry_without_requests_is_named_by_its_hashes():
    new = replace(NEW, entry="0" * 64, request=None)
    assert texts(new) == [("entry", "the catalog's entry or its request: eeeeeeeeee → 0000000000")]


def test_an_unknown_commit_may_be_the_cause_and_cannot_be_checked_out():
    found = blame(CELL, OLD, replace(NEW, commit=None), "timing")
    assert found.causes[0].text == "perhaps the code: the commit of 20260102-new is unknown"
    assert found.rerun_new == (
        f"pytest -m slow_matrix -k {CELL}  # the commit of 20260102-new is not known"
    )


def test_commands_rerun_either_side_and_quote_what_a_shell_would_read():
    found = blame("wine; rm -rf-x-y-z", OLD, replace(NEW, dirty=True), "timing")
    command = "pytest -m slow_matrix -k 'wine; rm -rf-x-y-z'"
    assert found.rerun_old == f"git checkout {'a' * 40} && {command}"
    assert found.rerun_new == (
        f"git checkout {'a' * 40} && {command}"
        "  # without the uncommitted changes that 20260102-new had"
    )
