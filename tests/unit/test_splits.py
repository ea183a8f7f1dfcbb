import hashlib

import numpy as np
import pytest

from ml.core.contracts import SplitRule
from ml.core.errors import DataInvalid
from ml.core.splits import Split, sample_rows, split_rows
from ml.core.table import Table

pytestmark = pytest.mark.unit


def make_table(target, classes=(), time=None, group=None, **rule):
    target = np.asarray(target, dtype=np.int64 if classes else np.float64)
    kind = "time" if time is not None else "group" if group is not None else "random"
    column = None if kind == "random" else "c"
    return Table(
        id="t",
        task="classification" if classes else "regression",
        content_sha256="0" * 64,
        numeric=np.zeros((target.size, 1)),
        numeric_names=("x",),
        categorical=np.zeros((target.size, 0), np.int32),
        categorical_names=(),
        levels=(),
        target=target,
        classes=tuple(classes),
        split=SplitRule(rule=rule.pop("rule", kind), column=column, **rule),
        time=None if time is None else np.asarray(time, np.int64),
        group=None if group is None else np.asarray(group, np.int64),
    )


def assert_parts_are_disjoint_and_sorted(split, rows):
    parts = [split.train, split.validation, split.test]
    for part in parts:
        assert part.dtype == np.int64
        assert (np.diff(part) > 0).all()
    joined = np.concatenate(parts)
    assert np.unique(joined).size == joined.size
    assert set(joined.tolist()) <= set(range(rows))


def test_a_sample_of_all_rows_is_every_row_and_hashes_its_indices():
    rows, info = sample_rows(make_table(range(10)), 10, seed=3)
    assert rows.tolist() == list(range(10))
    assert (info.method, info.rows, info.rows_total) == ("all", 10, 10)
    assert info.rows_sha256 == hashlib.sha256(np.arange(10, dtype="<i8").tobytes()).hexdigest()


def test_a_time_sample_is_the_newest_rows():
    rows, info = sample_rows(make_table(range(10), time=range(10)), 4, seed=3)
    assert rows.tolist() == [6, 7, 8, 9]
    assert info.method == "newest"


def test_a_random_sample_is_seeded_sorted_and_without_repeats():
    table = make_table(range(1000))
    rows, info = sample_rows(table, 100, seed=1)
    assert (info.method, info.rows, info.rows_total) == ("random", 100, 1000)
    assert np.unique(rows).size == 100
    assert (np.diff(rows) > 0).all()
    assert sample_rows(table, 100, seed=1)[0].tolist() == rows.tolist()
    assert sample_rows(table, 100, seed=2)[0].tolist() != rows.tolist()
    # A fair sample of 0..999 lies around the middle.
    assert 400 < rows.mean() < 600


def test_a_sample_by_class_holds_the_shares_and_keeps_rare_classes():
    target = np.repeat([0, 1, 2, 3, 4], [700, 200, 97, 2, 1])
    rows, _ = sample_rows(make_table(target, "abcde"), 100, seed=5)
    kept = np.bincount(target[rows], minlength=5)
    assert kept.sum() == 100
    assert kept[3:].tolist() == [2, 1]
    assert np.abs(kept[:3] - [70, 20, 9.7]).max() <= 2


def test_a_sample_without_rare_classes_holds_each_share_within_one_row():
    target = np.repeat(np.arange(7), [101, 53, 211, 97, 13, 307, 29])
    rows, _ = sample_rows(make_table(target, "abcdefg"), 211, seed=5)
    ideal = np.bincount(target) * 211 / target.size
    assert np.abs(np.bincount(target[rows]) - ideal).max() < 1


def test_a_limit_without_room_for_the_classes_is_refused_with_the_number_needed():
    table = make_table(np.repeat(np.arange(20), 5), [str(c) for c in range(20)])
    with pytest.raises(DataInvalid, match="at least 40 rows for 20 classes") as caught:
        sample_rows(table, 30, seed=0)
    assert caught.value.code == "budget_too_small"


@pytest.mark.parametrize("replicate", range(5))
def test_a_random_split_has_the_declared_sizes(replicate):
    split = split_rows(make_table(range(1000)), 0, replicate)
    assert (split.test.size, split.validation.size, split.train.size) == (250, 112, 638)
    assert_parts_are_disjoint_and_sorted(split, 1000)


def test_splits_repeat_for_equal_seeds_and_differ_for_others():
    table = make_table(range(200))
    first = split_rows(table, 3, 1)
    assert split_rows(table, 3, 1).sha256 == first.sha256
    hashes = {split_rows(table, seed, r).sha256 for seed in (3, 4) for r in (0, 1, 2)}
    assert len(hashes) == 6
    # Independent draws of a quarter share about a sixteenth of the rows.
    shared = np.intersect1d(first.test, split_rows(table, 3, 2).test).size
    assert 2 <= shared <= 25


