import json
import random

import pytest
from report_fixture import make_record, make_run
from report_matrix import make_failure, make_matrix_record
from sweep_fixture import DEFAULT, make_info, make_sweep, make_trials, write_trials

from harness.report.cells import build_row
from harness.report.datasetpage import build_datasets
from harness.report.files import name_file, read_data
from harness.report.heatmap import build_heatmaps
from harness.report.pages import build_run_page
from harness.report.profiles import Profiled
from harness.report.rankingpage import build_ranking_page
from harness.report.reference import Reference
from harness.report.site import write_site
from harness.report.sweeppanel import build_panel
from harness.report.sweeps import build_sweeps, name_settings, write_setting
from harness.report.tuned import Swept, compare_sweeps
from ml.core.trials import Choice, FloatRange, IntRange

pytestmark = pytest.mark.unit

BETTER_IN_ALL = (
    "Tuned, roc_auc is 0.8900 on the test rows, against 0.8500 by default: better by 0.0400, "
    "in 3 of 3 replicates (from +0.0200 to +0.0500)."
)


def info_of(metric="roc_auc", **changes):
    return make_info(random.Random(0), metric, **changes)


def test_the_tuned_model_stands_beside_the_default_one_in_words_and_numbers():
    panel = build_panel(make_sweep())
    assert panel.verdict == BETTER_IN_ALL
    assert [(pair.tuned, pair.default) for pair in panel.pairs] == [
        *((0.9, 0.85), (0.88, 0.86), (0.89, 0.84)),
    ]
    assert [round(pair.gain, 9) for pair in panel.pairs] == [0.05, 0.02, 0.05]
    chosen, split, cost = panel.told
    assert chosen.startswith(
        "On the 1,125 validation rows, by which trials are chosen, trial 7 had 0.9000, the default "
        "(trial 0) 0.87"
    )
    assert "which no trial saw" in chosen
    assert split.startswith("All replicates stand on one split")
    assert cost == (
        "20 trials: 14 ok, 5 pruned, 1 failed; 143 epochs in 14.2 s. "
        "The search ended when all its trials were made."
    )
    assert (panel.best, panel.steps) == (7, "epoch")
    assert panel.outcomes == {"ok": "ok", "pruned": "pruned", "diverged": "diverged"}


def test_of_an_error_the_smaller_is_the_gain():
    info = info_of("rmse", default=(50.0, 52.0, 49.0), good=39.0)
    record = make_sweep(task="regression", metric="rmse", tuned=(40.0, 53.0, 42.0), info=info)
    panel = build_panel(record)
    assert [pair.gain for pair in panel.pairs] == [10.0, -1.0, 7.0]
    assert panel.verdict == (
        "Tuned, rmse is 45.00 on the test rows, against 50.33 by default: better by 5.33, "
        "in 2 of 3 replicates (from −1.00 to +10.0)."
    )


def test_a_tuned_model_that_is_worse_or_the_default_is_said_to_be():
    worse = build_panel(make_sweep(tuned=(0.8, 0.81, 0.86)))
    assert ": worse by 0.0267, in 2 of 3 replicates (from −0.0500 to +0.0200)." in worse.verdict
    same = build_panel(make_sweep(info=info_of(best=0)))
    assert same.verdict.startswith("No trial was better than the default, so the tuned model is")
    assert not any("by which trials are chosen" in text for text in same.told)
    (line,) = build_sweeps([make_sweep(info=info_of(best=0))])
    assert line.is_default


def test_a_default_without_a_metric_or_a_value_is_told_with_its_reason():
    trials = make_trials(random.Random(0))
    first = trials[0].model_copy(
        update={"outcome": "diverged", "reason": "the loss is not finite", "value": None}
    )
    panel = build_panel(
        make_sweep(
            info=info_of(trials=20, default=()).model_copy(update={"trials": (first, *trials[1:])})
        )
    )
    assert panel.verdict == (
        "The tuned model has roc_auc 0.8900 on the test rows; the default has none to compare with."
    )
    assert "the default (trial 0) had none: diverged, the loss is not finite." in panel.told[0]
    assert [pair.gain for pair in panel.pairs] == [None, None, None]


