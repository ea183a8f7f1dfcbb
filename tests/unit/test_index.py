"""Derive an index from journals: all that they say, only what is new, and never a stale word."""

import multiprocessing
import random
import sqlite3

import pytest
from report_fixture import make_head, make_result, make_score, record_of

from harness.store import index as index_room
from harness.store.benchmarks import import_benchmarks
from harness.store.index import INDEX, open_index
from harness.store.indexing import INDEX_VERSION
from harness.store.journal import JOURNAL, Journal, read_run
from harness.store.record import End, Resumed, Timing, Verdict
from harness.store.rows import MEASURES, environment_of, hash_environment
from ml.core.errors import MatrixError

pytestmark = pytest.mark.unit

CELL = "wine-mlp-pytorch-train"
OTHER = "oils-linear-sklearn-train"
END = End(finished="2026-03-14T07:00:00.000+00:00", exit_status=0, seconds=75.0)


def open_journal(reports, run, **head):
    return Journal(reports / "runs" / run, lambda name: make_head(name, **head))


def trained(cell=CELL, value=0.9, seed=0, **changes):
    framework = cell.split("-")[2]
    result = make_result(cell, framework, "classification", 0.5, True, random.Random(seed), 3)
    result = result.model_copy(update=changes.pop("result", {}))
    return record_of(cell, **({"score": make_score(value, 0.5), "result": result} | changes))


def write(reports, run, *lines, **head):
    journal = open_journal(reports, run, **head)
    for line in lines:
        journal.append(line)
    return journal.folder / JOURNAL


def values(index, cell=CELL, measure="score"):
    return [(point.run, point.value) for point in index.series(cell, measure).points]


def test_a_row_has_what_the_record_has(tmp_path):
    record = trained(seconds=2.5, key="k", result={"calibration_seconds": 0.05, "device": "cuda:0"})
    write(tmp_path, "r1", record, END)
    with open_index(tmp_path) as index:
        [(name, row)] = index.results_of_cell(CELL).items()
        [run] = index.runs()
        [point] = index.series(CELL, "score").points
        assert index.record(CELL, "r1") == record
        [cell] = index.cells()
    head, result = read_run(tmp_path / "runs/r1").head, record.result
    assert name == run.name == "r1"
    assert (row.state, row.outcome, row.reason, row.key) == ("passed", "ok", "", "k")
    assert (row.metric, row.greater_is_better, row.value) == ("roc_auc", True, 0.9)
    assert (row.baseline, row.improvement, row.spread) == (0.5, pytest.approx(0.4), 0.01)
    assert row.replicates == tuple(one.metrics["roc_auc"] for one in result.replicates)
    assert row.splits == tuple(one.split_sha256[:16] for one in result.replicates)
    assert (row.fit, row.seconds, row.calibration) == (result.timings.fit, 2.5, 0.05)
    assert (row.peak_memory, row.artifact_bytes) == (
        result.peak_memory_bytes,
        result.artifact_bytes,
    )
    assert (row.data, row.device, row.attempts) == ("84df51b46f14e330", "cuda:0", 1)
    assert (run.commit, run.branch, run.dirty, run.seconds) == (
        head.git_commit,
        "main",
        True,
        75.0,
    )
    assert (run.exit_status, run.finished, run.damage) == (0, END.finished, ())
    assert run.parts["memory"] == "32 GiB"
    assert run.parts["package numpy"] == "2.4.6"
    assert (point.value, point.replicates, point.splits) == (0.9, row.replicates, row.splits)
    assert point.environment == f"{run.environment}@cuda:0"
    assert (point.commit, point.dirty, point.entry) == (head.git_commit, True, row.entry)
    assert (cell.dataset, cell.algorithm, cell.framework, cell.task) == (
        "wine",
        "mlp",
        "pytorch",
        "classification",
    )


def test_only_what_was_appended_is_read(tmp_path, monkeypatch):
    path = write(tmp_path, "r1", trained(), trained(OTHER))
    open_index(tmp_path).close()
    parsed = []
    real = index_room.update.__globals__["parse_line"]
    monkeypatch.setitem(
        index_room.update.__globals__, "parse_line", lambda text: parsed.append(text) or real(text)
    )
    with open_index(tmp_path) as index:
        assert parsed == []
        assert len(index.results_of_run("r1")) == 2
    write(tmp_path, "r1", trained(value=0.7), END)
    with open_index(tmp_path) as index:
        assert len(parsed) == 2
        assert values(index) == [("r1", 0.7)]
        assert index.record(CELL, "r1").score.value == 0.7
        assert index.run("r1").exit_status == 0
    # As a journal of the same name that has been written anew.
    path.write_bytes(path.read_bytes().replace(b'"value":0.7', b'"value":0.8'))
    with open_index(tmp_path) as index:
        assert values(index) == [("r1", 0.8)]


