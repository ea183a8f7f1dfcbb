import random

import pytest
from browser_fixture import PHONE, SETTLED, WIDEST, split_address
from report_fixture import HOSTILE, make_run, make_score
from report_matrix import make_failure, make_matrix_record
from sweep_fixture import make_info, make_sweep, make_trials, write_trials

from harness.report.datasetpage import link_dataset
from harness.report.site import write_site
from ml.core.trials import Choice

pytestmark = pytest.mark.system

SWEEP, LOST = "wine-mlp-pytorch-sweep", "oils-mlp-pytorch-sweep"
RUNS = ("20260315-060010-a1b2c5", "20260314-060010-a1b2c4")
PAGES = {
    "sweep": (f"cell.html#{SWEEP}", "#trials"),
    "sweep without a result": (f"cell.html#{LOST}", "#trials"),
    "compare": (f"compare.html#a={RUNS[1]}&b={RUNS[0]}", "#sweeps-compared"),
    "run": (f"runs/{RUNS[0]}/index.html", "#table-of-sweeps button"),
    "dataset": (link_dataset("wine"), "#tuned"),
    "algorithms": ("algorithms.html", "#tuned"),
}


def make_records(learning_rate):
    trials = make_trials(random.Random(0))
    best = trials[7].model_copy(
        update={"settings": trials[7].settings | {"optimizer.learning_rate": learning_rate}}
    )
    info = make_info(random.Random(0)).model_copy(
        update={"trials": (*trials[:7], best, *trials[8:])}
    )
    sweeps = [
        make_sweep(info=info, tuned=(0.9 - 3 * learning_rate,) * 3),
        make_sweep(framework="tensorflow"),
        make_sweep(algorithm="linear", framework="sklearn", tuned=(0.84, 0.83, 0.85)),
        make_failure("oils", "mlp", "pytorch", "timeout", mode="sweep"),
    ]
    cells = (("linear", "sklearn"), ("mlp", "pytorch"), ("mlp", "tensorflow"))
    return [*sweeps, *(make_matrix_record("wine", *cell, "classification") for cell in cells)]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    reports = tmp_path_factory.mktemp("reports")
    runs = [
        make_run(reports / "runs" / name, *make_records(rate))
        for name, rate in zip(RUNS, (0.02, 0.01), strict=True)
    ]
    write_trials(runs[0], LOST, make_trials(random.Random(1), 8))
    write_site(reports, runs)
    return reports


def column(page, number, table="#trials"):
    cells = page.locator(f"{table} tbody tr:not([hidden]) > :nth-child({number})")
    return [text.strip() for text in cells.all_text_contents()]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_with_sweeps_opens_in_silence_and_asks_only_for_files_of_the_site(go, site, name):
    opened = go(name)
    assert opened.messages == []
    assert all(url.startswith((site.as_uri() + "/", "data:")) for url in opened.requests)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_with_sweeps_passes_axe(go, axe, name, scheme):
    assert axe(go(name, color_scheme=scheme).page) == []


@pytest.mark.parametrize("name", PAGES)
def test_a_phone_scrolls_no_page_with_sweeps_sideways(go, name):
    page = go(name, viewport=PHONE).page
    assert page.evaluate(WIDEST) == PHONE["width"]