@pytest.mark.parametrize("kind", ["random", "classes", "time", "group"])
def test_leaving_out_validation_changes_no_test_row(kind):
    values = np.arange(120)
    table = {
        "random": lambda: make_table(values),
        "classes": lambda: make_table(values % 3, "abc"),
        "time": lambda: make_table(values, time=values // 4),
        "group": lambda: make_table(values, group=values // 6),
    }[kind]()
    for replicate in range(3):
        with_part = split_rows(table, 9, replicate)
        without = split_rows(table, 9, replicate, validation=False)
        assert with_part.validation.size > 0
        assert without.validation.size == 0
        assert without.test.tolist() == with_part.test.tolist()
        joined = np.union1d(with_part.train, with_part.validation)
        assert without.train.tolist() == joined.tolist()
        assert_parts_are_disjoint_and_sorted(with_part, 120)


def test_a_split_by_class_holds_the_shares_in_each_part():
    target = np.repeat([0, 1], [900, 100])[np.random.default_rng(0).permutation(1000)]
    split = split_rows(make_table(target, "ab"), 0, 0)
    assert np.bincount(target[split.test]).tolist() == [225, 25]
    assert np.bincount(target[split.validation]).tolist() == [101, 11]


@pytest.mark.parametrize("seed", range(20))
def test_rare_classes_train_before_they_are_tested(seed):
    # Class a has 1 row, b 2, c 3; d and f have many, e none.
    target = np.repeat([0, 1, 2, 3, 5], [1, 2, 3, 60, 34])
    split = split_rows(make_table(target, "abcdef"), seed, 0)
    train, test = (np.bincount(target[part], minlength=6) for part in (split.train, split.test))
    assert (train[0], test[0]) == (1, 0)
    assert (train[1], test[1]) == (1, 1)
    assert test[2] >= 1
    assert set(np.flatnonzero(test)) <= set(np.flatnonzero(train))
    assert split.test.size == 25


def test_a_class_too_rare_for_its_share_is_tested_all_the_same():
    target = np.repeat([0, 1], [2, 98])
    split = split_rows(make_table(target, "ab", test_fraction=0.1), 0, 0)
    assert np.bincount(target[split.test]).tolist() == [1, 9]


def test_the_smallest_tables_split_with_one_test_row_and_no_validation():
    split = split_rows(make_table([1.0, 2.0]), 0, 0)
    assert (split.train.size, split.validation.size, split.test.size) == (1, 0, 1)
    split = split_rows(make_table([0, 1, 0], "ab"), 0, 0)
    assert 1 in split.train
    assert (split.train.size, split.test.size) == (2, 1)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (make_table([1.0]), "1 rows cannot be parted by the rule 'random' with test_fraction 0.25"),
        (make_table([0, 1, 2], "abc"), "3 rows cannot be parted .* at least 2 rows of one class"),
        (make_table([1, 2, 3], time=[5, 5, 5]), "rule 'time' .* received 1 in 3 rows"),
        (make_table([1, 2, 3], group=[5, 5, 5]), "rule 'group' .* received 1 in 3 rows"),
        (make_table([1, 2], rule="time"), "expected a column for the rule 'time'"),
        (make_table([1, 2], rule="group"), "expected a column for the rule 'group'"),
    ],
)
def test_tables_that_cannot_be_parted_are_refused_with_their_rule(table, words):
    with pytest.raises(DataInvalid, match=words) as caught:
        split_rows(table, 0, 0)
    assert caught.value.code == "too_few_rows"
    assert caught.value.remedy


def test_a_rolling_origin_moves_back_by_half_a_window():
    table = make_table(range(40), time=range(40))
    first, second, third = (split_rows(table, 0, r) for r in range(3))
    assert first.test.tolist() == list(range(30, 40))
    assert second.test.tolist() == list(range(25, 35))
    assert third.test.tolist() == list(range(20, 30))
    assert first.validation.tolist() == list(range(26, 30))
    assert first.train.tolist() == list(range(26))
    # Rows after the window neither train nor test.
    assert np.concatenate([third.train, third.validation]).tolist() == list(range(20))


def test_a_rolling_origin_is_the_same_for_every_seed():
    table = make_table(range(40), time=range(40))
    assert split_rows(table, 0, 1).sha256 == split_rows(table, 99, 1).sha256


