"""Open pages in a real browser, and hold what they say and ask for."""

import os
import shutil
from pathlib import Path

import pytest

# A function, not an expression: the pages' policy forbids the evaluation of strings.
SETTLED = "() => !document.querySelector('.plot:not(.js-plotly-plot)')"
PHONE = {"width": 390, "height": 844}
WIDEST = "document.documentElement.scrollWidth"
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-sync",
    "--disable-component-update",
)


def give_up(reason):
    if os.environ.get("MATRIX_REQUIRE_BROWSER") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def browser():
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        give_up("playwright is not installed: pip install 'pytest-mlmatrix[dev]'")
    path = shutil.which("chromium")
    if path is None:
        give_up("there is no chromium on the path: install your system's package chromium")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield chromium
        chromium.close()


class Visit:
    """Hold a page with everything that it said and asked for."""

    def __init__(self, browser, path, fragment="", **options):
        self.messages, self.requests, self.dialogs = [], [], []
        self.page = browser.new_page(**options)
        self.page.on("console", lambda message: self.messages.append(message.text))
        self.page.on("pageerror", lambda error: self.messages.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("dialog", self.dismiss)
        self.page.goto(path.as_uri() + fragment)

    def dismiss(self, dialog):
        self.dialogs.append(dialog.message)
        dialog.dismiss()


@pytest.fixture(scope="session")
def axe():
    """Return a function that opens all of a page, and tells what axe has against it."""
    path = os.environ.get("MATRIX_AXE")
    if not path:
        give_up("MATRIX_AXE names no axe.min.js: npm install axe-core, and name the file")
    script = Path(path).read_text(encoding="utf-8")

    def audit(page):
        page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        # The pages' policy forbids scripts of others; axe comes in by the browser's own way.
        page.evaluate(script)
        found = page.evaluate("axe.run()")
        assert len(found["passes"]) > 15, page.url
        return [(one["id"], [node["html"] for node in one["nodes"]]) for one in found["violations"]]

    return audit


@pytest.fixture
def visit(browser):
    visits = []

    def open_page(path, fragment="", **options):
        visits.append(Visit(browser, path, fragment, **options))
        return visits[-1]

    yield open_page
    for opened in visits:
        opened.page.close()


def split_address(address):
    """Return an address as its file and its fragment, as ``visit`` takes it."""
    file, mark, fragment = address.partition("#")
    return file, mark + fragment


@pytest.fixture
def go(request, visit, site):
    """Open a page of the module's ``site`` by its name in the module's ``PAGES``, and wait."""

    def open_page(name, **options):
        address, awaited = request.module.PAGES[name]
        file, fragment = split_address(address)
        opened = visit(site / file, fragment, **options)
        opened.page.wait_for_selector(awaited)
        opened.page.wait_for_function(SETTLED)
        return opened

    return open_page


@pytest.fixture(scope="module")
def run_page(tmp_path_factory):
    """Write a site of two runs, and return the page of the newest, which has every kind of cell."""
    from report_fixture import make_run
    from report_matrix import make_matrix

    from harness.report.site import write_site

    reports = tmp_path_factory.mktemp("reports")
    newest = make_matrix(reports / "runs" / "20260314-060010-a1b2c3")
    older = make_run(reports / "runs" / "20260313-060007-0f9e8d", *newest.records[:20])
    write_site(reports, [newest, older])
    return newest.folder / "index.html"


def column(page, number):
    """Return the cells of a column of a run's page."""
    return page.locator(f"#table > tbody > tr:not(.opened) > td:nth-child({number})")
