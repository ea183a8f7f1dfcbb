"""Build pages and words of checks that are made by hand."""

import re

import pytest
from check_fixture import make_check
from report_fixture import HOSTILE

from harness.health_marker import FIELDS, HealthMarker, read_health_marker, read_verdicts
from harness.healthwords import describe_check, explain_verdict
from harness.report.healthcolumns import HEIGHT, WIDTH, draw_column, draw_correlations
from harness.report.healthpage import build_health_page, render_check
from harness.report.healthsite import place_check, write_checks
from harness.store.checks import DamagedCheck, KeptCheck, read_checks

pytestmark = pytest.mark.unit


def test_a_dimension_is_a_loss_a_change_or_chance_with_its_bar():
    page = build_health_page(make_check())
    rows = {row.name: row for row in page.dimensions}
    assert [row.word for row in page.dimensions] == ["changed", "changed", "loss"] + 5 * [
        "not significant"
    ]
    assert rows["diversity"].effect_bar == 80.0
    assert rows["diversity"].null_bar == 20.0
    # What chance shows, too, is not told as the worst.
    assert rows["diversity"].worst == (("state", "shares of values"),)
    assert rows["spectrum"].worst == ()
    assert [(title, [name for name, _ in named]) for _, title, named in page.changes] == [
        ("Lost", ["diversity"]),
        ("Changed", ["distribution", "composition"]),
    ]
    # A dimension's reason is not told twice.
    assert page.reasons == ()
    assert (page.tone, page.verdict, page.score) == ("bad", "Collapsed", 20)


def test_nothing_of_a_healthy_check_is_told_as_changed():
    page = build_health_page(make_check("healthy", schema_differences=()))
    assert {row.word for row in page.dimensions} == {"not significant"}
    assert page.changes == ()
    assert page.matches is None
    assert page.tone == "good"


def test_a_histogram_stands_on_its_axis_and_parts_what_lies_beyond():
    figure = draw_column(make_check().drawing.distributions[1])
    width = (WIDTH - 2 * 6) / 4
    # The first bar is beyond the bins, and a gap away from the next.
    bars = figure.before.split("Z")[:-1]
    assert bars[0] == f"M0 {HEIGHT}V81.9H{width:g}V{HEIGHT}"
    assert bars[1] == f"M{width + 6:g} {HEIGHT}V0H{2 * width + 6:g}V{HEIGHT}"
    assert figure.after.count("M") == 3
    assert figure.after.endswith(f"V{HEIGHT}")
    assert figure.ends == ("< 1", "≥ 3")
    assert figure.facts == (("median", "1.5 → 2.25", True), ("missing", "0 % → 25 %", True))


def test_levels_that_went_and_came_are_told():
    figure = draw_column(make_check().drawing.distributions[0])
    assert [(level.name, level.state, level.text) for level in figure.levels] == [
        ("state", "", "50 % → 100 %"),
        ("lost", "lost", "25 % → none"),
        ("new", "new", "none → 5.0 %"),
        ("3 others", "lost", "25 % → none"),
    ]
    assert [level.before for level in figure.levels] == [50.0, 25.0, 0.0, 25.0]


def test_correlations_are_a_triangle_of_differences_the_largest_named():
    grid = draw_correlations(make_check().drawing.correlations)
    assert [[one.step for one in row] for row in grid.rows] == [[], [-4], [0, -2]]
    assert [[one.text for one in row] for row in grid.rows] == [[], ["−0.60"], ["", "−0.20"]]
    assert grid.rows[1][0].title == "state × price: +0.60 before, 0.00 now"
    assert grid.pairs == (
        ("state", "price", "+0.60", "0.00", "−0.60"),
        ("price", "size", "+0.90", "+0.70", "−0.20"),
    )


@pytest.mark.parametrize("root", [None, "../"])
def test_whatever_a_table_calls_its_columns_is_escaped(root):
    pytest.importorskip("jinja2")
    html = render_check(make_check(column=HOSTILE), root=root, test=HOSTILE)
    assert html.count("<script") == (0 if root is None else 1)
    assert "<img" not in html
    assert "&lt;script&gt;alert(1)" in html
    if root is None:
        assert not re.search(r"(src|href)=\"(?!data:,|#)", html)


