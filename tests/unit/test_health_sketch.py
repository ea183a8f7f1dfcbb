import numpy as np
import pytest

from ml.core.errors import DataInvalid, RequestInvalid
from ml.health.hashing import hash_text, sampling_keys
from ml.health.permute import assignments, permute_groups, permute_rows
from ml.health.prepared import Preparer
from ml.health.sketch import DISTINCT_ROWS, LEVELS, Sketch
from ml.health.sketching import sketch_table
from ml.health.stored import read_sketch, write_sketch

pytestmark = pytest.mark.unit


def make_frame(seed, rows):
    import pandas as pd

    draw = np.random.default_rng(seed)
    values = draw.standard_normal(rows)
    values[: rows // 10] = np.nan
    return pd.DataFrame(
        {
            "size": values,
            "cost": draw.gamma(2.0, size=rows),
            "kind": draw.choice(["a", "b", None], rows, p=[0.7, 0.2, 0.1]),
            "when": pd.Timestamp("2024-01-01")
            + pd.to_timedelta(draw.integers(0, 10**6, rows), unit="s"),
            "note": [f"word{place} and {place % 7}" for place in range(rows)],
        }
    )


def test_a_hash_is_the_same_in_every_process():
    # BLAKE2b of the letter, by any other implementation too.
    assert hash_text("a") == 0x2F42665B399EF840


def test_a_sketch_counts_what_is_there():
    frame = make_frame(0, 1000)
    sketch = sketch_table(frame)
    kinds = {column.name: column.kind for column in sketch.layout.columns}
    assert kinds == {
        "size": "numeric",
        "cost": "numeric",
        "kind": "categorical",
        "when": "datetime",
        "note": "text",
    }
    assert sketch.rows == 1000
    assert sketch.histograms.sum(axis=1).tolist() == [1000] * 4
    names = [column.name for column in sketch.layout.measured]
    size = names.index("size")
    assert sketch.histograms[size, -1] == 100
    known = frame["size"].dropna()
    assert sketch.known[size, size] == 900
    mean = sketch.sums[size, size] / 900 * sketch.layout.measured[size].scale
    assert mean + sketch.layout.measured[size].center == pytest.approx(known.mean())
    counts = sketch.counters[0]
    assert counts[hash_text("a")] == (frame["kind"] == "a").sum()
    assert counts[0] == frame["kind"].isna().sum()
    # Every text has the word "and".
    assert sketch.words[0].max() == 1000


def test_correlations_come_from_the_sums():
    from ml.health.whole import _correlation

    frame = make_frame(0, 3000)[["cost", "size"]].fillna(0.0)
    frame["cost"] += frame["size"]
    sketch = sketch_table(frame)
    expected = frame.corr().loc["cost", "size"]
    assert _correlation(sketch)[0, 1] == pytest.approx(expected, abs=1e-9)


def test_merged_sketches_are_the_sketch_of_both():
    frame = make_frame(0, 2000)
    whole = sketch_table(frame)
    merged = sketch_table(frame[:700], layout=whole.layout, part=0)
    merged.merge(sketch_table(frame[700:], layout=whole.layout, part=1))
    assert merged.rows == 2000
    assert np.array_equal(merged.histograms, whole.histograms)
    assert merged.counters == whole.counters
    assert np.array_equal(merged.words, whole.words)
    assert np.allclose(merged.products, whole.products)
    assert np.array_equal(merged.distinct, whole.distinct)
    assert np.array_equal(merged.repeats, whole.repeats)
    assert len(merged.keys) == 2000
    with pytest.raises(RequestInvalid, match="cannot be merged"):
        merged.merge(sketch_table(frame[["size"]]))


def test_repeats_are_counted_right_where_not_all_rows_are_kept(monkeypatch):
    import pandas as pd
    import pyarrow as pa

    monkeypatch.setattr("ml.health.sketch.DISTINCT_ROWS", 500)
    draw = np.random.default_rng(0)
    frame = pd.DataFrame({"x": np.tile(draw.standard_normal(3000), 2)})
    whole = Sketch(sketch_table(frame).layout)
    preparer = Preparer(whole.layout)
    for start in range(0, 6000, 999):
        batch = pa.RecordBatch.from_pandas(frame[start : start + 999], preserve_index=False)
        whole.add(preparer.prepare(batch), start, seed=0)
    whole.settle()
    # Both copies of a row have one hash, so that both are there or neither is.
    assert len(whole.distinct) == 500
    assert whole.limit < 2**64 - 1
    assert set(whole.repeats.tolist()) == {2}
    # The parts keep different shares of their rows' hashes; together they know the smaller one.
    merged = sketch_table(frame[:1000], layout=whole.layout)
    merged.merge(sketch_table(frame[1000:], layout=whole.layout, part=1))
    assert 400 < len(merged.distinct) <= 500
    assert set(merged.repeats.tolist()) == {2}


def test_rare_levels_are_dropped_and_counted(monkeypatch):
    import pandas as pd

    monkeypatch.setattr("ml.health.sketch.LEVELS", 10)
    frame = pd.DataFrame({"x": [f"l{place % 25}" for place in range(500)] + ["top"] * 500})
    sketch = sketch_table(frame)
    assert len(sketch.counters[0]) == 10
    assert sketch.counters[0][hash_text("top")] == 500
    assert sketch.dropped == [500 - 9 * 20]
    assert LEVELS > 1000
    assert DISTINCT_ROWS > 60000


def test_a_sample_is_drawn_by_the_rows_numbers_alone():
    keys = sampling_keys(0, 0, 0, 1000)
    assert np.array_equal(keys[400:], sampling_keys(0, 0, 400, 600))
    assert len(set(keys.tolist())) == 1000
    assert not np.array_equal(keys, sampling_keys(0, 1, 0, 1000))
    assert (keys < 2**63).mean() == pytest.approx(0.5, abs=0.06)


def test_a_stored_sketch_is_the_sketch(tmp_path):
    sketch = sketch_table(make_frame(0, 600))
    read = read_sketch(write_sketch(sketch, tmp_path / "kept"))
    assert read.layout == sketch.layout
    assert read.counters == sketch.counters
    assert read.kinds == sketch.kinds
    assert np.array_equal(read.sample.numbers, sketch.sample.numbers, equal_nan=True)
    assert np.array_equal(read.sample.tokens, sketch.sample.tokens)
    assert read.limit == sketch.limit
    assert read.labels["kind"] == {"a": hash_text("a"), "b": hash_text("b")}


@pytest.mark.parametrize("change", ["shape", "format", "cut"])
def test_a_damaged_sketch_is_refused(tmp_path, change):
    import json

    from ml.artifacts.arrays import dump_arrays, load_arrays, write_artifact

    folder = write_sketch(sketch_table(make_frame(0, 50)), tmp_path / "kept")
    manifest = json.loads((folder / "manifest.json").read_text())
    model = folder / "model.safetensors"
    if change == "shape":
        arrays = load_arrays(model.read_bytes())
        arrays["histograms"] = arrays["histograms"][:1]
        write_artifact(folder, manifest, dump_arrays(arrays), ".safetensors")
    elif change == "format":
        write_artifact(folder, manifest | {"format": "other"}, model.read_bytes(), ".safetensors")
    else:
        model.write_bytes(model.read_bytes()[:100])
    with pytest.raises(DataInvalid):
        read_sketch(folder)


def test_rows_in_order_are_binned_by_a_sample_of_all(tmp_path):
    import pandas as pd

    import ml.health.lines as lines

    path = tmp_path / "ordered.csv"
    pd.DataFrame({"x": np.arange(5000.0)}).to_csv(path, index=False)
    whole = sketch_table(path)
    narrow_block = pytest.MonkeyPatch()
    narrow_block.setattr(lines, "BLOCK", 4096)
    try:
        ordered = sketch_table(path)
    finally:
        narrow_block.undo()
    assert ordered.rows == whole.rows == 5000
    assert ordered.layout.columns[0].high == pytest.approx(whole.layout.columns[0].high, rel=0.01)
    assert ordered.histograms[0, 1025] < 100


def test_permuted_rows_keep_the_sides_sizes():
    labels = permute_rows(30, 50, np.random.default_rng(0))
    assert labels.shape == (80, 200)
    assert labels.sum(axis=0).tolist() == [30.0] * 200
    assert labels[:30, 0].all()
    assert len({column.tobytes() for column in labels.T}) == 200


def test_permuted_groups_stay_together_and_shared_ones_are_permuted_within():
    groups = np.repeat(np.arange(10), 4).astype(np.uint64)
    labels = permute_groups(groups, 20, np.random.default_rng(0))
    by_group = labels.reshape(10, 4, 200)
    assert (by_group.min(axis=1) == by_group.max(axis=1)).all()
    assert (by_group[:, 0].sum(axis=0) == 5).all()
    assert assignments(groups, 20) == pytest.approx(np.log(252))
    shared = np.concatenate([groups[:20], groups[:20]])
    labels = permute_groups(shared, 20, np.random.default_rng(0))
    for group in range(5):
        assert (labels[shared == group].sum(axis=0) == 4).all()
    assert assignments(shared, 20) == float("inf")
