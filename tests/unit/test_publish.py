"""Publish a site from the index, and find in it what the journals say."""

import pytest
from site_fixture import make_nights

from harness.publish import publish
from harness.report.digest import digest_brief, digest_cell, digest_run, digest_sketch, stamp_of
from harness.report.files import name_file, read_data
from harness.report.site import write_site
from harness.store.baselines import Band, write_baselines
from harness.store.index import open_index
from harness.store.journal import JOURNAL, read_run
from harness.store.record import Rerun, Resumed, TestLine

pytestmark = pytest.mark.unit

SESSION = Resumed(started="2026-02-01T03:00:00.000+00:00", command=("pytest",))


def fail(node, status="failed", cell=None):
    return TestLine(node=node, status=status, cell=cell)


@pytest.fixture
def reports(tmp_path):
    """Give nights on the disk; some have tests that failed, in several sessions or not."""
    for place, run in enumerate(make_nights(tmp_path, 6)):
        [failing, *_] = [r.cell for r in run.records if r.failed] or [None]
        first = [fail("a::x"), fail("a::y", cell=failing), fail("a::z", "error"), fail("a::z")]
        later = [SESSION, fail("a::x", "passed"), fail("a::z", "error")]
        tests = {0: [], 1: first}.get(place, first + later)
        lines = [run.head, *run.records, *tests, *([run.end] if place != 2 else [])]
        run.folder.mkdir(parents=True, exist_ok=True)
        text = "".join(line.model_dump_json() + "\n" for line in lines)
        (run.folder / JOURNAL).write_text(text)
    return tmp_path


def test_the_index_tells_of_a_run_what_its_journal_tells(reports):
    with open_index(reports) as index:
        failed = set()
        for folder in sorted((reports / "runs").iterdir()):
            run, stamp = read_run(folder), stamp_of(folder)
            cells = {one.cell: digest_cell(one) for one in run.records}
            briefs = {one.cell: digest_brief(one) for one in index.briefs_of_run(folder.name)}
            assert briefs == cells
            digest = digest_sketch(index.sketch(folder.name), [*briefs.values()], stamp)
            assert digest == digest_run(run, [*cells.values()], stamp)
            failed.add(digest.summary.failed_tests)
    assert failed >= {0, 3}


def read_cell(reports, cell):
    return read_data(reports, name_file("cell", cell))


def test_the_cells_show_the_trends_of_their_series(reports):
    publish(reports)
    newest = read_run(sorted((reports / "runs").iterdir())[-1])
    for record in newest.records:
        shown = {one["measure"]: one for one in read_cell(reports, record.cell)["measures"]}
        if record.outcome == "ok":
            assert shown["fit"]["values"][-1] == record.result.timings.fit
            assert shown["score"]["trend"]["evidence"]
            assert shown["score"]["trend"]["segments"][-1][1] == len(shown["score"]["at"]) - 1
        assert "seconds" not in shown or shown["seconds"]["trend"] is None


def test_a_change_up_to_the_accepted_run_is_told_no_longer(reports):
    with open_index(reports) as index:
        runs = [run.name for run in index.runs()]
    told = [
        (line["cell"], one["measure"])
        for line in (read_cell(reports, cell) for cell in cells_of(reports))
        for one in line["measures"]
        if one["trend"] and one["trend"]["state"] == "regressed"
    ]
    assert told
    band = Band(1.0, 0.5, 1.5, 3, since=runs[0], environment="e", entry="r")
    write_baselines(reports / "baselines.json", dict.fromkeys(told, band))
    publish(reports)
    for cell, measure in told:
        shown = {one["measure"]: one for one in read_cell(reports, cell)["measures"]}
        assert shown[measure]["trend"]["state"] == "unchanged"


def test_what_a_session_has_judged_is_judged_once_and_again_where_it_changed(reports, monkeypatch):
    import harness.trends.gather as gather

    judged, genuine = [], gather.judge_series
    monkeypatch.setattr(gather, "_judged", {})
    monkeypatch.setattr(
        gather,
        "judge_series",
        lambda one, *rest, **more: (
            judged.append((one.cell, one.measure)) or genuine(one, *rest, **more)
        ),
    )
    with open_index(reports) as index:
        first = {(one.cell, one.measure): trend for one, trend in gather.judge_all(index)}
        assert sorted(judged) == sorted(first)
        judged.clear()
        again = {(one.cell, one.measure): trend for one, trend in gather.judge_all(index)}
        assert judged == []
        assert again == first
    (newest, *_) = sorted((reports / "runs").iterdir(), reverse=True)
    cell = read_run(newest).records[0].cell
    rerun = Rerun(
        cell=cell,
        started="2026-02-07T03:00:00.000+00:00",
        outcome="ok",
        seconds=1.0,
        measures={"fit": 1.0},
        calibration_seconds=0.1,
    )
    with (newest / JOURNAL).open("a") as file:
        file.write(rerun.model_dump_json() + "\n")
    publish(reports)
    assert set(judged) == {(cell, "score"), (cell, "fit"), (cell, "peak_memory")}
    judged.clear()
    # A level that was accepted is another question.
    with open_index(reports) as index:
        list(gather.judge_all(index, {(cell, "fit"): newest.name}))
    assert judged == [(cell, "fit")]


def cells_of(reports):
    publish(reports)
    return read_data(reports, "cells")["cells"]


def test_old_runs_are_not_read_where_the_index_has_them(tmp_path, monkeypatch):
    for run in make_nights(tmp_path, 23):
        run.folder.mkdir(parents=True, exist_ok=True)
        lines = [run.head, *run.records, run.end]
        text = "".join(line.model_dump_json() + "\n" for line in lines)
        (run.folder / JOURNAL).write_text(text)
    folders = sorted((tmp_path / "runs").iterdir(), reverse=True)
    write_site(tmp_path, folders)
    plain = {path.name: path.read_text() for path in (tmp_path / "data").glob("run*.js")}
    for path in (tmp_path / "data").glob("*.js"):
        path.unlink()
    with open_index(tmp_path):
        pass
    reads = []
    genuine = read_run
    monkeypatch.setattr(
        "harness.report.site.read_run", lambda path: reads.append(path.name) or genuine(path)
    )
    publish(tmp_path)
    assert {path.name: path.read_text() for path in (tmp_path / "data").glob("run*.js")} == plain
    assert set(reads) == {folder.name for folder in folders[:20]}
