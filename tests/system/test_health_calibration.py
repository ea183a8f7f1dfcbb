"""A healthy pair is flagged as seldom as alpha says, by rows and by groups."""

import numpy as np
import pytest

from ml.health.check import check

pytestmark = pytest.mark.system


def make_frame(seed, rows, groups=0):
    import pandas as pd

    draw = np.random.default_rng(seed)
    base = draw.standard_normal(rows)
    if groups:
        base += np.repeat(draw.standard_normal(groups), rows // groups)
    frame = pd.DataFrame(
        {
            "price": base,
            "size": np.exp(base + draw.standard_normal(rows)),
            "rooms": draw.poisson(2.0, rows),
            "city": draw.choice(
                list("abcdefgh"), rows, p=[0.5, 0.2, 0.1, 0.1, 0.05, 0.03, 0.01, 0.01]
            ),
        }
    )
    if groups:
        frame["day"] = np.repeat(np.arange(groups) + 1000 * seed, rows // groups)
    return frame


@pytest.mark.parametrize("groups", [0, 20])
def test_healthy_pairs_are_seldom_flagged(groups):
    flagged = 0
    for seed in range(150):
        first = make_frame(2 * seed, 200, groups)
        second = make_frame(2 * seed + 1, 200, groups)
        report = check(first, second, group="day" if groups else None, alpha=0.05, seed=seed)
        flagged += report.p <= 0.05
    # Of 150 pairs 7.5 are expected; 16 or more come in one of three hundred seeds.
    assert 1 <= flagged <= 15
