import os

import pytest
from report_fixture import make_record, make_run
from site_fixture import (
    BROKEN,
    SLOWER,
    make_nights,
    make_series,
    make_trends,
    name_night,
)

from harness.report.digest import read_digests
from harness.report.files import name_file, read_data, write_data
from harness.report.site import PAGES_MADE, write_site
from harness.store.journal import JOURNAL
from harness.store.record import Verdict
from harness.store.series import Point, Series

pytestmark = pytest.mark.unit

PASS = Verdict(gate="beats_baseline", status="pass", text="better by 0.2")


@pytest.fixture
def nights(tmp_path):
    return make_nights(tmp_path, 6)


def cell_data(reports, cell):
    return read_data(reports, name_file("cell", cell))


def test_a_cell_has_its_series_trends_record_and_siblings(tmp_path, nights):
    write_site(tmp_path, nights, series=make_series(nights), trends=make_trends(nights))
    data = cell_data(tmp_path, SLOWER)
    assert [measure["measure"] for measure in data["measures"]] == [
        *("score", "fit", "seconds", "peak_memory"),
    ]
    fit = data["measures"][1]
    assert fit["at"] == list(range(6))
    assert data["runs"] == [name_night(night) for night in range(6)]
    assert fit["trend"]["state"] == "regressed"
    assert [segment[:2] for segment in fit["trend"]["segments"]] == [[0, 3], [4, 5]]
    assert data["measures"][2]["trend"] is None
    assert data["rerun"] == f"pytest -m slow_matrix -k {SLOWER}"
    newest = data["newest"]
    (record,) = [record for record in nights[0].records if record.cell == SLOWER]
    assert newest["record"] == record.model_dump_json()
    assert [sibling[1] for sibling in newest["siblings"]] == ["pytorch", "tensorflow", "jax"]
    failed = cell_data(tmp_path, BROKEN)
    assert failed["measures"][0]["title"] == "rmse"
    assert len(failed["measures"][0]["values"]) == 5


def test_a_cell_tells_when_data_environment_or_request_changed(tmp_path, nights):
    names = ["imported", *(name_night(night) for night in range(3))]
    points = tuple(
        Point(name, f"2026-01-{day + 1:02d}", "c" * 40, False, env, data, entry, 1.0)
        for day, (name, env, data, entry) in enumerate(
            zip(names, "aabb", "aabb", "aaab", strict=True)
        )
    )
    series = {(SLOWER, "fit"): Series(SLOWER, "fit", "timing", False, points)}
    write_site(tmp_path, nights, series=series)
    data = cell_data(tmp_path, SLOWER)
    assert data["marks"] == [[2, "data, environment"], [3, "request"]]
    assert data["unlisted"] == {"imported": ["2026-01-01", "c" * 40, False]}
    assert data["runs"][0] == "imported"


def test_the_series_that_are_given_are_shown_and_no_others(tmp_path, nights):
    write_site(tmp_path, nights, series=make_series(nights[-2:]))
    assert len(cell_data(tmp_path, SLOWER)["runs"]) == 2
    write_site(tmp_path, nights, everything=True)
    assert cell_data(tmp_path, SLOWER)["measures"] == []


def write_journals(runs):
    for run in runs:
        run.folder.mkdir(parents=True, exist_ok=True)
        lines = [run.head, *run.records, run.end]
        text = "".join(line.model_dump_json() + "\n" for line in lines)
        (run.folder / JOURNAL).write_text(text)


def test_a_night_reads_its_own_run_and_writes_its_own_cells(tmp_path, nights, monkeypatch):
    import harness.report.site as site

    read = []
    inner = site.read_run
    monkeypatch.setattr(site, "read_run", lambda folder: read.append(folder.name) or inner(folder))
    write_journals(nights)
    folders = [run.folder for run in nights]
    write_site(tmp_path, folders[1:])
    assert read == [folder.name for folder in folders[:0:-1]]
    read.clear()
    write_site(tmp_path, folders, series=make_series(nights))
    assert read == [folders[0].name]
    assert len(cell_data(tmp_path, SLOWER)["runs"]) == 6
    read.clear()
    assert read_digests(tmp_path)[folders[3].name].summary.totals.cells == 12
    write_journals([make_run(folders[3], *nights[3].records[:5])])
    os.utime(folders[3] / JOURNAL, (2**32, 2**32))
    write_site(tmp_path, folders)
    assert read_digests(tmp_path)[folders[3].name].summary.totals.cells == 5
    assert read == [folders[3].name, folders[0].name]
    assert cell_data(tmp_path, SLOWER)["newest"]["run"] == folders[0].name
    read.clear()
    (tmp_path / "data" / f"{name_file('cell', SLOWER)}.js").unlink()
    write_site(tmp_path, folders)
    assert cell_data(tmp_path, SLOWER)["newest"]["run"] == folders[0].name
    read.clear()
    write_site(tmp_path, folders, everything=True)
    assert len(read) == 6


