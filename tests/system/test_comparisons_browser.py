"""Choose datasets, read their tables and compare models as a person would."""

import dataclasses
from pathlib import Path

import pytest
from browser_fixture import PHONE, WIDEST
from report_fixture import HOSTILE, make_hostile
from report_matrix import make_matrix

from harness.report.datasetpage import link_dataset
from harness.report.site import write_site
from ml.core.contracts import DescriptorData
from ml.datasets.__main__ import main as data
from ml.datasets.load import read_named

pytestmark = pytest.mark.system

OWN = Path(__file__).parents[2] / "ml" / "data"
READ = ("wine", "oils", "txhousing_sales")


def with_table(record):
    """Return a record of our own dataset as its worker would have written it."""
    if record.dataset not in READ or record.result is None:
        return record
    path = OWN / f"{record.dataset}.toml"
    content = read_named(path).content_sha256
    summary = record.result.data.model_copy(update={"content_sha256": content})
    request = record.request | {"data": DescriptorData(path=str(path)).model_dump()}
    result = record.result.model_copy(update={"data": summary})
    return record.model_copy(update={"request": request, "result": result})


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    assert data(["materialise", *READ]) == 0
    reports = tmp_path_factory.mktemp("reports")
    run = make_matrix(reports / "runs" / "20260314-060010-a1b2c3")
    run = dataclasses.replace(run, records=tuple(map(with_table, run.records)))
    return write_site(reports, [run]).parent


def dataset_page(site, name):
    return site / link_dataset(name)


def column(table, number):
    return table.locator(f"tbody tr > :nth-child({number})")


def test_the_combobox_works_with_the_mouse_and_says_when_nothing_fits(visit, site):
    page = visit(dataset_page(site, "wine")).page
    box = page.get_by_role("combobox")
    box.click()
    options = page.get_by_role("option")
    assert options.filter(visible=True).count() == 21
    chosen = page.locator("[role=option][aria-selected=true]")
    assert chosen.get_attribute("data-name") == "wine"
    page.keyboard.type("no such dataset")
    assert page.get_by_role("status").text_content() == "No dataset fits."
    assert not page.get_by_role("listbox").is_visible()
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    assert box.input_value() == "wine"
    box.click()
    page.locator("[role=option]", has_text="txhousing_sales").click()
    page.wait_for_url("**/dataset-txhousing_sales-*.html")


def test_a_dataset_opens_with_its_first_rows_and_statistics(visit, site):
    opened = visit(dataset_page(site, "wine"))
    page = opened.page
    fold = page.locator("details.fold")
    assert fold.get_attribute("open") is not None
    preview = page.locator("table.preview")
    assert preview.locator("tbody tr").count() == 10
    assert preview.locator("thead th").all_text_contents()[:2] == ["target", "alcohol"]
    assert preview.locator("tbody tr").first.locator("td").all_text_contents()[:2] == [
        "class_0",
        "14.23",
    ]
    columns = page.locator("table.columns")
    assert columns.locator("tbody tr").count() == 14
    assert columns.locator("svg.bars").count() == 14
    head = columns.locator("thead th", has_text="distinct")
    values = []
    for order in ("ascending", "descending"):
        head.locator("button").click()
        assert head.get_attribute("aria-sort") == order
        values = [int(text) for text in column(columns, 6).all_text_contents()]
        assert values == sorted(values, reverse=order == "descending")
    assert values[0] == 133
    fold.locator("summary").press("Enter")
    assert not preview.is_visible()
    assert opened.messages == []


def test_times_are_dates_and_gaps_are_said(visit, site):
    page = visit(dataset_page(site, "txhousing_sales")).page
    columns = page.locator("table.columns tbody tr")
    date = columns.filter(has=page.locator("th", has_text="date")).first
    assert date.locator("td").all_text_contents()[1] == "time"
    assert "2000-01" in date.text_content()
    assert page.locator("table.preview .gap").first.text_content() == "missing"


def test_frameworks_stand_side_by_side_and_lead_to_their_cells(visit, site):
    page = visit(dataset_page(site, "wine")).page
    beside = page.locator("table.beside")
    assert beside.locator("thead th").all_text_contents() == [
        "PyTorch",
        "TensorFlow",
        "JAX",
        "scikit-learn",
    ]
    cells = page.locator("section[aria-labelledby=cells] tbody tr")
    assert cells.count() == 13
    assert "apart in roc_auc" in page.locator("section[aria-labelledby=best] > p").text_content()
    name = beside.locator("a").first.text_content()
    beside.locator("a").first.click()
    page.wait_for_url(f"**/cell.html#wine-{name}-pytorch-train")


def test_without_a_profile_the_page_says_why(visit, site):
    page = visit(dataset_page(site, "digits")).page
    assert page.locator("details.fold > p").text_content() == (
        "There is no preview: the table has changed since: "
        "its descriptor now declares another content."
    )


@pytest.mark.parametrize("file", ["algorithms.html", "frameworks.html"])
def test_a_ranking_shows_who_is_told_apart(visit, site, file):
    opened = visit(site / file)
    page = opened.page
    section = page.locator("main > section").first
    standings = section.locator("table").first
    names = standings.locator("tbody th").all_text_contents()
    assert len(names) == (7 if file == "algorithms.html" else 4)
    assert section.locator("svg.ranks circle.rank").count() == len(names)
    assert section.locator("svg.speed .point").count() == len(names)
    pairs = section.locator("table.pairs-grid tbody td")
    assert pairs.count() == len(names) ** 2
    better = section.locator("td.better").count()
    assert better == section.locator("td.worse").count()
    apart = section.locator(".findings li").nth(1).text_content()
    assert apart.startswith(f"{better} of {len(names) * (len(names) - 1) // 2} pairs")
    head = standings.locator("thead th", has_text="fit")
    head.locator("button").click()
    seconds = column(standings, 7).evaluate_all("all => all.map((one) => +one.dataset.v)")
    assert seconds == sorted(seconds)
    assert opened.messages == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_is_wider_than_a_phone(visit, site, scheme):
    for path in (
        *(site / f"{name}.html" for name in ("datasets", "algorithms", "frameworks")),
        dataset_page(site, "wine"),
    ):
        page = visit(path, viewport=PHONE, color_scheme=scheme).page
        page.wait_for_selector("th button")
        assert page.evaluate(WIDEST) == PHONE["width"], path.name


def test_hostile_names_stay_text(visit, tmp_path):
    site = write_site(tmp_path, [make_hostile(tmp_path / "runs" / "20260314-060010-a1b2c3")]).parent
    paths = [site / f"{name}.html" for name in ("datasets", "algorithms", "frameworks")]
    for path in (*paths, dataset_page(site, HOSTILE), dataset_page(site, "wine")):
        opened = visit(path)
        assert opened.page.locator("img, iframe").count() == 0
        assert opened.dialogs == []
        assert opened.messages == []
    assert opened.page.locator("tbody th a").first.text_content() == "mlp"
    hostile = visit(dataset_page(site, HOSTILE)).page
    assert hostile.locator("h1").text_content() == HOSTILE


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pages_pass_axe(visit, site, axe, scheme):
    for path in (
        *(site / f"{name}.html" for name in ("datasets", "algorithms", "frameworks")),
        dataset_page(site, "wine"),
        dataset_page(site, "oils"),
    ):
        page = visit(path, color_scheme=scheme).page
        page.wait_for_selector("th button")
        assert axe(page) == [], path.name
