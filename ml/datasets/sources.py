"""Find the bytes that a descriptor points at, and hold them to their hash."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.metadata
import os
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from ml.core.descriptor import Descriptor, FileSource, PackageSource, SklearnSource, UrlSource
from ml.core.errors import DataInvalid, Unavailable
from ml.datasets.columns import Columns, named_columns
from ml.datasets.readers import INSTALL, read_columns

TIMEOUT_SECONDS = 60.0


def read_source(descriptor: Descriptor, folder: Path) -> Columns:
    """Read the raw columns of a descriptor that lies in ``folder``.

    A file's hash is verified before it is parsed. Raises DataInvalid for a file that is
    missing, changed or unreadable, Unavailable for a package that is not installed.
    """
    source = descriptor.source
    if isinstance(source, SklearnSource):
        return _read_sklearn(source)
    if isinstance(source, UrlSource):
        content = _fetched(source)
        return read_columns(content, source.format, urlsplit(source.url).path)
    path = locate(source, folder)
    content = path.read_bytes()
    if source.sha256 is not None:
        _verify(content, source.sha256, str(path))
    if isinstance(source, PackageSource):
        return read_columns(content, source.format, path.name)
    if source.format == "frame_xz" and source.sha256 is None:
        raise DataInvalid(
            f"{path} is a pickled frame, which is read only when its hash is known",
            code="unsafe_pickle",
            field="source.sha256",
            expected="the file's sha256",
            remedy="add source.sha256 if you trust the file, or save it as CSV or Parquet",
        )
    return read_columns(content, source.format, path.name, source.sheet, source.key)


def locate(source: PackageSource | FileSource, folder: Path) -> Path:
    """Return the path of a source's file; a package is looked up and never imported.

    Raises DataInvalid for a file that is not there or not below ``folder``, Unavailable for
    a package that is not installed.
    """
    path: Path | None
    if isinstance(source, FileSource):
        path = (folder / source.path).resolve()
        if not path.is_relative_to(folder.resolve()):
            raise DataInvalid(
                f"source.path {source.path!r} leads out of {folder}",
                code="path_outside",
                field="source.path",
                expected="a path below the descriptor's folder",
                received=source.path,
                remedy="put the file beside its descriptor",
            )
        remedy = "put the file there, or correct source.path"
    else:
        try:
            files = importlib.metadata.distribution(source.package).files or []
        except importlib.metadata.PackageNotFoundError:
            raise Unavailable(
                f"the package {source.package}, which carries the table, is not installed",
                field="source.package",
                remedy=INSTALL,
            ) from None
        # Only a file that the package lists is read, whatever path the resource spells.
        listed = {file.as_posix(): file for file in files}
        path = Path(str(listed[source.resource].locate())) if source.resource in listed else None
        remedy = f"install the version of {source.package} that {INSTALL} brings"
    if path is None or not path.is_file():
        name = source.path if isinstance(source, FileSource) else source.resource
        raise DataInvalid(
            f"there is no file {path or name}",
            code="source_missing",
            field="source",
            expected="the table's file",
            remedy=remedy,
        )
    return path


def _verify(content: bytes, expected: str, where: str) -> None:
    received = hashlib.sha256(content).hexdigest()
    if received != expected:
        raise DataInvalid(
            f"{where} is not the file that the descriptor describes",
            code="source_changed",
            field="source.sha256",
            expected=expected,
            received=received,
            remedy="restore the file, or describe the new one: mlmatrix data describe FILE",
        )


def cache_folder() -> Path:
    """Return the user's cache folder for tables and downloads, which may not exist yet."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "mlmatrix"


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file whole or not at all, under a name of its own until it is complete.

    Any number of processes may write the same path at once. Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with partial.open("xb") as file:
            write(file)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _fetched(source: UrlSource) -> bytes:
    kept = cache_folder() / "downloads" / source.sha256
    if kept.is_file():
        content = kept.read_bytes()
        if hashlib.sha256(content).hexdigest() == source.sha256:
            return content
    try:
        with urllib.request.urlopen(source.url, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310 - the descriptor allows https and file only
            content = bytes(answer.read())
    except (OSError, ValueError) as problem:
        raise Unavailable(
            f"{source.url} cannot be fetched: {problem}",
            code="not_fetched",
            field="source.url",
            remedy=f"check the network, or put the file at {kept}",
        ) from None
    _verify(content, source.sha256, source.url)
    # A cache that cannot be written costs a second download, nothing else.
    with contextlib.suppress(OSError):
        write_atomically(kept, lambda file: file.write(content))
    return content


def _read_sklearn(source: SklearnSource) -> Columns:
    try:
        datasets: Any = importlib.import_module("sklearn.datasets")
    except ImportError:
        raise Unavailable(
            f"the table {source.loader} comes with scikit-learn, which is not installed",
            field="source.loader",
            remedy=INSTALL,
        ) from None
    bunch = getattr(datasets, f"load_{source.loader}")()
    target = bunch.target
    if "target_names" in bunch:
        target = [str(bunch.target_names[label]) for label in target]
    names = [str(name) for name in bunch.feature_names]
    return named_columns([*names, "target"], [*bunch.data.T, target], f"load_{source.loader}")
