"""Run the commands that judge all series over journals made by hand."""

import json
from pathlib import Path

import pytest

from harness.cli import main
from harness.store.baselines import read_baselines

pytestmark = pytest.mark.unit

STORED = Path(__file__).with_name("data") / "record_v1.jsonl"


def make_runs(folder, scores, cut=None):
    """Write a run for each score, from the stored one; the newest stands last.

    The clock stopped a replicate of the run numbered ``cut``.
    """
    lines = [json.loads(text) for text in STORED.read_text().splitlines()]
    for number, score in enumerate(scores):
        name = f"20260101-{number:06d}-aaaaaa"
        place = folder / "reports" / "runs" / name
        place.mkdir(parents=True)
        texts = []
        for line in json.loads(json.dumps(lines)):
            if line["kind"] == "run":
                line |= {"run": name, "git_commit": f"{number:040d}", "git_dirty": False}
            if line["kind"] == "record":
                line["run"] = name
                line["score"]["value"] = score
                for replicate in line["result"]["replicates"]:
                    replicate["metrics"][line["score"]["metric"]] = score
                    replicate["stopped"] = "time_budget" if number == cut else "completed"
            texts.append(json.dumps(line, separators=(",", ":")))
        (place / "records.jsonl").write_text("\n".join(texts) + "\n")
    return folder / "reports"


def run(capsys, *arguments):
    status = main([*map(str, arguments)])
    told = capsys.readouterr()
    return status, told.out, told.err


def cell_of(reports):
    line = next(iter(reports.glob("runs/*/records.jsonl"))).read_text().splitlines()[1]
    return json.loads(line)["cell"], json.loads(line)["score"]["greater_is_better"]


def test_a_regression_is_told_with_its_evidence_its_causes_and_both_sides(tmp_path, capsys):
    reports = make_runs(tmp_path, [0.9, 0.9, 0.8])
    cell, greater = cell_of(reports)
    status, out, _ = run(capsys, "trends", "--reports", reports)
    word = "regressed" if greater else "improved"
    assert status == int(greater)
    assert out.startswith(f"{word}: {cell} score\n")
    assert "between runs 20260101-000001-aaaaaa and 20260101-000002-aaaaaa" in out
    assert f"changed: commits {1:010d}"[:25] in out
    assert f"old side: git checkout {1:040d} && pytest -m slow_matrix -k {cell}" in out
    assert f"1 {word}" in out.splitlines()[-1]
    status, out, _ = run(capsys, "trends", "--format", "json", "--reports", reports)
    [told] = json.loads(out)
    assert (told["cell"], told["measure"], told["state"]) == (cell, "score", word)
    assert told["blame"]["rerun_new"].startswith(f"git checkout {2:040d}")
    status, out, _ = run(capsys, "trends", "--cell", "no*", "--reports", reports)
    assert (status, out.split(" judged")[0]) == (0, "0 series")


def test_what_the_clock_stopped_is_no_value_to_compare(tmp_path, capsys):
    reports = make_runs(tmp_path, [0.9, 0.9, 0.8, 0.9], cut=2)
    cell, _ = cell_of(reports)
    assert run(capsys, "trends", "--reports", reports)[1].count("\n") == 1
    _, out, _ = run(capsys, "history", cell, "--reports", reports)
    assert out.splitlines()[0].endswith("3 values")
    assert out.splitlines()[4].endswith("the clock stopped a replicate or a search")


def test_a_run_of_another_budget_is_not_compared(tmp_path, capsys):
    reports = make_runs(tmp_path, [0.9, 0.8, 0.9, 0.9])
    cell, _ = cell_of(reports)
    for place, path in enumerate(sorted(reports.glob("runs/*/records.jsonl"))):
        if place == 1:
            text = path.read_text()
            line = json.loads(text.splitlines()[1])
            rows = line["request"]["budget"]["rows"]
            path.write_text(text.replace(f'"rows":{rows},', f'"rows":{rows + 1},'))
    assert run(capsys, "trends", "--reports", reports)[1].count("\n") == 1
    _, out, _ = run(capsys, "history", cell, "--reports", reports)
    assert out.splitlines()[0].endswith("3 values")
    assert "another budget" in out.splitlines()[3]


def test_an_accepted_level_is_no_longer_told_and_is_what_scores_are_held_to(tmp_path, capsys):
    reports = make_runs(tmp_path, [0.9, 0.9, 0.8])
    cell, _ = cell_of(reports)
    status, out, _ = run(capsys, "baseline", "update", "--dry-run", "--reports", reports)
    assert status == 0
    assert f"+ {cell} score: 0.8 " in out
    assert read_baselines(reports / "baselines.json") == {}
    status, out, _ = run(capsys, "baseline", "update", "--reports", reports)
    assert "written to" in out
    band = read_baselines(reports / "baselines.json")[cell, "score"]
    assert (band.level, band.since) == (0.8, "20260101-000002-aaaaaa")
    status, out, _ = run(capsys, "trends", "--reports", reports)
    assert (status, out.count("\n")) == (0, 1)
    status, out, _ = run(capsys, "baseline", "update", "--reports", reports)
    assert out == "nothing would change\n"


def test_without_runs_or_with_broken_baselines_there_is_one_line(tmp_path, capsys):
    for command in (("trends",), ("baseline", "update")):
        status, out, err = run(capsys, *command, "--reports", tmp_path / "nowhere")
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert "there are no runs" in err
    reports = make_runs(tmp_path, [0.9])
    (reports / "baselines.json").write_text("{")
    status, _, err = run(capsys, "trends", "--reports", reports)
    assert status == 2
    assert "baselines.json is not JSON" in err
