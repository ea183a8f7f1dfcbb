"""Keep arrays and a manifest as files that execute nothing when they are read."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from ml.core.errors import DataInvalid

MANIFEST = "manifest.json"


def dump_arrays(arrays: dict[str, NDArray[Any]]) -> bytes:
    """Return named arrays as safetensors."""
    return save({name: np.ascontiguousarray(array) for name, array in arrays.items()})


def load_arrays(content: bytes) -> dict[str, NDArray[Any]]:
    """Read named arrays from safetensors; raises DataInvalid when they are not."""
    try:
        return dict(load(content))
    except SafetensorError as problem:
        raise DataInvalid(
            f"the artifact's arrays cannot be read: {problem}",
            code="artifact_unreadable",
            remedy="train the cell again; the file is cut or was changed",
        ) from None


def write_artifact(folder: Path, manifest: dict[str, Any], model: bytes, suffix: str) -> Path:
    """Write ``manifest.json`` and ``model<suffix>`` into ``folder``; each file is atomic."""
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / f"model{suffix}", model)
    _write(folder / MANIFEST, json.dumps(manifest, indent=1, allow_nan=False).encode())
    return folder


def _write(path: Path, content: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
