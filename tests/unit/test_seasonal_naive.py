"""Check the seasonal naive forecast and the scale of MASE against hand-made series."""

import numpy as np
import pytest

from ml.core.metrics import seasonal_naive

pytestmark = pytest.mark.unit


def forecast(time, series, target, train, test, season):
    return seasonal_naive(
        np.array(time),
        None if series is None else np.array(series, np.int32),
        np.array(target, dtype=float),
        np.array(train),
        np.array(test),
        season,
    )


def test_the_naive_forecast_repeats_the_last_known_season():
    # Two years of quarters, then three quarters and a year later again.
    prediction, scale = forecast(
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15],
        None,
        [1, 2, 3, 4, 11, 12, 13, 14, 0, 0, 0, 0],
        range(8),
        range(8, 12),
        4,
    )
    assert prediction.tolist() == [11, 12, 13, 14]
    assert scale == 10


def test_the_naive_forecast_averages_rows_of_one_series_and_period():
    prediction, scale = forecast(
        [0, 0, 0, 1, 1, 2, 2],
        [0, 0, 1, 0, 1, 0, 1],
        [2, 4, 10, 5, 20, 99, 99],
        range(5),
        [5, 6],
        1,
    )
    assert prediction.tolist() == [5, 20]
    # Series 0: |5 - 3|; series 1: |20 - 10|.
    assert scale == 6


def test_the_naive_forecast_steps_over_gaps_then_falls_back():
    time = [0, 3, 4, 0, 7, 8, 9, 8]
    series = [0, 0, 0, 1, 0, 0, 1, 2]
    target = [1, 2, 3, 50, 0, 0, 0, 0]
    prediction, scale = forecast(time, series, target, range(4), range(4, 8), 4)
    # 7 → 3; 8 → 4; series 1 never had phase 1, so its last; series 2 is unknown, so the mean.
    assert prediction.tolist() == [2, 3, 50, 14]
    assert scale == 2


def test_a_period_missing_one_season_back_is_found_two_seasons_back():
    prediction, _ = forecast([0, 1, 3, 4], None, [5, 6, 7, 0], [0, 1, 2], [3], 2)
    assert prediction.tolist() == [5]


def test_the_scale_falls_back_to_the_period_before_then_to_nothing():
    _, scale = forecast([0, 2, 5, 9], None, [1, 4, 2, 0], [0, 1, 2], [3], 4)
    assert scale == pytest.approx((3 + 2) / 2)
    _, scale = forecast([0, 0, 1], [0, 1, 0], [1, 2, 3], [0, 1], [2], 4)
    assert np.isnan(scale)


def test_the_naive_forecast_uses_what_is_known_at_the_horizon():
    time, target = range(12), [*range(10, 18), 100, 200, 300, 400]
    arguments = (np.arange(12), None, np.array(target, float), np.arange(4), np.arange(4, 12), 2)
    one_ahead, _ = seasonal_naive(*arguments, 1)
    assert one_ahead.tolist() == [target[t - 2] for t in time[4:]]
    three_ahead, _ = seasonal_naive(*arguments, 3)
    assert three_ahead.tolist() == [target[t - 4] for t in time[4:]]


@pytest.mark.parametrize("horizon", [1, 5, 8])
def test_the_naive_forecast_equals_a_plain_loop(horizon):
    rng = np.random.default_rng(4)
    rows, season = 600, 5
    time, series = rng.integers(-30, 30, rows), rng.integers(0, 6, rows).astype(np.int32)
    target = rng.normal(size=rows)
    train, test = np.flatnonzero(time < 15), np.flatnonzero(time >= 15)
    train = train[rng.random(train.size) < 0.4]
    prediction, scale = seasonal_naive(time, series, target, train, test, season, horizon)
    panel = {}
    for row in (*train, *test):
        panel.setdefault((series[row], time[row]), []).append(target[row])
    panel = {key: np.mean(values) for key, values in panel.items()}
    for row, value in zip(test, prediction, strict=True):
        until = time[row] - horizon
        known = {t: value for (s, t), value in panel.items() if s == series[row] and t <= until}
        steps = (known.get(time[row] - m * season) for m in range(1, 99))
        found = next((step for step in steps if step is not None), None)
        if found is None:
            found = known[max(known)]
        assert value == pytest.approx(found, rel=1e-12)
    errors = [
        abs(target[row] - panel[series[row], time[row] - season])
        for row in train
        if (series[row], time[row] - season) in panel
    ]
    assert scale == pytest.approx(np.mean(errors), rel=1e-12)


def test_the_naive_forecast_takes_times_of_any_size():
    big = 2**61
    prediction, scale = forecast(
        [-big, big - 8, big - 4, big], None, [1, 2, 5, 0], [0, 1, 2], [3], 4
    )
    assert prediction.tolist() == [5]
    assert scale > 0
