"""Recommend what to do for real: planted damage, a kill, a memory, proxies that give nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from importlib.util import find_spec

import pytest
from frames import make_frame

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(
        None in map(find_spec, ("sklearn", "pyarrow")), reason="scikit-learn and pyarrow are needed"
    ),
]

MAIN = "import sys; from harness.cli import main; sys.exit(main())"


def make_table(seed, rows):
    return make_frame(seed, rows).drop(columns="sold")


@pytest.fixture
def tables(tmp_path):
    candidate = make_table(2, 1200)
    candidate["price"] *= 100
    candidate["city"] = candidate["city"].replace("Lima", "Rome")
    candidate.to_csv(tmp_path / "candidate.csv", index=False)
    make_table(1, 2500).to_csv(tmp_path / "reference.csv", index=False)
    return tmp_path


def command(*extra):
    start = [sys.executable, "-c", MAIN, "data", "recommend", "candidate.csv"]
    return [*start, "--against", "reference.csv", *extra]


def recommend(folder, *extra):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command(*extra), cwd=folder, capture_output=True, text=True, env=environment, timeout=300
    )


def records_of(run):
    lines = [json.loads(line) for line in (run / "records.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == "record"]


def test_a_killed_cascade_goes_on_and_ranks_the_mending_of_planted_damage_first(tables):
    asked = ("--target", "size", "--json", "found.json")
    with subprocess.Popen(
        command(*asked), cwd=tables, stdout=subprocess.PIPE, text=True
    ) as process:
        for line in process.stdout:
            if line.startswith("random_forest: as it is"):
                process.send_signal(signal.SIGKILL)
    [run] = (tables / "reports" / "recommendations" / "runs").iterdir()
    before = records_of(run)
    plan = (run / "plan.json").stat().st_mtime_ns
    assert len(before) > 5
    other = recommend(tables, "--target", "price", "--resume", run.name)
    assert other.returncode == 2
    assert "is of other tables, or of other options" in other.stderr
    time.sleep(0.1)
    done = recommend(tables, *asked, "--resume", run.name)
    assert done.returncode == 0, done.stderr
    after = records_of(run)
    assert after[: len(before)] == before
    assert set(Counter(record["cell"] for record in after).values()) == {1}
    assert {record["algorithm"] for record in after} == {"linear", "random_forest", "mlp"}
    assert (run / "plan.json").stat().st_mtime_ns == plan
    found = json.loads((tables / "found.json").read_text())
    first = found["recommendations"][0]
    assert (first["action"], first["dimension"]) == ("rescale:price", "distribution")
    assert first["gain"] > 0.3
    assert len(first["proxies"]) == 3
    assert first["rows"] == 1200
    assert first["positions"] == list(range(1000))
    names = [one["action"] for one in found["recommendations"]]
    assert {"restore_levels:city", "winsorise:price"} <= set(names)


def test_what_was_done_is_measured_later_and_counts_next_time(tables):
    import pandas as pd

    asked = ("--target", "size", "--proxies", "1")
    assert recommend(tables, *asked, "--json", "first.json").returncode == 0
    wrong = recommend(tables, "--target", "size", "--done", "rescale:rooms")
    assert wrong.returncode == 2
    assert "expected one of" in wrong.stderr.replace(":", "")
    done = recommend(tables, "--target", "size", "--done", "rescale:price")
    assert done.returncode == 0, done.stderr
    assert "is measured when the candidate is looked at again" in done.stdout
    candidate = pd.read_csv(tables / "candidate.csv")
    candidate["price"] /= 100
    candidate.to_csv(tables / "candidate.csv", index=False)
    again = recommend(tables, *asked)
    assert "rescale:price of 20" in again.stdout
    lines = (tables / "reports" / "recommendations" / "gains.jsonl").read_text().splitlines()
    kept = json.loads(lines[-1])
    assert (kept["kind"], kept["how"], kept["action"]) == ("gained", "measured", "rescale:price")
    assert kept["gain"] > 0.3
    assert kept["lift"] > 0
    candidate["price"] *= 100
    candidate.to_csv(tables / "candidate.csv", index=False)
    assert recommend(tables, *asked, "--json", "third.json").returncode == 0
    first, third = (
        {one["action"]: one for one in json.loads((tables / name).read_text())["recommendations"]}
        for name in ("first.json", "third.json")
    )
    assert (first["rescale:price"]["past"], third["rescale:price"]["past"]) == (0, 1)
    known = third["rescale:price"]["measured"]
    assert known == pytest.approx(first["rescale:price"]["measured"])
    assert third["rescale:price"]["gain"] == pytest.approx((known + kept["gain"]) / 3)


def test_proxies_that_give_nothing_are_recorded_and_the_dimensions_rank(tables):
    late = recommend(
        tables, "--target", "size", "--proxies", "1", "--timeout", "0.001", "--json", "found.json"
    )
    assert late.returncode == 0, late.stderr
    found = json.loads((tables / "found.json").read_text())
    assert {one["gain"] for one in found["recommendations"]} == {None}
    assert "timeout" in found["recommendations"][0]["proxies"][0]["reason"]
    assert "no proxy was trained" in late.stdout
    without = recommend(tables)
    assert without.returncode == 0, without.stderr
    values = [one["value"] for one in found["recommendations"]]
    assert values == sorted(values, reverse=True)
    assert "what the dimension's score lost, over cost" in without.stdout


def test_a_column_of_another_kind_is_read_again_and_a_healthy_table_asks_for_nothing(tmp_path):
    candidate = make_table(2, 800)
    candidate.to_parquet(tmp_path / "healthy.parquet")
    candidate["price"] = candidate["price"].astype(str)
    candidate.to_parquet(tmp_path / "candidate.csv.parquet")
    make_table(1, 1600).to_parquet(tmp_path / "reference.parquet")
    against = ("--against", "reference.parquet", "--target", "size", "--proxies", "1")
    start = [sys.executable, "-c", MAIN, "data", "recommend"]
    found = [
        subprocess.run(
            [*start, name, *against, "--json", "found.json"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
        )
        for name in ("healthy.parquet", "candidate.csv.parquet")
    ]
    assert [one.returncode for one in found] == [0, 0], found
    assert "nothing is recommended" in found[0].stdout
    assert "linear" not in found[0].stdout
    [first] = json.loads((tmp_path / "found.json").read_text())["recommendations"]
    assert (first["action"], first["dimension"]) == ("convert_column:price", "schema")
    assert first["measured"] > 0.3
    assert first["rows"] == 800


def test_a_mistake_is_one_line(tables):
    for extra, text in (
        (("--target", "cost"), "has no column 'cost' to predict"),
        (("--gained", "1"), "--gained belongs to --done"),
        (("--done", "rescale:price"), "nothing was recommended"),
    ):
        wrong = recommend(tables, *extra)
        assert wrong.returncode == 2
        [line] = wrong.stderr.splitlines()
        assert line.startswith("error: ")
        assert text in line
