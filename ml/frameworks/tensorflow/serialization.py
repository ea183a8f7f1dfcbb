"""Turn the flat weight variable into numpy arrays and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ml.core.architectures import unflatten
from ml.core.learner import Floats32


def export_weights(flat: Any, shapes: Sequence[tuple[int, ...]]) -> list[Floats32]:
    """Return a float32 copy of each weight in the flat variable, in order."""
    return unflatten(flat.numpy().copy(), shapes)


def import_weights(flat: Any, weights: Sequence[Floats32]) -> None:
    """Copy the arrays into the flat variable, in order."""
    flat.assign(np.concatenate([array.ravel() for array in weights]))
