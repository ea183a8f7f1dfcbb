"""Judge, index and place what sweeps leave: no clock, budget or search is told as a regression."""

import random
from dataclasses import replace

import pytest
from report_fixture import make_result, make_score, record_of
from settings_fixture import make_cell, make_settings

from harness.arguments import PRUNERS
from harness.gates.judge import judge_cell
from harness.gates.parity import compare_siblings
from harness.store.environment import describe_run
from harness.store.journal import JOURNAL, Journal, read_run
from harness.store.rows import row_of_record
from harness.store.trials import place_trials, read_trials, set_trials_aside
from harness.sweep_command import describe_sweeps
from harness.sweep_progress import Progress, Row, stand
from ml.core.contracts import ParityTrace, RuntimeSpec, SweepInfo, Trial
from ml.core.errors import MatrixError

pytestmark = pytest.mark.unit

TRIALS = (
    Trial(index=0, settings={"params.C": 1.0}, outcome="ok", value=0.75, seconds=1.0),
    Trial(index=2, settings={"params.C": 9.0}, outcome="pruned", value=0.99, epochs=1),
    Trial(index=1, settings={"params.C": 0.5}, outcome="ok", value=0.8125, seconds=1.0),
    Trial(index=3, settings={"params.C": 2.0}, outcome="error", reason="it failed"),
)


def make_info(**changes):
    values = {
        "trials": TRIALS,
        "best": 1,
        "validation_rows": 30,
        "default_metrics": ({"roc_auc": 0.75}, {"roc_auc": 0.25}),
        "ended": "trials",
        "epochs": 0,
        "seconds": 2.0,
    }
    return SweepInfo(**(values | changes))


def make_record(cell, **changes):
    result = make_result(cell.id, cell.framework, cell.task, 0.5, False, random.Random(0))
    return record_of(
        cell.id,
        request=cell.to_request().model_dump(mode="json"),
        result=result.model_copy(update={"sweep": make_info(**changes)}),
        score=make_score(0.875, 0.5),
        seconds=12.34,
    )


@pytest.fixture(scope="module")
def cell():
    return make_cell(
        make_settings(),
        dataset="breast_cancer",
        algorithm="svm",
        framework="sklearn",
        mode="sweep",
    )


def row(record):
    return row_of_record(record, 0, 1, None, ())


def test_a_search_with_other_limits_is_another_scale_and_one_of_another_space_is_not(cell):
    def scale(**changes):
        changed = replace(cell, sweep=cell.sweep.model_copy(update=changes))
        return row(make_record(changed)).scale

    assert scale() == row(make_record(cell)).scale
    for name, value in (
        ("trials", 50),
        ("epochs", 9),
        ("seconds", 5.0),
        ("sampler", "gp"),
        ("pruner", PRUNERS[1]),
        ("folds", 3),
        ("batch", 4),
        ("patience", 3),
    ):
        assert scale(**{name: value}) != scale(), name
    smaller = {"params.C": cell.sweep.space["params.C"]}
    assert scale(space=smaller) == scale()
    other = replace(cell, sweep=cell.sweep.model_copy(update={"space": smaller}))
    assert row(make_record(other)).entry != row(make_record(cell)).entry


@pytest.mark.parametrize(
    ("changes", "cut", "timed"),
    [
        ({}, False, True),
        ({"ended": "patience"}, False, True),
        ({"ended": "seconds"}, True, False),
        ({"resumed_trials": 3}, False, False),
        (
            {"trials": (*TRIALS, Trial(index=4, settings={}, outcome="timeout", reason="late"))},
            True,
            False,
        ),
    ],
)
def test_what_the_clock_ended_or_was_resumed_is_in_no_series(cell, changes, cut, timed):
    found = row(make_record(cell, **changes))
    assert (found.cut, found.timed) == (cut, timed)


def test_sweeps_of_two_frameworks_are_never_held_to_each_other(cell):
    trace = ParityTrace(rows_sha256="0" * 64, rungs={"forward": (1.0,)})
    other = make_record(replace(cell, framework="pytorch", algorithm="svm"))
    result = other.result.model_copy(update={"parity": trace})
    other = other.model_copy(update={"result": result, "request": make_record(cell).request})
    trained = replace(cell, mode="train", sweep=None)
    before = [
        other.model_copy(update={"mode": mode, "request": request.model_dump(mode="json")})
        for mode, request in (("sweep", cell.to_request()), ("train", trained.to_request()))
    ]
    assert compare_siblings(cell, result, before) == ()
    assert len(compare_siblings(trained, result, before)) == 1
    [verdict] = [v for v in judge_cell(cell, result, None) if v.gate == "in_parity"]
    assert verdict.status == "not_applicable"
    assert verdict.text == "a sweep may find other settings in each framework"


