"""Stage numpy arrays on JAX's device."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from numpy.typing import NDArray


def copy_to_device(array: NDArray[Any]) -> Any:
    """Return an array on the device that holds a copy of these values, with their dtype."""
    return jnp.array(array)


def lend_to_device(array: NDArray[Any]) -> Any:
    """Return an array on the device that may share these values, which nobody changes again."""
    return jnp.asarray(array)