def test_a_page_that_stands_alone_allows_its_own_style_and_nothing_else():
    pytest.importorskip("jinja2")
    import base64
    import hashlib

    html = render_check(make_check())
    style = html.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'sha256-{digest}'" in html
    assert " style=" not in html
    assert "@import" not in style
    assert "url(" not in style


def test_the_result_in_lines_has_every_dimension_and_what_follows():
    lines = describe_check(make_check())
    assert lines[0] == "collapsed, score 20 of 100"
    assert "candidate: new state (4,000 rows, 2,000 tested)" in lines
    [diversity] = [line for line in lines if line.startswith("diversity ")]
    assert diversity.split() == ["diversity", "20", "0.400", "0.100", "0.0050", "state", "(tv)"]
    assert "rows that stand out: 12 cell; the surest is row 1234" in lines
    assert "it resembles: state (60%)" in lines
    assert "  restore_levels:state: diversity changed in state (lost_levels)" in lines


@pytest.mark.parametrize("column", ["state", "c" * 500])
def test_an_explanation_is_short_enough_that_pytest_cuts_nothing_off(column):
    lines = explain_verdict(make_check(column=column), "healthy or differs", "reports/a.html")
    assert lines[0] == "data health: collapsed, score 20 of 100; expected healthy or differs"
    assert lines[-1] == "page: reports/a.html"
    assert len(lines) <= 8
    assert sum(map(len, lines)) <= 640
    assert any(line.startswith(f"diversity 20, a loss: {column}"[:60]) for line in lines)


def test_a_name_cannot_move_the_terminal():
    check = make_check(column="a\x1b[2Jb\nc")
    for lines in (describe_check(check), explain_verdict(check, "healthy", None)):
        assert any("a\ufffd[2Jb\ufffdc" in line for line in lines)
        assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"refrence": "a"}, "did you mean 'reference'"),
        ({"verdict": "helthy"}, "did you mean 'healthy'"),
        ({"verdict": []}, "leave the argument out"),
        ({"alpha": "small"}, "takes a number, received 'small'"),
    ],
)
def test_a_wrong_argument_of_the_marker_is_told(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        read_health_marker(pytest.mark.matrix_health(**arguments).mark)
    with pytest.raises(ValueError, match="no positional arguments"):
        read_health_marker(pytest.mark.matrix_health("a.csv").mark)


def test_a_marker_is_read_and_may_be_left_out():
    mark = pytest.mark.matrix_health(reference="a.csv", verdict="healthy", seed=3).mark
    assert read_health_marker(mark) == HealthMarker(reference="a.csv", verdict=("healthy",), seed=3)
    assert read_health_marker(None) == HealthMarker()
    assert read_verdicts(["healthy", "differs"]) == ("healthy", "differs")
    assert len(FIELDS) == 7


def keep(reports, test, expected=(), **changes):
    path = place_check(reports, test, 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = KeptCheck(
        test=test,
        number=1,
        moment="2026-03-01T02:00:00+00:00",
        expected=expected,
        check=make_check(**changes),
    )
    path.write_text(kept.model_dump_json())
    return path


def test_checks_are_listed_with_those_first_that_were_not_as_expected(tmp_path):
    pytest.importorskip("jinja2")
    calm = keep(tmp_path, "test_a.py::test_calm", verdict="healthy")
    keep(tmp_path, "test_a.py::test_known", verdict="collapsed")
    wrong = keep(tmp_path, "test_a.py::test_wrong", expected=("healthy",), verdict="differs")
    stray = wrong.with_name("check-gone.html")
    stray.write_text("gone")
    (wrong.parent / "check-cut.json").write_text('{"test": ')
    html = write_checks(tmp_path).read_text()
    tests = re.findall(r"test_a\.py::\w+", html)
    assert tests == [f"test_a.py::test_{name}" for name in ("wrong", "known", "calm")]
    assert html.count("not as expected") == 1
    assert "check-cut.json: " in html
    assert not stray.exists()
    assert calm.with_suffix(".html").exists()
    # There is no site: nothing leads to its pages.
    assert "runs.html" not in html
    (tmp_path / "index.html").touch()
    assert 'href="runs.html"' in write_checks(tmp_path).read_text()
    assert [isinstance(one, DamagedCheck) for one in read_checks(tmp_path)].count(True) == 1