def test_an_axis_holds_what_was_searched_and_every_setting():
    axes = {axis.path: axis for axis in build_panel(make_sweep()).axes}
    rate = axes["optimizer.learning_rate"]
    assert (rate.name, rate.log, rate.low, rate.high) == ("learning_rate", True, 1e-4, 0.1)
    assert rate.searched == "0.0001 to 0.1 (log)"
    assert axes["batch_size"].levels == (32, 64, 128)
    assert axes["batch_size"].searched == "one of 32, 64, 128"
    assert axes["hidden.units"].searched == "8 to 128 (log)"
    beyond = {**DEFAULT, "dropout": 0.7}
    trials = make_trials(random.Random(0))
    info = info_of().model_copy(
        update={"trials": (trials[0].model_copy(update={"settings": beyond}), *trials[1:])}
    )
    (dropout,) = [one for one in build_panel(make_sweep(info=info)).axes if one.name == "dropout"]
    assert (dropout.low, dropout.high) == (0.0, 0.7)


def test_a_zero_beside_a_logarithmic_range_stands_below_it():
    trials = make_trials(random.Random(0))
    off = trials[0].model_copy(
        update={"settings": {**DEFAULT, "optimizer.learning_rate": 0.0, "hidden.units": -1}}
    )
    info = info_of().model_copy(update={"trials": (off, *trials[1:])})
    axes = {axis.name: axis for axis in build_panel(make_sweep(info=info)).axes}
    rate, units = axes["learning_rate"], axes["hidden.units"]
    assert (rate.log, rate.zero, rate.low, rate.high) == (True, True, 1e-4, 0.1)
    assert (units.log, units.zero, units.low, units.high) == (False, False, -1.0, 128.0)


def test_an_estimators_trainings_are_no_epochs():
    sweep = make_sweep(framework="sklearn")
    assert "; 143 trainings in 14.2 s." in build_panel(sweep).told[-1]


def test_what_differs_by_rounding_is_alike():
    one, two = swept("pytorch", (0.9, 0.8, 0.7)), swept("tensorflow", (0.9, 0.8, 0.7 + 1e-8))
    best = compare_sweeps([one, two, swept("sklearn", (0.6, 0.6, 0.6))])
    assert best.verdict == "PyTorch's best, mlp, and TensorFlow's, mlp, have the same roc_auc."
    facts = {name: place for name, _, place in best.facts}
    assert (facts["roc_auc"], facts["gain by tuning"]) == (None, None)


def test_without_a_readable_space_the_axes_are_those_of_the_settings():
    for asked in ({}, {"sweep": None}, {"sweep": {"space": {"a": {"kind": "wave"}}}}):
        record = make_sweep().model_copy(update={"request": asked})
        axes = {axis.name: axis for axis in build_panel(record).axes}
        assert list(axes) == ["learning_rate", "batch_size", "dropout", "hidden.units"]
        assert (axes["batch_size"].low, axes["batch_size"].high) == (32.0, 128.0)
        assert not axes["learning_rate"].log
        assert axes["learning_rate"].searched == ""


def test_settings_of_several_types_are_levels():
    space = {
        "params.max_depth": Choice(values=("none", 3)),
        "params.gamma": IntRange(low=1, high=9, step=2),
    }
    trials = tuple(
        trial.model_copy(
            update={
                "settings": {"params.max_depth": ("none", 3)[trial.index % 2], "params.gamma": 3}
            }
        )
        for trial in make_trials(random.Random(0))
    )
    info = info_of().model_copy(update={"trials": trials})
    depth, gamma = build_panel(make_sweep(info=info, space=space)).axes
    assert (depth.name, depth.levels, depth.low) == ("max_depth", ("none", 3), None)
    assert (gamma.low, gamma.high, gamma.searched) == (1.0, 9.0, "1 to 9 by 2")


