"""Search for the best model of each framework on every dataset, within a small budget of trials."""

import pytest

pytestmark = pytest.mark.slow_matrix


@pytest.mark.matrix(mode="sweep", algorithm="mlp", framework=["pytorch", "tensorflow"])
def test_the_best_network(cell):
    judge(cell.run())


@pytest.mark.matrix(mode="sweep", algorithm="hist_gradient_boosting", framework="sklearn")
def test_the_best_estimator(cell):
    judge(cell.run())


def judge(record):
    assert record.outcome == "ok", record.reason
    sweep = record.result.sweep
    assert sweep.trials[0].index == 0
    assert sweep.trials[sweep.best].value is not None
    assert len(sweep.default_metrics) == len(record.result.replicates)
