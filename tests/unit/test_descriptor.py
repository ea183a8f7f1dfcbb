import json

import pytest
from pydantic import ValidationError

from ml.core.contracts import InlineData, TrainRequest
from ml.core.descriptor import Descriptor, PackageSource, read_descriptor
from ml.core.errors import DataInvalid

pytestmark = pytest.mark.unit

HASH = "0" * 64
LEAST = {
    "id": '"tiny"',
    "title": '"Tiny"',
    "task": '"regression"',
    "target": '"y"',
    "rows": "3",
    "columns": "2",
    "content_sha256": f'"{HASH}"',
    "source": f'{{kind = "package", package = "p", resource = "a.csv", format = "csv", '
    f'sha256 = "{HASH}"}}',
    "provenance": '{origin = "us", licence = "MIT"}',
}
FORECAST = {
    "task": '"forecasting"',
    "split": '{rule = "time", column = "day"}',
    "forecast": '{period = "day", season = 7}',
}


def read(tmp_path, **changes):
    values = {name: text for name, text in {**LEAST, **changes}.items() if text is not None}
    path = tmp_path / "tiny.toml"
    path.write_text("\n".join(f"{name} = {text}" for name, text in values.items()))
    return read_descriptor(path)


def test_a_descriptor_is_read_with_its_defaults(tmp_path):
    descriptor = read(tmp_path)
    assert (descriptor.id, descriptor.rows, descriptor.split.rule) == ("tiny", 3, "random")
    assert isinstance(descriptor.source, PackageSource)
    assert (descriptor.drop, descriptor.classes, descriptor.forecast) == ({}, (), None)
    assert Descriptor.model_validate_json(descriptor.model_dump_json()) == descriptor


def test_a_forecast_is_read(tmp_path):
    descriptor = read(tmp_path, **FORECAST)
    assert (descriptor.forecast.season, descriptor.split.column) == (7, "day")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"forecast": FORECAST["forecast"]}, "only there"),
        ({**FORECAST, "forecast": None}, "only there"),
        ({**FORECAST, "split": None}, "needs split.rule = 'time'"),
        ({"split": '{rule = "group"}'}, "split.rule = 'group' needs split.column"),
        ({"split": '{rule = "time"}'}, "split.rule = 'time' needs split.column"),
        ({"positive": '"yes"'}, "belong to a classification"),
        ({"target_above": "0.5"}, "belong to a classification"),
        ({"classes": '["a", "b"]'}, "belong to a classification"),
        ({"drop": '{y = "not wanted"}'}, r"target 'y' is also in \[drop\]"),
    ],
)
def test_rules_that_contradict_each_other_are_refused(tmp_path, changes, words):
    with pytest.raises(DataInvalid, match=words) as caught:
        read(tmp_path, **changes)
    assert caught.value.code == "descriptor_invalid"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"rows": '"3"'}, "rows"),
        ({"rows": "0"}, "rows"),
        ({"rows": "nan"}, "rows"),
        ({"title": None}, "title"),
        ({"titel": '"x"'}, "titel"),
        ({"id": '"../up"'}, "id"),
        ({"content_sha256": '"abc"'}, "content_sha256"),
        ({"provenance": '{origin = "us"}'}, "provenance.licence"),
        ({"source": '{kind = "url", url = "http://a/b", format = "csv"}'}, "source.url.url"),
        ({"source": '{kind = "pickle"}'}, "source"),
    ],
)
def test_a_field_that_is_wrong_is_named_with_its_file(tmp_path, changes, field):
    with pytest.raises(DataInvalid) as caught:
        read(tmp_path, **changes)
    assert (caught.value.code, caught.value.field) == ("descriptor_invalid", field)
    assert str(tmp_path / "tiny.toml") in caught.value.message
    assert field in caught.value.remedy


@pytest.mark.parametrize("content", [b"rows = ", b"\xff\xfe", b"rows = 1\nrows = 2"])
def test_a_file_that_is_no_toml_is_refused(tmp_path, content):
    path = tmp_path / "tiny.toml"
    path.write_bytes(content)
    with pytest.raises(DataInvalid) as caught:
        read_descriptor(path)
    assert (caught.value.code, caught.value.field) == ("descriptor_unreadable", str(path))


def test_inline_data_keeps_the_same_rules():
    columns = {"x": [1, 2], "y": [1, 2]}
    for changes, words in [
        ({"task": "forecasting"}, "only there"),
        ({"forecast": {"period": "day", "season": 7}}, "only there"),
        ({"split": {"rule": "time"}}, "needs split.column"),
    ]:
        data = {"kind": "inline", "task": "regression", "target": "y", "columns": columns}
        model = {"kind": "network", "architecture": "linear"}
        document = {"data": {**data, **changes}, "model": model}
        with pytest.raises(ValidationError, match=words):
            TrainRequest.model_validate_json(json.dumps(document))
    assert InlineData(task="regression", target="y", columns={"y": (1,)}).split.rule == "random"
