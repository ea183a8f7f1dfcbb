"""Make series by hand: what a trend's tests have in common."""

import random

from harness.store.series import Point, Series
from harness.trends.trend import Confirmation


def make_points(values, first=0, **shared):
    """Make a point a value; ``shared`` are fields of all, tuples of replicates stand for means."""
    points = []
    for place, value in enumerate(values, first):
        facts = {
            "run": f"{place:05d}",
            "started": f"2026-01-01T00:00:{place % 60:02d}+00:00",
            "commit": f"c{place}",
            "dirty": False,
            "environment": "e",
            "data": "d",
            "entry": "r",
        }
        if isinstance(value, tuple):
            facts |= {"replicates": value, "splits": tuple(f"s{i}" for i in range(len(value)))}
            value = sum(value) / len(value)
        points.append(Point(**{**facts, "value": value, **shared}))
    return tuple(points)


def make_series(*points, kind="timing", better=False, measure="fit"):
    return Series("wine-mlp-pytorch-train", measure, kind, better, sum(points, ()))


def make_timing(values, **shared):
    return make_series(make_points(values, **shared))


def make_metric(values, better=True, **shared):
    return make_series(make_points(values, **shared), kind="metric", better=better, measure="score")


def make_noise(nights, spread=0.03, seed=0, level=1.0):
    draw = random.Random(seed)
    return [level * (1.0 + draw.gauss(0.0, spread)) for _ in range(nights)]


def confirm(run, values, **fields):
    return Confirmation(f"{run:05d}", "wine-mlp-pytorch-train", "fit", tuple(values), **fields)
