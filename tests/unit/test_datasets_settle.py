from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from ml.core.contracts import ForecastRule, InlineData, SplitRule
from ml.core.errors import DataInvalid
from ml.core.table import Table
from ml.datasets.columns import Columns, raw_column
from ml.datasets.fingerprint import content_sha256
from ml.datasets.load import table_from_values
from ml.datasets.periods import calendar_features, lagged, parse_periods
from ml.datasets.settle import Rules, settle

pytestmark = pytest.mark.unit

TIME = SplitRule(rule="time", column="when")


def columns_of(**values: list[Any]) -> Columns:
    return {name: raw_column(column, name) for name, column in values.items()}


def rules(**fields: Any) -> Rules:
    known: dict[str, Any] = {"task": "regression", "target": "y", "split": SplitRule()}
    known |= {"id": "t", "forecast": None, "positive": None} | fields
    return Rules(**known)


def inline(task: str = "regression", target: str = "y", **columns: list[Any]) -> InlineData:
    values = {name: tuple(column) for name, column in columns.items()}
    return InlineData(id="t", task=task, target=target, columns=values)


def test_kinds_missing_values_and_infinities_are_settled():
    table = settle(
        columns_of(
            number=["1", " 2.5", "-999", "inf", ""],
            declared=["01", "02", "01", "", "NA"],
            mixed=["a", "1", "b", "?", "a"],
            truth=[True, False, None, True, True],
            typed=[-999.0, -999, 3, "-999.0", 5],
            y=[1, 2, 3, 4, 5],
        ),
        rules(categorical=("declared",), missing=frozenset({"-999", "NA", "?"})),
    )
    nan = np.nan
    assert table.numeric_names == ("number", "truth", "typed")
    np.testing.assert_array_equal(table.numeric[:, 0], [1, 2.5, nan, nan, nan])
    np.testing.assert_array_equal(table.numeric[:, 1], [1, 0, nan, 1, 1])
    np.testing.assert_array_equal(table.numeric[:, 2], [nan, nan, 3, nan, 5])
    assert table.categorical_names == ("declared", "mixed")
    assert table.levels == (("01", "02"), ("1", "a", "b"))
    assert table.categorical.T.tolist() == [[0, 1, 0, -1, -1], [1, 0, 2, -1, 1]]
    assert table.target.tolist() == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert table.numeric.dtype == np.float64
    assert table.categorical.dtype == np.int32


def test_inline_text_never_becomes_a_number():
    table = table_from_values(inline(a=["1", "2", None], b=[1, None, 2.5], y=[1.0, 2.0, 3.0]))
    assert table.categorical_names == ("a",)
    assert table.numeric_names == ("b",)
    assert table.content_sha256 == content_sha256(table)


def test_rows_without_a_target_are_left_out_and_a_number_may_become_a_class():
    raw = columns_of(x=[1, 2, 3, 4, 5], y=[10, None, 15, 16, float("inf")])
    table = settle(raw, rules(task="classification", target_above=15.0))
    assert table.classes == ("no", "yes")
    assert table.target.tolist() == [0, 0, 1]
    assert table.target.dtype == np.int64
    assert table.numeric[:, 0].tolist() == [1.0, 3.0, 4.0]


def test_the_positive_class_is_last_and_only_listed_classes_are_kept():
    raw = columns_of(x=[1, 2, 3, 4], y=["bad", "good", "slipped", "bad"])
    table = settle(raw, rules(task="classification", positive="bad", classes=("bad", "good")))
    assert table.classes == ("good", "bad")
    assert table.target.tolist() == [1, 0, 1]
    assert table.numeric[:, 0].tolist() == [1.0, 2.0, 4.0]


def test_one_and_one_point_nought_in_a_text_file_are_one_class():
    raw = columns_of(x=[1, 2, 3], y=["1", "1.0", "0"])
    assert settle(raw, rules(task="classification")).classes == ("0", "1")


def test_dropped_split_and_group_columns_are_no_features():
    raw = columns_of(who=["b", "a", "b"], out=[1, 2, 3], x=[1, 2, 3], y=[1, 2, 3])
    split = SplitRule(rule="group", column="who")
    table = settle(raw, rules(split=split, drop=("out",)))
    assert table.numeric_names == ("x",)
    assert table.categorical_names == ()
    assert table.group is not None
    assert table.group.tolist() == [1, 0, 1]
    assert table.group.dtype == np.int64


