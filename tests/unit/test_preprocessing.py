import dataclasses
import json

import numpy as np
import pytest

from ml.core.contracts import PreprocessingSpec, SplitRule
from ml.core.errors import DataInvalid
from ml.core.table import Table
from ml.preprocessing.preprocessor import Preprocessor, TargetScaler, fit_preprocessor
from ml.preprocessing.scaling import measure_moments

pytestmark = pytest.mark.unit

NAN = float("nan")
PLAIN = PreprocessingSpec(scale=False)
RANKS = PreprocessingSpec(encoding="ordinal", scale=False)


def make_table(numeric=None, categorical=None):
    """Make a table of columns by name; categorical values are strings or None for missing."""
    numeric, categorical = numeric or {}, categorical or {}
    size = len(next(iter((numeric | categorical).values())))
    levels = [tuple(sorted(set(values) - {None})) for values in categorical.values()]
    codes = [
        [-1 if value is None else known.index(value) for value in values]
        for values, known in zip(categorical.values(), levels, strict=True)
    ]
    return Table(
        id="t",
        task="regression",
        content_sha256="0" * 64,
        numeric=np.array(list(numeric.values()), float).reshape(len(numeric), size).T,
        numeric_names=tuple(numeric),
        categorical=np.array(codes, np.int32).reshape(len(codes), size).T,
        categorical_names=tuple(categorical),
        levels=tuple(levels),
        target=np.arange(size, dtype=float),
        classes=(),
        split=SplitRule(),
    )


def fit_and_show(table, train, spec=PLAIN):
    """Return output columns by name, for all rows, as fitted on the first ``train`` rows."""
    fitted = fit_preprocessor(spec, table, np.arange(train))
    out = fitted.transform(table, np.arange(table.rows))
    assert out.dtype == np.float32
    assert out.flags.c_contiguous
    assert out.shape == (table.rows, fitted.features)
    assert np.isfinite(out).all()
    return dict(zip(fitted.names, out.T.tolist(), strict=True)), fitted


def random_table(seed, rows=400):
    rng = np.random.default_rng(seed)
    columns = {f"n{i}": rng.normal(10.0**i, 10.0 ** (2 * i), rows) for i in range(4)}
    columns["n1"][rng.random(rows) < 0.2] = NAN
    levels = np.array(["red", "green", "blue", None, "a", "b", "c"], dtype=object)
    return make_table(
        columns,
        {
            "colour": levels[rng.integers(0, 4, rows)].tolist(),
            "letter": levels[np.minimum(rng.geometric(0.4, rows) + 2, 6)].tolist(),
        },
    )


def test_missing_numbers_become_the_training_median_and_are_flagged():
    table = make_table({"a": [1, NAN, 3, 10, NAN, 7], "b": [1, 2, 3, 4, NAN, 6]})
    shown, fitted = fit_and_show(table, 4)
    assert shown == {
        "a": [1, 3, 3, 10, 3, 7],
        "b": [1, 2, 3, 4, 2.5, 6],
        "a:missing": [0, 1, 0, 0, 1, 0],
    }
    assert fitted.dropped == {}


@pytest.mark.parametrize("seed", range(3))
def test_medians_equal_those_of_numpy(seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(31, 8))
    values[rng.random(values.shape) < 0.4] = NAN
    values[:2] = rng.normal(size=(2, 8))
    table = make_table({f"c{i}": column for i, column in enumerate(values.T)})
    fitted = fit_preprocessor(PLAIN, table, np.arange(31))
    fills = [column.fill for column in fitted.numeric]
    assert fills == np.nanmedian(values, axis=0).tolist()


def test_scaled_training_columns_have_mean_0_and_deviation_1():
    table = random_table(0)
    rows = np.arange(300)
    fitted = fit_preprocessor(PreprocessingSpec(), table, rows)
    out = fitted.transform(table, rows).astype(np.float64)[:, :4]
    assert out.mean(axis=0) == pytest.approx(np.zeros(4), abs=1e-6)
    assert out.std(axis=0) == pytest.approx(np.ones(4), abs=1e-6)


