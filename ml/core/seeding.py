"""Draw every stream of random numbers from names, never from the order of calls."""

from __future__ import annotations

import hashlib
import json

import numpy as np


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """Return the generator that belongs to a seed and a path of names.

    Equal arguments give equal streams in every process; any other seed, name, type of name or
    grouping gives an independent one, so that a new dataset changes no other cell's numbers.
    """
    # JSON keeps ("a", "b") apart from ("ab",) and 1 apart from "1", and is ASCII for any string.
    text = json.dumps([seed, *names], separators=(",", ":"))
    digest = hashlib.blake2b(text.encode("ascii"), digest_size=16).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))


def name_seed(name: str) -> int:
    """Return the seed in [0, 2**63) that belongs to a name, such as a cell's id."""
    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
