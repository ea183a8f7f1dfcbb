import json

import pytest
from browser_fixture import PHONE, SETTLED, WIDEST
from report_fixture import HOSTILE
from site_fixture import (
    ALWAYS,
    BROKEN,
    FIXED,
    SLOWER,
    make_hostile_night,
    make_nights,
    make_series,
    make_trends,
    name_night,
)

from harness.report.site import write_site
from harness.report.summary import compare_records

pytestmark = pytest.mark.system

NIGHTS = 24
NEWEST, OLDEST = name_night(NIGHTS - 1), name_night(0)
PAGES = {
    "overview": ("index.html", "h1.bad"),
    "runs": ("runs.html", ".js-plotly-plot .bars"),
    "cells": ("cells.html", ".filters:not([hidden])"),
    "cell": (f"cell.html#{SLOWER}", ".js-plotly-plot .scatterlayer"),
    "failed cell": (f"cell.html#{BROKEN}", ".js-plotly-plot .scatterlayer"),
    "no cell": ("cell.html", "a:has-text('All cells')"),
    "compare": (f"compare.html#a={OLDEST}&b={NEWEST}", "#differences"),
    "run": (f"runs/{NEWEST}/index.html", ".filters:not([hidden])"),
}


@pytest.fixture(scope="module")
def nights(tmp_path_factory):
    return make_nights(tmp_path_factory.mktemp("reports"), NIGHTS)


@pytest.fixture(scope="module")
def site(nights):
    reports = nights[0].folder.parents[1]
    write_site(reports, nights, series=make_series(nights), trends=make_trends(nights))
    return reports