def test_a_search_that_the_clock_ended_is_held_to_no_band(cell):
    def judge(**changes):
        result = make_record(cell, **changes).result
        verdicts = {v.gate: v for v in judge_cell(cell, result, make_score(0.9, 0.5))}
        return verdicts["in_band"].text

    assert judge() == "there is no accepted band"
    assert judge(ended="seconds") == "the clock ended the search, or a trial of it"


def test_trials_are_placed_in_the_run_by_the_cells_id_alone(tmp_path, cell):
    path = place_trials(tmp_path / "run", cell.id)
    assert path == tmp_path / "run/sweeps/breast_cancer-svm-sklearn-sweep.jsonl"
    assert path.parent.is_dir()
    for name in ("../../etc-b-c-sweep", "a/b-c-d-sweep", "", "a-b-c", "a-b-c-sweep\n"):
        with pytest.raises(MatrixError, match="names no file of trials"):
            place_trials(tmp_path / "run", name)
    (tmp_path / "file").touch()
    with pytest.raises(MatrixError, match="cannot be made"):
        place_trials(tmp_path / "file", cell.id)


def test_trials_are_read_while_they_are_written_and_set_aside_under_new_names(tmp_path, cell):
    path = place_trials(tmp_path, cell.id)
    assert read_trials(path) == []
    lines = [f'{{"kind":"trial","elapsed":1.0,"trial":{t.model_dump_json()}}}' for t in TRIALS]
    path.write_text("\n".join(['{"kind":"sweep","request":"abc"}', *lines, lines[0][:40]]))
    assert read_trials(path) == list(TRIALS)
    set_trials_aside(path)
    path.write_text("again")
    set_trials_aside(path)
    assert sorted(found.name for found in path.parent.iterdir()) == [
        "breast_cancer-svm-sklearn-sweep.1.jsonl",
        "breast_cancer-svm-sklearn-sweep.2.jsonl",
    ]


def test_a_run_that_has_begun_can_be_resumed_without_a_record(tmp_path):
    journal = Journal(
        tmp_path / "runs/r1", lambda name: describe_run(name, tmp_path, (), RuntimeSpec())
    )
    journal.begin()
    journal.begin()
    text = (journal.folder / JOURNAL).read_text()
    assert text.count("\n") == 1
    run = read_run(journal.folder)
    assert (run.head.run, run.records, run.damage) == ("r1", (), ())


def test_a_standing_has_the_best_complete_trial_and_the_declared_one():
    found = stand(TRIALS, greater_is_better=True)
    assert (found.trials, found.pruned, found.failed) == (4, 1, 1)
    assert (found.best, found.default) == (0.8125, 0.75)
    assert stand(TRIALS, greater_is_better=False).best == 0.75
    assert stand((), True) == stand(TRIALS[3:], True).__class__(0, 0, 0, None, None)


def test_lines_and_the_closing_table_tell_tuned_from_default(tmp_path, cell, capsys):
    import sys

    row = Row(cell, place_trials(tmp_path, cell.id))
    with Progress([row], sys.stdout) as progress:
        progress.begin(row)
        progress.end(row, make_record(cell))
    [line] = capsys.readouterr().out.splitlines()
    assert line.startswith(
        "breast_cancer-svm-sklearn-sweep: ok, 4/20 trials, 1 pruned, 1 failed, best 0.8125, "
        "default 0.75, "
    )
    failed = record_of("wine-mlp-jax-sweep", outcome="timeout", reason="late", seconds=300.0)
    header, first, second, blank, settings = describe_sweeps([make_record(cell), failed])
    names = header.split()
    assert dict(zip(names, first.split(), strict=True)) == {
        "cell": "breast_cancer-svm-sklearn-sweep",
        "metric": "roc_auc",
        "tuned": "0.875",
        "default": "0.5",
        "trials": "4",
        "pruned": "1",
        "failed": "1",
        "seconds": "12.3",
    }
    assert second.split() == ["wine-mlp-jax-sweep", "timeout", *"–––––", "300.0"]
    assert (blank, settings) == ("", "breast_cancer-svm-sklearn-sweep: params.C 0.5")
