"""Read a run's page and choose a dataset in a real browser, as a person would."""

import json

import pytest
from browser_fixture import column
from report_fixture import HOSTILE, make_hostile

from harness.report.site import write_site

pytestmark = pytest.mark.contract

CELL = "wine-mlp-pytorch-train"


def background(page):
    return page.evaluate("getComputedStyle(document.body).backgroundColor")


def test_opens_from_a_file_in_silence_and_offline(visit, run_page):
    opened = visit(run_page)
    opened.page.wait_for_selector(".filters:not([hidden])")
    assert opened.page.title() == "9 of 273 cells failed, and 1 more test · 20260314-060010-a1b2c3"
    assert opened.messages == []
    reports = run_page.parents[2].as_uri()
    assert [url.removeprefix(reports) for url in opened.requests] == [
        "/runs/20260314-060010-a1b2c3/index.html",
        "/assets/report.css",
        "/assets/site.css",
        "/assets/site.js",
        "/assets/report.js",
    ]


def test_links_lead_to_earlier_runs_and_back(visit, run_page):
    opened = visit(run_page)
    opened.page.click("text=20260313-060007-0f9e8d")
    assert "20260313-060007-0f9e8d" in opened.page.title()
    assert opened.page.locator("#table > tbody > tr").count() == 20
    opened.page.click("text=go to the newest run")
    assert opened.page.url == (run_page.parents[2] / "index.html").as_uri()
    assert opened.messages == []


def test_a_header_sorts_up_down_and_back(visit, run_page):
    page = visit(run_page).page
    head = page.locator("#table thead th", has_text="score")
    before = column(page, 10).all_text_contents()
    values = []
    for order, direction in (("ascending", 1), ("descending", -1)):
        head.locator("button").focus()
        page.keyboard.press("Enter")
        assert head.get_attribute("aria-sort") == order
        raw = column(page, 10).evaluate_all("cells => cells.map((cell) => cell.dataset.v)")
        values = [float(text) * direction for text in raw if text]
        assert len(values) == 265
        assert values == sorted(values)
        assert raw[265:] == [""] * 8
    page.keyboard.press("Enter")
    assert page.locator("#table [aria-sort]").count() == 0
    assert column(page, 10).all_text_contents() == before


def test_filters_leave_the_rows_that_match_them_all(visit, run_page):
    page = visit(run_page).page
    rows = page.locator("#table > tbody > tr:visible")
    count = page.locator("#filter-count")
    assert count.text_content() == "273 of 273"
    page.fill("#filter-text", "WINE mlp")
    assert count.text_content() == "4 of 273"
    page.select_option("#filter-framework", "pytorch")
    assert count.text_content() == "1 of 273"
    assert rows.count() == 1
    assert rows.get_attribute("id") == f"cell-{CELL}"
    page.click("#filter-clear")
    assert count.text_content() == "273 of 273"
    page.select_option("#filter-outcome", "failed")
    assert count.text_content() == "9 of 273"
    page.select_option("#filter-outcome", "timeout")
    assert rows.get_attribute("id") == "cell-nyc_flights_late-mlp-tensorflow-train"
    page.fill("#filter-text", "no such word")
    assert count.text_content() == "0 of 273"


def test_hostile_names_stay_text(visit, tmp_path):
    write_site(tmp_path, [make_hostile(tmp_path / "runs" / "20260314-060010-a1b2c3")])
    opened = visit(tmp_path / "runs" / "20260314-060010-a1b2c3" / "index.html")
    page = opened.page
    for button in page.locator("#table tbody th > button").all():
        button.click()
    for summary in page.locator("summary").all():
        summary.click()
    page.click("#table thead button:text-is('dataset')")
    page.locator("a.sq").first.focus()
    assert page.locator("#table tbody th > button").first.text_content().startswith(HOSTILE)
    requests = [json.loads(text) for text in page.locator(".request").all_text_contents()]
    assert {HOSTILE: HOSTILE} in requests
    assert page.locator("img, iframe, object").count() == 0
    assert page.locator("script").count() == 3
    assert opened.dialogs == []
    assert opened.messages == []
    assert len(opened.requests) == 5


def test_dark_mode_has_another_background(visit, run_page):
    page = visit(run_page, color_scheme="light").page
    assert background(page) == "rgb(246, 247, 249)"
    page.emulate_media(color_scheme="dark")
    assert background(page) == "rgb(18, 23, 29)"


def test_the_combobox_filters_and_chooses_by_keyboard(visit, run_page):
    opened = visit(run_page.parents[2] / "datasets.html")
    page = opened.page
    box = page.get_by_role("combobox", name="Dataset")
    options = page.get_by_role("listbox", name="Datasets").get_by_role("option")
    assert box.get_attribute("aria-expanded") == "false"
    box.focus()
    page.keyboard.press("ArrowDown")
    assert box.get_attribute("aria-expanded") == "true"
    assert options.count() == 21
    first = box.get_attribute("aria-activedescendant")
    assert page.locator(f"#{first}").get_attribute("data-name") == "ames"
    page.keyboard.press("ArrowUp")
    last = page.locator(f"#{box.get_attribute('aria-activedescendant')}")
    assert last.get_attribute("data-name") == "wine"
    page.keyboard.press("Escape")
    assert box.get_attribute("aria-expanded") == "false"
    assert box.get_attribute("aria-activedescendant") is None
    page.keyboard.type("credit class")
    names = options.filter(visible=True).locator("span").all_text_contents()
    assert names == ["give_me_some_credit", "pakdd2009_credit"]
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url("**/dataset-pakdd2009_credit-*.html")
    assert page.locator("h1").text_content() == "pakdd2009_credit"
    assert page.get_by_role("combobox").input_value() == "pakdd2009_credit"
    assert opened.messages == []
