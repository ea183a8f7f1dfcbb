"""Keep arrays and a manifest as files that execute nothing when they are read."""

from __future__ import annotations

import hashlib
import json
import os
import re
import uuid
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from ml.core.errors import DataInvalid, RequestInvalid, describe

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


def hash_arrays(arrays: dict[str, NDArray[Any]]) -> str:
    """Return the sha256 of names, dtypes, shapes and values, whatever the order of the names."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(json.dumps([name, array.dtype.str, array.shape]).encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def write_file(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Write a file so that it is there in whole or not at all; raises OSError.

    A durable one is on the disk, and not only on its way there, before an older file of that
    name is gone. A process that is killed in between leaves a file that ``is_left_over``.
    """
    # Not tempfile, whose files nobody but their owner may read.
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
        if durable:
            _sync_folder(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def is_left_over(found: Path, path: Path) -> bool:
    """Tell whether ``found`` is what a killed ``write_file`` of ``path`` left."""
    return re.fullmatch(re.escape(path.name) + r"\.[0-9a-f]{32}", found.name) is not None


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_artifact(folder: Path, manifest: dict[str, Any], model: bytes, suffix: str) -> Path:
    """Write ``manifest.json`` and ``model<suffix>`` into ``folder``; each file is atomic.

    The manifest gains the model file's name and sha256, to which ``read_artifact`` holds it.
    Raises RequestInvalid where the folder cannot be made or written.
    """
    name = f"model{suffix}"
    sealed = {**manifest, "model_file": name, "model_sha256": hashlib.sha256(model).hexdigest()}
    described = json.dumps(sealed, indent=1, allow_nan=False).encode()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_file(folder / name, model)
        write_file(folder / MANIFEST, described)
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


def read_artifact(folder: Path) -> tuple[dict[str, Any], bytes]:
    """Return an artifact's manifest and its model's bytes, the latter as the manifest seals it.

    Raises DataInvalid for a folder that holds no artifact, and for a model file that is missing
    or is not the one that was written with the manifest.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        name, sealed = manifest["model_file"], manifest["model_sha256"]
        if Path(name).name != name:
            raise ValueError(f"model_file {name!r} is no plain file name")
        model = (folder / name).read_bytes()
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise DataInvalid(
            f"there is no artifact that can be read in {folder}: {describe(problem)}",
            code="artifact_unreadable",
            field=str(path),
            expected="manifest.json and the model file that it names",
            remedy="name the folder that artifact_dir named, or train the cell again",
        ) from None
    found = hashlib.sha256(model).hexdigest()
    if found != sealed:
        raise DataInvalid(
            f"{folder / name} is not the model that its manifest was written with",
            code="artifact_changed",
            field=str(folder / name),
            expected=f"sha256 {sealed}",
            received=f"sha256 {found}",
            remedy="train the cell again; the file is cut or was changed",
        )
    return manifest, model
