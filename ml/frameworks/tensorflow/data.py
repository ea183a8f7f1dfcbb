"""Stage numpy arrays as tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray


def to_tensor(array: NDArray[Any]) -> Any:
    """Return a tensor with the array's values and dtype."""
    return tf.convert_to_tensor(np.ascontiguousarray(array))


def lend_to_tensor(array: NDArray[Any]) -> Any:
    """Return a tensor that may share these values, which nobody changes again.

    The array begins where TensorFlow wants its memory to, as those of ``stage_rows`` do.
    """
    return tf.identity(tf.experimental.dlpack.from_dlpack(array.__dlpack__()))
