"""Stage numpy arrays on JAX's device."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray


def to_device(array: NDArray[Any]) -> Any:
    """Return an array on the device that holds a copy of these values, with their dtype."""
    return jnp.array(np.ascontiguousarray(array), copy=True)
