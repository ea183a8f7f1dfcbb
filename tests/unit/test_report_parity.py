"""Read the page's table of parity and a cell's own ladder as data."""

from pathlib import Path

import pytest
from report_fixture import make_record, make_run
from report_matrix import make_matrix

from harness.report.pages import build_run_page
from harness.report.site import render_page
from harness.store.record import RUNGS, Comparison, Rung, Verdict

pytestmark = pytest.mark.unit

DECLARED = Verdict(gate="in_parity", status="fail", text="drift", expected="known to drift")


def compare(*pairs, other="wine-mlp-pytorch-train", frameworks=("pytorch", "jax")):
    rungs = tuple(
        Rung(name=name, difference=value, limit=1e-5, reason=None if value else "1 against 3")
        for name, value in pairs
    )
    return Comparison(frameworks=frameworks, other=other, rungs=rungs)


def page_of(*records):
    return build_run_page(make_run(Path("run"), *records), ())


def test_a_square_has_the_worst_and_leads_to_the_cell_that_has_it():
    mild = make_record("oils", framework="jax", comparisons=(
        compare(("forward", 2e-6), ("weights_1", 3e-6), other="oils-mlp-pytorch-train"),
    ))  # fmt: skip
    wild = make_record("wine", framework="jax", verdicts=(DECLARED,), comparisons=(
        compare(("forward", 1e-6), ("weights_1", 4e-3)),
    ))  # fmt: skip
    table = page_of(mild, wild).parity
    [row] = table.rows
    assert (row.frameworks, row.note) == ("pytorch – jax", "2 cells, 1 as declared")
    squares = dict(zip(RUNGS, row.squares, strict=True))
    assert dict(table.columns)["weights_1"] == "≤ 1e-05"
    assert dict(table.columns)["weights_10"] == "–"
    forward, weights = squares["forward"], squares["weights_1"]
    assert (forward.word, forward.state, forward.anchor) == (
        "2.0e-06",
        "passed",
        "cell-oils-mlp-jax-train",
    )
    assert (weights.word, weights.state, weights.symbol) == ("4.0e-03", "expected", "△")
    assert weights.title.splitlines() == [
        "weights_1: wine-mlp-pytorch-train and wine-mlp-jax-train",
        "difference 4.0e-03, limit 1e-05",
        "declared: known to drift",
    ]
    assert squares["weights_10"] is None


def test_what_has_no_number_is_a_failing_square_with_its_reason():
    record = make_record("wine", framework="jax", comparisons=(compare(("forward", None)),))
    square = page_of(record).parity.rows[0].squares[RUNGS.index("forward")]
    assert (square.state, square.symbol, square.word) == ("failed", "✕", "none")
    assert square.title.splitlines()[1:] == ["1 against 3"]


def test_both_cells_of_a_comparison_show_it_in_the_order_of_the_frameworks():
    torch = make_record("wine")
    flow = make_record("wine", framework="tensorflow", comparisons=(
        compare(("forward", 2e-6), frameworks=("pytorch", "tensorflow")),
    ))  # fmt: skip
    jax = make_record("wine", framework="jax", comparisons=(
        compare(("forward", 3e-6), ("weights_100", 2e-5)),
        compare(("forward", 4e-6), other=flow.cell, frameworks=("tensorflow", "jax")),
    ))  # fmt: skip
    ladders = {row.framework: row.detail.ladder for row in page_of(torch, flow, jax).rows}
    assert {name: ladder.frameworks for name, ladder in ladders.items()} == {
        "pytorch": ("tensorflow", "jax"),
        "tensorflow": ("pytorch", "jax"),
        "jax": ("pytorch", "tensorflow"),
    }
    forward, weights = ladders["jax"].rungs
    assert [entry.word for entry in forward.entries] == ["3.0e-06", "4.0e-06"]
    assert [(entry.word, entry.state) for entry in weights.entries] == [
        ("✕ 2.0e-05", "failed"),
        ("–", "passed"),
    ]
    assert (forward.name, forward.limit) == ("forward", "≤ 1e-05")


def test_a_run_without_comparisons_says_so():
    page = page_of(make_record("wine"))
    assert (page.parity, page.rows[0].detail.ladder) == (None, None)
    html = render_page(page, root="", runs="runs/", newest=True)
    assert "No two frameworks were compared." in html


def test_the_failing_gate_of_the_matrix_is_among_its_failures(tmp_path):
    page = build_run_page(make_matrix(tmp_path / "run"), ())
    [report] = [entry for entry in page.failed if entry.cell == "gss_abortion-mlp-jax-train"]
    assert [verdict.gate for verdict in report.verdicts] == ["in_parity"]
    assert "drift apart at weights_1: relative difference" in report.verdicts[0].text
    assert "1 × in_parity" in page.kinds