def test_importance_names_its_method_or_says_why_there_is_none():
    panel = build_panel(make_sweep())
    assert panel.importance[0] == ("learning_rate", 0.71)
    assert [name for name, _ in panel.importance][1:] == ["hidden.units", "batch_size", "dropout"]
    assert panel.importance_words.startswith("By fANOVA: the share of the variance")
    few = build_panel(make_sweep(info=info_of(importance={}, importance_method="")))
    assert few.importance_words == "There is none: 19 trials with a value are too few to tell."


def test_a_cut_sweep_that_was_resumed_says_so():
    panel = build_panel(make_sweep(info=info_of(resumed_trials=1, ended="seconds")))
    assert panel.told[-2].endswith("The search ended when its seconds were used up.")
    assert panel.told[-1] == (
        "1 trial was in the journal of a sweep that had been cut off, and was not trained again."
    )


def test_names_are_short_where_they_stay_distinct():
    assert name_settings(["optimizer.a", "params.b", "c.d", "e"]) == {
        "optimizer.a": "a",
        "params.b": "b",
        "c.d": "c.d",
        "e": "e",
    }
    assert name_settings(["optimizer.a", "params.a"]) == {
        "optimizer.a": "optimizer.a",
        "params.a": "params.a",
    }
    written = [write_setting(one) for one in (0.00123456, 64, True, (64, 32), "relu", ())]
    assert written == ["0.001235", "64", "true", "64 × 32", "relu", "–"]


def test_the_run_lists_its_sweeps_also_those_that_failed(tmp_path):
    failed = make_failure("oils", "mlp", "pytorch", "timeout", mode="sweep")
    run = make_run(tmp_path / "a", make_sweep(), make_record(), failed)
    lost, line = build_run_page(run, ()).sweeps
    assert (lost.cell, lost.outcome, lost.trials) == ("oils-mlp-pytorch-sweep", "timeout", 0)
    assert lost.reason == "no result after 300 s; the worker was killed"
    assert (line.cell, line.anchor) == ("wine-mlp-pytorch-sweep", "cell-wine-mlp-pytorch-sweep")
    assert (line.trials, line.ok, line.pruned, line.failed) == (20, 14, 5, 1)
    assert (line.tuned, line.default) == (pytest.approx(0.89), pytest.approx(0.85))
    assert line.gain == pytest.approx(0.04)
    assert line.settings[1] == ("batch_size", "64")
    assert (line.epochs, line.seconds) == (143, pytest.approx(14.2))
    row = build_row(make_sweep(), "a")
    assert row.detail.model.endswith(
        "tuned: trial 7 of 20 trials: 14 ok, 5 pruned, 1 failed; "
        "roc_auc better than the default's by 0.0400"
    )


def swept(framework, tuned, **changes):
    return Swept("run", make_sweep(framework=framework, tuned=tuned, **changes))


