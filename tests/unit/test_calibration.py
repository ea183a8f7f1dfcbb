import statistics

import pytest

from ml.core.calibration import BURSTS, Calibration

pytestmark = pytest.mark.unit


def test_the_median_of_all_bursts_is_told(monkeypatch):
    ticks = iter([0.0, 0.5] * BURSTS + [1.0, 3.0] * (BURSTS + 2))
    monkeypatch.setattr("ml.core.calibration.time.perf_counter", lambda: next(ticks))
    calibration = Calibration()
    with pytest.raises(statistics.StatisticsError):
        calibration.seconds()
    calibration.measure()
    assert calibration.seconds() == 0.5
    calibration.measure()
    assert calibration.seconds() == 1.25


def test_a_result_has_the_seconds_that_the_kernel_took_beside_it():
    from ml.sklearn import handle_train_request

    values = list(range(40))
    payload = {
        "data": {
            "kind": "inline",
            "task": "regression",
            "target": "y",
            "columns": {"x": values, "y": values},
        },
        "model": {"kind": "estimator", "estimator": "dummy"},
        "replicates": 1,
    }
    response = handle_train_request(payload)
    assert response["status"] == "ok"
    assert 1e-5 < response["calibration_seconds"] < 1
