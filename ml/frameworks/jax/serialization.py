"""Turn weights into numpy arrays and back; files are written from those arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ml.core.learner import Floats32
from ml.frameworks.jax.data import copy_to_device


def export_weights(leaves: Sequence[Any]) -> list[Floats32]:
    """Return a float32 copy of each weight."""
    return [np.array(leaf, np.float32) for leaf in leaves]


def import_weights(weights: Sequence[Floats32]) -> tuple[Any, ...]:
    """Return the arrays as weights on the device, in order."""
    return copy_to_device(weights)