def test_the_matrix_equals_that_of_scikit_learn():
    pytest.importorskip("sklearn")
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    table = random_table(1)
    train, rows = np.arange(0, 400, 2), np.arange(400)
    fitted = fit_preprocessor(PreprocessingSpec(), table, train)
    out = fitted.transform(table, rows)
    numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True))
    filled = numbers.fit(table.numeric[train]).transform(table.numeric)
    filled[:, :4] = StandardScaler().fit(filled[train, :4]).transform(filled[:, :4])
    assert out[:, :5] == pytest.approx(filled, rel=1e-6, abs=1e-6)
    hot = OneHotEncoder(sparse_output=False).fit(table.categorical[train])
    expected = hot.transform(table.categorical)
    codes = [[*table.levels[column], "missing"] for column in (0, 1)]
    order = [
        f"{name}{':' if codes[column][code] == 'missing' else '='}{codes[column][code]}"
        for column, name in enumerate(table.categorical_names)
        for code in hot.categories_[column]
    ]
    positions = [fitted.names.index(name) for name in order]
    assert sorted(positions) == list(range(5, out.shape[1]))
    assert (out[:, positions] == expected).all()


def test_columns_without_information_are_dropped_with_their_reason():
    table = make_table(
        {"gone": [NAN, NAN, 5], "flat": [0.1, 0.1, 9], "part": [3, NAN, 4], "good": [1, 2, 3]},
        {"same": ["x", "x", "y"], "void": [None, None, "y"], "some": ["x", None, "y"]},
    )
    shown, fitted = fit_and_show(table, 2)
    assert shown == {
        "good": [1, 2, 3],
        "part:missing": [0, 1, 0],
        "some=x": [1, 0, 0],
        "some:missing": [0, 1, 0],
    }
    assert fitted.dropped == {
        "gone": "missing in every training row",
        "flat": "constant in the training rows",
        "part": "constant in the training rows, but for missing values, whose indicator is kept",
        "same": "constant in the training rows",
        "void": "missing in every training row",
    }


@pytest.mark.parametrize("spec", [PLAIN, RANKS, PreprocessingSpec()])
def test_one_column_of_zeros_remains_where_nothing_else_does(spec):
    table = make_table({"flat": [1, 1, 2]}, {"same": ["x", "x", "y"]})
    shown, _ = fit_and_show(table, 2, spec)
    assert shown == {"constant": [0, 0, 0]}


def test_tables_of_one_kind_of_column_and_no_rows_are_transformed():
    for table in (make_table({"a": [1, 2, 3]}), make_table(None, {"c": ["x", "y", "x"]})):
        fitted = fit_preprocessor(PreprocessingSpec(), table, np.arange(3))
        none = np.array([], dtype=np.int64)
        assert fitted.transform(table, none).shape == (0, fitted.features)


def test_fitting_on_no_rows_is_refused():
    with pytest.raises(DataInvalid, match="at least 1 training row"):
        fit_preprocessor(PLAIN, make_table({"a": [1, 2]}), np.array([], dtype=np.int64))


def test_levels_stand_by_frequency_then_by_name():
    table = make_table(None, {"c": ["z", "b", "z", "a", "a", "m", "b", "z"]})
    _, fitted = fit_and_show(table, 8)
    assert fitted.names == ("c=z", "c=a", "c=b", "c=m")
    shown, _ = fit_and_show(table, 8, RANKS)
    assert shown == {"c": [0, 2, 0, 1, 1, 3, 2, 0]}
    turned = dataclasses.replace(
        table, levels=(table.levels[0][::-1],), categorical=3 - table.categorical
    )
    assert fit_and_show(turned, 8, RANKS)[0] == shown


