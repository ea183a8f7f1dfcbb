"""Standardise float64 values of any finite size to float32."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LIMIT = 1e30
"""The largest magnitude that leaves preprocessing, far enough from float32's own limit."""


def measure_moments(values: Floats) -> tuple[Floats, Floats]:
    """Return mean and population standard deviation over the last axis, both finite.

    A constant has its own value as mean, and deviation 1, so that dividing by it is safe.
    """
    largest = np.abs(values).max(axis=-1)
    # A power of two scales without rounding, and keeps the squares within float64.
    exponent = np.clip(np.frexp(largest)[1] - 1, -1000, 1023)
    scaled = values * np.ldexp(1.0, -exponent)[..., np.newaxis]
    mean = np.ldexp(scaled.mean(axis=-1), exponent)
    deviation = np.ldexp(scaled.std(axis=-1), exponent)
    constant = values.min(axis=-1) == values.max(axis=-1)
    return (
        np.where(constant, values[..., 0], mean),
        np.where(constant | (deviation == 0), 1.0, deviation),
    )


def standardise(values: Floats, shift: Any, divisor: Any) -> NDArray[np.float32]:
    """Return (values - shift) / divisor as float32, computed in float64, clipped to ±LIMIT."""
    # Halved, for the difference of two float64 may exceed float64; doubling is exact.
    scaled: Floats = values / 2
    with np.errstate(over="ignore"):
        scaled -= shift / 2
        scaled /= divisor
        scaled *= 2
    return np.clip(scaled, -LIMIT, LIMIT, out=scaled).astype(np.float32)
