"""Write out the points of a search space, draw them, and tell them apart."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ml.core.contracts import Choice, Dimension, IntRange, SearchSpace
from ml.core.settings import Settings, same, size_of
from ml.core.trials import Setting

# A point by path, as a sampler knows it: a number, or the place of a choice.
Params = dict[str, Any]


def encode(space: Mapping[str, Any], settings: Settings) -> Params:
    """Return settings as a point; each lies in its dimension."""
    return {
        path: next(place for place, one in enumerate(space[path].values) if same(one, value))
        if isinstance(space[path], Choice)
        else value
        for path, value in settings.items()
    }


def decode(space: Mapping[str, Any], params: Params) -> Settings:
    """Return a point as settings, the inverse of ``encode``."""
    found: Settings = {}
    for path, dimension in space.items():
        value = params[path]
        if isinstance(dimension, Choice):
            found[path] = dimension.values[value]
        else:
            found[path] = int(value) if isinstance(dimension, IntRange) else float(value)
    return found


def count_points(space: SearchSpace) -> int | None:
    """Return the number of points in a space, None where a dimension is of real numbers."""
    sizes = [size_of(one) for one in space.values()]
    return None if None in sizes else math.prod(size for size in sizes if size)


def point_at(space: SearchSpace, place: int) -> Params:
    """Return the point of a finite space that has this place in its enumeration."""
    params: Params = {}
    for path, dimension in space.items():
        place, digit = divmod(place, size_of(dimension) or 1)
        if isinstance(dimension, Choice):
            params[path] = digit
        elif isinstance(dimension, IntRange):
            params[path] = dimension.low + digit * dimension.step
        else:
            params[path] = dimension.low
    return params


def draw_point(draw: np.random.Generator, space: SearchSpace) -> Params:
    """Draw a point, evenly by the logarithm where a range of real numbers asks for that."""
    return {path: _draw_value(draw, one) for path, one in space.items()}


def key_of(settings: Mapping[str, Setting]) -> str:
    """Return what tells settings apart, as repr does true and 1."""
    return repr(sorted(settings.items()))


def _draw_value(draw: np.random.Generator, dimension: Dimension) -> Any:
    if isinstance(dimension, Choice):
        return int(draw.integers(len(dimension.values)))
    if isinstance(dimension, IntRange):
        return dimension.low + int(draw.integers(size_of(dimension) or 1)) * dimension.step
    low, high = dimension.low, dimension.high
    if dimension.log:
        drawn = math.exp(draw.uniform(math.log(low), math.log(high)))
        return min(max(drawn, low), high)  # The two functions round.
    return float(draw.uniform(low, high))