def test_the_best_tuned_models_of_the_frameworks_stand_side_by_side():
    best = compare_sweeps(
        [
            swept("sklearn", (0.84, 0.83, 0.85)),
            swept("tensorflow", (0.88, 0.89, 0.90)),
            swept("pytorch", (0.9, 0.88, 0.89)),
            swept("pytorch", (0.7, 0.7, 0.7), algorithm="linear"),
            Swept("run", make_failure("wine", "mlp", "jax", "crashed", mode="sweep")),
        ]
    )
    assert best.frameworks == ("PyTorch", "TensorFlow", "scikit-learn")
    assert best.algorithms == ("mlp", "mlp", "mlp")
    assert best.missing == (("JAX", "the worker died of SIGSEGV while it trained"),)
    facts = {name: (texts, place) for name, texts, place in best.facts}
    assert facts["roc_auc"][0] == ("0.8900 ± 0.010", "0.8900 ± 0.010", "0.8400 ± 0.010")
    assert facts["default's roc_auc"] == (("0.8500",) * 3, None)
    assert facts["gain by tuning"][0] == (
        "+0.0400, better in 3 of 3",
        "+0.0400, better in 3 of 3",
        "−0.0100, better in 1 of 3",
    )
    assert facts["trials"][0][0] == "20: 14 ok, 5 pruned, 1 failed"
    assert facts["budget"][0][0] == "20 trials, tpe, successive_halving"
    assert facts["epochs of all trials"][0] == ("143",) * 3
    assert facts["search"][0] == ("14.2 s",) * 3
    assert best.verdict.startswith("PyTorch's best, mlp, and TensorFlow's, mlp,")
    assert "budgets" not in best.verdict


def test_replicates_of_one_split_are_paired_by_their_places():
    verdict = compare_sweeps(
        [swept("pytorch", (0.9, 0.8, 0.7)), swept("tensorflow", (0.8, 0.85, 0.6))]
    ).verdict
    assert verdict.endswith(
        "On the same splits it is so in 2 of 3 replicates (from -0.05 to +0.1)."
    )


def test_unequal_budgets_are_said_to_be_no_fair_comparison():
    small = info_of(trials=9)
    verdict = compare_sweeps(
        [swept("pytorch", (0.9, 0.8, 0.7)), swept("sklearn", (0.8, 0.85, 0.6), info=small)]
    ).verdict
    assert verdict == "Their budgets differ, so that this comparison is not an equal one."


def test_no_sweep_and_no_result_have_no_panel():
    assert compare_sweeps([]) is None
    failed = make_failure("wine", "mlp", "jax", "crashed", mode="sweep")
    assert compare_sweeps([Swept("run", failed)]) is None
    assert build_panel(failed) is None
    assert build_panel(make_record()) is None


def test_tuned_models_are_not_the_best_of_a_dataset_among_those_as_declared():
    train = make_matrix_record("wine", "mlp", "pytorch", "classification")
    sweep = make_sweep(tuned=(0.99, 0.99, 0.99))
    references = {"wine": Reference("run", None, (train, sweep))}
    index, (page,) = build_datasets(
        references, {"wine": Profiled(None, "no table")}, [Swept("older", sweep)]
    )
    assert page.best.cells == ("wine-mlp-pytorch-train",)
    assert page.tuned.cells == ("wine-mlp-pytorch-sweep",)
    assert {name: texts for name, texts, _ in page.tuned.facts}["run"] == ("older",)
    assert index.lines[0].best == "mlp (pytorch)"
    assert [cell.mode for cell in page.cells] == ["sweep", "train"]


def test_tuned_models_are_ranked_among_themselves():
    records = [
        make_matrix_record(dataset, algorithm, "sklearn", "classification")
        for dataset in ("wine", "oils", "digits")
        for algorithm in ("linear", "mlp")
    ]
    sweeps = [
        make_sweep(dataset, algorithm, "sklearn", tuned=(value, value, value))
        for dataset in ("wine", "oils", "digits")
        for algorithm, value in (("linear", 0.8), ("mlp", 0.9))
    ]
    page = build_ranking_page("algorithms", Reference("run", None, (*records, *sweeps)))
    first, tuned = page.sections
    assert {one.name for one in first.ranking.standings} == {"linear", "mlp"}
    assert tuned.title == "Tuned models"
    assert [one.name for one in tuned.ranking.standings] == ["mlp · sweep", "linear · sweep"]
    assert page.tuned == (
        "6 sweeps left out: a tuned model is the best of many trials. Tuned models are ranked "
        "among themselves, at the end; their seconds of a fit are those of the refits, without "
        "the search."
    )
    alone = build_ranking_page("algorithms", Reference("run", None, (*records, sweeps[0])))
    assert len(alone.sections) == 1
    assert alone.tuned.endswith("and no two can be compared with each other.")


