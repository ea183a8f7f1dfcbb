"""A pattern is lost by chance as seldom as said; texts of a file are those of its sample."""

import numpy as np
import pytest

from ml.health.diversity import measure_diversity
from ml.health.sketching import sketch_table

pytestmark = pytest.mark.system


def values_of(found, name, column):
    [one] = [m for m in found.measures if (m.name, m.column) == (name, column)]
    return one.reference, one.candidate


def make_frame(seed, words):
    import pandas as pd

    draw = np.random.default_rng(seed)
    texts = np.array(list("abcdefghijkl"))[draw.integers(0, words, (600, 5))]
    said = [" ".join((*text, str(row))) for row, text in enumerate(texts)]
    return pd.DataFrame({"size": draw.standard_normal(600), "said": said})


def test_patterns_are_lost_by_chance_as_seldom_as_said():
    import pandas as pd

    lost = 0
    for seed in range(60):
        draw = np.random.default_rng(seed)
        # Levels so rare that each is there by chance only.
        table = pd.DataFrame({"level": draw.integers(0, 40, 400).astype(str)})
        lost += bool(measure_diversity(table[:200], table[200:]).lost)
    assert lost <= 8


def test_texts_of_a_file_are_those_of_its_sampled_rows(tmp_path):
    frames = [make_frame(seed, words) for seed, words in ((1, 12), (2, 3))]
    paths = [tmp_path / f"{place}.parquet" for place in range(2)]
    for frame, path in zip(frames, paths, strict=True):
        frame.to_parquet(path, row_group_size=130)
    assert measure_diversity(*paths).measures == measure_diversity(*frames).measures


def test_texts_that_say_less_are_told_by_their_words():
    reference, candidate = make_frame(1, 12), make_frame(2, 3)
    found = measure_diversity(reference, candidate)
    one, two = values_of(found, "vendi score", "said")
    assert two < 0.5 * one
    one, two = values_of(found, "similarity", "said")
    assert two > 2 * one
    one, two = values_of(found, "semantic coverage", "said")
    assert one > 0.9
    assert two < 0.6
    assert values_of(found, "near-duplicate texts", "said")[1] > 0.5
    assert all("TF-IDF" in m.meaning for m in found.measures if m.part == "semantic")
    sketched = measure_diversity(sketch_table(reference), candidate)
    assert [m for m in found.measures if m.part != "semantic"] == [
        m for m in sketched.measures if m.part != "semantic"
    ]