def test_rare_and_unknown_levels_share_the_last_place():
    values = ["a", "a", "a", "b", "b", "c", "d", "e", None]
    table = make_table(None, {"c": values})
    shown, _ = fit_and_show(table, 7, PreprocessingSpec(max_levels=3, scale=False))
    assert shown == {
        "c=a": [1, 1, 1, 0, 0, 0, 0, 0, 0],
        "c=b": [0, 0, 0, 1, 1, 0, 0, 0, 0],
        # Levels c and d are rare, e is unknown; missing never occurred in training.
        "c:other": [0, 0, 0, 0, 0, 1, 1, 1, 0],
    }
    spec = PreprocessingSpec(encoding="ordinal", max_levels=3, scale=False)
    assert fit_and_show(table, 7, spec)[0] == {"c": [0, 0, 0, 1, 1, 2, 2, 2, -1]}


def test_an_unknown_level_is_all_zeros_where_every_level_has_its_own_column():
    table = make_table(None, {"c": ["a", "b", "a", "new"]})
    assert fit_and_show(table, 3)[0] == {"c=a": [1, 0, 1, 0], "c=b": [0, 1, 0, 0]}
    assert fit_and_show(table, 3, RANKS)[0] == {"c": [0, 1, 0, 2]}


@pytest.mark.parametrize("most", [2, 3, 4, 5, 6])
def test_a_feature_never_has_more_columns_than_its_cap(most):
    table = make_table(None, {"c": ["a", "a", "b", "b", "c", "d", None, None]})
    shown, fitted = fit_and_show(table, 8, PreprocessingSpec(max_levels=most, scale=False))
    assert fitted.features == min(most, 5)
    # Every training row is in exactly one column.
    assert np.array(list(shown.values())).sum(axis=0).tolist() == [1] * 8


def test_scaled_ranks_have_mean_0_and_deviation_1():
    table = random_table(2)
    rows = np.arange(300)
    spec = PreprocessingSpec(encoding="ordinal", max_levels=3)
    fitted = fit_preprocessor(spec, table, rows)
    out = fitted.transform(table, rows)[:, -2:].astype(np.float64)
    assert fitted.names[-2:] == ("colour", "letter")
    assert out.mean(axis=0) == pytest.approx([0, 0], abs=1e-6)
    assert out.std(axis=0) == pytest.approx([1, 1], abs=1e-6)


@pytest.mark.parametrize("encoding", ["one_hot", "ordinal"])
@pytest.mark.parametrize("scale", [True, False])
def test_nothing_but_the_training_rows_is_fitted(encoding, scale):
    table = random_table(3)
    train = np.sort(np.random.default_rng(3).permutation(400)[:250])
    others = np.setdiff1d(np.arange(400), train)
    numeric, categorical = table.numeric.copy(), table.categorical
    numeric[others] = np.where(np.arange(4) % 2, 1e300, NAN)
    # New levels reorder the old ones, as a vocabulary of all rows would.
    levels = tuple(("new", *reversed(known)) for known in table.levels)
    sizes = np.array([len(known) for known in table.levels])
    categorical = np.where(categorical < 0, -1, sizes - categorical).astype(np.int32)
    categorical[others] = 0
    poisoned = dataclasses.replace(
        table, numeric=numeric, categorical=categorical, levels=levels, target=table.target + 1
    )
    spec = PreprocessingSpec(encoding=encoding, max_levels=3, scale=scale)
    clean, fouled = (fit_preprocessor(spec, each, train) for each in (table, poisoned))
    assert json.dumps(fouled.to_json()) == json.dumps(clean.to_json())
    expected = clean.transform(table, train)
    assert fouled.transform(poisoned, train).tobytes() == expected.tobytes()


def test_rows_are_transformed_one_by_one_as_together():
    table = random_table(4)
    fitted = fit_preprocessor(PreprocessingSpec(max_levels=3), table, np.arange(300))
    together = fitted.transform(table, np.arange(400))
    for row in (0, 17, 399):
        alone = fitted.transform(table, np.array([row]))
        assert alone.tobytes() == together[row : row + 1].tobytes()


@pytest.mark.parametrize("encoding", ["one_hot", "ordinal"])
def test_json_restores_the_fit_bit_for_bit(encoding):
    table = random_table(5)
    spec = PreprocessingSpec(encoding=encoding, max_levels=3)
    fitted = fit_preprocessor(spec, table, np.arange(300))
    restored = Preprocessor.from_json(json.loads(json.dumps(fitted.to_json())))
    assert restored == fitted
    rows = np.arange(400)
    expected = fitted.transform(table, rows)
    assert restored.transform(table, rows).tobytes() == expected.tobytes()


