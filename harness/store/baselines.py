"""Read and write ``baselines.json``: the reviewed bands that cells' measures are held to."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ml.core.errors import MatrixError, describe

BASELINES = "baselines.json"
VERSION = 1
REMEDY = "restore it from git, or propose it anew with 'mlmatrix baseline update'"


class BaselinesInvalid(MatrixError):
    """Refuse a file of baselines that is not one."""

    code = "invalid_baselines"


@dataclass(frozen=True)
class Band:
    """Hold the level of one cell's measure, and the band in which a single run is expected.

    ``runs`` is the number of runs it was learned from and ``since`` the first of them: where the
    level began, and up to where its changes are accepted. ``environment`` and ``entry`` are those
    it holds for, by the hashes that a point of a series has.
    Values are in the measure's own units, or multiples of the calibration kernel's seconds where
    ``calibrated``.
    """

    level: float
    low: float
    high: float
    runs: int
    since: str
    environment: str
    entry: str
    calibrated: bool = False


# By cell and measure.
Bands = Mapping[tuple[str, str], Band]


def read_baselines(path: Path) -> dict[tuple[str, str], Band]:
    """Return the bands of a file, none where there is no file; raises BaselinesInvalid."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as problem:
        raise BaselinesInvalid(f"{path} cannot be read: {problem}", remedy=REMEDY) from problem
    try:
        content = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_refuse_twice)
    except ValueError as problem:
        raise BaselinesInvalid(f"{path} is not JSON: {problem}", remedy=REMEDY) from problem
    version = content.get("version") if isinstance(content, dict) else None
    if type(version) is int and version > VERSION:
        raise BaselinesInvalid(
            f"{path} was written by a newer pytest-mlmatrix",
            field="version",
            expected=f"version {VERSION}",
            received=str(version),
            remedy="update pytest-mlmatrix",
        )
    if not isinstance(content, dict) or version != VERSION:
        raise _wrong(path, "version", f"an object with version {VERSION}", describe(content))
    found = {}
    for cell, measures in _object(path, "bands", content.get("bands")).items():
        for measure, band in _object(path, f"bands.{cell}", measures).items():
            found[cell, measure] = _read_band(path, f"bands.{cell}.{measure}", band)
    return found


def write_baselines(path: Path, bands: Bands) -> None:
    """Write bands to a file, sorted, one value a line, so that its differences read well."""
    cells: dict[str, dict[str, Any]] = {}
    for (cell, measure), band in sorted(bands.items()):
        cells.setdefault(cell, {})[measure] = asdict(band)
    text = json.dumps({"version": VERSION, "bands": cells}, indent=2, allow_nan=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Whole or not at all: a session may read it meanwhile.
    fresh = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    fresh.write_text(text + "\n", encoding="utf-8")
    fresh.replace(path)


def _read_band(path: Path, place: str, content: Any) -> Band:
    values = _object(path, place, content)
    names = {field.name for field in fields(Band)}
    if values.keys() != names:
        off = sorted(values.keys() ^ names)
        raise _wrong(path, place, f"the fields {', '.join(sorted(names))}", f"{off} off")
    for name in ("level", "low", "high"):
        if type(values[name]) not in (int, float) or not math.isfinite(values[name]):
            raise _wrong(path, f"{place}.{name}", "a finite number", describe(values[name]))
    if type(values["runs"]) is not int or values["runs"] < 1:
        raise _wrong(
            path, f"{place}.runs", "a number of runs, at least 1", describe(values["runs"])
        )
    for name in ("since", "environment", "entry"):
        if not isinstance(values[name], str):
            raise _wrong(path, f"{place}.{name}", "a text", describe(values[name]))
    if type(values["calibrated"]) is not bool:
        raise _wrong(path, f"{place}.calibrated", "true or false", describe(values["calibrated"]))
    band = Band(**values)
    if not band.low <= band.level <= band.high:
        raise _wrong(path, place, "low ≤ level ≤ high", f"{band.low}, {band.level}, {band.high}")
    return band


def _object(path: Path, place: str, content: Any) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise _wrong(path, place, "an object", describe(content))
    return content


def _wrong(path: Path, place: str, expected: str, received: str) -> BaselinesInvalid:
    return BaselinesInvalid(
        f"{path} is no file of baselines, at {place}",
        field=place,
        expected=expected,
        received=received,
        remedy=REMEDY,
    )


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def _refuse_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        # As a merge may leave it; which of the two was meant is not known.
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r} stands twice in one object")
    return found
