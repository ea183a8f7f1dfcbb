"""Stage numpy arrays as tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray


def to_tensor(array: NDArray[Any]) -> torch.Tensor:
    """Return a tensor over the array's own memory where its layout allows, else over a copy."""
    return torch.from_numpy(np.ascontiguousarray(array))
