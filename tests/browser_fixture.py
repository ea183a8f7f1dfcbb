"""Open pages in a real browser, and hold what they say and ask for."""

import os
import shutil
from pathlib import Path

import pytest

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
    path = os.environ.get("MATRIX_AXE")
    if not path:
        give_up("MATRIX_AXE names no axe.min.js: npm install axe-core, and name the file")
    return Path(path).read_text(encoding="utf-8")


@pytest.fixture
def visit(browser):
    visits = []

    def open_page(path, fragment="", **options):
        visits.append(Visit(browser, path, fragment, **options))
        return visits[-1]

    yield open_page
    for opened in visits:
        opened.page.close()
