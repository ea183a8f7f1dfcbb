"""Rows of large tables are located, few of healthy ones flagged, and attributions add up."""

import numpy as np
import pytest

from ml.health.channels import score_pool
from ml.health.check import pool_sketches
from ml.health.conformal import conformal_p
from ml.health.locate import LOOKED, locate_rows
from ml.health.places import place_rows
from ml.health.scan import Scan
from ml.health.sketching import sketch_table
from ml.health.stored import write_sketch
from ml.health.surprise import fit_surprises

pytestmark = pytest.mark.system
# More than a batch, and than a sketch samples.
LARGE = 80_000


def make_frame(seed, rows):
    import pandas as pd

    draw = np.random.default_rng(seed)
    size = draw.standard_normal(rows)
    return pd.DataFrame(
        {
            "size": size,
            "price": size + 0.1 * draw.standard_normal(rows),
            "rooms": draw.poisson(2.0, rows),
            "day": pd.Timestamp("2020-01-01") + pd.to_timedelta(draw.integers(0, 900, rows), "D"),
            "city": draw.choice(["Rome", "Oslo", "Bonn"], rows, p=[0.6, 0.3, 0.1]),
        }
    )


def make_damaged():
    reference, candidate = make_frame(1, LARGE), make_frame(2, LARGE)
    kinds = candidate.dtypes
    candidate.iloc[:500] = candidate.iloc[75_000:75_500].to_numpy()
    candidate.iloc[4000:4500] = reference.iloc[7000:7500].to_numpy()
    candidate = candidate.astype(kinds)
    candidate.loc[70_000:70_499, "price"] = np.arange(500) + 30.0
    return reference, candidate


def rows_by_channel(located):
    return {
        channel: {each.row for each in located.flagged if each.channel == channel}
        for channel in located.found
    }


@pytest.mark.parametrize("source", ["frames", "files", "stored reference"])
def test_rows_of_a_large_table_are_located_in_all_of_it(tmp_path, source):
    reference, candidate = make_damaged()
    if source != "frames":
        candidate.to_parquet(tmp_path / "candidate.parquet")
        candidate = tmp_path / "candidate.parquet"
    if source == "files":
        reference.to_csv(tmp_path / "reference.csv", index=False)
        reference = tmp_path / "reference.csv"
    if source == "stored reference":
        reference = write_sketch(sketch_table(reference), tmp_path / "sketch")
    located = locate_rows(reference, candidate, most=LARGE, attributions=False)
    assert (located.total, located.rows, located.scanned) == (LARGE, LOOKED, LARGE)
    rows = rows_by_channel(located)
    assert rows["repeated"] == {*range(500), *range(75_000, 75_500)}
    if source == "stored reference":
        # It keeps 65,536 of the rows' hashes.
        assert rows["copied"] < set(range(4000, 4500))
        assert 350 < len(rows["copied"]) < 450
        assert "copies are told of 82% of the rows only" in located.reasons
    else:
        assert rows["copied"] == set(range(4000, 4500))
    assert rows["cell"] >= set(range(70_000, 70_500))
    assert len(rows["cell"]) < 600
    told = {each.row: each.columns[0] for each in located.flagged if each.channel == "cell"}
    assert all(told[row].column == "price" for row in range(70_000, 70_500))
    assert [told[row].value for row in range(70_000, 70_500)] == list(range(30, 530))
    copied = next(each for each in located.flagged if each.channel == "copied")
    days = [each.value for each in copied.columns if each.column == "day"]
    assert all(day.startswith("202") and day.endswith("T00:00:00+00:00") for day in days)
    assert "5000 of 80000 rows" in located.reasons[-1]


def test_of_a_candidate_s_sketch_the_sampled_rows_are_located():
    reference, candidate = make_damaged()
    first = sketch_table(reference)
    second = sketch_table(candidate, layout=first.layout, part=1)
    located = locate_rows(first, second, most=LARGE, attributions=False)
    rows = rows_by_channel(located)
    # A quarter of the rows are sampled, and most of these are within the limit of hashes.
    assert located.scanned == 20_000
    assert rows["repeated"] < {*range(500), *range(75_000, 75_500)}
    assert rows["copied"] < set(range(4000, 4500))
    assert len(rows["repeated"]) > 150
    assert len(rows["copied"]) > 50


def test_a_scan_that_is_too_large_keeps_equal_rows_together(monkeypatch):
    from ml.health import scan as module
    from ml.health.prepared import Preparer

    monkeypatch.setattr(module, "KEPT", 1000)
    frame = make_frame(1, 3000)
    frame.iloc[:300] = frame.iloc[1000:1300].to_numpy()
    import pyarrow as pa

    layout = sketch_table(frame).layout
    scan, rows = Scan(), Preparer(layout).prepare(pa.RecordBatch.from_pandas(frame))
    scan.add(rows, 0)
    kept, hashes = scan.joined(0), scan.joined(1)
    assert 300 < len(kept) <= 1000
    assert set(kept) == set(np.flatnonzero(rows.hashes <= np.uint64(scan.limit)))
    again = scan.known().counts(hashes) > 1
    twice = {*range(300), *range(1000, 1300)}
    assert {int(row) for row in kept[again]} == twice & {int(row) for row in kept}


@pytest.mark.parametrize("channel", ["cell", "distance", "classifier"])
def test_a_channel_s_p_is_calibrated(channel):
    few = []
    for seed in range(20):
        first, second = make_frame(2 * seed, 500), make_frame(2 * seed + 1, 500)
        one = sketch_table(first)
        pool = pool_sketches(one, sketch_table(second, layout=one.layout, part=1))
        _, surprises = fit_surprises(pool, grouped=False)
        places = place_rows(pool, 0)
        scores = score_pool(pool, places, surprises, grouped=False, seed=seed).scores[channel]
        few.append((conformal_p(scores[:500], scores[500:]) <= 0.05).mean())
    # Of 10,000 rows; a p of .05 or less is to come as often, or less where scores are equal.
    assert 0.02 < np.mean(few) < 0.06


def test_few_rows_of_healthy_tables_are_flagged():
    flagged = sum(
        sum(
            locate_rows(
                make_frame(2 * seed, 400), make_frame(2 * seed + 1, 400), attributions=False
            ).found.values()
        )
        for seed in range(40)
    )
    # Of 16,000 rows; a thousandth at most.
    assert flagged <= 16


def test_integrated_gradients_add_up_to_the_difference_of_logits():
    pytest.importorskip("torch")
    import torch

    from ml.health.attribution import attribute_rows, integrate, train_network

    draw = np.random.default_rng(1)
    values = draw.standard_normal((600, 4)).astype(np.float32)
    values[300:, 2] += 2.0
    rows = np.arange(300, 310)
    gradients, reason = attribute_rows(values, 300, rows, 0)
    assert reason is None
    network = train_network(values, 300, 0)
    inputs = torch.from_numpy(values[rows])
    baseline = torch.from_numpy(values[:300].mean(axis=0, keepdims=True))
    gaps = (network(inputs) - network(baseline)).numpy()
    assert gradients.sum(axis=1) == pytest.approx(gaps, abs=1e-3)
    assert (np.abs(gradients).argmax(axis=1) == 2).mean() >= 0.8
    assert gradients == pytest.approx(integrate(network, inputs, baseline), abs=1e-4)
    assert np.array_equal(gradients, attribute_rows(values, 300, rows, 0)[0])