def test_a_forecast_is_sorted_and_knows_its_lags_and_calendar_only():
    raw = columns_of(
        when=["2020-03-01", "2020-01-31", "2020-02", "2020-01-01", "2020-03-09", "2020-02-02"],
        shop=["b", "b", "b", "a", "a", "a"],
        y=[30, 10, 20, 1, 3, None],
    )
    forecast = ForecastRule(period="month", season=12, series="shop", lags=(1, 2))
    table = settle(raw, rules(task="forecasting", split=TIME, forecast=forecast))
    assert table.target.tolist() == [10.0, 1.0, 20.0, 30.0, 3.0]
    assert table.time is not None
    assert table.time.tolist() == [600, 600, 601, 602, 602]
    assert table.series is not None
    assert table.series.tolist() == [1, 0, 1, 1, 0]
    assert table.season == 12
    assert table.categorical_names == ("shop",)
    assert table.numeric_names == ("when_month", "y_lag_1", "y_lag_2")
    nan = np.nan
    np.testing.assert_array_equal(table.numeric[:, 0], [1, 1, 2, 3, 3])
    np.testing.assert_array_equal(table.numeric[:, 1], [nan, nan, 10, 20, nan])
    np.testing.assert_array_equal(table.numeric[:, 2], [nan, nan, nan, 10, 1])


def test_a_lag_never_reaches_into_another_series_and_averages_a_period():
    target = np.array([100.0, 1.0, 3.0, 5.0])
    time = np.array([7, 6, 6, 7])
    series = np.array([0, 1, 1, 1], dtype=np.int32)
    np.testing.assert_array_equal(lagged(target, time, series, 1), [np.nan, np.nan, np.nan, 2.0])


@pytest.mark.parametrize(
    ("period", "values", "expected"),
    [
        ("day", ["1970-01-01", "1969-12-31", "2000-01-01T23:00:00-02:00"], [0, -1, 10958]),
        ("week", ["1969-12-28", "1969-12-29", "1970-01-04", "1970-01-05"], [-1, 0, 0, 1]),
        ("month", [2000.0, 2000 + 1 / 12, 2000 + 11 / 12, 2001], [360, 361, 371, 372]),
        ("quarter", ["2000-03-31", "2000-04-01"], [120, 121]),
        ("year", ["1999", "2000"], [29, 30]),
        ("step", [3, -1, 10], [3, -1, 10]),
        ("step", ["2020-05-01", "2020-01-01", "2020-05-01"], [1, 0, 1]),
        ("step", [0.5, 0.25, 7], [1, 0, 2]),
    ],
)
def test_times_become_periods(period, values, expected):
    rows = np.arange(len(values)) + 1
    assert parse_periods(raw_column(values, "t"), period, "t", rows).tolist() == expected


def test_the_calendar_agrees_with_datetime():
    days = np.array(["2024-02-29", "1969-07-20", "2000-12-31"], dtype="datetime64[D]")
    features = calendar_features(days.astype(np.int64), "day", "d")
    expected = {
        "d_day_of_week": [float(day.weekday()) for day in days.tolist()],
        "d_month": [float(day.month) for day in days.tolist()],
    }
    assert {name: values.tolist() for name, values in features.items()} == expected
    assert calendar_features(np.array([0, 7]), "quarter", "d")["d_quarter"].tolist() == [1.0, 4.0]
    assert calendar_features(np.array([5]), "week", "d")["d_month"].tolist() == [2.0]
    assert calendar_features(np.array([5]), "year", "d") == {}


BASE = {"x": [1, 2, 3], "who": ["a", "b", "c"], "y": [1, 2, 3]}
CLASSES = {"x": [1, 2, 3], "y": ["a", "b", "a"]}
FORECAST = ForecastRule(period="day", season=7, series="who")


