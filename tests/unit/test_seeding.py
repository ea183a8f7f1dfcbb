import os
import subprocess
import sys

import numpy as np
import pytest

from ml.core.seeding import name_seed, stream

pytestmark = pytest.mark.unit


def draw(seed, *names):
    return tuple(stream(seed, *names).integers(0, 2**63, 4).tolist())


def test_equal_names_give_equal_streams_whatever_was_drawn_between():
    first = draw(7, "weights", 0)
    draw(7, "order", 0)
    assert draw(7, "weights", 0) == first


@pytest.mark.parametrize(
    "other",
    [
        (8, "ab", "c", 1),
        (7, "a", "bc", 1),
        (7, "abc", 1),
        (7, "ab,c", 1),
        (7, 'ab","c', 1),
        (7, "ab", "c", "1"),
        (7, "c", "ab", 1),
        (7, "ab", "c", 1, 0),
        (7, "ab", "c"),
        (7,),
    ],
)
def test_any_other_path_of_names_gives_another_stream(other):
    assert draw(*other) != draw(7, "ab", "c", 1)


def test_streams_are_pinned_across_versions_of_this_project():
    assert stream(0, "order", 1).bit_generator.random_raw() == 10385803768692920246
    assert name_seed("churn-mlp-pytorch-train") == 813539680975606917


def test_name_seeds_are_in_range_and_spread():
    seeds = np.array([name_seed(f"cell-{number}") for number in range(2000)])
    assert seeds.min() >= 0
    assert len(set(seeds.tolist())) == 2000
    assert 0.45 < (seeds / 2**63).mean() < 0.55
    assert name_seed("") != name_seed(" ")
    assert 0 <= name_seed("\ud800 Größe ✓") < 2**63


def test_seeds_do_not_depend_on_the_hash_seed_of_the_process():
    code = "from ml.core.seeding import *; print(name_seed('a'), stream(1, 'b').integers(1000))"
    seen = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": value, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for value in ("0", "1")
    }
    assert seen == {f"{name_seed('a')} {stream(1, 'b').integers(1000)}\n"}
