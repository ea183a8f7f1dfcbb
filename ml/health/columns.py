"""Turn a column of Arrow into numbers, into codes of categories, or into a text's words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ml.health.hashing import MISSING, Hashes, hash_text

Kind = Literal["numeric", "datetime", "categorical", "boolean", "text", "empty"]
# A text is a set of hashed words; words that share a bucket are told apart by the others.
BUCKETS = 256


@dataclass(frozen=True)
class Words:
    """Hold a column of strings: int codes [rows] into ``labels``, -1 for a missing value."""

    codes: NDArray[np.int64]
    labels: list[str]


def kind_of(type_: Any) -> Kind:
    """Return what a column of this Arrow type is; strings are categories until they are looked at.

    A column whose every value is missing may be of any kind: ``empty``.
    """
    import pyarrow as pa

    types = pa.types
    if types.is_null(type_):
        return "empty"
    if types.is_boolean(type_):
        return "boolean"
    if types.is_integer(type_) or types.is_floating(type_) or types.is_decimal(type_):
        return "numeric"
    if types.is_temporal(type_) and not types.is_interval(type_):
        return "datetime"
    if types.is_dictionary(type_):
        inner = kind_of(type_.value_type)
        return "categorical" if inner in ("numeric", "empty") else inner
    return "categorical"


def numbers_of(column: Any, kind: Kind) -> NDArray[np.float64]:
    """Return a column as float64 [rows] with NaN for missing; a moment is seconds since 1970."""
    import pyarrow as pa
    import pyarrow.compute as pc

    whole = _whole(column)
    if pa.types.is_dictionary(whole.type):
        whole = whole.dictionary_decode()
    if pa.types.is_null(whole.type):
        return np.full(len(whole), np.nan)
    unit = 1.0
    if kind == "datetime":
        whole, unit = _moments(whole, pa)
    if not pa.types.is_float64(whole.type):
        whole = whole.cast(pa.float64(), safe=False)
    if whole.null_count:
        whole = pc.fill_null(whole, float("nan"))
    values: NDArray[np.float64] = whole.to_numpy(zero_copy_only=False)
    return values if unit == 1.0 else values * unit


def _moments(whole: Any, pa: Any) -> tuple[Any, float]:
    units = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
    types = pa.types
    if types.is_date(whole.type):
        return whole.cast(pa.timestamp("s")).cast(pa.int64()), 1.0
    if types.is_time32(whole.type):
        return whole.cast(pa.int32()).cast(pa.int64()), units[whole.type.unit]
    return whole.cast(pa.int64()), units[whole.type.unit]


def words_of(column: Any) -> Words:
    """Return a column's values as text, each distinct one once."""
    import pyarrow as pa

    whole = _whole(column)
    encoded = whole if pa.types.is_dictionary(whole.type) else _as_text(whole).dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    values = _as_text(encoded.dictionary).to_pylist()
    if any(value is None for value in values):
        codes = np.where(
            [value is None for value in values] + [True], -1, np.arange(len(values) + 1)
        )[codes]
    return Words(codes, ["" if value is None else value for value in values])


def _as_text(array: Any) -> Any:
    import pyarrow as pa

    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        return array
    try:
        return array.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        listed = array.to_pylist()
        return pa.array([None if value is None else repr(value) for value in listed], pa.string())


def hash_words(words: Words, known: dict[str, int]) -> Hashes:
    """Return the hash of every value, [rows]; ``known`` remembers those that were met before."""
    table = np.empty(len(words.labels) + 1, dtype=np.uint64)
    for place, label in enumerate(words.labels):
        found = known.get(label)
        if found is None:
            found = hash_text(label)
            if len(known) < 65536:
                known[label] = found
        table[place] = found
    table[-1] = MISSING
    return table[words.codes]


def tokens_of(words: Words, known: dict[str, int]) -> NDArray[np.uint8]:
    """Return which buckets the words of every text fall into, as bits [rows, BUCKETS // 8].

    Words are runs of letters and digits, in lower case; a missing text has none.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    present = np.zeros((len(words.labels) + 1, BUCKETS), dtype=bool)
    if words.labels:
        texts = pc.utf8_lower(pa.array(words.labels, pa.string()))
        parts = pc.split_pattern_regex(texts, pattern=r"[^\p{L}\p{N}]+")
        places = pc.list_parent_indices(parts).to_numpy()
        flat = words_of(pc.list_flatten(parts))
        buckets = (hash_words(flat, known) % np.uint64(BUCKETS)).astype(np.int64)
        named = np.array([bool(label) for label in flat.labels] + [False])[flat.codes]
        present[places[named], buckets[named]] = True
    return np.packbits(present, axis=1)[words.codes]


def _whole(column: Any) -> Any:
    import pyarrow as pa

    if isinstance(column, pa.ChunkedArray):
        return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    return column
