import pytest
from report_fixture import make_record, make_score

from harness.report.diagrams import PLOT, draw_ranks, draw_speed
from harness.report.rankingpage import build_ranking_page, make_entries, write_p
from harness.report.reference import Reference
from harness.trends.ranks import Entry, Standing, rank_algorithms

pytestmark = pytest.mark.unit


def make_cells(rows, algorithms, task="classification", **changes):
    return [
        make_record(
            f"{task}{row}",
            algorithm,
            "sklearn",
            task=task,
            score=make_score(0.5 + 0.4 * share, 0.5),
            **changes,
        )
        for row in range(rows)
        for algorithm, share in algorithms.items()
    ]


def make_page(records, subject="algorithms", passed_over=0):
    return build_ranking_page(subject, Reference("run", None, tuple(records), passed_over))


def test_unavailable_is_no_failure_and_no_score_is_one():
    entries = make_entries(
        [
            make_record("d", "a", outcome="unavailable", reason="no jax"),
            make_record("d", "b", outcome="crashed", reason="SIGSEGV"),
            make_record("d", "c", outcome="ok"),
            make_record("d", "e", score=make_score(3.0, 4.0, greater_is_better=False)),
        ]
    )
    assert [(one.algorithm, one.failed, one.score) for one in entries] == [
        ("b", True, None),
        ("c", True, None),
        ("e", False, 3.0),
    ]
    # A failed cell has the direction of its dataset.
    assert {one.greater_is_better for one in entries} == {False}


def test_all_datasets_come_first_and_then_each_task():
    algorithms = {"good": 1.0, "fair": 0.5}
    both = [*make_cells(8, algorithms), *make_cells(3, algorithms, task="regression")]
    page = make_page(both, passed_over=1)
    assert [section.title for section in page.sections] == [
        "All datasets",
        "Classification",
        "Regression",
    ]
    assert page.passed_over == "1 newer run with less than half as many cells passed over."
    assert page.sections[0].basis == "2 algorithms on the 11 datasets that all of them ran on."
    assert [section.title for section in make_page(make_cells(3, algorithms)).sections] == [
        "All datasets"
    ]


def test_findings_say_what_can_be_told_apart():
    algorithms = {"good": 1.0, "fair": 0.5, "bad": 0.0}
    (section,) = make_page(make_cells(8, algorithms)).sections
    assert section.findings == (
        "Friedman's test of all at once: F(2, 14) = infinite, p < 0.0001: they differ.",
        "3 of 3 pairs told apart at 5% by Wilcoxon's signed-rank test with Holm's correction.",
        "Nemenyi's critical difference of mean ranks would be 1.17; the bars do not stand on it.",
    )
    few = make_page(make_cells(3, algorithms)).sections[0].findings
    assert few[1:] == (
        "With 3 datasets no pair of them can be told apart, whatever the scores: "
        "p cannot fall below 0.75.",
    )
    same = make_page(make_cells(3, {"one": 0.5, "two": 0.5})).sections[0].findings
    assert same[0] == "All are level, or there is one dataset only: there is nothing to test."


def test_a_square_is_told_from_the_side_of_its_row():
    (section,) = make_page(make_cells(8, {"good": 1.0, "fair": 0.5})).sections
    (none, right), (left, _) = section.matrix
    assert none is None
    assert (right.wins, right.losses, right.ties, right.verdict) == (8, 0, 0, "better")
    assert (left.wins, left.losses, left.ties, left.verdict) == (0, 8, 0, "worse")
    assert right.p == left.p == "= 0.00781"
    (few,) = make_page(make_cells(3, {"good": 1.0, "fair": 0.5})).sections
    assert few.matrix[0][1].verdict == "level"


def test_the_order_that_depends_on_failures_is_told():
    records = make_cells(2, {"a": 1.0, "b": 0.9, "c": -0.5})
    records[1] = make_record("classification0", "b", "sklearn", outcome="error", reason="x")
    section = make_page(records).sections[0]
    assert section.sensitivity == ("The order is the same whichever way failed cells are taken.")
    # Worse than the baseline where the second failed, and as good where it did not.
    records[2] = records[2].model_copy(update={"score": make_score(0.45, 0.5)})
    records[5] = records[5].model_copy(update={"score": records[4].score})
    changed = make_page(records).sections[0].sensitivity
    assert changed == (
        "The order depends on how failed cells are taken: as the last, c and b move."
    )
    alone = [*make_cells(1, {"a": 1.0, "b": 0.9})]
    alone.append(make_record("classification0", "c", "sklearn", outcome="error", reason="x"))
    assert make_page(alone).sections[0].sensitivity == (
        "The order is the same whichever way failed cells are taken. "
        "On every dataset a cell failed, so that none is left without."
    )
    whole = make_page(make_cells(2, {"a": 1.0, "b": 0.5})).sections[0]
    assert whole.sensitivity.startswith("No cell failed")