def test_a_journal_that_shrank_or_vanished_is_forgotten_and_read_again(tmp_path):
    path = write(tmp_path, "r1", trained(), trained(OTHER))
    write(tmp_path, "r2", trained(value=0.8))
    open_index(tmp_path).close()
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))
    with open_index(tmp_path) as index:
        assert list(index.results_of_run("r1")) == [CELL]
        assert [one.cell for one in index.cells()] == [CELL]
    path.unlink()
    with open_index(tmp_path) as index:
        assert [run.name for run in index.runs()] == ["r2"]
        assert values(index) == [("r2", 0.8)]
        with pytest.raises(MatrixError, match=r"no run 'r1'.*newest are r2"):
            index.run("r1")


def test_a_torn_line_is_told_and_read_once_it_is_whole(tmp_path):
    path = write(tmp_path, "r1", trained())
    line = trained(OTHER).model_dump_json().encode()
    whole = path.read_bytes()
    path.write_bytes(whole + line[:200])
    with open_index(tmp_path) as index:
        [damage] = index.run("r1").damage
        assert damage.startswith(f"{path}, line 3: ")
        assert list(index.results_of_run("r1")) == [CELL]
    # All but its end had come.
    path.write_bytes(whole + line)
    with open_index(tmp_path) as index:
        assert index.run("r1").damage == ()
        assert set(index.results_of_run("r1")) == {CELL, OTHER}
        assert index.record(OTHER, "r1").cell == OTHER
    path.write_bytes(whole + line[:200])
    write(tmp_path, "r1", trained(OTHER), END)
    with open_index(tmp_path) as index:
        assert index.run("r1").damage == read_run(path.parent).damage != ()
        assert index.record(OTHER, "r1") == trained(OTHER)
        assert index.run("r1").exit_status == 0


def test_a_newer_line_is_told_and_costs_no_other(tmp_path):
    path = write(tmp_path, "r1", trained(), trained(OTHER))
    text = path.read_bytes().replace(
        b'{"kind":"record","version":2', b'{"kind":"record","version":3'
    )
    path.write_bytes(text.replace(b'"version":3', b'"version":2', 1))
    with open_index(tmp_path) as index:
        [damage] = index.run("r1").damage
        assert "line 3: a line of version 3; expected version 2" in damage
        assert list(index.results_of_run("r1")) == [CELL]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(b"this is no database" * 99),
        lambda path: path.write_bytes(path.read_bytes()[:5000]),
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
    ],
)
def test_a_damaged_index_is_made_again(tmp_path, spoil):
    write(tmp_path, "r1", trained())
    open_index(tmp_path).close()
    spoil(tmp_path / INDEX)
    with open_index(tmp_path) as index:
        assert values(index) == [("r1", 0.9)]


def test_an_index_of_another_version_is_made_again(tmp_path):
    write(tmp_path, "r1", trained())
    open_index(tmp_path).close()
    with sqlite3.connect(tmp_path / INDEX) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        connection.execute("UPDATE results SET value = 0.1")
        connection.execute(f"PRAGMA user_version = {INDEX_VERSION - 1}")
    connection.close()
    with open_index(tmp_path) as index:
        assert values(index) == [("r1", 0.9)]


def test_where_nothing_can_be_written_the_index_is_in_memory(tmp_path):
    write(tmp_path, "r1", trained())
    (tmp_path / INDEX).mkdir()
    with open_index(tmp_path) as index:
        assert values(index) == [("r1", 0.9)]
    assert list((tmp_path / INDEX).iterdir()) == []
    with open_index(tmp_path / "none") as index:
        assert index.runs() == []
    assert not (tmp_path / "none").exists()


def _open_often(reports, found):
    for _ in range(10):
        with open_index(reports) as index:
            found.put(len(index.results_of_run("r1")))


