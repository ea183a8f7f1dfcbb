"""Choose the device, stage numpy arrays on it, and bring tensors back."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

_device = torch.device("cpu")


def use_device(name: str) -> None:
    """Stage on this device from now on, and make new tensors there: "cpu" or "cuda:0"."""
    global _device
    _device = torch.device(name)
    # A default device costs time at every call of torch, and the CPU needs none.
    torch.set_default_device(None if name == "cpu" else _device)


def device_in_use() -> str:
    """Return the name of the device on which arrays are staged."""
    return str(_device)


def to_tensor(array: NDArray[Any]) -> torch.Tensor:
    """Return a tensor of these values on the device in use.

    On the CPU it lies over the array's own memory where its layout allows, else over a copy.
    """
    # Torch's own default device holds for one thread only; this one for the process.
    return torch.from_numpy(np.ascontiguousarray(array)).to(_device)


def to_numpy(tensor: torch.Tensor) -> NDArray[Any]:
    """Return a tensor's values as an array; on the CPU it lies over the tensor's own memory."""
    values: NDArray[Any] = tensor.detach().cpu().numpy()
    return values
