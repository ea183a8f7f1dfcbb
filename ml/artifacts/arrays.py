"""Keep arrays and a manifest as files that execute nothing when they are read."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from ml.core.errors import DataInvalid, RequestInvalid

MANIFEST = "manifest.json"


def dump_arrays(arrays: dict[str, NDArray[Any]]) -> bytes:
    """Return named arrays as safetensors."""
    return save({name: np.asarray(array, order="C") for name, array in arrays.items()})


def load_arrays(content: bytes) -> dict[str, NDArray[Any]]:
    """Read named arrays from safetensors, sorted by name; raises DataInvalid when they are not."""
    try:
        # The library returns them in an order of its own, another one in each call.
        return dict(sorted(load(content).items()))
    except SafetensorError as problem:
        raise DataInvalid(
            f"the artifact's arrays cannot be read: {problem}",
            code="artifact_unreadable",
            remedy="train the cell again; the file is cut or was changed",
        ) from None


def write_artifact(folder: Path, manifest: dict[str, Any], model: bytes, suffix: str) -> Path:
    """Write ``manifest.json`` and ``model<suffix>`` into ``folder``; each file is atomic.

    Raises RequestInvalid where the folder cannot be made or written.
    """
    described = json.dumps(manifest, indent=1, allow_nan=False).encode()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / f"model{suffix}", model)
        _write(folder / MANIFEST, described)
    except (OSError, ValueError) as problem:  # ValueError: a path with a null byte
        raise RequestInvalid(
            f"the artifact cannot be written: {problem}",
            code="artifact_not_written",
            field="artifact_dir",
            expected="a folder that can be made and written",
            received=str(folder),
            remedy="name another folder, or leave artifact_dir out to keep no model",
        ) from None
    return folder


def _write(path: Path, content: bytes) -> None:
    # Not tempfile, whose files nobody but their owner may read.
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
