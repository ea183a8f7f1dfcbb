"""Look closer at a run's page: rows, squares, keyboard, contrast, a phone."""

import json
import shutil

import pytest
from browser_fixture import PHONE, WIDEST, column
from report_matrix import make_matrix

pytestmark = pytest.mark.system

CELL = "wine-mlp-pytorch-train"
CONTRASTS = """() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = (rgb) => {
    const [r, g, b] = rgb.map((x) => x / 255)
      .map((x) => (x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  for (const details of document.querySelectorAll("details")) details.open = true;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const bad = [];
  let seen = 0;
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const skipped = element.closest("script, noscript, select, template");
    if (skipped || !walker.currentNode.data.trim() || !element.checkVisibility()) continue;
    let behind = element;
    while (parse(getComputedStyle(behind).backgroundColor)[3] === 0) behind = behind.parentElement;
    const colors = [getComputedStyle(element).color, getComputedStyle(behind).backgroundColor];
    const [one, two] = colors.map((text) => light(parse(text).slice(0, 3)) + 0.05);
    seen += 1;
    if (Math.max(one / two, two / one) < 4.5) bad.push(`${element.className}: ${colors}`);
  }
  return [seen, [...new Set(bad)]];
}"""


def test_a_text_column_sorts_by_its_words(visit, run_page):
    page = visit(run_page).page
    page.click("#table thead button:text-is('algorithm')")
    words = column(page, 3).all_text_contents()
    assert words == sorted(words)
    assert words[0] == "dummy"
    assert words[-1] == "svm"


def test_a_row_opens_to_its_replicates_and_its_request(visit, run_page):
    page = visit(run_page).page
    button = page.locator(f"#cell-{CELL} button")
    assert button.get_attribute("aria-expanded") == "false"
    button.click()
    assert button.get_attribute("aria-expanded") == "true"
    detail = page.locator(f"#{button.get_attribute('aria-controls')}")
    assert detail.locator("svg").count() == 3
    assert detail.locator("svg").first.bounding_box()["height"] > 20
    replicates, parity = detail.locator("table").all()
    assert replicates.locator("thead").text_content().count("replicate") == 3
    assert parity.locator("thead").text_content() == "parity limitwith tensorflowwith jax"
    assert detail.locator(".key").text_content() == "train validation best epoch"
    detail.locator("summary").click()
    (record,) = [r for r in make_matrix(run_page.parent).records if r.cell == CELL]
    text = detail.locator(".request").text_content()
    assert text == json.dumps(record.request, indent=2, ensure_ascii=False)
    page.click("#table thead button:text-is('dataset')")
    follows = "row => row.nextElementSibling.className"
    assert page.locator(f"#cell-{CELL}").evaluate(follows) == "opened"
    button.click()
    assert detail.count() == 0


def test_a_square_leads_to_its_open_row_though_it_was_filtered_away(visit, run_page):
    opened = visit(run_page)
    page = opened.page
    page.fill("#filter-text", "digits")
    page.click(f"a.sq[href='#cell-{CELL}']")
    page.wait_for_selector(f"#cell-{CELL} button[aria-expanded=true]")
    assert page.locator("#filter-count").text_content() == "273 of 273"
    deep = visit(run_page, f"#cell-{CELL}").page
    deep.wait_for_selector(f"#cell-{CELL} button[aria-expanded=true]")
    assert deep.locator(f"#cell-{CELL}").is_visible()


def test_the_worst_of_a_pair_leads_to_its_cell_again_and_again(visit, run_page):
    page = visit(run_page).page
    table = page.locator("[aria-labelledby=parity] table")
    assert table.locator("tbody th").all_text_contents() == [
        "pytorch – tensorflow37 cells",
        "pytorch – jax40 cells, 1 failed, 1 as declared",
        "tensorflow – jax39 cells, 1 failed, 1 as declared",
    ]
    name = "cell-gss_abortion-mlp-jax-train"
    square = table.locator("a.sq.failed").first
    assert square.get_attribute("href") == f"#{name}"
    button = page.locator(f"#{name} button")
    for _ in range(2):
        square.click()
        page.wait_for_selector(f"#{name} button[aria-expanded=true]")
        failing = page.locator(".detail td.failed").all_text_contents()
        assert len(failing) == 4
        assert all(text.startswith("✕ ") for text in failing)
        button.click()


def test_the_keyboard_gets_the_numbers_of_a_square(visit, run_page):
    page = visit(run_page).page
    assert not page.locator("#tip").is_visible()
    page.locator("a.sq").first.focus()
    page.keyboard.press("Tab")
    assert page.locator("#tip").is_visible()
    text = page.locator("#tip").text_content()
    assert text == page.evaluate("document.activeElement.title")
    assert "baseline" in text
    assert "±" in text


def test_an_injected_script_would_not_run(visit, run_page, tmp_path):
    copy = shutil.copytree(run_page.parents[2], tmp_path / "copy")
    page = copy / run_page.relative_to(run_page.parents[2])
    injected = "<img src=x onerror=alert(1)><script>alert(2)</script></body>"
    page.write_text(page.read_text().replace("</body>", injected))
    opened = visit(page)
    assert opened.dialogs == []
    assert any("Content Security Policy" in message for message in opened.messages)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_the_contrast_that_aa_asks_for(visit, run_page, scheme):
    page = visit(run_page, f"#cell-{CELL}", color_scheme=scheme).page
    page.wait_for_selector(".opened")
    seen, bad = page.evaluate(CONTRASTS)
    assert seen > 4000
    assert bad == []


def test_a_phone_scrolls_tables_and_not_the_page(visit, run_page):
    page = visit(run_page, f"#cell-{CELL}", viewport=PHONE).page
    page.wait_for_selector(".opened")
    assert page.evaluate(WIDEST) == PHONE["width"]
    last = page.locator(".detail thead th").last
    last.scroll_into_view_if_needed()
    box = last.bounding_box()
    assert box["x"] + box["width"] <= PHONE["width"]
