"""Turn weights into numpy arrays and back; files are written from those arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ml.core.learner import Floats32
from ml.frameworks.pytorch.data import to_numpy, to_tensor


def export_weights(leaves: Sequence[torch.Tensor]) -> list[Floats32]:
    """Return a float32 copy of each weight."""
    return [to_numpy(leaf).astype(np.float32, copy=True) for leaf in leaves]


def import_weights(leaves: Sequence[torch.Tensor], weights: Sequence[Floats32]) -> None:
    """Copy the arrays into the weights, in order; shapes must agree."""
    with torch.no_grad():
        for leaf, array in zip(leaves, weights, strict=True):
            leaf.copy_(to_tensor(array))
