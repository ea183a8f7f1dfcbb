"""Fingerprint a table's content, whatever file it came from or is kept in."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from ml.core.table import Table

VERSION = b"mlmatrix-content-1"


def content_sha256(table: Table) -> str:
    """Return the SHA-256 of the names, kinds and values of a table, as 64 hex digits.

    Text is length-prefixed, numbers are little-endian, every NaN is the same NaN and -0.0 is
    0.0, so equal tables have equal hashes on every machine. The order of rows and columns
    counts; the id and the split rule do not.
    """
    digest = hashlib.sha256(VERSION)

    def add_texts(texts: Iterable[str]) -> None:
        listed = [text.encode("utf-8") for text in texts]
        digest.update(len(listed).to_bytes(8, "little"))
        for text in listed:
            digest.update(len(text).to_bytes(8, "little"))
            digest.update(text)

    def add_integers(values: NDArray[np.int64] | NDArray[np.int32] | None) -> None:
        digest.update(b"-" if values is None else b"+")
        if values is not None:
            digest.update(np.ascontiguousarray(values, "<i8").tobytes())

    def add_floats(values: NDArray[np.float64]) -> None:
        settled = np.where(np.isnan(values), np.nan, values + 0.0)
        digest.update(np.ascontiguousarray(settled, "<f8").tobytes())

    add_texts([table.task, str(table.rows)])
    add_texts(table.numeric_names)
    add_floats(table.numeric)
    add_texts(table.categorical_names)
    for levels in table.levels:
        add_texts(levels)
    add_integers(table.categorical)
    add_texts(table.classes)
    if table.task == "classification":
        add_integers(table.target.astype(np.int64))
    else:
        add_floats(table.target.astype(np.float64))
    add_integers(table.time)
    add_integers(table.series)
    add_integers(table.group)
    return digest.hexdigest()