def test_processes_that_index_at_once_do_no_harm(tmp_path):
    lines = [trained(f"d{number}-mlp-pytorch-train") for number in range(20)]
    for run in ("r1", "r2", "r3"):
        write(tmp_path, run, *lines)
    context = multiprocessing.get_context("spawn")
    found = context.Queue()
    workers = [context.Process(target=_open_often, args=(tmp_path, found)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert {found.get() for _ in range(20)} == {20}
    with open_index(tmp_path) as index:
        assert sum(counter.total() for counter in index.totals().values()) == 60


def test_a_reused_record_and_one_from_a_checkpoint_are_in_no_series_of_times(tmp_path):
    write(tmp_path, "r1", trained(seconds=3.0))
    write(tmp_path, "r2", trained(seconds=3.0, reused="r1"))
    resumed = trained(seconds=1.0)
    first, *others = resumed.result.replicates
    replicates = (first.model_copy(update={"resumed_epochs": 2}), *others)
    result = resumed.result.model_copy(update={"replicates": replicates})
    write(tmp_path, "r3", resumed.model_copy(update={"result": result}))
    failed = record_of(CELL, outcome="timeout", seconds=300.0, reason="too slow")
    write(tmp_path, "r4", failed)
    with open_index(tmp_path) as index:
        assert [run for run, _ in values(index)] == ["r1", "r2", "r3"]
        for measure in MEASURES:
            kinds = {"score": ["r1", "r2", "r3"]}
            assert [run for run, _ in values(index, measure=measure)] == kinds.get(measure, ["r1"])
        assert [row.timed for row in index.results_of_cell(CELL).values()] == [
            True,
            False,
            False,
            True,
        ]


def test_a_metric_that_is_no_longer_the_cells_is_in_no_series(tmp_path):
    write(tmp_path, "r1", trained(value=0.9))
    error = make_score(2.0, 3.0, greater_is_better=False, metric="rmse")
    write(tmp_path, "r2", trained().model_copy(update={"score": error}))
    with open_index(tmp_path) as index:
        series = index.series(CELL, "score")
        assert ([point.run for point in series.points], series.greater_is_better) == (["r2"], False)
        assert index.series(CELL, "rows_per_second").greater_is_better
        assert not index.series(CELL, "fit").greater_is_better


def test_a_point_has_the_commit_of_the_session_that_ran_the_cell(tmp_path):
    before = trained(started="2026-03-14T06:01:00.000+00:00")
    resumed = Resumed(started="2026-03-14T08:00:00.000+00:00", command=(), git_commit="b" * 40)
    after = trained(OTHER, started="2026-03-14T08:01:00.000+00:00")
    # The resumed session judges the earlier record again, and writes it so.
    write(tmp_path, "r1", before, END, resumed, before, after, git_commit="a" * 40)
    with open_index(tmp_path) as index:
        assert index.series(CELL, "score").points[0].commit == "a" * 40
        assert index.series(OTHER, "score").points[0].commit == "b" * 40
        run = index.run("r1")
        assert (run.resumed, run.exit_status) == (((resumed.started, "b" * 40),), None)
        assert (run.finished, run.seconds) == (None, 75.0)


def test_states_are_counted_by_run(tmp_path):
    fails = Verdict(gate="beats_baseline", status="fail", text="worse")
    declared = fails.model_copy(update={"expected": "hard"})
    write(
        tmp_path,
        "r1",
        trained(),
        trained("a-mlp-jax-train", verdicts=(fails,)),
        trained("b-mlp-jax-train", verdicts=(declared,)),
        record_of("c-mlp-jax-train", outcome="unavailable"),
        record_of("d-mlp-jax-train", outcome="timeout"),
    )
    with open_index(tmp_path) as index:
        assert index.totals() == {
            "r1": {
                ("passed", "ok"): 1,
                ("failed", "ok"): 1,
                ("expected", "ok"): 1,
                ("unavailable", "unavailable"): 1,
                ("failed", "timeout"): 1,
            }
        }


def test_series_come_cell_by_cell_the_oldest_run_first_and_only_of_the_last_runs(tmp_path):
    for run in ("r3", "r1", "r2"):
        write(tmp_path, run, trained(value=float(f"0.{run[1]}")), trained(OTHER))
        open_index(tmp_path).close()
    with open_index(tmp_path) as index:
        assert values(index) == [("r1", 0.1), ("r2", 0.2), ("r3", 0.3)]
        found = {(one.cell, one.measure): one for one in index.all_series(("score", "fit"))}
        assert found[CELL, "score"] == index.series(CELL, "score")
        assert set(found) == {(c, m) for c in (CELL, OTHER) for m in ("score", "fit")}
        last = {one.cell: one for one in index.all_series(("score",), last=2)}
        assert [point.run for point in last[CELL].points] == ["r2", "r3"]
        assert list(index.all_series(("score",), last=0)) == []
        assert [(c.cell, r.name) for c, r, _ in index.results()] == [
            (cell, run) for cell in (CELL, OTHER) for run in ("r1", "r2", "r3")
        ]


def test_what_changes_places_alone_is_the_same_entry(tmp_path):
    request = {"seed": 1, "budget": {"rows": 9}, "data": {"path": "/a"}, "runtime": {}, "id": "x"}
    write(tmp_path, "r1", trained(request=request))
    moved = request | {"data": {"path": "/b"}, "runtime": {"threads": 2}, "artifact_dir": "/c"}
    write(tmp_path, "r2", trained(request=moved))
    write(tmp_path, "r3", trained(request=request | {"budget": {"rows": 10}}))
    with open_index(tmp_path) as index:
        first, second, third = (row.entry for row in index.results_of_cell(CELL).values())
    assert first == second != third


def test_an_environment_is_another_one_where_a_part_is(tmp_path):
    def name(**changes):
        return hash_environment(environment_of(make_head(**{"run": "r", **changes})))

    assert name() == name(run="x", started="y", git_commit=None, command=())
    # What the kernel keeps for itself.
    assert name() == name(memory_bytes=32 * 2**30 - 2**24)
    others = [
        {"cpu": "another"},
        {"cores": 4},
        {"memory_bytes": 2**30},
        {"platform": "another"},
        {"python": "3.12"},
        {"threads_per_worker": 2},
        {"packages": {"numpy": "2.4.7"}},
        {"executor": "ray"},
    ]
    assert len({name(), *(name(**change) for change in others)}) == len(others) + 1


def test_what_is_unknown_is_an_error_with_near_misses(tmp_path):
    write(tmp_path, "r1", trained())
    with open_index(tmp_path) as index:
        with pytest.raises(MatrixError, match=f"did you mean '{CELL}'"):
            index.series("wine-mlp-pytorch-tran", "score")
        with pytest.raises(MatrixError, match="did you mean 'peak_memory'"):
            index.series(CELL, "peakmemory")
        write(tmp_path, "r2", trained(OTHER))
        index.refresh()
        with pytest.raises(MatrixError, match=f"run r2 has no record of {CELL}"):
            index.record(CELL, "r2")


def test_a_students_facts_are_kept(tmp_path):
    teachers = [{"framework": "sklearn", "model": {"kind": "estimator"}}]
    request = {"teachers": teachers, "temperature": 2.0, "soft_share": 0.7, "seed": 1}
    cell = "wine-tiny-jax-distill"
    write(tmp_path, "r1", record_of(cell, request=request, outcome="error"), trained())
    with open_index(tmp_path) as index:
        row = index.results_of_cell(cell)["r1"]
        assert row.distillation == {
            "teachers": teachers,
            "temperature": 2.0,
            "soft_share": 0.7,
        }
        assert index.results_of_cell(CELL)["r1"].distillation is None


def test_timings_of_benchmarks_stand_beside_the_cells(tmp_path):
    timing = Timing(
        run="b1",
        cell="tests_perf_a",
        name="tests/perf.py::a",
        started="2026-03-14T06:00:00.000+00:00",
        seconds=0.5,
        spread=0.01,
        rounds=3,
        calibration_seconds=0.05,
    )
    journal = Journal(tmp_path / "benchmarks" / "b1", make_head)
    journal.append(timing)
    write(tmp_path, "r1", trained())
    with open_index(tmp_path) as index:
        assert [(run.name, run.kind) for run in index.runs()] == [
            ("r1", "matrix"),
            ("b1", "benchmark"),
        ]
        [point] = index.series("tests_perf_a", "seconds").points
        assert (point.value, point.calibration, point.run) == (0.5, 0.05, "b1")
        assert index.series("tests_perf_a", "score").points == ()
        with pytest.raises(MatrixError, match="a line of kind 'timing', no record"):
            index.record("tests_perf_a", "b1")
    with pytest.raises(MatrixError, match="cannot be read"):
        import_benchmarks(tmp_path / "none.json", tmp_path)
