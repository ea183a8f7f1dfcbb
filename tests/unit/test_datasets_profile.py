import json
from pathlib import Path

import numpy as np
import pytest

import ml.datasets.profile as profile_module
from ml.core.contracts import SplitRule
from ml.core.descriptor import Descriptor
from ml.core.table import Table
from ml.datasets.__main__ import main
from ml.datasets.periods import write_period
from ml.datasets.profile import profile_table

pytestmark = pytest.mark.unit

ZEROS = "0" * 64


def make_descriptor(**changes):
    values = {
        "id": "prices",
        "title": "Prices",
        "task": "regression",
        "target": "price",
        "source": {"kind": "file", "path": "prices.csv", "format": "csv"},
        "provenance": {"origin": "ours", "licence": "CC0"},
        "rows": 4,
        "columns": 3,
        "content_sha256": ZEROS,
    }
    return Descriptor.model_validate_json(json.dumps(values | changes))


def make_table(**changes):
    values = {
        "id": "prices",
        "task": "regression",
        "content_sha256": ZEROS,
        "numeric": np.array([[1.0], [2.0], [np.nan], [9.0]]),
        "numeric_names": ("size",),
        "categorical": np.array([[0], [1], [1], [-1]], dtype=np.int32),
        "categorical_names": ("kind",),
        "levels": (("flat", "house"),),
        "target": np.array([10.0, 20.0, 30.0, 40.0]),
        "classes": (),
        "split": SplitRule(),
    }
    return Table(**(values | changes))


def columns_of(profile):
    return {column["name"]: column for column in profile["columns"]}


def test_a_profile_has_the_numbers_of_every_column():
    profile = profile_table(make_table(), make_descriptor())
    assert [column["name"] for column in profile["columns"]] == ["price", "size", "kind"]
    columns = columns_of(profile)
    size = columns["size"]
    assert (size["missing"], size["distinct"]) == (1, 3)
    assert (size["min"], size["mean"], size["median"], size["max"]) == (1.0, 4.0, 2.0, 9.0)
    assert size["histogram"] == [1, 0, 1, *[0] * 12, 1]
    assert columns["kind"] == {
        "name": "kind",
        "role": "feature",
        "type": "categorical",
        "missing": 1,
        "distinct": 2,
        "top": [["house", 2], ["flat", 1]],
        "others": 0,
    }
    assert columns["price"]["role"] == "target"
    assert (profile["rows"], profile["sampled"]) == (4, 4)


def test_the_preview_has_the_first_rows_as_a_reader_knows_them():
    profile = profile_table(make_table(), make_descriptor())
    assert profile["preview"] == [
        [10.0, 1.0, "flat"],
        [20.0, 2.0, "house"],
        [30.0, None, "house"],
        [40.0, 9.0, None],
    ]


def test_a_large_table_is_sampled_the_same_way_every_time(monkeypatch):
    monkeypatch.setattr(profile_module, "MOST_VALUES", 3_000)
    size = np.arange(5_000, dtype=float)
    table = make_table(
        numeric=size[:, None],
        categorical=np.zeros((5_000, 1), dtype=np.int32),
        target=np.ones(5_000),
    )
    one, two = (profile_table(table, make_descriptor()) for _ in range(2))
    assert (one["rows"], one["sampled"]) == (5_000, 1_000)
    assert one == two
    size = columns_of(one)["size"]
    assert size["distinct"] == 1_000
    assert 2_300 < size["mean"] < 2_700
    assert columns_of(one)["kind"]["top"] == [["flat", 1_000]]


def test_columns_without_a_spread_or_a_value_and_huge_ones():
    huge = 1.5e308
    numeric = np.array([[7.0, np.nan, huge], [7.0, np.nan, -huge], [7.0, np.nan, huge]])
    table = make_table(
        numeric=numeric,
        numeric_names=("same", "none", "huge"),
        categorical=np.zeros((3, 0), dtype=np.int32),
        categorical_names=(),
        levels=(),
        target=np.array([1.0, 2.0, 3.0]),
    )
    profile = profile_table(table, make_descriptor())
    columns = columns_of(profile)
    assert columns["same"]["histogram"] == [3, *[0] * 15]
    assert columns["none"]["missing"] == 3
    assert "min" not in columns["none"]
    assert columns["huge"]["histogram"] == [1, *[0] * 14, 2]
    json.dumps(profile, allow_nan=False)


def test_times_stand_as_dates_and_series_as_codes():
    table = make_table(
        task="forecasting",
        time=np.array([360, 361, 362, 363]),
        series=np.array([0, 0, 1, 1], dtype=np.int32),
    )
    descriptor = make_descriptor(
        task="forecasting",
        split={"rule": "time", "column": "month"},
        forecast={"period": "month", "season": 12, "series": "city"},
    )
    profile = profile_table(table, descriptor)
    columns = columns_of(profile)
    assert (columns["month"]["first"], columns["month"]["last"]) == ("2000-01", "2000-04")
    assert columns["city"] == {
        "name": "city",
        "role": "series",
        "type": "code",
        "missing": 0,
        "distinct": 2,
    }
    assert profile["preview"][0] == [10.0, "2000-01", 0.0, 1.0, "flat"]


@pytest.mark.parametrize(
    ("value", "period", "text"),
    [
        (0, "day", "1970-01-01"),
        (-1, "day", "1969-12-31"),
        (1, "week", "1970-01-05"),
        (0, "week", "1969-12-29"),
        (13, "month", "1971-02"),
        (5, "quarter", "1971 Q2"),
        (-1, "quarter", "1969 Q4"),
        (30, "year", "2000"),
        (-7, "step", "-7"),
    ],
)
def test_a_period_has_a_name(value, period, text):
    assert write_period(value, period) == text


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "prices.csv").write_text("price,size\n1.5,1\n2.5,2\n3.5,\n4.5,4\n")
    from ml.datasets.describe import propose_descriptor

    text = propose_descriptor(tmp_path / "prices.csv", "price")
    (tmp_path / "prices.toml").write_text(text)
    return tmp_path


def test_the_command_prints_a_line_of_json_per_dataset(folder, capsys):
    path = str(folder / "prices.toml")
    assert main(["profile", "--json", path]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["path"] == path
    assert [column["name"] for column in answer["profile"]["columns"]] == ["price", "size"]
    assert main(["profile", "--data", str(folder), "prices"]) == 0
    text = capsys.readouterr().out
    assert text.splitlines()[0] == "prices: 4 rows"
    assert "  size: feature, numeric, 3 distinct, 1 missing, min 1, mean 2.33333, max 4" in text


def test_only_a_stored_table_is_read_where_that_is_asked(folder, capsys):
    path = str(folder / "prices.toml")
    assert main(["profile", "--json", "--stored", path]) == 1
    captured = capsys.readouterr()
    assert "is not materialised" in json.loads(captured.out)["reason"]
    assert "error: prices: the table of prices is not materialised" in captured.err
    assert not list(Path(folder).rglob("*.parquet"))
    assert main(["materialise", "--data", str(folder), "prices"]) == 0
    capsys.readouterr()
    assert main(["profile", "--json", "--stored", path]) == 0
    assert json.loads(capsys.readouterr().out)["profile"]["rows"] == 4
