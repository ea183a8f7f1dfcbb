import numpy as np
import pytest

from ml.core.errors import DataInvalid, RequestInvalid
from ml.health.diversity import measure_diversity
from ml.health.diversity_report import Diversity
from ml.health.measures import MEASURES
from ml.health.patterns import LEVEL
from ml.health.semantic import compare_meanings, unit_rows
from ml.health.sketching import sketch_table

pytestmark = pytest.mark.unit
WORDS = np.array(
    ["ash", "bay", "cod", "dew", "elm", "fir", "gnu", "hay", "ivy", "jay", "kid", "log"]
)


def make_frame(seed, rows=600, words=0):
    import pandas as pd

    draw = np.random.default_rng(seed)
    size = draw.standard_normal(rows)
    frame = pd.DataFrame(
        {
            "size": size,
            "price": size + 0.5 * draw.standard_normal(rows),
            "city": draw.choice(["Rome", "Oslo", "Bonn", "Lima"], rows, p=[0.6, 0.2, 0.17, 0.03]),
            "sold": draw.random(rows) < 0.5,
        }
    )
    if words:
        texts = WORDS[draw.integers(0, words, (rows, 5))]
        frame["said"] = [" ".join(text) for text in texts]
    return frame


def values_of(found, name, column=None):
    [one] = [m for m in found.measures if (m.name, m.column) == (name, column)]
    return one.reference, one.candidate


def test_an_equal_draw_is_as_diverse_and_the_result_is_json_both_ways():
    found = measure_diversity(make_frame(1), make_frame(2))
    assert {m.name for m in found.measures if m.part != "semantic"} == {
        name for name, known in MEASURES.items() if known.part != "semantic"
    }
    one, two = values_of(found, "effective values", "city")
    # The exponential of the entropy of .6, .2, .17 and .03.
    assert [one, two] == pytest.approx([2.81, 2.81], abs=0.25)
    assert values_of(found, "coverage") == pytest.approx((0.97, 0.97), abs=0.04)
    assert values_of(found, "duplicates") == (0.0, 0.0)
    assert values_of(found, "levels", "city") == (4.0, 4.0)
    assert values_of(found, "rare levels kept") == pytest.approx((1.0, 1.0), abs=1e-6)
    assert found.lost == ()
    assert found.reasons == ()
    assert (found.reference.rows, found.reference.sampled) == (600, 600)
    assert Diversity.model_validate_json(found.model_dump_json()) == found
    assert all(m.unit and m.meaning.endswith(".") and "{" not in m.meaning for m in found.measures)
    assert measure_diversity(make_frame(1), make_frame(2)) == found


def test_repeated_and_nearly_repeated_rows_are_counted_apart():
    import pandas as pd

    draw, frame = np.random.default_rng(0), make_frame(2)
    near = frame[:120].assign(
        size=lambda part: part["size"] + draw.uniform(-0.02, 0.02, 120),
        price=lambda part: part["price"] + draw.uniform(-0.02, 0.02, 120),
    )
    far = frame[120:180].assign(size=lambda part: part["size"] + 0.2)
    candidate = pd.concat([frame[:420], near, far], ignore_index=True)
    natural = values_of(measure_diversity(make_frame(1), frame), "near-duplicates")[1]
    found = measure_diversity(make_frame(1), candidate)
    assert values_of(found, "duplicates") == (0.0, 0.0)
    # The 120 rows and those that they are made of, of all that were none before.
    share = (values_of(found, "near-duplicates")[1] - natural) / (1 - natural)
    assert share == pytest.approx(0.4, abs=0.05)
    repeated = pd.concat([frame[:480], frame[:120]], ignore_index=True)
    found = measure_diversity(make_frame(1), repeated)
    assert values_of(found, "duplicates")[1] == pytest.approx(0.2)
    assert values_of(found, "near-duplicates")[1] <= natural


def test_a_level_and_a_combination_that_are_gone_are_told():
    candidate = make_frame(2)
    candidate.loc[candidate["city"] == "Lima", "city"] = "Rome"
    both = (candidate["city"] == "Bonn") & candidate["sold"]
    candidate.loc[both, "sold"] = False
    found = measure_diversity(make_frame(1), candidate)
    told = {(one.columns, one.values) for one in found.lost}
    assert told == {(("city",), ("Lima",)), (("city", "sold"), ("Bonn", "true"))}
    assert found.lost_patterns == 2
    lima = next(one for one in found.lost if one.columns == ("city",))
    number = int((make_frame(1)["city"] == "Lima").sum())
    assert lima.expected == pytest.approx(number)
    # All rows of a level fall on one of two equal sides: about one half to their number.
    assert lima.p == pytest.approx(0.5**number, rel=0.25)
    assert lima.p < LEVEL
    assert values_of(found, "rare levels kept")[1] == 0.0
    assert values_of(found, "levels", "city") == (4.0, 3.0)


