"""Look records up by what they depend on: each part that changes makes another key."""

import os
import random

import pytest
from report_fixture import make_result, record_of

from harness.store.environment import describe_run
from harness.store.fingerprint import Cache, Lookup, _targets
from harness.store.journal import Journal
from harness.store.sources import Sources
from ml.core.contracts import (
    Budget,
    ContractReport,
    DescriptorData,
    ErrorInfo,
    EstimatorSpec,
    RuntimeSpec,
    TrainRequest,
)

pytestmark = pytest.mark.unit

CELL = "prices-linear-sklearn-train"
DESCRIPTOR = """
id = "prices"
title = "Prices"
task = "regression"
target = "price"
rows = 3
columns = 2
content_sha256 = "HASH"
[source]
kind = "file"
path = "prices.csv"
format = "csv"
[provenance]
origin = "here"
licence = "none"
""".replace("HASH", "0" * 64)


# The worker's own files are read once for all tests; none of them changes.
SOURCES = Sources([])


@pytest.fixture
def project(tmp_path):
    (tmp_path / "prices.toml").write_text(DESCRIPTOR)
    (tmp_path / "prices.csv").write_text("size,price\n1,2\n2,4\n3,6\n")
    return tmp_path


def request_of(project, **changes):
    values = {
        "id": CELL,
        "data": DescriptorData(path=str(project / "prices.toml")),
        "model": EstimatorSpec(estimator="linear"),
    }
    return TrainRequest(**(values | changes))


def look_up(project, find=True, **changes):
    cache = Cache(project / "reports", SOURCES)
    return cache.look_up(request_of(project, **changes), ["sklearn"], find)


def keep(project, lookup, run="r1", **changes):
    journal = Journal(
        project / "reports/runs" / run, lambda n: describe_run(n, project, (), RuntimeSpec())
    )
    request = request_of(project).model_dump(mode="json")
    values = {"run": run, "key": lookup.key, "fingerprint": lookup.parts, "request": request}
    record = record_of(CELL, **(values | changes))
    journal.append(record)
    return record


def changed_parts(project, change):
    before = look_up(project)
    change()
    after = look_up(project)
    assert before.key != after.key
    every = before.parts.keys() | after.parts.keys()
    return {part for part in every if before.parts.get(part) != after.parts.get(part)}


def edit(path, old, new):
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_a_record_is_found_while_nothing_changes_and_the_newest_counts(project):
    lookup = look_up(project)
    assert lookup.record is None
    keep(project, lookup)
    record = keep(project, lookup, run="r2", seconds=3.0)
    assert look_up(project).record == record
    assert look_up(project, find=False).record is None
    assert look_up(project).key == lookup.key


def test_a_record_of_an_earlier_version_is_found_and_of_a_later_one_not(project):
    lookup = look_up(project)
    record = keep(project, lookup)
    journal = project / "reports/runs/r1/records.jsonl"
    edit(journal, '"version":2', '"version":1')
    assert look_up(project).record == record
    edit(journal, '"version":1', '"version":3')
    assert look_up(project).record is None


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (lambda p: edit(p / "prices.csv", "3,6", "3,7"), {"data file"}),
        (lambda p: edit(p / "prices.toml", "columns = 2", "columns = 3"), {"data columns"}),
        (lambda p: edit(p / "prices.toml", "0" * 64, "1" * 64), {"data content_sha256"}),
        (lambda p: os.environ.update(XLA_FLAGS="--other"), {"variable XLA_FLAGS"}),
    ],
)
def test_a_change_is_named_by_its_part(project, monkeypatch, change, parts):
    monkeypatch.setenv("XLA_FLAGS", "")
    assert changed_parts(project, lambda: change(project)) == parts


