"""Look back over all runs with the commands, as text, as Markdown and as JSON."""

import csv
import io
import json
import os
import random
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from report_fixture import make_head, make_result, make_score, record_of

from harness.cli import main
from harness.export import COLUMNS
from harness.store.benchmarks import HEAD, name_cells
from harness.store.index import open_index
from harness.store.journal import JOURNAL, Journal, hold_run
from harness.store.prune import choose_old
from harness.store.record import End, Verdict

pytestmark = pytest.mark.unit

CELL = "wine-mlp-pytorch-train"
OTHER = "oils-linear-sklearn-train"
GONE = "gone-mlp-jax-train"
NEW = "new-mlp-jax-train"
BENCHMARKS = Path(__file__).parent / "data" / "pytest_benchmark_5.json"
A, B, C = "20260312-060000-aaaaaa", "20260313-060000-bbbbbb", "20260314-060000-cccccc"
D, E = "20260315-060000-dddddd", "20260316-060000-eeeeee"


def trained(cell, value, seconds, calibration=0.05, **changes):
    result = make_result(
        cell, cell.split("-")[2], "classification", 0.5, False, random.Random(0), 3
    ).model_copy(update={"calibration_seconds": calibration})
    timings = result.timings.model_copy(update={"fit": seconds})
    memory = int(seconds * 2**20)
    result = result.model_copy(update={"timings": timings, "peak_memory_bytes": memory})
    values = {"score": make_score(value, 0.5), "result": result, "seconds": seconds + 1}
    return record_of(cell, **(values | changes))


def keep(reports, run, *records, **head):
    started = f"2026-03-{run[6:8]}T06:00:00.000+00:00"
    journal = Journal(
        reports / "runs" / run, lambda name: make_head(name, **{"started": started, **head})
    )
    for record in records:
        journal.append(record.model_copy(update={"started": started}))
    finished = started.replace("T06", "T07")
    journal.append(End(finished=finished, exit_status=0, seconds=3600.0))


@pytest.fixture
def reports(tmp_path):
    folder = tmp_path / "reports"
    fails = Verdict(gate="outcome", status="fail", text="too slow | really")
    timeout = {"outcome": "timeout", "reason": "too slow | really", "verdicts": (fails,)}
    keep(folder, A, trained(CELL, 0.9, 2.0), record_of(OTHER, **timeout), trained(GONE, 0.8, 1.0))
    keep(folder, B, trained(CELL, 0.905, 2.0, reused=A), trained(OTHER, 0.7, 1.0))
    keep(
        folder,
        C,
        trained(CELL, 0.85, 3.0, calibration=0.075),
        record_of(OTHER, **timeout),
        trained(NEW, 0.8, 1.0),
        git_commit="f" * 40,
        git_dirty=False,
        packages={"numpy": "2.4.7", "torch": "2.13.0+cpu"},
    )
    return folder


@pytest.fixture
def call(reports, capsys):
    def call(*arguments, status=0):
        found = main([*arguments, "--reports", str(reports)])
        output = capsys.readouterr()
        assert found == status, output.err
        return output.out if status == 0 else output.err

    return call


def test_runs_are_listed_the_newest_first(call):
    header, *rows = (line.split() for line in call("runs").splitlines())
    assert header[:3] == ["run", "kind", "started"]
    assert [row[0] for row in rows] == [C, B, A]
    assert rows[0][1:6] == ["matrix", "2026-03-14", "06:00", "UTC", "ffffffffff"]
    assert rows[1][5] == "0123456789+"
    assert rows[0][6:] == ["exit", "0", "60", "min", "00", "s", "3", "2", "1", "0", "0"]
    found = json.loads(call("runs", "--format", "json"))
    assert [run["name"] for run in found] == [C, B, A]
    assert found[0]["states"] == {"passed": 2, "failed": 1, "expected": 0, "unavailable": 0}
    assert found[0]["outcomes"] == {"ok": 2, "timeout": 1}
    assert (found[0]["parts"]["package numpy"], found[0]["commit"]) == ("2.4.7", "f" * 40)


