"""Turn flat weights on the device into numpy arrays and back; files are written from those."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ml.core.architectures import unflatten
from ml.core.learner import Floats32


def export_weights(flat: Any, shapes: Sequence[tuple[int, ...]]) -> list[Floats32]:
    """Return a float32 copy of each weight in the flat array, in order."""
    return unflatten(np.array(flat, np.float32), shapes)


def import_weights(weights: Sequence[Floats32]) -> Floats32:
    """Return copies of the weights as one flat array, in order.

    It is numpy's: the first compiled call puts it on the device, for less than JAX asks to do so.
    """
    empty = np.zeros(0, np.float32)
    return np.concatenate([empty, *(array.ravel() for array in weights)])
