"""Run `mlmatrix data check` and `data sketch` as a shell does."""

import json
import subprocess
import sys
import time

import numpy as np
import pytest

pytestmark = pytest.mark.system

MAIN = "import sys; from harness.cli import main; sys.exit(main())"


def run(*arguments, cwd, **options):
    return subprocess.run(
        [sys.executable, "-P", "-c", MAIN, "data", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        **options,
    )


def make_frame(seed, rows=600):
    import pandas as pd

    draw = np.random.default_rng(seed)
    size = draw.standard_normal(rows)
    return pd.DataFrame(
        {
            "size": size,
            "price": size + 0.5 * draw.standard_normal(rows),
            "city": draw.choice(["Rome", "Oslo", "Bonn", "Lima"], rows),
        }
    )


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    make_frame(1).to_parquet(folder / "old.parquet", index=False)
    make_frame(2).to_csv(folder / "same.csv", index=False)
    worse = make_frame(3)
    worse["city"] = "Rome"
    worse["price"] = worse["price"].clip(-0.5, 0.5)
    worse.to_parquet(folder / "worse.parquet", index=False)
    # A project's own package of our name, which is not to be taken for ours.
    (folder / "ml").mkdir()
    (folder / "ml" / "__init__.py").write_text("raise SystemExit('the wrong one')")
    return folder


def test_a_collapsed_table_ends_with_1_and_writes_what_was_found(tables):
    done = run(
        "check",
        "worse.parquet",
        "--against",
        "old.parquet",
        "--html",
        "a.html",
        "--json",
        "a.json",
        cwd=tables,
    )
    assert done.returncode == 1, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("collapsed, score ")
    assert lines[1] == "candidate: worse.parquet (600 rows)"
    told = [line.split()[:2] for line in lines]
    assert ["diversity", "0"] in told
    assert ["coverage", "100"] in told or ["coverage", "changed"] in told
    assert lines[-2:] == ["a.json", "a.html"]
    found = json.loads((tables / "a.json").read_text())
    assert found["verdict"] == "collapsed"
    assert found["losses"][0] == "diversity"
    assert found["drawing"]["distributions"][0]["column"] in ("city", "price")
    assert found["located"]["total"] == 600
    assert found["diversity"]["lost_patterns"] > 0
    assert found["recommendations"]
    html = (tables / "a.html").read_text()
    assert '<h1 class="bad">Collapsed</h1>' in html
    # What is not a terminal is told a line a stage.
    assert done.stderr.splitlines() == [
        "reading the reference",
        "reading the candidate",
        "comparing",
        "locating rows",
        "measuring diversity",
        "matching known damage",
        "drawing",
    ]


def test_a_healthy_table_ends_with_0_also_against_a_stored_sketch(tables):
    kept = run("sketch", "old.parquet", "sketches/old", cwd=tables)
    assert kept.returncode == 0, kept.stderr
    assert kept.stdout.startswith("sketches/old: 600 rows, 3 columns, ")
    for reference in ("old.parquet", "sketches/old"):
        done = run("check", "same.csv", "--against", reference, cwd=tables)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("healthy, score ")
    again = run("sketch", "old.parquet", "sketches/old", cwd=tables)
    assert again.returncode == 0
    taken = run("sketch", "old.parquet", ".", cwd=tables)
    assert taken.returncode == 2
    assert taken.stderr.splitlines()[-1].startswith("error: . holds something else; expected a new")


def test_a_dataset_of_the_catalog_is_a_table(tables):
    done = run("check", "wine", "--against", "wine", cwd=tables)
    assert done.returncode == 0, done.stderr
    assert "candidate: wine (178 rows)" in done.stdout
    assert "both tables hold the same rows" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("gone.csv", "--against", "old.parquet"), "error: there is no table gone.csv; expected"),
        (("same.csv", "--against", "wien"), "did you mean the dataset wine?"),
        (("same.csv", "--against", "old.parquet", "--alpha", "7"), "error: alpha 7.0 cannot be"),
        (("same.csv", "--against", "old.parquet", "--alpha", "nan"), "error: --alpha nan is no"),
        (("same.csv", "--against", "old.parquet", "--group", "day"), "has no column 'day'"),
        (("same.csv", "--against", "old.parquet", "--html", "no/a.html"), "make "),
        (("same.csv", "--against", "old.parquet", "--data", "no"), "no is not a folder"),
    ],
)
def test_a_mistake_is_one_line_and_2(tables, arguments, message):
    done = run("check", *arguments, cwd=tables)
    assert done.returncode == 2
    assert done.stdout == ""
    errors = [line for line in done.stderr.splitlines() if not line.startswith("reading")]
    assert len(errors) == 1, done.stderr
    assert message in errors[0]


def start_check(folder):
    """Return a check that has begun, and the process that it waits for."""
    psutil = pytest.importorskip("psutil")
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", MAIN, "data", "check", "same.csv", "--against", "old.parquet"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr.readline() == "reading the reference\n"
    [child] = psutil.Process(process.pid).children()
    return process, child


def test_a_lost_process_is_told(tables):
    process, child = start_check(tables)
    child.kill()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "ended without an answer, with signal 9" in err.splitlines()[-1]
    assert out == ""


def test_who_kills_the_command_ends_the_check(tables):
    process, child = start_check(tables)
    process.kill()
    process.communicate(timeout=60)
    end = time.monotonic() + 60
    while child.is_running() and child.status() != "zombie" and time.monotonic() < end:
        time.sleep(0.1)
    assert not child.is_running() or child.status() == "zombie"