def test_what_only_describes_a_dataset_changes_nothing(project):
    before = look_up(project).key
    edit(project / "prices.toml", "Prices", "All the prices")
    edit(project / "prices.toml", 'origin = "here"', 'origin = "there"')
    assert look_up(project).key == before


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"replicates": 4},
        {"budget": Budget(rows=200)},
        {"runtime": RuntimeSpec(threads=2)},
        {"model": EstimatorSpec(estimator="linear", params={"alpha": 0.5})},
    ],
)
def test_another_request_has_another_key(project, changes):
    lookup, other = look_up(project), look_up(project, **changes)
    differing = {part for part in lookup.parts if lookup.parts[part] != other.parts[part]}
    assert differing == {"request"}
    assert lookup.key != other.key


@pytest.mark.parametrize(
    ("outcome", "is_found"),
    [
        ("diverged", True),
        ("data_invalid", True),
        ("error", False),
        ("timeout", False),
        ("crashed", False),
        ("out_of_memory", False),
        ("unavailable", False),
    ],
)
def test_only_outcomes_that_repeat_are_reused(project, outcome, is_found):
    keep(project, look_up(project), outcome=outcome)
    assert (look_up(project).record is not None) == is_found


def test_a_breach_of_a_contract_is_looked_at_again(project):
    error = ErrorInfo(code="contract_breached", message="drift: collapsed")
    keep(project, look_up(project), outcome="data_invalid", error=error)
    assert look_up(project).record is not None
    contract = ContractReport(content_sha256="0" * 64, rows=3, checks=())
    error = error.model_copy(update={"contract": contract})
    keep(project, look_up(project), run="r2", outcome="data_invalid", error=error)
    assert look_up(project).record is None


def test_the_code_and_the_terms_of_a_contract_are_parts_of_what_a_cell_depends_on(project):
    parts = look_up(project).parts
    code = ("contract", "leakage", "labels", "drift", "check")
    assert {f"module ml.health.{name}" for name in code} <= set(parts)
    assert "module ml.datasets.schema" in parts
    schema = '[schema]\nsize = { kind = "numeric", high = 3.0 }\n[provenance]'
    changed = changed_parts(project, lambda: edit(project / "prices.toml", "[provenance]", schema))
    assert changed == {"data schema"}


def test_a_training_that_the_time_budget_cut_is_not_reused(project):
    result = make_result(CELL, "sklearn", "regression", 0.5, False, random.Random(0))
    keep(project, look_up(project), result=result)
    assert look_up(project).record.result == result
    cut = [r.model_copy(update={"stopped": "time_budget"}) for r in result.replicates]
    result = result.model_copy(update={"replicates": tuple(cut)})
    keep(project, look_up(project), run="r2", result=result)
    assert look_up(project).record is None


def test_a_source_that_changes_after_it_was_hashed_is_noticed(project):
    (project / "mine.py").write_text("x = 1\n")
    module = Sources([project]).closure(["mine"])[0]["mine"]
    watched = Lookup({}, "key", None, None, (module,))
    assert watched.is_current()
    (project / "mine.py").write_text("x = 12\n")
    assert not watched.is_current()


def test_five_hundred_cells_hash_each_file_once(project):
    cache = Cache(project / "reports", SOURCES)
    first = cache.look_up(request_of(project), ["sklearn"], find=True)
    for path in (project / "prices.toml", project / "prices.csv"):
        path.unlink()
    again = [
        cache.look_up(request_of(project, seed=seed), ["sklearn"], find=True) for seed in range(500)
    ]
    assert again[0].parts == first.parts
    assert len({lookup.key for lookup in again}) == 500
    assert {lookup.modules for lookup in again} == {first.modules}


def test_modules_that_a_request_names_are_those_of_its_own_code():
    request = {
        "model": {"kind": "imported", "target": "shop.model:build", "params": {}},
        "teachers": [{"model": {"kind": "imported", "target": "shop.old:Old"}}],
        "data": {"kind": "function", "function": "shop.tables:sales", "target": "price"},
    }
    assert set(_targets(request)) == {"shop.model", "shop.old", "shop.tables"}
    params = {"kind": ["imported"], "function": 3}
    other = {"data": {"kind": "inline", "target": "price"}, "model": {"params": params}}
    assert list(_targets(other)) == []
