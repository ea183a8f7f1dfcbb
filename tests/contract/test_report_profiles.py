import random
import subprocess

import pytest
from report_fixture import HOSTILE, make_record, make_result

from harness.report import profiles
from harness.report.profiles import CHANGED, gather_profiles
from ml.datasets.__main__ import main as data
from ml.datasets.describe import propose_descriptor
from ml.datasets.load import read_named

pytestmark = pytest.mark.contract


@pytest.fixture
def table(tmp_path, monkeypatch):
    """Make a project's own dataset, which is not materialised yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "tables" / "prices.csv"
    file.parent.mkdir()
    file.write_text("price,size\n1.5,1\n2.5,2\n3.5,\n4.5,4\n")
    path = file.with_suffix(".toml")
    path.write_text(propose_descriptor(file, "price"))
    return path


def record_of(path, content, dataset="prices", **request):
    cell = f"{dataset}-mlp-pytorch-train"
    result = make_result(cell, "pytorch", "regression", 0.5, True, random.Random(0))
    summary = result.data.model_copy(update={"content_sha256": content})
    request = request or {"data": {"kind": "descriptor", "path": str(path)}}
    return make_record(
        dataset,
        "mlp",
        "pytorch",
        task="regression",
        request=request,
        result=result.model_copy(update={"data": summary}),
    )


def test_a_stored_table_is_profiled_once_by_a_process(table, tmp_path, monkeypatch):
    record = record_of(table, read_named(table).content_sha256)
    found = gather_profiles(tmp_path, [record])["prices"]
    assert found.profile is None
    assert "the table of prices is not materialised" in found.reason
    assert not list(table.parent.rglob("*.parquet"))

    assert data(["materialise", "--data", str(table.parent), "prices"]) == 0
    # A cell that has crashed does not know the content; the next one does.
    crashed = make_record("prices", outcome="crashed", reason="x", request=record.request)
    found = gather_profiles(tmp_path, [crashed, record])["prices"]
    assert found.reason == ""
    assert [column["name"] for column in found.profile["columns"]] == ["price", "size"]
    assert len(list((tmp_path / "data").glob("profile-prices-*.js"))) == 1

    def forbid(*arguments, **options):
        raise AssertionError("the profile was there already")

    monkeypatch.setattr(subprocess, "run", forbid)
    table.unlink()
    assert gather_profiles(tmp_path, [record])["prices"] == found


def test_what_has_no_profile_has_a_reason(table, tmp_path):
    other = "84df51b46f14e330" * 4
    # A descriptor, but the data room would take its name for an id.
    copy = table.with_suffix(".txt")
    copy.write_text(table.read_text())
    made = {"data": {"kind": "function", "function": "project.data:prices"}}
    records = [
        record_of(table, other, "changed"),
        record_of(tmp_path / "gone.toml", other, "gone"),
        record_of("-x" * 3000 + "\0.toml", other, "odd"),
        record_of(tmp_path / "prices.csv", other, "file"),
        record_of(copy, read_named(table).content_sha256, "copy"),
        record_of("", other, "function", **made),
        record_of("", other, "inline", data={"kind": "inline"}),
        record_of("", other, HOSTILE, data=[HOSTILE]),
        make_record("unread", outcome="crashed", reason="SIGSEGV", request={"data": made["data"]}),
        make_record(
            "never", outcome="crashed", reason="x", request={"data": {"kind": "descriptor"}}
        ),
    ]
    found = gather_profiles(tmp_path, records)
    assert {name: one.profile for name, one in found.items()} == dict.fromkeys(found)
    reasons = {name: one.reason for name, one in found.items()}
    assert reasons.pop("odd").startswith("its descriptor cannot be read here: -x-x")
    assert reasons == {
        "changed": CHANGED,
        "gone": f"its descriptor cannot be read here: {tmp_path / 'gone.toml'}",
        "file": f"its descriptor cannot be read here: {tmp_path / 'prices.csv'}",
        "copy": f"its descriptor cannot be read here: {copy}",
        "function": "a function makes this table, so it is not kept",
        "inline": "its values came with the request, and are not kept",
        HOSTILE: "its request names no descriptor",
        "unread": "a function makes this table, so it is not kept",
        "never": "no cell has read the table yet",
    }


def test_a_page_does_not_wait_for_ever(table, tmp_path, monkeypatch):
    monkeypatch.setattr(profiles, "SECONDS", 0.01)
    record = record_of(table, read_named(table).content_sha256)
    found = gather_profiles(tmp_path, [record])["prices"]
    assert (found.profile, found.reason) == (None, "no profile within 0.01 s")
