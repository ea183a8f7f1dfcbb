"""Read what earlier versions wrote, step by step, and refuse what later ones did."""

import json
import shutil
from pathlib import Path

import pytest

from harness.store import migrations
from harness.store.history import list_sizes, read_past
from harness.store.journal import JOURNAL, Journal, read_run
from harness.store.migrations import RECORD_VERSION, STEPS, NewerVersion, migrate
from harness.store.record import Head, Record, parse_line

pytestmark = pytest.mark.unit

# What each version wrote in truth, by its own code.
STORED = {1: Path(__file__).parent / "data" / "record_v1.jsonl"}
CELL = "wine-linear-pytorch-train"


@pytest.fixture
def lines():
    return STORED[1].read_bytes().splitlines()


def test_there_is_a_step_and_a_stored_journal_for_every_earlier_version():
    assert sorted(STEPS) == sorted(STORED) == list(range(1, RECORD_VERSION))


@pytest.mark.parametrize("version", STORED)
def test_a_journal_of_an_earlier_version_reads_without_damage(version, tmp_path):
    path = STORED[version]
    kinds = {json.loads(line)["version"] for line in path.read_bytes().splitlines()[:2]}
    assert kinds == {version}
    shutil.copy(path, tmp_path / JOURNAL)
    run = read_run(tmp_path)
    assert run.damage == ()
    assert run.head.version == RECORD_VERSION
    [record] = run.records
    assert (record.version, record.cell, record.score.value) == (
        RECORD_VERSION,
        CELL,
        0.9666666666666667,
    )
    assert record.result.calibration_seconds is None
    assert record.result.replicates[0].metrics["accuracy"] == 0.96
    assert record.result.parity.sizes["forward"] == 192
    assert [line.status for line in run.tests] == ["passed"]


def test_a_step_adds_what_was_lacking_and_leaves_what_was_there(lines):
    old = json.loads(lines[1])
    del old["result"]["parity"]["sizes"]
    new = json.loads(migrate(json.dumps(old)))
    assert new["result"].pop("calibration_seconds", 0) is None
    assert new["result"]["parity"].pop("sizes") == {}
    assert new == old | {"version": RECORD_VERSION}
    old["result"]["calibration_seconds"] = 0.5
    assert json.loads(migrate(json.dumps(old)))["result"]["calibration_seconds"] == 0.5
    failed = {**old, "outcome": "timeout", "result": None}
    assert parse_line(json.dumps(failed)).result is None


def test_a_line_of_today_is_not_touched(lines):
    line = parse_line(lines[1]).model_dump_json()
    assert migrate(line) is line
    assert parse_line(line) == parse_line(lines[1])


def test_a_newer_line_is_an_error_that_says_so(lines):
    for text in lines[:2]:
        newer = json.dumps(json.loads(text) | {"version": RECORD_VERSION + 1, "unheard": 1})
        with pytest.raises(NewerVersion, match=r"version 3; expected version 2.*upgrade"):
            parse_line(newer)


def test_a_step_that_is_missing_is_no_line_read(lines, monkeypatch):
    monkeypatch.setattr(migrations, "STEPS", {})
    with pytest.raises(KeyError):
        parse_line(lines[1])


@pytest.mark.parametrize("version", [0, -1, True, "1", None, 1.0])
def test_what_is_no_version_is_refused(lines, version):
    with pytest.raises(ValueError, match=r"validation error"):
        parse_line(json.dumps(json.loads(lines[1]) | {"version": version}))


def test_the_fast_ways_find_a_record_of_an_earlier_version_and_migrate_it(tmp_path):
    folder = tmp_path / "runs" / "r1"
    folder.mkdir(parents=True)
    shutil.copy(STORED[1], folder / JOURNAL)
    [past] = read_past(tmp_path, list_sizes(tmp_path, 1))
    assert (past.cell, past.outcome, past.replicates, past.rows) == (CELL, "ok", 1, 100)
    record = parse_line(past.read())
    assert isinstance(record, Record)
    assert record.version == RECORD_VERSION
    journal = Journal(folder, lambda name: pytest.fail("the journal has a head"))
    assert journal.find(CELL) == record
    journal.append(record)
    assert [line["version"] for line in map(json.loads, _versioned(folder))] == [1, 1, 2]
    assert read_run(folder).records == (record,)
    assert isinstance(parse_line(_versioned(folder)[0]), Head)


def _versioned(folder):
    return [line for line in (folder / JOURNAL).read_bytes().splitlines() if b'"version"' in line]