@pytest.mark.parametrize(
    ("code", "message", "columns", "fields"),
    [
        ("missing_column", "no column 'Y', which target names.*mean 'y'", BASE, {"target": "Y"}),
        ("missing_column", "no column 'z', which drop names", BASE, {"drop": ("z",)}),
        ("missing_column", "which categorical names", BASE, {"categorical": ("z",)}),
        ("missing_column", "which numeric names", BASE, {"numeric": ("z",)}),
        ("missing_column", "no column 'when', which split.column", BASE, {"split": TIME}),
        ("missing_column", "forecast.series", {"y": [1]}, {"forecast": FORECAST}),
        ("kind_conflict", "both", BASE, {"numeric": ("x",), "categorical": ("x",)}),
        ("no_rows", "dataset t has no rows", {"x": [], "y": []}, {}),
        ("target_missing", "every row lacks", {"x": [1, 2], "y": [None, ""]}, {}),
        ("one_class", "one class only", {"x": [1], "y": ["a"]}, {"task": "classification"}),
        ("text_in_numeric", "column 'y', row 2 holds text", {"x": [1, 1], "y": [1, "b"]}, {}),
        (
            "text_in_numeric",
            "column 'x', row 3 holds text.*received 'three'.*list it in missing",
            {"x": ["1", "two", "three"], "y": [1, None, 3]},
            {"numeric": ("x",)},
        ),
        (
            "positive_unknown",
            "positive class 'c'",
            CLASSES,
            {"task": "classification", "positive": "c"},
        ),
        (
            "positive_unknown",
            "not one of two",
            {"x": [1, 2, 3], "y": ["a", "b", "c"]},
            {"task": "classification", "positive": "c"},
        ),
        ("no_features", "no feature column left", BASE, {"drop": ("x", "who")}),
        (
            "bad_time",
            "row 2 is no time",
            {"when": ["2020-01-01", None], "y": [1, 2]},
            {"split": TIME},
        ),
        (
            "bad_time",
            "row 3 is no time.*received '31/1/2020'",
            {"when": ["2020-01-01", "x", "31/1/2020"], "y": [1, None, 2]},
            {"split": TIME},
        ),
        ("bad_time", "row 2 is no time", {"when": ["2020-01-01", 5], "y": [1, 2]}, {"split": TIME}),
        (
            "group_missing",
            "column 'g', row 2 is missing",
            {"g": ["a", None], "x": [1, 2], "y": [1, 2]},
            {"split": SplitRule(rule="group", column="g")},
        ),
        (
            "target_leak",
            "is the target and also",
            BASE,
            {"split": SplitRule(rule="group", column="y")},
        ),
        (
            "duplicate_column",
            "name of a computed feature",
            {"when": [1], "y_lag_1": [1], "y": [1]},
            {
                "task": "forecasting",
                "split": TIME,
                "forecast": ForecastRule(period="step", season=1, lags=(1,)),
            },
        ),
        ("text_not_unicode", "not valid Unicode", {"x": ["a\ud800"], "y": [1]}, {}),
    ],
)
def test_bad_data_is_refused_by_name(code, message, columns, fields):
    with pytest.raises(DataInvalid, match=message) as caught:
        settle(columns_of(**columns), rules(**fields))
    assert caught.value.code == code
    assert caught.value.outcome == "data_invalid"
    assert caught.value.remedy


def test_ragged_inline_columns_are_refused():
    with pytest.raises(DataInvalid, match="3 values, as in 'y'; received 2 in 'x'"):
        table_from_values(inline(x=[1, 2], y=[1, 2, 3]))
    with pytest.raises(DataInvalid, match="has no column 'y'"):
        table_from_values(inline())


def test_the_hash_is_pinned_and_sees_every_part():
    raw = columns_of(g=[1, 1, 2], x=[0.0, None, 2], c=["a", "", "ab"], y=["n", "p", "n"])
    split = SplitRule(rule="group", column="g")
    table = settle(raw, rules(task="classification", split=split))
    # Changing how content is hashed breaks every descriptor in the world: raise VERSION too.
    assert table.content_sha256 == PINNED
    negative_nan = np.array([0xFFF8000000000001], dtype=np.uint64).view(np.float64)[0]
    twin = table.numeric.copy()
    twin[:2, 0] = [-0.0, negative_nan]
    assert content_sha256(dataclasses.replace(table, numeric=twin, id="other")) == PINNED

    changed: list[Table] = [
        dataclasses.replace(table, numeric=table.numeric + np.spacing(2.0)),
        dataclasses.replace(table, numeric_names=("X",)),
        dataclasses.replace(table, categorical=np.roll(table.categorical, 1)),
        dataclasses.replace(table, levels=(("a", "b"),)),
        dataclasses.replace(table, levels=(("aa", "b"),)),
        dataclasses.replace(table, categorical_names=("d",)),
        dataclasses.replace(table, target=1 - table.target),
        dataclasses.replace(table, classes=("p", "n")),
        dataclasses.replace(table, group=None),
        dataclasses.replace(table, group=None, time=table.group),
        table.take(np.array([1, 0, 2])),
    ]
    hashes = [content_sha256(other) for other in changed]
    assert len({PINNED, *hashes}) == len(changed) + 1


PINNED = "7a4912d6256c29c2b7c426e3dbfb14fb4200fd179e0f32d99119d4a6147ec4e1"


def test_a_given_part_is_no_feature_and_only_train_or_test():
    given = SplitRule(rule="given", column="part")
    columns = columns_of(x=[1, 2, 3, 4], part=["train", "test", "test", "train"], y=[1, 2, None, 4])
    table = settle(columns, rules(split=given))
    assert table.numeric_names == ("x",)
    assert table.group is not None
    assert table.group.tolist() == [0, 1, 0]
    columns = columns_of(x=[1, 2], part=["train", None], y=[1, 2])
    with pytest.raises(DataInvalid, match="column 'part', row 2 is of no part"):
        settle(columns, rules(split=given))