def test_a_heatmap_has_tuned_models_in_a_column_of_their_own():
    records = [make_matrix_record("wine", "mlp", "pytorch", "classification"), make_sweep()]
    (heatmap,) = build_heatmaps(records, {record.cell: "#" for record in records})
    assert heatmap.columns == ("mlp", "mlp · sweep")
    assert heatmap.has_sweeps
    (plain,) = build_heatmaps(records[:1], {records[0].cell: "#"})
    assert not plain.has_sweeps


def test_a_cell_loads_its_trials_and_the_overview_does_not(tmp_path):
    sweep = make_sweep()
    run = make_run(
        tmp_path / "runs" / "b", sweep, make_matrix_record("wine", "mlp", "jax", "classification")
    )
    index = write_site(tmp_path, [run])
    stored = read_data(tmp_path, name_file("cell", sweep.cell))
    panel = stored["newest"]["sweep"]
    assert panel["verdict"] == BETTER_IN_ALL
    assert panel["trials"] == []
    assert len(json.loads(stored["newest"]["record"])["result"]["sweep"]["trials"]) == 20
    assert "learning_rate" not in index.read_text()
    (line,) = read_data(tmp_path, name_file("run", "b"))["sweeps"]
    assert (line["cell"], line["trials"]) == (sweep.cell, 20)
    assert read_data(tmp_path, "runs")["runs"][0]["sweeps"] == 1


def test_a_sweep_without_a_result_shows_the_trials_that_had_ended(tmp_path):
    failed = make_failure("oils", "mlp", "pytorch", "timeout", mode="sweep")
    run = make_run(tmp_path / "runs" / "b", failed)
    write_trials(run, failed.cell, make_trials(random.Random(0), 6)[::-1])
    write_site(tmp_path, [run])
    panel = read_data(tmp_path, name_file("cell", failed.cell))["newest"]["sweep"]
    assert panel["verdict"] == "The sweep gave no tuned model."
    assert panel["told"][0].startswith("6 trials had ended before: 4 ok, 1 pruned, 1 failed.")
    assert [trial["index"] for trial in panel["trials"]] == list(range(6))
    assert panel["best"] is None


def test_a_run_of_sweeps_alone_is_no_reference_and_hides_no_dataset(tmp_path):
    cells = [
        make_matrix_record("wine", algorithm, "sklearn", "classification")
        for algorithm in ("linear", "mlp")
    ]
    seldom = make_matrix_record("oils", "mlp", "sklearn", "classification")
    oldest = make_run(tmp_path / "runs" / "0", seldom)
    older = make_run(tmp_path / "runs" / "a", *cells)
    newer = make_run(
        tmp_path / "runs" / "b",
        *(make_sweep(framework=framework) for framework in ("pytorch", "jax", "tensorflow")),
        make_sweep("oils"),
    )
    write_site(tmp_path, [newer, older, oldest])
    (page,) = (tmp_path / "datasets").glob("dataset-wine*.html")
    text = page.read_text()
    assert "run a," in text
    assert 'id="tuned"' in text
    assert "run a" in (tmp_path / "algorithms.html").read_text()
    (page,) = (tmp_path / "datasets").glob("dataset-oils*.html")
    assert "run 0," in page.read_text()


def test_a_space_of_a_range_with_one_value_has_an_axis():
    space = {"dropout": FloatRange(low=0.1, high=0.1)}
    trials = tuple(
        trial.model_copy(update={"settings": {"dropout": 0.1}})
        for trial in make_trials(random.Random(0))
    )
    info = info_of().model_copy(update={"trials": trials})
    (axis,) = build_panel(make_sweep(info=info, space=space)).axes
    assert (axis.low, axis.high) == (0.1, 0.1)
