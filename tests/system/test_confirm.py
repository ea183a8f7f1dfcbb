"""See a suspect cell trained again at the end of its run, and what that makes of the suspicion."""

import json
import shutil

import pytest
import scipy.special  # noqa: F401 - pytester would have it imported anew in each test

from harness.store.index import open_index
from harness.store.journal import list_runs, read_run
from harness.store.record import Record, parse_line
from harness.trends.gather import judge_all

pytestmark = pytest.mark.system

TESTS = """
    import pytest

    @pytest.mark.system
    @pytest.mark.matrix(dataset="wine", algorithm="linear", framework="sklearn")
    def test_wine(cell):
        cell.run()
"""
OPTIONS = ("-p", "no:cacheprovider", "-q", "--matrix-rows=120", "--matrix-replicates=1")


def make_past(folder, runs, share):
    """Write earlier runs like the newest one, whose fit took ``share`` of what it did."""
    [newest] = list_runs(folder / "reports")
    lines = (newest / "records.jsonl").read_text().splitlines()
    for number in range(runs):
        name = f"20260101-{number:06d}-000000"
        copied = []
        for text in lines:
            line = json.loads(text)
            if line["kind"] == "run":
                line["run"] = name
            if line["kind"] == "record":
                line["run"] = name
                # Nights differ by two percent, as those of a quiet machine do.
                line["result"]["timings"]["fit"] *= share * (1 + 0.02 * (number % 3 - 1))
            copied.append(json.dumps(line, separators=(",", ":")))
        (newest.parent / name).mkdir()
        (newest.parent / name / "records.jsonl").write_text("\n".join(copied) + "\n")
    shutil.rmtree(newest)


def run_once(pytester, *options):
    result = pytester.runpytest_subprocess(*OPTIONS, *options)
    result.assert_outcomes(passed=1)
    run = read_run(list_runs(pytester.path / "reports")[0])
    path = run.folder / "records.jsonl"
    reruns = [
        line for line in map(parse_line, path.read_bytes().splitlines()) if line.kind == "rerun"
    ]
    return result, run, reruns


def state_of_fit(pytester):
    with open_index(pytester.path / "reports") as index:
        return next(trend for series, trend in judge_all(index) if series.measure == "fit")


def test_a_run_without_a_past_trains_nothing_again(pytester):
    pytester.makepyfile(TESTS)
    result, run, reruns = run_once(pytester)
    assert reruns == []
    assert "suspect" not in result.stdout.str()
    assert [isinstance(record, Record) for record in run.records] == [True]


@pytest.mark.parametrize("spread", [(), ("-n1",)], ids=["alone", "xdist"])
def test_a_real_change_is_confirmed_by_reruns_in_the_journal(pytester, spread):
    pytester.makepyfile(TESTS)
    run_once(pytester)
    make_past(pytester.path, 40, 0.01)
    result, _, reruns = run_once(pytester, *spread)
    result.stdout.fnmatch_lines(["*1 cell suspect of a change; training again to be sure*"])
    assert 3 <= len(reruns) <= 24
    assert all(line.outcome == "ok" and line.calibration_seconds > 0 for line in reruns)
    trend = state_of_fit(pytester)
    assert trend.state == "regressed"
    assert trend.effect > 1
    assert "rerun" in trend.evidence


def test_without_seconds_for_it_a_cell_stays_suspect(pytester):
    pytester.makepyfile(TESTS)
    run_once(pytester)
    make_past(pytester.path, 40, 0.01)
    result, _, reruns = run_once(pytester, "--matrix-confirm=0.000001")
    assert reruns == []
    result.stdout.fnmatch_lines(
        ["*still suspect, for want of time or of a result: wine-linear-sklearn-train*"]
    )
    assert state_of_fit(pytester).state == "suspect"
