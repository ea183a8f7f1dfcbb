"""Stage numpy arrays on JAX's device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray


def copy_to_device(arrays: Sequence[NDArray[Any]]) -> tuple[Any, ...]:
    """Return arrays on the device that hold copies of these values, with their dtypes."""
    whole = tuple(np.ascontiguousarray(array) for array in arrays)
    copies: tuple[Any, ...] = jax.device_put(whole, may_alias=False)
    return copies


def lend_to_device(array: NDArray[Any]) -> Any:
    """Return an array on the device that may share these values, which nobody changes again."""
    return jax.device_put(array, may_alias=True)
