import dataclasses
import json

import numpy as np
import pytest

from ml.core.contracts import (
    Budget,
    EstimatorSpec,
    ExpectedBreach,
    InlineData,
    SketchSpec,
    TrainRequest,
)
from ml.core.errors import DataInvalid
from ml.core.inspection import inspect_data
from ml.core.rules import ColumnRule, FunctionData, SplitRule
from ml.core.splits import Split, split_rows
from ml.core.table import Table
from ml.datasets.schema import check_schema, propose_schema
from ml.health.contract import ContractBreached, breaches_of, check_contract
from ml.health.drift import Memory

pytestmark = pytest.mark.unit

ROWS = 400


def make_table(rule="random", task="classification", seed=0, rows=ROWS, **changes):
    draw = np.random.default_rng(seed)
    first, second = draw.normal(size=(2, rows))
    signal = first + 0.4 * draw.normal(size=rows)
    target = (signal > 0).astype(np.int64) if task == "classification" else signal
    values = {
        "id": "claims",
        "task": task,
        "content_sha256": f"{seed}" * 64,
        "numeric": np.column_stack([first, second]),
        "numeric_names": ("amount", "age"),
        "categorical": draw.integers(0, 3, (rows, 1)).astype(np.int32),
        "categorical_names": ("kind",),
        "levels": (("a", "b", "c"),),
        "target": target,
        "classes": ("no", "yes") if task == "classification" else (),
        "split": SplitRule(rule=rule, column=None if rule == "random" else "day"),
        "time": np.arange(rows) // 4 if rule == "time" else None,
        "group": np.arange(rows) // 4 if rule == "group" else None,
    }
    return Table(**(values | changes))


def rules(table, **changes):
    values = {
        "id": "claims",
        "task": table.task,
        "target": "paid",
        "split": table.split,
        "function": "tables:claims",
    }
    return FunctionData(**(values | changes))


def report_of(table, split=None, memory=None, **changes):
    split = split or split_rows(table, 7, 0)
    return check_contract(table, split, rules(table, **changes), memory=memory)


def status(report):
    return {check.name: check.status for check in report.checks}


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("rule", ["random", "time", "group"])
def test_a_sound_table_keeps_its_contract(rule, task):
    report = report_of(make_table(rule, task))
    assert report.breaches == ()
    assert set(status(report).values()) == {"passed"}
    own = {"time": {"time"}, "group": {"groups"}, "random": set()}[rule]
    named = {"repeats", "predictor"} | own
    assert set(status(report)) == named | (
        {"classes", "labels"} if task == "classification" else set()
    )


@pytest.mark.parametrize(("leaked", "found"), [(0, "passed"), (4, "warning"), (40, "breach")])
def test_test_rows_that_also_train_are_found(leaked, found):
    table = make_table()
    split = split_rows(table, 7, 0)
    numeric, categorical, target = (
        np.array(values) for values in (table.numeric, table.categorical, table.target)
    )
    for values in (numeric, categorical, target):
        values[split.train[:leaked]] = values[split.test[:leaked]]
    leaky = dataclasses.replace(table, numeric=numeric, categorical=categorical, target=target)
    report = report_of(leaky, split)
    assert status(report)["repeats"] == found
    assert report.checks[0].found == f"{leaked / 100:.1%} of the test rows also train"


def test_rows_of_coarse_columns_may_be_equal_by_chance():
    table = make_table()
    coarse = dataclasses.replace(table, numeric=np.sign(table.numeric))
    assert status(report_of(coarse))["repeats"] == "passed"


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("copy", ["numeric", "categorical", "missing"])
def test_a_column_that_gives_the_answer_away_is_found(task, copy):
    table = make_table(task=task)
    if copy == "categorical" and task == "classification":
        codes = (1 - table.target)[:, None].astype(np.int32)
        leaky = dataclasses.replace(table, categorical=codes, levels=(("in", "out"),))
        column = "kind"
    else:
        # A monotone function of it, or a value that is missing only for one class.
        values = np.exp(table.target.astype(float))
        if copy == "missing" and task == "classification":
            values = np.where(table.target == 1, np.nan, np.arange(ROWS) % 2)
        leaky = dataclasses.replace(table, numeric=np.column_stack([table.numeric[:, 0], values]))
        column = "age"
    report = report_of(leaky)
    [breach] = breaches_of(report)
    assert (breach.check, breach.column) == ("predictor", column)
    reason = "the state is known when the claim is made"
    expected = ExpectedBreach(check="predictor", column=column, reason=reason)
    allowed = report_of(leaky, expected_breaches=(expected,))
    assert breaches_of(allowed) == []
    assert status(allowed)["predictor"] == "expected"
    assert allowed.breaches[0].expected == reason
    other = expected.model_copy(update={"column": "amount"})
    assert breaches_of(report_of(leaky, expected_breaches=(other,))) == [breach]


