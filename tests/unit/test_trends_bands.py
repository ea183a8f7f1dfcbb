"""Learn bands from hand-made series; write, read and refuse files of them."""

import json
import math
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trends_fixture import confirm, make_metric, make_noise, make_points, make_series, make_timing

from harness.store.baselines import Band, BaselinesInvalid, read_baselines, write_baselines
from harness.trends.bands import describe_proposal, learn_band, propose

pytestmark = pytest.mark.unit
CELL = "wine-mlp-pytorch-train"
BAND = Band(level=1.0, low=0.8, high=1.2, runs=9, since="00001", environment="e", entry="r")


def test_a_quiet_timing_gets_the_floor_as_its_band():
    band = learn_band(make_timing([2.0] * 30))
    assert (band.level, band.low, band.high) == (2.0, 1.739, 2.3)
    assert (band.runs, band.since, band.environment, band.calibrated) == (30, "00000", "e", False)


def test_a_noisy_timing_gets_five_spreads():
    band = learn_band(make_timing(make_noise(60, spread=0.05, seed=1)))
    assert math.log(band.high / band.level) == pytest.approx(5 * 0.05, rel=0.25)
    assert band.low * band.high == pytest.approx(band.level**2, rel=1e-3)


def test_a_calibrated_timing_is_in_units_of_the_calibration():
    band = learn_band(make_timing([2.0] * 10, calibration=0.1))
    assert (band.level, band.calibrated) == (20.0, True)


def test_a_metric_gets_its_floor_or_five_standard_errors():
    exact = learn_band(make_metric([0.9]))
    assert (exact.level, exact.low, exact.high, exact.runs) == (0.9, 0.89, 0.91, 1)
    # Standard error 0.1 / sqrt(3).
    spread = learn_band(make_metric([(0.6, 0.7, 0.8)]))
    assert spread.high - spread.level == pytest.approx(5 * 0.1 / math.sqrt(3), abs=1e-4)
    loss = learn_band(make_metric([250.0], better=False))
    assert (loss.low, loss.high) == (247.5, 252.5)


def test_a_band_is_learned_from_the_newest_level_and_environment_only():
    told = [confirm(40, [1.2, 1.21, 1.19, 1.2])]
    stepped = make_timing([*make_noise(40, seed=3), *([1.2] * 6)])
    band = learn_band(stepped, confirmations=told)
    assert (band.level, band.runs, band.since) == (1.2, 6, "00040")
    moved = make_series(make_points([1.0] * 30), make_points([3.0] * 5, 30, environment="f"))
    band = learn_band(moved)
    assert (band.level, band.runs, band.since, band.environment) == (3.0, 5, "00030", "f")


def test_a_band_of_machines_that_take_turns_is_that_of_the_newest():
    fast, slow = make_points([1.0] * 30), make_points([3.0] * 30, environment="f")
    points = tuple(slow[place] if place % 2 else fast[place] for place in range(30))
    band = learn_band(make_series(points))
    assert (band.level, band.runs, band.environment, band.since) == (3.0, 15, "f", "00001")


def test_a_young_or_suspect_series_has_no_band():
    assert learn_band(make_timing([1.0] * 4)) is None
    assert learn_band(make_timing([])) is None
    assert learn_band(make_timing([*make_noise(40, seed=3), 1.3])) is None


def test_a_proposal_keeps_what_still_holds_and_replaces_what_does_not():
    old = {(CELL, "fit"): BAND, ("other", "fit"): BAND}
    assert propose([make_timing([1.09] * 10)], old) == old
    assert propose([make_timing([0.91] * 10)], old) == old
    assert propose([make_timing([0.89] * 10)], old)[CELL, "fit"].level == 0.89
    new = propose([make_timing([1.11] * 10)], old)
    assert new["other", "fit"] == BAND
    assert new[CELL, "fit"].level == 1.11
    elsewhere = propose([make_timing([1.0] * 10, environment="f")], old)
    assert elsewhere[CELL, "fit"].environment == "f"


