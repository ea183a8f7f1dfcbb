"""Train every algorithm of every framework on every dataset, and judge each cell."""

import pytest

pytestmark = pytest.mark.slow_matrix


@pytest.mark.matrix(task="classification", mode="train")
def test_classification(cell):
    record = cell.run()
    assert record.outcome == "ok", record.reason
    assert len(record.result.data.classes) >= 2


@pytest.mark.matrix(task="regression", mode="train")
def test_regression(cell):
    record = cell.run()
    assert record.outcome == "ok", record.reason
    assert record.result.data.classes == ()


@pytest.mark.matrix(task="forecasting", mode="train")
def test_forecasting(cell):
    record = cell.run()
    assert record.outcome == "ok", record.reason
    assert record.score.metric == "mase"


@pytest.mark.matrix(mode="distill")
def test_distillation(cell):
    record = cell.run()
    assert record.outcome == "ok", record.reason
    assert record.result.distillation.size_reduction_percent > 0