def test_a_history_has_a_line_per_run_the_oldest_first(call):
    title, _, *rows = call("history", CELL).splitlines()
    assert title == f"{CELL}: roc_auc, greater is better, 3 values"
    assert [row.split()[0] for row in rows] == [A, B, C]
    assert [row.split()[-3:] for row in rows] == [
        ["0.9000", "–", "0.0100"],
        ["0.9050", "+0.56%", "0.0100"],
        ["0.8500", "-6.08%", "0.0100"],
    ]
    assert call("history", OTHER).splitlines()[2].endswith("timeout: too slow | really")


def test_a_history_of_times_leaves_out_what_was_reused_and_says_so(call):
    lines = call("history", CELL, "--measure", "fit").splitlines()
    assert lines[0] == f"{CELL}: fit, smaller is better, 2 values"
    assert lines[3].endswith(f"reused of {A}")
    assert lines[4].split()[-3:-1] == ["s", "+50.00%"]
    found = json.loads(call("history", CELL, "--measure", "fit", "--format", "json"))
    assert [point["value"] for point in found["points"]] == [2.0, 3.0]
    assert [point["calibration"] for point in found["points"]] == [0.05, 0.075]
    assert (found["kind"], found["greater_is_better"], found["metric"]) == ("timing", False, None)
    [without] = found["without"]
    assert (without["run"], without["reason"]) == (B, f"reused of {A}")


def test_two_runs_are_compared(call):
    found = json.loads(call("compare", A, C, "--format", "json"))
    assert (found["newly_failing"], found["fixed"]) == ([], [])
    assert (found["appeared"], found["vanished"]) == ([NEW], [GONE])
    [metric] = found["metrics"]
    assert (metric["cell"], metric["before"], metric["after"]) == (CELL, 0.9, 0.85)
    assert (metric["beyond"], metric["improved"]) == (True, False)
    times = {one["measure"]: one for one in found["times"]}
    assert (times["fit"]["ratio"], times["fit"]["calibrated"]) == (1.5, pytest.approx(1.0))
    memory = times["peak_memory"]
    assert (memory["ratio"], memory["calibrated"]) == (1.5, None)
    assert found["environment"] == [
        ["package numpy", "2.4.6", "2.4.7"],
        ["package scikit-learn", "1.9.1", None],
    ]
    text = call("compare", A, C)
    assert text.startswith(f"{A} → {C}\n")
    assert f"  {CELL}  roc_auc  0.9000  0.8500  0.0100  worse" in text
    assert "package numpy         2.4.6   2.4.7" in text
    assert "nothing differs" in call("compare", C, C)


def test_what_newly_fails_or_is_fixed_is_told_and_escaped(call):
    found = json.loads(call("compare", B, C, "--format", "json"))
    [failing] = found["newly_failing"]
    assert (failing["cell"], failing["reason"]) == (OTHER, "too slow | really")
    assert json.loads(call("compare", C, B, "--format", "json"))["fixed"] == [OTHER]
    # A record that was reused has no times of its own.
    assert found["times"] == []
    markdown = call("compare", B, C, "--format", "md")
    assert f"| {OTHER} | timeout | too slow \\| really |" in markdown
    assert "within it" not in markdown
    small = json.loads(call("compare", A, B, "--format", "json"))["metrics"]
    assert [one["beyond"] for one in small] == [False]


def test_cells_that_were_asked_for_differently_or_on_another_table_are_not_compared(call, reports):
    asked = trained(OTHER, 0.7, 1.0, request={"budget": {"rows": 9}})
    data = asked.result.data.model_copy(update={"content_sha256": "f" * 64})
    result = asked.result.model_copy(update={"data": data})
    other = trained(CELL, 0.5, 9.0).model_copy(update={"result": result})
    keep(reports, D, asked, other)
    keep(reports, E, trained(OTHER, 0.7, 1.0), trained(CELL, 0.9, 2.0))
    found = json.loads(call("compare", E, D, "--format", "json"))
    assert (found["unlike"], found["alike"]) == ([OTHER, CELL], 0)
    assert (found["metrics"], found["times"]) == ([], [])
    assert "asked for differently or on another table" in call("compare", E, D)