def test_past_values_of_the_target_may_tell_it():
    table = make_table("time", "regression")
    past = np.column_stack([table.numeric[:, 0], table.target])
    lagged = dataclasses.replace(table, numeric=past, window=("age",))
    assert status(report_of(lagged))["predictor"] == "passed"
    assert status(report_of(dataclasses.replace(lagged, window=())))["predictor"] == "breach"


def test_time_that_runs_backwards_is_found():
    table = make_table("time")
    split = split_rows(table, 7, 0)
    assert status(report_of(table, split))["time"] == "passed"
    backwards = dataclasses.replace(table, time=table.time[::-1].copy())
    [breach] = breaches_of(report_of(backwards, split))
    assert (breach.check, breach.column) == ("time", "day")
    assert f"{split.test.size} test rows" in breach.message
    # One row of the first tested period trains; the three others of that period are no newer.
    torn = Split(np.append(split.train, split.test[:1]), split.validation, split.test[1:])
    [breach] = breaches_of(report_of(table, torn))
    assert "3 test rows are no newer" in breach.message


def test_a_group_on_both_sides_is_found():
    table = make_table("group")
    split = split_rows(table, 7, 0)
    torn = Split(np.sort(np.append(split.train, split.test[:1])), split.validation, split.test[1:])
    [breach] = breaches_of(report_of(table, torn))
    assert breach.check == "groups"
    assert breach.message.startswith("1 groups")


def test_a_class_without_rows_is_found():
    table = make_table()
    classes = ("no", "yes", "perhaps")
    target = table.target.copy()
    target[:6] = 2
    split = split_rows(table, 7, 0)
    trained = np.concatenate([split.train, split.validation])
    target[trained[target[trained] == 2]] = 0
    target[split.test[:3]] = 2
    rare = dataclasses.replace(table, target=target, classes=classes)
    [breach] = breaches_of(report_of(rare, split))
    assert breach.message == "the class 'perhaps' has no row that trains"
    few = target.copy()
    few[trained[:2]] = 2
    report = report_of(dataclasses.replace(rare, target=few), split)
    assert status(report)["classes"] == "warning"
    assert breaches_of(report) == []


def test_flipped_labels_are_noise_that_has_grown(tmp_path):
    pytest.importorskip("pyarrow")
    spec = SketchSpec(folder=str(tmp_path), run="first")
    clean = make_table()
    assert breaches_of(report_of(clean, memory=Memory(spec, "claims"))) == []
    draw = np.random.default_rng(1)
    again = make_table(seed=1)
    flipped = np.where(draw.random(ROWS) < 0.3, 1 - again.target, again.target)
    noisy = dataclasses.replace(again, target=flipped)
    later = spec.model_copy(update={"run": "second"})
    found = breaches_of(report_of(noisy, memory=Memory(later, "claims")))
    assert [breach.check for breach in found] == ["labels"]
    # Without an earlier table no share of noise is too large: what is natural is not known.
    assert breaches_of(report_of(noisy)) == []
    # The refused table is not what the next one is compared with.
    assert Memory(later, "claims").known.content == clean.content_sha256
    report = report_of(again, memory=Memory(later, "claims"))
    assert status(report)["labels"] == "passed"
    assert "it was" in next(c.found for c in report.checks if c.name == "labels")