def test_frameworks_and_reused_cells():
    records = [
        make_record("d", "mlp", framework, score=make_score(score, 0.5), reused="earlier")
        for framework, score in (("pytorch", 0.9), ("jax", 0.8))
    ]
    page = make_page(records, subject="frameworks")
    assert [one.name for one in page.sections[0].ranking.standings] == ["pytorch", "jax"]
    assert page.sections[0].basis.endswith("by the algorithms that all of them have there.")
    assert page.reused == "2 cells reused from earlier runs: seconds are from there."
    empty = make_page(records[:1], subject="frameworks")
    assert empty.sections == ()
    assert empty.nothing == "No two frameworks share a dataset with scores in this run."


def test_a_bar_has_a_dot_for_its_members_only():
    # The second wins often by little and loses rarely by much; neighbours need not be level.
    entries = [
        Entry(f"d{n}", name, "sklearn", "train", score, 0.0, True, 1.0, False)
        for n in range(12)
        for name, score in (
            ("first", 1.0),
            ("second", 0.98),
            ("third", 0.5 if n % 2 else 0.99),
        )
    ]
    ranking = rank_algorithms(entries)
    diagram = draw_ranks(ranking)
    ys = {row.name: row.y for row in diagram.rows}
    places = [one.name for one in ranking.standings]
    assert [bar.ys for bar in diagram.bars] == [
        tuple(ys[places[place]] for place in group) for group in ranking.groups
    ]
    assert diagram.bars
    for row in diagram.rows:
        assert row.low <= row.x <= row.high <= diagram.width
    assert diagram.rows[0].x <= diagram.rows[-1].x


def test_bars_that_meet_stand_in_columns_of_their_own():
    standings = tuple(
        Standing(f"a{n}", n + 1.0, n + 0.9, n + 1.1, 0.5, None, False, 0) for n in range(5)
    )

    class Ranked:
        groups = ((0, 1, 2), (1, 2, 3), (3, 4))

    Ranked.standings = standings
    one, two, three = draw_ranks(Ranked).bars
    assert one.x != two.x
    assert three.x == one.x
    Ranked.groups = ((0, 2),)
    diagram = draw_ranks(Ranked)
    (bar,) = diagram.bars
    assert bar.ys == (diagram.rows[0].y, diagram.rows[2].y)
    assert bar.title == "not told apart: a0, a2"
    assert draw_speed(standings) is None


def test_speed_runs_to_the_right_and_scores_go_up():
    def stand(name, seconds, score, front):
        return Standing(name, 1.0, 1.0, 1.0, score, seconds, front, 0)

    standings = [
        stand("slow", 100.0, 0.9, True),
        stand("beaten", 50.0, 0.3, False),
        stand("fast", 1.0, 0.5, True),
        stand("untimed", None, 0.9, False),
    ]
    diagram = draw_speed(standings)
    slow, beaten, fast = diagram.points
    assert (slow.place, beaten.place, fast.place) == (1, 2, 3)
    assert fast.x < beaten.x < slow.x
    assert slow.y < fast.y < beaten.y
    assert diagram.front == f"M{fast.x:g} {fast.y:g}H{slow.x:g}V{slow.y:g}"
    assert [word for _, word in diagram.x_ticks] == ["1.00 s", "10.0 s", "1 min 40 s"]
    assert [word for _, word in diagram.y_ticks] == ["0.2", "0.4", "0.6", "0.8"]
    assert slow.y == PLOT[1]
    left, top, right, bottom = PLOT
    for point in diagram.points:
        assert left <= point.x <= right
        assert top <= point.y <= bottom


def test_p_in_short():
    assert write_p(0.04321) == "= 0.0432"
    assert write_p(1.0) == "= 1"
    assert write_p(2e-9) == "< 0.0001"