def test_json_restores_any_float():
    rng = np.random.default_rng(6)
    bits = rng.integers(0, 2**63, 3000).view(np.float64)
    for value in bits[np.isfinite(bits)].tolist():
        text = json.dumps(TargetScaler(mean=value, std=1.0).to_json())
        assert TargetScaler.from_json(json.loads(text)).mean == value


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"encoding": "hashed"}, "encoding"),
        ({"numeric": [{"name": "n0"}]}, "numeric.0.value"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_stored_fit_that_was_changed_is_refused_by_field(change, field):
    fitted = fit_preprocessor(PLAIN, random_table(5), np.arange(300))
    with pytest.raises(DataInvalid, match="stored Preprocessor cannot be read") as caught:
        Preprocessor.from_json(fitted.to_json() | change)
    assert caught.value.field == field


def test_a_table_with_other_columns_is_refused():
    fitted = fit_preprocessor(PLAIN, make_table({"a": [1, 2], "b": [2, 1]}), np.arange(2))
    with pytest.raises(DataInvalid, match="numeric columns are not those") as caught:
        fitted.transform(make_table({"b": [1, 2], "a": [2, 1]}), np.arange(2))
    assert caught.value.expected == "('a', 'b')"
    assert caught.value.received == "('b', 'a')"


@pytest.mark.parametrize("scale", [True, False])
def test_huge_and_tiny_values_stay_finite(scale):
    huge, tiny = 1.7e308, 5e-324
    table = make_table(
        {
            "huge": [huge, -huge, huge, 0, NAN, huge],
            "even": [huge, huge, huge, -huge, NAN, 1],
            "tiny": [tiny, 0, 0, tiny, NAN, huge],
            "near": [1.0, 1.0 + 2**-52, 1.0, 1.0, -huge, huge],
        }
    )
    shown, _ = fit_and_show(table, 4, PreprocessingSpec(scale=scale))
    assert max(abs(value) for column in shown.values() for value in column) <= 1.001e30
    if scale:
        assert shown["huge"][:4] == pytest.approx(
            ((np.array([1, -1, 1, 0]) - 0.25) / np.std([1, -1, 1, 0])).tolist()
        )
    else:
        assert shown["huge"][:2] == pytest.approx([1e30, -1e30])


def test_moments_equal_those_of_numpy():
    values = np.random.default_rng(7).normal(3, 4, (5, 200))
    mean, deviation = measure_moments(values)
    assert mean == pytest.approx(values.mean(axis=1), rel=1e-14)
    assert deviation == pytest.approx(values.std(axis=1), rel=1e-14)


def test_a_target_is_scaled_and_restored():
    target = np.random.default_rng(8).normal(1e6, 50, 500)
    scaler = TargetScaler.fit(target)
    scaled = scaler.transform(target)
    assert scaled.dtype == np.float32
    assert scaled.astype(np.float64).mean() == pytest.approx(0, abs=1e-6)
    assert scaled.astype(np.float64).std() == pytest.approx(1, abs=1e-6)
    restored = scaler.inverse(scaled)
    assert restored.dtype == np.float64
    assert restored == pytest.approx(target, abs=1e-4)


def test_a_constant_target_is_shifted_and_not_divided():
    scaler = TargetScaler.fit(np.full(7, 0.1))
    assert (scaler.mean, scaler.std) == (0.1, 1.0)
    assert scaler.transform(np.array([0.1, 1.1])).tolist() == [0.0, 1.0]
    assert scaler.inverse(np.array([0.0])).tolist() == [0.1]


def test_an_inverse_beyond_float64_is_infinite_for_the_judge_to_see():
    scaler = TargetScaler.fit(np.array([1e300, -1e300]))
    assert scaler.std == pytest.approx(1e300)
    assert scaler.inverse(np.array([1e30])).tolist() == [np.inf]