def test_a_table_that_collapsed_since_the_last_run_is_refused(tmp_path):
    pytest.importorskip("pyarrow")
    run = [SketchSpec(folder=str(tmp_path), run=f"run-{number}") for number in range(5)]

    def check(table, spec, **changes):
        return report_of(table, memory=Memory(spec, "claims"), **changes)

    def drift(report):
        return next(check for check in report.checks if check.name == "drift")

    table = make_table(rows=1200)
    assert drift(check(table, run[0])).found == "there is no earlier table to compare with"
    assert drift(check(table, run[1])).found == "the table is that of the last run"
    healthy = make_table(seed=3, rows=1200)
    assert drift(check(healthy, run[2])).found.startswith("healthy beside the last run's table")
    draw = np.random.default_rng(4)
    fresh = make_table(seed=4, rows=1200)
    few = draw.integers(0, 60, 1200)
    lost = dataclasses.replace(
        fresh,
        numeric=fresh.numeric[few],
        categorical=np.zeros_like(fresh.categorical),
        target=fresh.target[few],
        content_sha256="9" * 64,
    )
    few_distinct = (declared("repeats"), declared("predictor"))
    for _ in range(2):
        report = check(lost, run[3], expected_breaches=few_distinct)
        [breach] = breaches_of(report)
        assert breach.message.startswith("collapsed beside the last run's table, 333333333333: ")
    state = json.loads((tmp_path / "claims" / "table.json").read_text())
    assert (state["content"], state["refused"]) == (healthy.content_sha256, "9" * 64)
    natural = (*few_distinct, declared("drift"))
    assert status(check(lost, run[4], expected_breaches=natural))["drift"] == "expected"
    assert Memory(run[4], "claims").known.content == "9" * 64
    kept = {path.name for path in (tmp_path / "claims").iterdir() if path.is_dir()}
    assert kept == {"9" * 16, "3" * 16}


def declared(check):
    return ExpectedBreach(check=check, reason="it is so by nature")


def test_a_changed_table_is_told_alike_throughout_a_run(tmp_path):
    pytest.importorskip("pyarrow")
    first, second = (SketchSpec(folder=str(tmp_path), run=name) for name in ("a", "b"))
    report_of(make_table(), memory=Memory(first, "claims"))
    shifted = make_table(seed=5)
    shifted = dataclasses.replace(shifted, numeric=shifted.numeric + 2)
    told = [report_of(shifted, memory=Memory(second, "claims")) for _ in range(2)]
    assert told[0] == told[1]
    assert status(told[0])["drift"] == "warning"
    assert breaches_of(told[0]) == []


def test_what_cannot_be_compared_or_kept_is_no_fault_of_the_table(tmp_path):
    pytest.importorskip("pyarrow")
    spec = SketchSpec(folder=str(tmp_path), run="a")
    report_of(make_table(), memory=Memory(spec, "claims"))
    next((tmp_path / "claims").glob("*/model.safetensors")).write_bytes(b"cut")
    report = report_of(make_table(seed=1), memory=Memory(spec, "claims"))
    assert status(report)["drift"] == "warning"
    (tmp_path / "file").write_text("")
    nowhere = SketchSpec(folder=str(tmp_path / "file"), run="a")
    assert breaches_of(report_of(make_table(), memory=Memory(nowhere, "claims"))) == []


@pytest.mark.parametrize("rule", ["random", "time", "group"])
def test_odd_columns_are_no_fault_of_the_check(tmp_path, rule):
    pytest.importorskip("pyarrow")
    table = make_table(rule, rows=60)
    huge = np.where(np.arange(60) % 2, 1.7e308, -1e308)
    columns = {"gone": np.full(60, np.nan), "one": np.ones(60), "huge": huge}
    changed = [
        dataclasses.replace(
            table,
            numeric=np.column_stack([table.numeric[:, 0], column]),
            content_sha256=name.ljust(64, "-"),
        )
        for name, column in columns.items()
    ]
    bare = dataclasses.replace(
        table, numeric=np.empty((60, 0)), numeric_names=(), content_sha256="b" * 64
    )
    named = dataclasses.replace(table, numeric_names=("paid", "age"), content_sha256="n" * 64)
    for number, other in enumerate([table, *changed, bare, named]):
        memory = Memory(SketchSpec(folder=str(tmp_path), run=str(number)), "claims")
        assert "drift" in status(report_of(other, memory=memory))