@pytest.mark.parametrize("name", PAGES)
def test_a_page_opens_from_a_file_in_silence_and_asks_only_for_files_of_the_site(go, site, name):
    opened = go(name)
    assert opened.messages == []
    assert opened.dialogs == []
    assert all(url.startswith((site.as_uri() + "/", "data:")) for url in opened.requests)
    plotly = [url for url in opened.requests if url.endswith("plotly.min.js")]
    assert len(plotly) == (name in ("runs", "cell", "failed cell"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_passes_axe(go, axe, name, scheme):
    assert axe(go(name, color_scheme=scheme).page) == []


@pytest.mark.parametrize("name", PAGES)
def test_a_phone_scrolls_no_page_sideways(go, name):
    page = go(name, viewport=PHONE).page
    assert page.evaluate(WIDEST) == PHONE["width"]


def test_the_navigation_leads_from_page_to_page(go):
    page = go("overview").page
    for title in ("Runs", "Cells", "Compare", "Overview"):
        page.click(f"nav.site a:text-is('{title}')")
        assert page.locator("nav.site [aria-current]").text_content() == title
    page.click("text=The whole run")
    assert page.locator("nav.site [aria-current]").text_content() == "Runs"


def test_what_changed_leads_to_its_cell(go):
    page = go("overview").page
    counts = page.locator(".counts li").all_text_contents()
    assert [text.split()[0] for text in counts] == ["2", "1", "1", "0", "1", "1", "1", "1"]
    page.click(f"#regressed a:has-text('{SLOWER}')")
    page.wait_for_selector(".js-plotly-plot")
    assert page.locator("h1").text_content() == SLOWER


def test_a_count_unfolds_its_group(go):
    page = go("overview").page
    report = page.locator(f"#still-failing a:has-text('{ALWAYS}')")
    assert not report.is_visible()
    page.click(".counts a[href='#still-failing']")
    report.wait_for(state="visible")


def test_a_square_of_the_heatmap_leads_to_its_cell(go):
    page = go("overview").page
    page.click(f"a.sq[href='cell.html#{BROKEN}']")
    page.wait_for_selector("#summary .alarm")
    assert "no result after 300 s" in page.locator("#summary").text_content()


def test_a_cell_shows_its_trends_with_bands_changes_and_replicates(go):
    page = go("cell").page
    titles = page.locator("figcaption strong").all_text_contents()
    assert titles == [
        "roc_auc",
        "fit time, seconds",
        "total time, seconds",
        "peak memory, MiB",
        "Loss",
        "Time by phase",
    ]
    traces = "plots => plots.map((plot) => plot.data.map((one) => [one.name, one.x.length]))"
    score, fit, *_ = page.locator(".plot").evaluate_all(traces)
    assert score == [["band", 4], ["level", 3], ["replicates", 3 * NIGHTS], ["mean", NIGHTS]]
    assert fit == [["band", 4], ["band", 4], ["level", 6], ["value", NIGHTS], ["regressed", 1]]
    shapes = page.locator(".plot").nth(1).evaluate("plot => plot.layout.shapes.map((s) => s.x0)")
    assert shapes == [NIGHTS * 2 // 3 - 0.5]
    fit_card = page.locator(".card").nth(1).text_content()
    assert "↘ regressed +12.0\N{NO-BREAK SPACE}% (+10.5 to +13.5\N{NO-BREAK SPACE}%)" in fit_card
    assert "change point with p = 0.001, floor 5 %" in fit_card
    losses = page.locator(".plot").nth(4).evaluate("plot => plot.data.length")
    assert losses == 9


def test_a_chart_has_words_and_numbers_for_who_cannot_see_it(go, nights):
    page = go("cell").page
    plot = page.locator(".plot").first
    assert plot.get_attribute("role") == "img"
    assert plot.get_attribute("aria-label").endswith("24 runs, greater is better.")
    summary = page.locator(".numbers summary").first
    summary.focus()
    page.keyboard.press("Enter")
    rows = page.locator(".numbers").first.locator("tbody tr")
    rows.first.wait_for()
    assert rows.count() == NIGHTS
    (record,) = [record for record in nights[-1].records if record.cell == SLOWER]
    assert f"{record.score.value:.4g}" in rows.first.text_content()


def test_the_record_is_shown_as_json_and_another_run_s_on_demand(go, nights):
    opened = go("cell")
    page = opened.page
    page.click("summary:has-text('Record as JSON')")
    text = page.locator(".record").text_content()
    (record,) = [record for record in nights[0].records if record.cell == SLOWER]
    assert json.loads(text) == json.loads(record.model_dump_json())
    assert str(record.request["seed"]) in text
    before = len(opened.requests)
    page.select_option("#record-run", nights[2].folder.name)
    page.wait_for_function("() => document.querySelector('.record').textContent.length > 0")
    page.wait_for_timeout(100)
    (older,) = [record for record in nights[2].records if record.cell == SLOWER]
    assert json.loads(page.locator(".record").text_content()) == json.loads(older.model_dump_json())
    assert len(opened.requests) == before + 1
    page.select_option("#record-run", OLDEST)
    page.wait_for_selector(".json [role=status]:has-text('records.jsonl')")
    assert not page.locator(".record").is_visible()
    assert opened.messages == []


def test_cells_are_chosen_by_name_and_by_address(go, site):
    opened = go("cell")
    page = opened.page
    page.fill("#choose", BROKEN)
    page.keyboard.press("Enter")
    page.wait_for_selector("#summary .alarm")
    assert page.url.endswith(f"cell.html#{BROKEN}")
    page.go_back()
    page.wait_for_selector(f"h1:text-is('{SLOWER}')")
    page.evaluate("location.hash = 'no-such-cell-train'")
    page.wait_for_selector("h1:has-text('There is no such cell')")
    page.evaluate("location.hash = '__proto__'")
    page.wait_for_selector("text=__proto__ has no record")
    page.evaluate("location.hash = '%E0%A4%A'")
    page.wait_for_selector("h1:has-text('Choose a cell')")
    assert opened.messages == []


def test_the_rerun_command_is_copied(go, browser):
    page = go("cell").page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.click("#summary .copy")
    page.wait_for_selector(".copy:has-text('Copied')")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == f"pytest -m slow_matrix -k {SLOWER}"


def test_two_runs_are_compared_with_differences_first(go, nights):
    page = go("compare").page
    cells = page.locator("#differences tbody th").all_text_contents()
    changes = page.locator("#differences tbody .badge").all_text_contents()
    assert changes[:2] == ["newly failing"] * 2
    assert set(cells[:2]) == {ALWAYS, BROKEN}
    assert changes[-1] == "alike"
    found = compare_records(nights[0], nights[-1])
    beyond = [change for change in found.metrics if change.beyond]
    worse = sum(not change.improved for change in beyond)
    better = len(beyond) - worse
    assert (worse, better) > (0, 0)
    assert page.locator("#said").text_content() == (
        f"12 cells: {len(found.newly_failing)} newly failing, {worse} worse, {better} better, "
        f"{10 - worse - better} alike."
    )
    packages = page.locator("table:has(caption:text-is('Packages'))")
    assert packages.locator("tbody tr").all_text_contents() == ["torch2.13.0+cpu2.14.0+cpu"]
    page.check("#all-environment")
    assert packages.locator("tbody tr").count() == 3


def test_the_runs_to_compare_stand_in_the_address(go):
    opened = go("compare")
    page = opened.page
    page.click("#swap")
    page.wait_for_function("() => document.getElementById('said').textContent.includes('2 fixed')")
    assert page.url.endswith(f"#a={NEWEST}&b={OLDEST}")
    page.select_option("#run-a", name_night(1))
    page.wait_for_function("() => !document.getElementById('said').textContent.includes('fixed')")
    assert page.url.endswith(f"#a={name_night(1)}&b={OLDEST}")
    page.evaluate("location.hash = 'a=nonsense&b=__proto__'")
    page.wait_for_function("() => document.getElementById('said').textContent.includes('1 fixed')")
    assert page.locator("#run-b").input_value() == NEWEST
    assert page.locator(f"tr:has-text('{FIXED}') .badge").text_content() == "fixed"
    assert opened.messages == []


def test_a_filtered_table_has_an_address_of_its_own(go, visit, site):
    page = go("cells").page
    output = page.locator(".filters output")
    assert output.text_content() == "12 of 12"
    page.select_option("select[name=trend]", "regressed")
    assert output.text_content() == "2 of 12"
    page.fill("input[name=q]", "wine")
    assert output.text_content() == "1 of 12"
    fragment = page.evaluate("location.hash")
    other = visit(site / "cells.html", fragment).page
    assert other.locator("tbody tr:visible").count() == 1
    assert other.locator("select[name=trend]").input_value() == "regressed"
    other.click(".filters button")
    assert other.locator("tbody tr:visible").count() == 12


def test_a_header_sorts_by_numbers_with_the_keyboard(go):
    page = go("cells").page
    head = page.locator("thead th", has_text="peak memory")
    head.locator("button").focus()
    for order, sign in (("ascending", 1), ("descending", -1)):
        page.keyboard.press("Enter")
        assert head.get_attribute("aria-sort") == order
        raw = page.locator("tbody tr td:nth-child(8)").evaluate_all(
            "cells => cells.map((cell) => cell.dataset.v)"
        )
        values = [sign * float(text) for text in raw if text]
        assert len(values) == 10
        assert values == sorted(values)
        assert raw[10:] == ["", ""]


def test_charts_follow_the_colours_of_the_page(go):
    page = go("cell", color_scheme="light").page
    color = "document.querySelector('.plot').layout.font.color"
    light = page.evaluate(color)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"() => {color} !== '{light}'")
    assert page.evaluate(color) == "#e6ebf1"


def test_who_wants_no_motion_gets_none(go):
    duration = "document.querySelector('.plot').layout.transition.duration"
    assert go("runs", reduced_motion="reduce").page.evaluate(duration) == 0
    assert go("runs").page.evaluate(duration) == 150


@pytest.mark.parametrize("file", ["index.html", "runs.html", "cells.html", "cell.html"])
def test_hostile_names_stay_text_on_every_page(visit, tmp_path, file):
    run, trends = make_hostile_night(tmp_path / "runs" / "20260314-060010-a1b2c3")
    write_site(tmp_path, [run], series=make_series([run]), trends=trends)
    opened = visit(tmp_path / file)
    page = opened.page
    if file == "index.html":
        assert page.locator(".moves a").first.text_content().startswith(HOSTILE)
        page.click(".moves a >> nth=0")
    if file in ("index.html", "cell.html"):
        for record in run.records:
            page.evaluate("name => { location.hash = encodeURIComponent(name); }", record.cell)
            page.wait_for_function("name => document.title.startsWith(name)", arg=record.cell)
            page.wait_for_selector("#record")
            page.wait_for_function(SETTLED)
            for summary in page.locator("summary").all():
                summary.click()
            assert page.locator("h1").text_content() == record.cell
    for plot in page.locator(".plot .draglayer").all():
        plot.hover(force=True)
    for head in page.locator("th button").all():
        head.click()
    assert page.locator("img, iframe, object").count() == 0
    assert opened.dialogs == []
    assert opened.messages == []
    assert all(url.startswith(tmp_path.as_uri()) for url in opened.requests)


def test_hostile_names_stay_text_where_two_runs_are_compared(visit, tmp_path):
    run, _ = make_hostile_night(tmp_path / "runs" / "20260314-060010-a1b2c3")
    older, _ = make_hostile_night(tmp_path / "runs" / "20260313-060010-a1b2c3", "other")
    write_site(tmp_path, [run, older])
    opened = visit(tmp_path / "compare.html")
    page = opened.page
    page.wait_for_selector("#differences")
    assert page.locator("#differences tbody th").first.text_content().startswith(HOSTILE)
    assert HOSTILE in page.locator(".environments").text_content()
    assert page.locator("img, iframe, object").count() == 0
    assert (opened.dialogs, opened.messages) == ([], [])


def test_it_prints_without_navigation_and_filters(go):
    page = go("cells").page
    page.emulate_media(media="print")
    assert not page.locator("nav.site").is_visible()
    assert not page.locator(".filters").is_visible()
    assert page.locator("#cells").is_visible()