def test_the_best_trial_and_the_default_are_marked(go):
    page = go("sweep").page
    assert page.locator("#trials tr.best th").text_content() == "7 best"
    assert page.locator("#trials tbody tr").count() == 20
    assert page.locator("#trials tbody tr:first-child th").text_content() == "0 default"
    fills = page.evaluate(
        "[...document.querySelectorAll('#trials tr.best td, #trials tbody tr:last-child td')]"
        ".map((cell) => getComputedStyle(cell).backgroundColor)"
    )
    assert len(set(fills[: len(fills) // 2])) == 1
    assert fills[0] != fills[-1]
    settings = page.locator("h3:has-text('Settings of trial 7') + div tbody tr").first
    assert settings.locator("> *").all_text_contents()[:4] == [
        *("learning_rate", "0.02", "0.001", "71 %"),
    ]


def test_trials_are_sorted_by_any_column_with_what_has_no_value_last(go):
    page = go("sweep").page
    value = page.locator("#trials thead button:text-is('roc_auc ↑')")
    value.click()
    found = column(page, 3)
    assert found[:-1] == sorted(found[:-1])
    assert found[-1] == "–"
    value.press("Enter")
    assert column(page, 1)[0] == "7 best"
    assert column(page, 3)[-1] == "–"
    page.click("#trials thead button:text-is('learning_rate')")
    rates = [float(text) for text in column(page, 4)]
    assert rates == sorted(rates)


def test_trials_are_filtered_by_outcome_and_words_and_so_are_the_lines(go):
    page = go("sweep").page
    lines = ".parallel path:not(.axis, .off, .marked)"
    whole = page.locator(lines).evaluate_all(
        "all => all.map((one) => one.getAttribute('d')).join()"
    )
    page.select_option("[aria-label=Trials] select", "pruned")
    assert page.locator("[aria-label=Trials] output").text_content() == "5 of 20"
    assert set(column(page, 2)) == {"pruned"}
    fewer = page.locator(lines).evaluate_all(
        "all => all.map((one) => one.getAttribute('d')).join()"
    )
    assert 0 < len(fewer) < len(whole) / 2
    assert page.locator(".parallel .off").count() == 1
    assert page.locator(".parallel .best").count() == 0
    page.click("[aria-label=Trials] button")
    page.fill("[aria-label=Trials] input", "not finite")
    assert column(page, 1) == ["5"]
    assert column(page, 2) == ["diverged"]
    page.click("[aria-label=Trials] button")
    assert page.locator(".parallel .off").count() == 0
    assert page.locator(".parallel .best").count() == 1


def test_charts_hold_the_trials(go):
    page = go("sweep").page
    chart = ".chart:has(strong:text-is('{}')) .plot"
    data = page.locator(chart.format("Optimisation history")).evaluate(
        "one => Object.fromEntries(one.data.map(({ name, x, y }) => [name, { x, y }]))"
    )
    assert {name: len(trace["x"]) for name, trace in data.items()} == {
        "best so far": 20,
        "ok": 14,
        "pruned": 5,
        "no value": 1,
        "default": 1,
        "best": 1,
    }
    best = data["best so far"]["y"]
    assert best == sorted(best)
    assert best[-1] == data["best"]["y"][0] == 0.9
    shares = page.locator(chart.format("Importance of the hyperparameters"))
    assert shares.evaluate("one => one.data[0].x") == [0.71, 0.16, 0.08, 0.05]
    assert page.locator(chart.format("Learning paths")).count() == 1
    assert page.locator(".parallel .name").evaluate_all(
        "all => all.map((one) => one.firstChild.textContent)"
    ) == ["learning_rate", "batch_size", "dropout", "hidden.units", "roc_auc ↑"]


def test_a_line_under_the_pointer_is_told(go):
    page = go("sweep").page
    svg = page.locator(".parallel")
    svg.scroll_into_view_if_needed()
    box = svg.bounding_box()
    end = svg.evaluate(
        "one => { const last = one.querySelector('.best').getAttribute('d').split('L').at(-1);"
        " return last.split(' ').map(Number); }"
    )
    page.mouse.move(box["x"] + end[0] - 2, box["y"] + end[1] + 1)
    page.wait_for_selector("#tip:not([hidden])")
    assert page.locator("#tip").text_content().startswith("trial 7, ok: 0.9\nlearning_rate 0.02")
    assert page.locator(".parallel .marked").get_attribute("d").startswith("M")
    page.mouse.move(2, 2)
    page.wait_for_selector("#tip", state="hidden")


def test_on_a_phone_the_axes_stand_below_one_another(go):
    page = go("sweep", viewport=PHONE).page
    tops = page.locator(".parallel .name").evaluate_all(
        "all => all.map((one) => +one.getAttribute('y'))"
    )
    assert tops == sorted(set(tops))
    wide = go("sweep").page
    tops = wide.locator(".parallel .name").evaluate_all(
        "all => all.map((one) => +one.getAttribute('y'))"
    )
    assert len(set(tops)) == 1


def test_a_sweep_without_a_result_shows_what_had_ended(go):
    page = go("sweep without a result").page
    assert page.locator("#summary .alarm").text_content().startswith("no result after 300 s")
    assert page.locator("section:has(#sweep) > p").first.text_content() == (
        "The sweep gave no tuned model."
    )
    assert len(column(page, 1)) == 8
    assert page.locator("#trials tr.best").count() == 0


def test_the_run_leads_from_its_sweeps_to_their_cells(go):
    page = go("run").page
    assert column(page, 1, "#table-of-sweeps")[0] == LOST
    assert column(page, 7, "#table-of-sweeps")[1].startswith("learning_rate 0.02, batch_size")
    page.click("#table-of-sweeps thead button:text-is('tuned')")
    assert column(page, 1, "#table-of-sweeps")[-1] == LOST
    page.click(f"#table-of-sweeps a:text-is('{SWEEP}')")
    page.wait_for_selector("#trials")
    assert page.locator("h1").text_content() == SWEEP


def test_two_runs_sweeps_stand_side_by_side(go):
    page = go("compare").page
    row = page.locator(f"#sweeps-compared tr:has-text('{SWEEP}') > *").all_text_contents()
    assert row[:5] == [SWEEP, "roc_auc ↑", "0.87", "0.84", "worse"]
    assert row[7] == "learning_rate 0.01 → 0.02"
    same = page.locator("#sweeps-compared tr:has-text('tensorflow') > *").all_text_contents()
    assert (same[4], same[7]) == ("alike", "the same settings")
    assert column(page, 1, "#sweeps-compared")[:2] == [SWEEP, LOST]
    lost = page.locator(f"#sweeps-compared tr:has-text('{LOST}') > *").all_text_contents()
    assert lost[2:5] == ["timeout", "timeout", "–"]


def make_hostile_sweep():
    text = HOSTILE
    trials = tuple(
        trial.model_copy(
            update={
                "settings": {text: text if trial.index % 2 else "plain", f"params.{text}": 0.5},
                "outcome": "error" if trial.index == 5 else "ok",
                "value": None if trial.index == 5 else trial.value or 0.5,
                "reason": text,
            }
        )
        for trial in make_trials(random.Random(0), 9)
    )
    info = make_info(random.Random(0), text, trials=9).model_copy(
        update={
            "trials": trials,
            "importance": {text: 0.9, "<b>bold</b>": 0.1},
            "importance_method": text,
        }
    )
    space = {text: Choice(values=(text, "plain"))}
    return make_sweep(metric=text, info=info, space=space, score=make_score(0.9, 0.5, metric=text))


@pytest.mark.parametrize(
    ("page", "awaited"),
    [
        (f"cell.html#{SWEEP}", "#trials"),
        (f"runs/{RUNS[0]}/index.html", "#table-of-sweeps button"),
        (f"compare.html#a={RUNS[0]}&b={RUNS[0]}", "#sweeps-compared"),
        (link_dataset("wine"), "#tuned"),
    ],
)
def test_hostile_settings_reasons_and_names_stay_text(visit, tmp_path, page, awaited):
    run = make_run(tmp_path / "runs" / RUNS[0], make_hostile_sweep())
    write_site(tmp_path, [run])
    file, fragment = split_address(page)
    opened = visit(tmp_path / file, fragment)
    opened.page.wait_for_selector(awaited)
    opened.page.wait_for_function(SETTLED)
    assert opened.dialogs == []
    assert opened.messages == []
    assert opened.page.locator("img").count() == 0
    assert opened.page.locator("script:not([src]):not([type='application/json'])").count() == 0
    assert HOSTILE in opened.page.locator("main").text_content()
    ticks = opened.page.locator("g.yaxislayer-above text").all_text_contents()
    # Plotly reads a few tags in its texts.
    assert ("<b>bold</b>" in ticks) == (file == "cell.html")


def test_a_sweep_prints_with_its_trials_and_without_filters(go):
    page = go("sweep").page
    page.emulate_media(media="print")
    assert not page.locator("[aria-label=Trials]").is_visible()
    assert page.locator("#trials tbody tr:last-child").is_visible()
    assert page.locator(".parallel").is_visible()


def test_the_colours_of_a_sweep_follow_the_scheme(go):
    def inks(scheme):
        return go("sweep", color_scheme=scheme).page.evaluate(
            "['.best', '.axis', '.name'].map((name) => {"
            " const style = getComputedStyle(document.querySelector(`.parallel ${name}`));"
            " return [style.stroke, style.fill]; })"
        )

    light, dark = inks("light"), inks("dark")
    assert all(one != two for one, two in zip(light, dark, strict=True))