def test_a_mistake_is_one_line_and_status_two(call, tmp_path, capsys):
    cases = [
        (("history", "wine-mlp-pytorch-trian"), f"did you mean '{CELL}'"),
        (("history", CELL, "--measure", "fitt"), "did you mean 'fit'"),
        (("compare", A, "20260314-060000-cccccd"), f"did you mean '{C}'"),
        (("import", str(tmp_path / "none.json")), "No such file"),
        (("export", "--csv", str(tmp_path / "no" / "x.csv")), "cannot be written"),
        (("export", "--parquet", str(tmp_path / "no" / "x.parquet")), "cannot be written"),
    ]
    for arguments, expected in cases:
        error = call(*arguments, status=2)
        assert expected in error
        assert error.startswith("error: ")
        assert error.count("\n") == 1
    assert main(["runs", "--reports", str(tmp_path / "none")]) == 2
    assert "there are no runs" in capsys.readouterr().err
    for arguments in (["prune"], ["prune", "--keep", "0"], ["prune", "--keep-days", "nan"]):
        with pytest.raises(SystemExit, match="2"):
            main(arguments)


def test_damage_is_told_beside_the_output(reports, capsys):
    path = reports / "runs" / A / JOURNAL
    path.write_bytes(
        path.read_bytes().replace(b'{"kind":"record","version":2', b'{"kind":"record",')
    )
    assert main(["runs", "--reports", str(reports), "--format", "json"]) == 0
    output = capsys.readouterr()
    assert json.loads(output.out)[2]["cells"] == 0
    assert [line.partition(":")[0] for line in output.err.splitlines()] == ["damaged"] * 3


def test_the_table_has_a_row_for_each_cell_of_each_run(call, reports, tmp_path):
    assert call("export", "--csv", str(tmp_path / "x.csv")) == f"8 rows in {tmp_path / 'x.csv'}\n"
    text = (tmp_path / "x.csv").read_text()
    assert call("export", "--csv", "-") == text
    rows = {(row["run"], row["cell"]): row for row in csv.DictReader(io.StringIO(text))}
    assert len(rows) == 8
    assert list(rows[A, CELL]) == list(COLUMNS)
    assert (rows[C, CELL]["value"], rows[C, CELL]["fit"]) == ("0.85", "3.0")
    assert len(json.loads(rows[C, CELL]["replicates"])) == 3
    assert [len(name) for name in json.loads(rows[C, CELL]["splits"])] == [16] * 3
    assert (rows[A, OTHER]["reason"], rows[A, OTHER]["value"]) == ("too slow | really", "")
    parquet = pytest.importorskip("pyarrow.parquet")
    call("export", "--parquet", str(tmp_path / "x.parquet"))
    table = parquet.read_table(tmp_path / "x.parquet").to_pylist()
    assert {(row["run"], row["cell"]) for row in table} == set(rows)
    [row] = [row for row in table if (row["run"], row["cell"]) == (C, CELL)]
    assert (row["value"], row["attempts"], row["dirty"]) == (0.85, 1, False)
    assert row["replicates"] == json.loads(rows[C, CELL]["replicates"])