def test_what_is_rebuilt_is_what_the_nights_made(tmp_path):
    grown, whole = tmp_path / "grown", tmp_path / "whole"
    for reports in (grown, whole):
        write_journals(make_nights(reports, 5))
        for run in (reports / "runs").iterdir():
            os.utime(run / JOURNAL, (1, 1))
    order = sorted((grown / "runs").iterdir(), reverse=True)
    for count in range(1, 6):
        write_site(grown, order[-count:])
    write_site(whole, sorted((whole / "runs").iterdir(), reverse=True))
    names = {p.relative_to(whole) for p in whole.rglob("*") if p.suffix in (".js", ".html", ".xml")}
    assert names == {
        p.relative_to(grown) for p in grown.rglob("*") if p.suffix in (".js", ".html", ".xml")
    }
    pages = {name for name in names if name.parts[0] != "runs"}
    assert len(pages) > 25
    assert [n for n in pages if (grown / n).read_bytes() != (whole / n).read_bytes()] == []


def test_a_run_that_is_gone_leaves_the_site(tmp_path, nights):
    write_site(tmp_path, nights)
    gone = nights[-1].folder.name
    stems = [name_file(kind, gone) for kind in ("run", "records")]
    assert all((tmp_path / "data" / f"{stem}.js").exists() for stem in stems)
    write_site(tmp_path, nights[:-1], series=make_series(nights[:-1]))
    assert not any((tmp_path / "data" / f"{stem}.js").exists() for stem in stems)
    assert len(cell_data(tmp_path, SLOWER)["runs"]) == 5
    assert gone not in (tmp_path / "runs.html").read_text()


def test_what_only_runs_that_are_gone_had_goes_with_them(tmp_path, nights):
    lost = make_record("lost", verdicts=(PASS,))
    older = make_run(nights[-1].folder, lost, *nights[-1].records)
    write_site(tmp_path, [*nights[:-1], older])
    assert cell_data(tmp_path, lost.cell) is not None
    write_data(tmp_path, name_file("profile", "lost 12"), {"id": "lost", "content_sha256": "12"})
    stray = tmp_path / "data" / f"{name_file('records', 'never was')}.js"
    stray.write_text("")
    write_site(tmp_path, nights[:-1])
    left = {path.stem for path in (tmp_path / "data").iterdir()}
    assert len([stem for stem in left if stem.startswith("cell-")]) == 12
    assert not any("lost" in stem for stem in left)
    assert stray.stem not in left
    assert "lost" not in (tmp_path / "cells.html").read_text()


def test_a_cell_whose_newest_run_is_gone_is_shown_as_the_run_before_has_it(tmp_path, nights):
    seldom = make_record("seldom", verdicts=(PASS,))
    for place in (0, 3):
        nights[place] = make_run(nights[place].folder, seldom, *nights[place].records)
    write_journals(nights)
    folders = [run.folder for run in nights]
    write_site(tmp_path, folders, series=make_series(nights))
    write_site(tmp_path, folders[1:], series=make_series(nights[1:]))
    assert cell_data(tmp_path, SLOWER)["newest"]["run"] == nights[1].folder.name
    assert cell_data(tmp_path, seldom.cell)["newest"]["run"] == nights[3].folder.name
    whole = tmp_path / "whole"
    write_site(whole, folders[1:], series=make_series(nights[1:]))
    stems = [path.stem for path in (whole / "data").glob("cell*.js")]
    assert len(stems) == 14
    assert [one for one in stems if read_data(tmp_path, one) != read_data(whole, one)] == []


def test_pages_of_old_runs_are_not_made_and_the_list_does_not_lead_to_them(tmp_path):
    nights = make_nights(tmp_path, PAGES_MADE + 2)
    write_site(tmp_path, nights)
    made = [(run.folder / "index.html").exists() for run in nights]
    assert made == [True] * PAGES_MADE + [False, False]
    html = (tmp_path / "runs.html").read_text()
    assert f'href="runs/{nights[0].folder.name}/index.html"' in html
    assert f'href="runs/{nights[-1].folder.name}/index.html"' not in html
    assert f'href="compare.html#b={nights[-1].folder.name}"' in html