def test_a_sketch_tells_what_it_can_by_its_hashed_words():
    reference = make_frame(1, words=12)
    candidate = make_frame(2, words=3)
    found = measure_diversity(sketch_table(reference), candidate)
    one, two = values_of(found, "similarity", "said")
    assert two > 1.5 * one
    assert any("hashed words" in reason for reason in found.reasons)


def test_given_embeddings_are_those_of_the_sampled_rows():
    draw = np.random.default_rng(0)
    spread = draw.standard_normal((600, 8))
    narrow = np.repeat(draw.standard_normal((6, 8)), 100, axis=0)
    narrow += 0.01 * draw.standard_normal((600, 8))
    frames = make_frame(1), make_frame(2)
    found = measure_diversity(*frames, embeddings={"picture": (spread, narrow)})
    one, two = values_of(found, "vendi score", "picture")
    assert one > 7
    assert two == pytest.approx(4.5, abs=1.6)
    assert values_of(found, "near-duplicate texts", "picture")[1] == 1.0
    for bad in (spread[:10], spread[:, 0], np.full((600, 8), np.nan), np.zeros((600, 3))):
        with pytest.raises(RequestInvalid, match="embeddings picture do not fit"):
            measure_diversity(*frames, embeddings={"picture": (spread, bad)})
    with pytest.raises(RequestInvalid, match="embeddings picture do not fit"):
        measure_diversity(*frames, embeddings={"picture": spread})
    sketch = sketch_table(frames[0])
    with pytest.raises(RequestInvalid, match="rows of a table, and a sketch was given"):
        measure_diversity(sketch, frames[1], embeddings={"picture": (spread, narrow)})


def test_orthogonal_vectors_are_as_many_as_their_vendi_score():
    vectors = unit_rows(np.tile(np.eye(5), (8, 1)))
    one, two = compare_meanings(vectors, np.tile(np.eye(5)[:1], (40, 1)))
    assert one.distinct == pytest.approx(5.0)
    assert two.distinct == pytest.approx(1.0)
    assert (one.similarity, two.similarity) == (pytest.approx(7 / 39), pytest.approx(1.0))
    assert compare_meanings(vectors[:10], vectors) is None


def test_a_fifth_of_a_number_that_is_gone_is_told_once():
    candidate = make_frame(2)
    edge = np.quantile(make_frame(1)["size"], 0.8)
    candidate["size"] = candidate["size"].clip(upper=edge - 0.01)
    found = measure_diversity(make_frame(1), candidate)
    assert ("size",) in {one.columns for one in found.lost}
    told = [one for one in found.lost if "size" in one.columns]
    assert [one.values for one in told] == [(f"from {edge:.6g}",)]
    assert told[0].share == pytest.approx(0.2, abs=0.01)


def test_a_table_that_shrank_covers_less_of_its_reference():
    candidate = make_frame(2)
    candidate[["size", "price"]] *= 0.1
    found = measure_diversity(make_frame(1), candidate)
    one, two = values_of(found, "coverage")
    assert one > 0.9
    assert two < 0.5
    one, two = values_of(found, "effective values", "size")
    assert two < 0.3 * one
    one, two = values_of(found, "effective rank")
    assert two == pytest.approx(one, rel=0.15)


def test_tables_without_rows_or_columns_in_common_are_told():
    frame = make_frame(1)
    with pytest.raises(DataInvalid, match="candidate has no rows"):
        measure_diversity(frame, frame[:0])
    found = measure_diversity(frame, frame.rename(columns=str.upper))
    assert len(found.reasons) == 8
    assert {m.name for m in found.measures} == {"duplicates", "near-duplicates"}
    empty = frame.assign(size=np.nan, city=None)
    found = measure_diversity(empty, empty)
    assert values_of(found, "effective values", "size") == (1.0, 1.0)
    assert values_of(found, "duplicates") == (0.0, 0.0)
    found = measure_diversity(frame, frame.drop(columns="city"))
    assert found.reasons == ("the column city is not on both sides alike",)
    assert values_of(found, "coverage")[1] > 0.9
