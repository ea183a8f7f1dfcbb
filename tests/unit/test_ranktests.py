import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.trends.ranktests import find_groups, friedman, holm, nemenyi_difference, signed_rank

pytestmark = pytest.mark.unit

# Demšar, JMLR 7, 2006, table 6: the ranks of C4.5 and three variants of it on 14 datasets.
DEMSAR = np.array(
    [
        [4, 3, 2, 1],
        [1, 2, 3, 4],
        [4, 1, 2, 3],
        [4, 1, 3, 2],
        [4, 2, 3, 1],
        [1, 2.5, 4, 2.5],
        [3, 2, 4, 1],
        [2.5, 2.5, 4, 1],
        [4, 3, 2, 1],
        [2.5, 2.5, 2.5, 2.5],
        [4, 2.5, 1, 2.5],
        [3, 2, 4, 1],
        [4, 1, 2, 3],
        [3, 1, 4, 2],
    ]
)
# Of its table 2: what C4.5 gains by tuning m, on the same datasets.
GAINS = [0.005, -0.008, 0.017, 0.033, 0.006, -0.005, 0.007, 0, 0.063, 0, 0.022, 0.047, 0.009, 0.021]
# Hollander and Wolfe, 1973: seconds to round first base, three ways, 22 players.
SECONDS = """
540 550 555  585 570 575  520 560 550  555 550 540  590 585 570  545 555 560  540 540 535
545 550 535  525 515 500  585 580 570  525 520 510  565 555 545  560 535 545  505 500 495
550 550 540  545 555 550  555 555 535  545 550 555  550 545 525  565 560 540  570 565 555
630 630 625
"""
ROUNDING = np.array([float(text) for text in SECONDS.split()]).reshape(-1, 3)


def ranks_of(values):
    below = (values[:, :, None] > values[:, None, :]).sum(axis=2)
    level = (values[:, :, None] == values[:, None, :]).sum(axis=2)
    return below + (level + 1) / 2


def test_friedman_gives_the_numbers_of_the_books():
    assert DEMSAR.mean(axis=0) == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)
    found = friedman(DEMSAR)
    # The paper's 9.28 has no correction for ties, which are 78 of 14 × 60 here.
    assert found.statistic * (1 - 78 / 840) == pytest.approx(9.28, abs=0.005)
    assert found.degrees == (3, 39)
    rounding = friedman(ranks_of(ROUNDING))
    assert rounding.statistic == pytest.approx(11.143, abs=5e-4)
    assert rounding.f == pytest.approx(21 * 11.142857 / (44 - 11.142857), rel=1e-6)
    assert rounding.p == pytest.approx(0.0021713, rel=1e-4)


def test_f_is_that_of_iman_and_davenport():
    # By hand: sums of 5, 7 and 12, so 12 / 48 × 218 - 48 = 6.5.
    found = friedman(np.array([[1, 2, 3], [1, 2, 3], [1, 2, 3], [2, 1, 3]]))
    assert found.statistic == pytest.approx(6.5)
    assert found.f == pytest.approx(3 * 6.5 / (4 * 2 - 6.5))
    assert found.degrees == (2, 6)


def test_friedman_of_one_order_throughout_and_of_none():
    found = friedman(np.array([[1.0, 2.0, 3.0]] * 4))
    assert found.f == math.inf
    assert found.p == pytest.approx(6.0**-3)
    assert friedman(np.full((5, 3), 2.0)) is None
    assert friedman(np.array([[1.0, 2.0]])) is None


def test_nemenyi_gives_the_papers_critical_differences():
    assert nemenyi_difference(4, 14) == pytest.approx(1.25, abs=0.005)
    assert nemenyi_difference(4, 14, alpha=0.10) == pytest.approx(1.12, abs=0.005)
    # Its table 5: quantiles for 2 and 10 classifiers.
    assert nemenyi_difference(2, 1) == pytest.approx(1.960, abs=5e-4)
    assert nemenyi_difference(10, 1) / math.sqrt(110 / 6) == pytest.approx(3.164, abs=5e-4)


def test_signed_ranks_are_exact():
    # The paper's sums are 93 and 12; half of the two zeros' ranks, 3, is in either.
    balance, p = signed_rank(GAINS)
    assert balance == 93 - 12
    assert p == 0.0078125  # scipy.stats.wilcoxon(zero_method="pratt"), over all permutations
    assert signed_rank([1, 2, 3, 4, 5, 6]) == (21, 2 / 64)
    # Of 16 signs 1, 2 or 3 with their opposites: {}, {1}, {2} are as far out.
    assert signed_rank([3, -1, 4, 2]) == (8, 4 / 16)
    assert signed_rank([0.0, 0.0]) == (0.0, 1.0)
    assert signed_rank([-2, 2]) == (0.0, 1.0)


def test_many_differences_are_judged_by_the_normal_distribution():
    draws = np.random.default_rng(0).normal(0.1, 1, 300)
    assert signed_rank(draws)[1] == pytest.approx(0.351507, abs=5e-4)
    exact, normal = (signed_rank(draws[:size])[1] for size in (200, 201))
    assert abs(exact - normal) < 0.05


@given(st.lists(st.integers(-20, 20), min_size=1, max_size=12))
def test_turned_differences_have_the_same_p(values):
    balance, p = signed_rank(values)
    turned, same = signed_rank([-value for value in values])
    assert (turned, same) == (-balance, p)
    assert 0 < p <= 1


def test_holm_steps_down():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([0.9, 0.6]) == (1.0, 1.0)
    assert holm([]) == ()


def test_groups_are_the_largest_that_hold_no_pair_apart():
    assert find_groups(4, {(0, 3), (0, 2)}) == ((0, 1), (1, 2, 3))
    assert find_groups(3, set()) == ((0, 1, 2),)
    assert find_groups(3, {(0, 1), (0, 2), (1, 2)}) == ()
    # The second may be apart from both of its neighbours, which are not.
    assert find_groups(3, {(0, 1), (1, 2)}) == ((0, 2),)