def test_a_proposal_is_told_a_line_a_band():
    gone, fresh = ("a", "fit"), ("b", "fit")
    old = {gone: BAND, (CELL, "fit"): BAND, ("same", "fit"): BAND}
    after = replace(BAND, level=1.5, low=1.3, high=1.7, runs=1, environment="f")
    new = {fresh: BAND, (CELL, "fit"): after, ("same", "fit"): BAND}
    assert describe_proposal(old, new) == [
        "- a fit: 1 [0.8, 1.2] (9 runs since 00001)",
        "+ b fit: 1 [0.8, 1.2] (9 runs since 00001)",
        f"~ {CELL} fit: 1 [0.8, 1.2] (9 runs since 00001) → 1.5 [1.3, 1.7] (1 run since 00001), "
        "level +50.0%, another environment (e → f)",
    ]


def test_no_file_means_no_bands(tmp_path):
    assert read_baselines(tmp_path / "baselines.json") == {}


def test_a_file_is_sorted_and_one_value_a_line(tmp_path):
    path = tmp_path / "new" / "baselines.json"
    write_baselines(path, {("b", "fit"): BAND, ("a", "score"): BAND, ("a", "fit"): BAND})
    text = path.read_text()
    assert list(json.loads(text)["bands"]) == ["a", "b"]
    assert list(json.loads(text)["bands"]["a"]) == ["fit", "score"]
    assert '        "level": 1.0,\n        "low": 0.8,\n' in text
    assert text.endswith("}\n")
    assert [found.name for found in path.parent.iterdir()] == ["baselines.json"]


names = st.text(min_size=1)
finite = st.floats(allow_nan=False, allow_infinity=False)


@given(
    st.dictionaries(
        st.tuples(names, names),
        st.tuples(finite, finite, finite, st.integers(1, 999), names, names, names, st.booleans()),
    )
)
def test_what_is_written_is_read_back(tmp_path_factory, content):
    bands = {}
    for key, (*values, runs, since, environment, entry, calibrated) in content.items():
        low, level, high = sorted(values)
        bands[key] = Band(level, low, high, runs, since, environment, entry, calibrated)
    path = tmp_path_factory.mktemp("bands") / "baselines.json"
    write_baselines(path, bands)
    assert read_baselines(path) == bands


def broken(path, **changes):
    write_baselines(path, {(CELL, "fit"): BAND})
    content = json.loads(path.read_text())
    content["bands"][CELL]["fit"].update(changes)
    path.write_text(json.dumps(content))
    with pytest.raises(BaselinesInvalid) as caught:
        read_baselines(path)
    return str(caught.value)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"low": "1"}, f"bands.{CELL}.fit.low; expected a finite number; received '1'"),
        ({"level": True}, f"bands.{CELL}.fit.level; expected a finite number; received True"),
        ({"low": 1.1}, f"bands.{CELL}.fit; expected low ≤ level ≤ high; received 1.1, 1.0, 1.2"),
        ({"runs": "9"}, "expected a number of runs, at least 1; received '9'"),
        ({"runs": 9.5}, "expected a number of runs, at least 1; received 9.5"),
        ({"runs": 0}, "expected a number of runs, at least 1; received 0"),
        ({"since": None}, "fit.since; expected a text; received None"),
        ({"calibrated": 1}, "fit.calibrated; expected true or false; received 1"),
        ({"more": 1}, "received ['more'] off"),
        ({"high": float("nan")}, "is not JSON: NaN is not a number"),
    ],
)
def test_a_broken_value_is_refused_with_its_place_and_a_remedy(tmp_path, changes, expected):
    message = broken(tmp_path / "baselines.json", **changes)
    assert expected in message
    assert str(tmp_path / "baselines.json") in message
    assert "mlmatrix baseline update" in message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is not JSON"),
        ("[]", "expected an object with version 1"),
        ('{"version": 1}', "at bands; expected an object; received None"),
        ('{"version": 1, "bands": {"a": 3}}', "at bands.a; expected an object; received 3"),
        ('{"version": 1, "bands": {"a": {}, "a": {}}}', "'a' stands twice in one object"),
        ('{"version": 2, "bands": {}}', "received 2; update pytest-mlmatrix"),
    ],
)
def test_a_broken_file_is_refused(tmp_path, text, expected):
    path = tmp_path / "baselines.json"
    path.write_text(text)
    with pytest.raises(BaselinesInvalid) as caught:
        read_baselines(path)
    assert expected in str(caught.value)


def test_the_reader_needs_no_numpy():
    code = "import sys, harness.store.baselines; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