@pytest.mark.parametrize("replicate", range(3))
def test_rows_of_one_period_stay_on_one_side_and_in_order(replicate):
    time = np.sort(np.random.default_rng(1).integers(0, 30, 500))
    split = split_rows(make_table(time, time=time), 0, replicate)
    assert split.validation.size > 0
    assert time[split.train].max() < time[split.validation].min()
    assert time[split.validation].max() < time[split.test].min()
    for value in np.unique(time[split.test]):
        assert set(np.flatnonzero(time == value)) <= set(split.test.tolist())


def test_a_window_is_the_periods_nearest_to_the_fraction():
    time = np.repeat([1, 2, 3, 4], [50, 20, 20, 10])
    assert split_rows(make_table(time, time=time), 0, 0).test.tolist() == list(range(70, 100))
    # A huge newest period is tested whole, for it cannot be parted.
    time = np.repeat([1, 2], [10, 90])
    split = split_rows(make_table(time, time=time), 0, 0)
    assert split.test.tolist() == list(range(10, 100))
    assert split.validation.size == 0


def test_windows_of_one_period_still_differ_by_replicate():
    table = make_table(range(4), time=range(4))
    assert [split_rows(table, 0, r).test.tolist() for r in range(3)] == [[3], [2], [1]]
    with pytest.raises(DataInvalid, match="at most 3 replicates for 4 distinct time values"):
        split_rows(table, 0, 3)


def test_a_time_split_does_not_rely_on_the_order_of_rows():
    order = np.random.default_rng(2).permutation(40)
    split = split_rows(make_table(order, time=order), 0, 0)
    assert sorted(order[split.test].tolist()) == list(range(30, 40))
    assert sorted(order[split.validation].tolist()) == list(range(26, 30))


@pytest.mark.parametrize("seed", range(5))
def test_groups_are_never_parted_and_come_near_the_fraction(seed):
    rng = np.random.default_rng(seed)
    group = rng.integers(-50, 50, 1000)
    split = split_rows(make_table(group, group=group), seed, 0)
    parts = [set(group[part].tolist()) for part in (split.train, split.validation, split.test)]
    assert not parts[0] & parts[1]
    assert not parts[0] & parts[2]
    assert not parts[1] & parts[2]
    assert abs(split.test.size - 250) <= 10
    assert abs(split.validation.size - 0.15 * (1000 - split.test.size)) <= 10
    assert split.sha256 != split_rows(make_table(group, group=group), seed, 1).sha256


def test_a_huge_group_trains_and_the_small_ones_are_tested():
    group = np.repeat([7, 8, 9], [90, 5, 5])
    for replicate in range(4):
        split = split_rows(make_table(group, group=group), 0, replicate)
        assert split.test.tolist() == list(range(90, 100))
        assert split.validation.size == 0


def test_some_group_always_trains_however_large_the_fraction():
    group = np.repeat([1, 2], 10)
    split = split_rows(make_table(group, group=group, test_fraction=0.9), 0, 0)
    assert (split.train.size, split.test.size) == (10, 10)


def test_of_two_equal_groups_either_may_be_tested():
    group = np.repeat([1, 2], 10)
    tested = {
        int(group[split_rows(make_table(group, group=group), 0, r).test[0]]) for r in range(9)
    }
    assert tested == {1, 2}


def test_the_hash_tells_the_parts_apart():
    a, b, none = np.array([0]), np.array([1]), np.array([], dtype=np.int64)
    hashes = {
        Split(train=x, validation=y, test=z).sha256
        for x, y, z in [(a, none, b), (none, a, b), (b, none, a), (a, b, none), (a, none, a)]
    }
    assert len(hashes) == 5


def test_given_parts_are_tested_in_every_replicate_and_cut_to_the_first_of_each():
    table = make_table(range(12), group=[0, 1] * 6, rule="given")
    splits = [split_rows(table, seed=4, replicate=r) for r in range(3)]
    for split in splits:
        assert split.test.tolist() == [1, 3, 5, 7, 9, 11]
        assert_parts_are_disjoint_and_sorted(split, 12)
        assert split.train.size + split.validation.size == 6
    assert len({tuple(split.validation) for split in splits}) > 1
    rows, info = sample_rows(table, 5, seed=1)
    assert rows.tolist() == [0, 1, 2, 3, 4]
    assert info.method == "first"
    few = make_table(range(12), group=[1, *[0] * 11], rule="given")
    assert sample_rows(few, 4, seed=1)[0].tolist() == [0, 1, 2, 3]
    with pytest.raises(DataInvalid, match="'given'") as caught:
        split_rows(make_table(range(4), group=[1] * 4, rule="given"), seed=0, replicate=0)
    assert caught.value.received == "test rows only"
