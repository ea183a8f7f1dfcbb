"""Open the pages of checks in a real browser."""

import pytest
from check_fixture import make_check
from report_fixture import HOSTILE

from harness.report.files import copy_assets
from harness.report.healthpage import render_check
from harness.report.healthsite import place_check, write_checks
from harness.store.checks import KeptCheck

pytestmark = pytest.mark.system

LONG = "a_very_long_name_of_a_column_" * 4
PAGES = {
    "collapsed": ("collapsed.html", "h1.bad"),
    "healthy": ("healthy.html", "h1.good"),
    "long": ("long.html", "h1.warn"),
    "hostile": ("hostile.html", "h1.bad"),
    "list": ("reports/health.html", ".checks > li"),
    "kept": ("reports/health/kept.html", "nav.site [aria-current]"),
}


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checks")
    checks = {
        "collapsed": make_check(),
        "healthy": make_check("healthy", schema_differences=(), recommendations=()),
        "long": make_check("differs", LONG),
        "hostile": make_check(column=HOSTILE),
    }
    reports = folder / "reports"
    for number, (name, check) in enumerate(checks.items(), start=1):
        (folder / f"{name}.html").write_text(render_check(check))
        path = place_check(reports, HOSTILE, number)
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = KeptCheck(
            test=HOSTILE,
            number=number,
            moment="2026-03-01T02:00:00+00:00",
            expected=("healthy",),
            check=check,
        )
        path.write_text(kept.model_dump_json())
    copy_assets(reports)
    write_checks(reports)
    made = place_check(reports, HOSTILE, 1).with_suffix(".html")
    (made.parent / "kept.html").write_bytes(made.read_bytes())
    return folder


@pytest.fixture
def go(visit, pages):
    def open_page(name, **options):
        file, awaited = PAGES[name]
        opened = visit(pages / file, **options)
        opened.page.wait_for_selector(awaited)
        return opened

    return open_page


@pytest.mark.parametrize("name", PAGES)
def test_a_page_opens_in_silence_and_asks_for_nothing_foreign(go, pages, name):
    opened = go(name)
    opened.page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    assert opened.messages == []
    assert opened.dialogs == []
    if name in ("list", "kept"):
        assert all(url.startswith((pages.as_uri(), "data:")) for url in opened.requests)
    else:
        assert [url for url in opened.requests if not url.startswith("data:")] == [
            (pages / PAGES[name][0]).as_uri()
        ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_passes_axe(go, axe, name, scheme):
    assert axe(go(name, color_scheme=scheme).page) == []


@pytest.mark.parametrize("name", PAGES)
def test_a_phone_scrolls_no_page_sideways(go, name):
    page = go(name, viewport={"width": 390, "height": 844}).page
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_a_keyboard_comes_to_every_section_and_scrolls_what_is_wide(go):
    page = go("collapsed", viewport={"width": 390, "height": 844}).page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the report"
    names = []
    for _ in range(40):
        page.keyboard.press("Tab")
        names.append(
            page.evaluate(
                "() => document.activeElement.getAttribute('aria-label') ||"
                " document.activeElement.textContent.trim()"
            )
        )
    for name in ("Dimensions", "Correlations", "What to do", "Differences of correlations"):
        assert name in names
    page.click("nav.sections a:text-is('What to do')")
    assert page.evaluate("location.hash") == "#advice"


def test_bars_are_as_long_as_their_effects_and_the_score(go):
    page = go("collapsed").page
    width = "(bar) => bar.getBoundingClientRect().width"
    bar = page.locator(".dimensions > li:first-child .effect").evaluate(width)
    track = page.locator(".dimensions > li:first-child .track").evaluate(width)
    assert bar / track == pytest.approx(0.8, abs=0.01)
    score = page.locator(".score .value").evaluate(width)
    assert score / page.locator(".score .track").evaluate(width) == pytest.approx(0.2, abs=0.01)
    # What stands alone is drawn in its own style.
    fill = "(bar) => getComputedStyle(bar).fill"
    assert page.locator(".dimensions > .failed .effect").evaluate(fill) == "rgb(194, 69, 62)"


def test_the_list_leads_to_each_check_and_back(go, pages):
    page = go("list").page
    assert page.locator(".checks > li").count() == 4
    assert page.locator(".checks .alarm").count() == 3
    page.click(".checks > li:first-child h2 a")
    page.wait_for_selector(".dimensions")
    assert page.locator(".eyebrow .test").text_content() == HOSTILE
    page.click("text=All checks of data")
    page.wait_for_selector(".checks")
