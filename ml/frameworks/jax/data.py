"""Stage numpy arrays on JAX's device."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray


def to_device(array: NDArray[Any]) -> Any:
    """Return an array on the device that holds a copy of these values, with their dtype."""
    return jax.device_put(np.ascontiguousarray(array), may_alias=False)


def lend_to_device(array: NDArray[Any]) -> Any:
    """Return an array on the device that may share these values, which nobody changes again."""
    return jax.device_put(array, may_alias=True)