def test_parquet_without_pyarrow_says_what_to_install(call, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    error = call("export", "--parquet", str(tmp_path / "x"), status=2)
    assert "pip install 'pytest-mlmatrix[datasets]'" in error


def test_old_runs_are_removed_and_never_the_newest_nor_one_that_is_written(call, reports):
    text = call("prune", "--keep", "1", "--dry-run")
    assert [line.split()[0] for line in text.splitlines()[:2]] == [A, B]
    assert text.splitlines()[2].startswith("2 of 3 runs would be removed")
    assert len(list((reports / "runs").iterdir())) == 3
    handle = hold_run(reports / "runs" / A)
    found = json.loads(call("prune", "--keep", "1", "--format", "json"))
    os.close(handle)
    assert {one["run"]: one["kept"] is None for one in found["runs"]} == {A: False, B: True}
    assert "still being written" in found["runs"][0]["kept"]
    assert sorted(path.name for path in (reports / "runs").iterdir()) == [A, C]
    with open_index(reports) as index:
        assert [run.name for run in index.runs()] == [C, A]
    call("prune", "--keep-days", "0")
    assert [path.name for path in (reports / "runs").iterdir()] == [C]


def test_runs_are_old_by_the_days_since_they_ended(call, reports):
    call("import", str(BENCHMARKS))
    moment = datetime(2026, 3, 15, 6, 30, tzinfo=UTC)
    with open_index(reports) as index:
        runs = index.runs()

    def old(**rule):
        rule = {"keep": None, "keep_days": None} | rule
        return [run.name for run in choose_old(reports, runs, now=moment, **rule)]

    # They ended at seven o'clock.
    assert (old(keep_days=2.9), old(keep_days=3), old(keep_days=1.9)) == ([A], [], [A, B])
    assert (old(keep=1), old(keep=2), old(keep=3)) == ([A, B], [A], [])


def test_timings_of_pytest_benchmark_become_a_run(call, reports):
    said = call("import", str(BENCHMARKS))
    assert said.startswith("2 timings kept as run 20261121-200415-")
    run = said.split()[-1]
    assert call("import", str(BENCHMARKS)) == f"run {run} has these timings already\n"
    [found, *_] = json.loads(call("runs", "--format", "json"))
    assert (found["name"], found["kind"], found["cells"]) == (run, "benchmark", 2)
    assert (found["commit"], found["started"]) == (None, "2026-11-21T20:04:15.439+00:00")
    assert found["parts"]["package pytest-benchmark"] == "5.3.1"
    history = json.loads(call("history", "test_a.py_test_sum_10", "--format", "json"))
    assert (history["measure"], history["kind"]) == ("seconds", "timing")
    [point] = history["points"]
    assert (point["value"], point["calibration"]) == (2.3399843485094607e-07, 0.01)
    # The pages of the matrix know nothing of it.
    assert not (reports / "runs" / run).exists()


def test_a_run_of_benchmarks_has_the_environment_that_its_session_left(call, reports, tmp_path):
    values = json.loads(BENCHMARKS.read_text())
    head = make_head("perf", packages={"numpy": "9.9"})
    values["machine_info"][HEAD] = head.model_dump(mode="json")
    (tmp_path / "b.json").write_text(json.dumps(values))
    run = call("import", str(tmp_path / "b.json")).split()[-1]
    [found, *_] = json.loads(call("runs", "--format", "json"))
    assert (found["name"], found["parts"]["package numpy"]) == (run, "9.9")
    assert (found["commit"], found["dirty"]) == (head.git_commit, True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "Expecting property name"),
        ("[]", "list indices"),
        ('{"datetime": "2026-01-01T00:00:00"}', "no field 'machine_info'"),
        ("\x00", "Expecting value"),
    ],
)
def test_what_is_no_file_of_pytest_benchmark_is_refused(call, tmp_path, reports, text, expected):
    (tmp_path / "b.json").write_text(text)
    error = call("import", str(tmp_path / "b.json"), status=2)
    assert "is no file of pytest-benchmark" in error
    assert expected in error
    assert sorted(path.name for path in reports.iterdir()) == ["runs"]


def test_a_file_whose_timings_are_none_is_refused(call, tmp_path):
    values = json.loads(BENCHMARKS.read_text())
    values["benchmarks"][0]["stats"]["median"] = -1.0
    (tmp_path / "b.json").write_text(json.dumps(values))
    assert "seconds: Input should be greater" in call("import", str(tmp_path / "b.json"), status=2)
    (tmp_path / "b.json").write_text(json.dumps(values | {"benchmarks": []}))
    assert "has no benchmarks" in call("import", str(tmp_path / "b.json"), status=2)


def test_the_cells_of_benchmarks_are_safe_names_and_apart():
    assert name_cells(["tests/perf/t.py::test_fit[a-b]", "../../x"]) == [
        "tests_perf_t.py_test_fit_a_b",
        "x",
    ]
    first, second, third = name_cells(["a::b", "a/b", "c"])
    assert first != second
    assert {first[:4], second[:4], third} == {"a_b_", "c"}


def test_who_reads_along_may_stop(reports):
    command = f"{sys.executable} -c 'import sys; from harness.cli import main; sys.exit(main())'"
    many = f"{command} export --csv - --reports {reports}"
    environment = {name: os.environ[name] for name in os.environ if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(
        ["bash", "-c", f"{many} | true; echo ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert (done.stdout, done.stderr) == ("1\n", "")