SCHEMA = {
    "paid": ColumnRule(kind="categorical", categories=("no", "yes"), missing=0.0),
    "amount": ColumnRule(kind="numeric", low=-6.0, high=6.0, missing=0.1),
    "kind": ColumnRule(kind="categorical", categories=("a", "b", "c")),
}


@pytest.mark.parametrize(
    ("column", "changes", "words"),
    [
        (None, {}, None),
        ("amount", {"low": 0.0}, "below 0, down to -"),
        ("amount", {"high": 1.0}, "above 1, up to "),
        ("kind", {"categories": ("a", "b")}, "not declared: 'c'"),
        ("paid", {"categories": ("no", "yes", "late")}, "has no row of 'late'"),
        ("amount", {"kind": "categorical", "low": None, "high": None}, "is numeric, and is decl"),
        ("kind", {"missing": 0.0}, "of the values are missing, of 0.0% at most"),
    ],
)
def test_the_schema_is_held_to(column, changes, words):
    table = make_table()
    if "missing" in changes:
        table.categorical[:3] = -1
    schema = dict(SCHEMA)
    if column is not None:
        schema[column] = ColumnRule(**{**SCHEMA[column].model_dump(), **changes})
    report = report_of(table, table_schema=schema)
    assert [breach.column for breach in breaches_of(report)] == [column] * (column is not None)
    if words is not None:
        assert words in report.breaches[0].message


def test_a_column_that_is_missing_breaks_the_schema():
    schema = {**SCHEMA, "weight": ColumnRule(kind="numeric")}
    [breach] = check_schema(make_table(), "paid", schema)
    assert breach.message.startswith("there is no column 'weight'")


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_proposed_schema_holds_for_the_table_it_was_made_of(task):
    table = make_table(task=task)
    table.numeric[:100, 1] = np.nan
    proposed = propose_schema(table, "paid")
    schema = {name: ColumnRule(**tuples(rule)) for name, rule in proposed.items()}
    assert set(schema) == {"paid", "amount", "age", "kind"}
    assert check_schema(table, "paid", schema) == []
    assert schema["age"].missing == 0.5
    table.numeric[:210, 1] = np.nan
    assert len(check_schema(table, "paid", schema)) == 1


def tuples(rule):
    return {name: tuple(v) if isinstance(v, list) else v for name, v in rule.items()}


def inline(**changes):
    values = [row / 8 for row in range(80)]
    data = {
        "task": "regression",
        "target": "y",
        "columns": {"x": tuple(values), "y": tuple(2 * value for value in values)},
    }
    return TrainRequest(
        data=InlineData(**(data | changes)),
        model=EstimatorSpec(estimator="dummy"),
        budget=Budget(rows=100),
    )


def test_values_of_a_request_may_tell_the_target_but_keep_their_schema():
    report = inspect_data(inline())
    assert status(report)["predictor"] == "warning"
    bounded = {"x": ColumnRule(kind="numeric", high=5.0)}
    with pytest.raises(ContractBreached, match=r"39 values are above 5, up to 9\.875") as caught:
        inspect_data(inline(table_schema=bounded))
    assert (caught.value.outcome, caught.value.code) == ("data_invalid", "contract_breached")
    assert caught.value.field == "x"
    assert caught.value.contract.breaches[0].check == "schema"


def test_a_dataset_is_inspected_once(monkeypatch):
    from ml.core import inspection

    seen = []
    kept = inspection.check_contract
    monkeypatch.setattr(
        inspection, "check_contract", lambda *a, **k: seen.append(1) or kept(*a, **k)
    )
    request = inline(id="looked_at")
    assert inspect_data(request) is inspect_data(request)
    inspect_data(request.model_copy(update={"seed": 1}))
    assert len(seen) == 2


def test_a_table_that_is_none_is_told_as_before():
    with pytest.raises(DataInvalid) as caught:
        inspect_data(inline(target="z"))
    assert caught.value.code == "missing_column"
    assert not isinstance(caught.value, ContractBreached)


def test_noise_is_told_of_few_rows_only_where_there_are_enough():
    assert "labels" not in status(report_of(make_table(rows=40)))
