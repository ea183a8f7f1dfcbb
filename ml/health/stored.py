"""Keep a sketch as arrays and a manifest, to compare with later without the data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from ml.artifacts.arrays import MANIFEST, dump_arrays, load_arrays, read_artifact, write_artifact
from ml.core.errors import DataInvalid
from ml.core.specs import Contract
from ml.health.columns import BUCKETS, Kind
from ml.health.layout import Layout
from ml.health.prepared import Rows
from ml.health.sketch import COVARIED, DISTINCT_ROWS, RESERVOIR, SLOTS, Sketch

FORMAT = "mlmatrix-health-sketch"
VERSION = 1


class Described(Contract):
    """Hold what the manifest says of a sketch; hashes are texts, which JSON keeps whole."""

    layout: Layout
    kinds: dict[str, Kind]
    labels: dict[str, dict[str, str]]
    rows: int
    limit: str
    dropped: tuple[int, ...]


def is_stored(path: str | Path) -> bool:
    """Tell whether a path is a folder that holds a manifest, as a stored sketch does."""
    return "://" not in str(path) and (Path(path) / MANIFEST).is_file()


def write_sketch(sketch: Sketch, folder: Path) -> Path:
    """Write a sketch into a folder, and return the folder; raises RequestInvalid if it cannot be.

    It holds a sample of the table's rows, and is to be guarded as the table is.
    """
    sketch.settle()
    arrays: dict[str, NDArray[Any]] = {
        name: getattr(sketch, name)
        for name in ("histograms", "known", "sums", "products", "words", "distinct", "repeats")
    }
    arrays |= {"keys": sketch.keys, "places": sketch.places}
    arrays |= {f"sample_{name}": values for name, values in vars(sketch.sample).items()}
    labels = {}
    for place, (column, counter) in enumerate(
        zip(sketch.layout.coded, sketch.counters, strict=True)
    ):
        levels = sorted(counter)
        arrays[f"levels_{place}"] = np.array(levels, dtype=np.uint64)
        arrays[f"counts_{place}"] = np.array([counter[level] for level in levels], dtype=np.int64)
        known = sketch.labels.get(column.name, {})
        labels[column.name] = {
            label: str(level) for label, level in sorted(known.items()) if level in counter
        }
    described = Described(
        layout=sketch.layout,
        kinds=sketch.kinds,
        labels=labels,
        rows=sketch.rows,
        limit=str(sketch.limit),
        dropped=tuple(sketch.dropped),
    )
    manifest = {"format": FORMAT, "version": VERSION, "sketch": described.model_dump(mode="json")}
    return write_artifact(folder, manifest, dump_arrays(arrays), ".safetensors")


def read_sketch(folder: Path) -> Sketch:
    """Return the sketch that a folder holds; raises DataInvalid where it holds none."""
    manifest, content = read_artifact(folder)
    if manifest.get("format") != FORMAT or manifest.get("version") != VERSION:
        raise _unreadable(folder, f"format {manifest.get('format')} {manifest.get('version')}")
    arrays = load_arrays(content)
    try:
        described = Described.model_validate(manifest["sketch"], strict=False)
        sketch = Sketch(described.layout, dict(described.kinds))
        sketch.rows, sketch.limit = described.rows, int(described.limit)
        sketch.dropped = list(described.dropped)
        sketch.labels = {
            column: {label: int(level) for label, level in known.items()}
            for column, known in described.labels.items()
        }
        _fill(sketch, arrays)
    except (KeyError, ValueError, ValidationError) as problem:
        raise _unreadable(folder, str(problem).splitlines()[0]) from None
    return sketch


def _fill(sketch: Sketch, arrays: dict[str, NDArray[Any]]) -> None:
    measured, coded, texts = (
        len(columns)
        for columns in (sketch.layout.measured, sketch.layout.coded, sketch.layout.texts)
    )
    covaried = min(measured, COVARIED)
    kept, distinct = len(arrays["keys"]), len(arrays["distinct"])
    if kept > RESERVOIR or distinct > DISTINCT_ROWS or len(sketch.dropped) != coded:
        raise ValueError("a part is larger than a sketch is")

    def take(name: str, dtype: Any, *shape: int) -> NDArray[Any]:
        array = arrays[name]
        if array.shape != shape or array.dtype != np.dtype(dtype):
            raise ValueError(f"{name} is {array.dtype} {array.shape}, not {shape}")
        # What was read may be read-only, and a sketch goes on counting.
        return array.copy()

    sketch.histograms = take("histograms", np.int64, measured, SLOTS)
    sketch.known = take("known", np.float64, covaried, covaried)
    sketch.sums = take("sums", np.float64, covaried, covaried)
    sketch.products = take("products", np.float64, covaried, covaried)
    sketch.words = take("words", np.int64, texts, BUCKETS)
    sketch.distinct = take("distinct", np.uint64, distinct)
    sketch.repeats = take("repeats", np.int64, distinct)
    sketch.keys = take("keys", np.uint64, kept)
    sketch.places = take("places", np.int64, kept)
    sketch.sample = Rows(
        take("sample_numbers", np.float64, measured, kept),
        take("sample_codes", np.uint64, coded, kept),
        take("sample_tokens", np.uint8, texts, kept, BUCKETS // 8),
        take("sample_hashes", np.uint64, kept),
        take("sample_groups", np.uint64, kept),
    )
    for place in range(coded):
        number = len(arrays[f"levels_{place}"])
        levels = take(f"levels_{place}", np.uint64, number)
        counts = take(f"counts_{place}", np.int64, number)
        sketch.counters[place] = dict(zip(levels.tolist(), counts.tolist(), strict=True))


def _unreadable(folder: Path, received: str) -> DataInvalid:
    return DataInvalid(
        f"{folder} holds no sketch that can be read",
        code="sketch_unreadable",
        field=str(folder),
        expected=f"{FORMAT} {VERSION}",
        received=received,
        remedy="sketch the table again",
    )
