"""Tell from earlier runs how long cells take, by patterns that hold for today's records."""

import pytest
from report_fixture import record_of

from harness.store.environment import describe_run
from harness.store.history import RUNS_TIMED, Durations, list_sizes, read_past
from harness.store.journal import JOURNAL, Journal
from harness.terminal import describe_estimate
from ml.core.contracts import DescriptorData, EstimatorSpec, RuntimeSpec, TrainRequest

pytestmark = pytest.mark.unit


def keep(reports, run, cell, seconds, rows=200, replicates=1, **changes):
    request = TrainRequest(
        data=DescriptorData(path="x.toml"),
        model=EstimatorSpec(estimator="linear"),
        replicates=replicates,
    ).model_dump(mode="json")
    request["budget"]["rows"] = rows
    journal = Journal(reports / "runs" / run, lambda n: describe_run(n, reports, (), RuntimeSpec()))
    values = {"request": request, "seconds": seconds, "reason": 'a "quoted" reason, {é}'}
    journal.append(record_of(cell, **(values | changes)))


def durations(reports, rows=200, replicates=1):
    return Durations(read_past(reports, list_sizes(reports, RUNS_TIMED)), rows, replicates)


def test_the_newest_record_counts_and_others_stand_in_by_their_framework(tmp_path):
    keep(tmp_path, "r1", "wine-mlp-pytorch-train", 8.0)
    keep(tmp_path, "r1", "wine-linear-pytorch-train", 2.0)
    keep(tmp_path, "r2", "wine-mlp-pytorch-train", 1e-05, key="k")
    keep(tmp_path, "r2", "wine-mlp-pytorch-train", 6.0)
    keep(tmp_path, "r2", "wine-mlp-jax-train", 40.0, outcome="timeout")
    keep(tmp_path, "r3", "wine-mlp-pytorch-train", 99.0, reused="r2", key="k")
    keep(tmp_path, "r3", "wine-mlp-jax-train", 0.0, outcome="unavailable")
    found = durations(tmp_path)
    assert found.runs == ["r2", "r1"]
    assert found.seconds("wine-mlp-pytorch-train") == 6.0
    assert found.seconds("iris-resnet-pytorch-train") == 4.0
    assert found.seconds("iris-svm-sklearn-train") == 6.0
    cells = ["wine-mlp-pytorch-train", "wine-linear-pytorch-train", "wine-mlp-jax-train"]
    assert found.total(cells, 1) == 48.0
    assert found.total(cells, 2) == 40.0
    line = describe_estimate(cells, found, 1, reuse=False)
    assert line == "matrix: about 48 s for 3 cells, by the records of r2 and of 1 run before it"
    assert "at most about" in describe_estimate(cells, found, 1, reuse=True)


def test_records_of_as_many_replicates_and_of_the_most_rows_that_fit_count_first(tmp_path):
    cell = "wine-mlp-pytorch-train"
    keep(tmp_path, "r1", cell, 60.0, rows=10_000, replicates=3)
    keep(tmp_path, "r2", cell, 5.0, rows=200, replicates=3)
    keep(tmp_path, "r3", cell, 1.0, rows=200, replicates=1)
    assert durations(tmp_path, 10_000, 3).seconds(cell) == 60.0
    assert durations(tmp_path, 200, 3).seconds(cell) == 5.0
    assert durations(tmp_path, 200, 7).seconds(cell) == 1.0


def test_without_history_nothing_is_said(tmp_path):
    assert describe_estimate(["a-b-c-train"], durations(tmp_path), 1, reuse=False) is None


def test_processes_that_read_as_many_bytes_see_the_same_of_a_live_run(tmp_path):
    keep(tmp_path, "r1", "wine-mlp-pytorch-train", 8.0)
    sizes = list_sizes(tmp_path, RUNS_TIMED)
    before = list(read_past(tmp_path, sizes))
    keep(tmp_path, "r1", "wine-mlp-pytorch-train", 9.0)
    assert list(read_past(tmp_path, sizes)) == before
    path = tmp_path / "runs/r1" / JOURNAL
    path.write_bytes(path.read_bytes()[:-40])
    assert [past.seconds for past in read_past(tmp_path, list_sizes(tmp_path, RUNS_TIMED))] == [8.0]
