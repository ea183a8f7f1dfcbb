"""Hash values and rows so that every process and every machine gets the same numbers."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
# What a missing value hashes to: it is a value of its own.
MISSING = np.uint64(0)


def hash_text(text: str) -> int:
    """Return the 64-bit hash of a text, never the one of a missing value."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") or 1


def mix(values: Hashes) -> Hashes:
    """Return values spread over 64 bits, one to one: the finaliser of SplitMix64 (Steele 2014)."""
    mixed = values ^ (values >> np.uint64(30))
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed


def hash_numbers(values: NDArray[np.float64]) -> Hashes:
    """Return float64 values as 64 bits each; 0.0 and -0.0 are equal, and so is every NaN."""
    bits = (values + 0.0).view(np.uint64)
    return np.where(np.isnan(values), np.uint64(0x7FF8000000000000), bits)


def column_hash(name: str, hashes: Hashes) -> Hashes:
    """Return a column's share of the rows' hashes; the shares of a row are added, then mixed."""
    return mix(hashes ^ np.uint64(hash_text(name)))


def sampling_keys(seed: int, part: int, first: int, rows: int) -> Hashes:
    """Return the random keys of rows ``first`` to ``first + rows`` of a part of a table."""
    start = hash_text(f"{seed} {part}")
    return mix(
        np.arange(first, first + rows, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        + np.uint64(start)
    )
