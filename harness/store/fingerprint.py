"""Name all that a cell's result depends on, and find a record for which none of it has changed."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.store.environment import accelerators, cores, processor
from harness.store.history import RUNS_REUSED, Past, list_sizes, read_past
from harness.store.migrations import NewerVersion
from harness.store.record import Record, parse_line
from harness.store.sources import ABSENT, Module, Sources, digest
from ml.core.contracts import TrainRequest
from ml.core.descriptor import Descriptor, FileSource, PackageSource, read_descriptor
from ml.core.errors import DataInvalid

# These say the same on every repetition; the others tell of the machine's luck.
REUSABLE = ("ok", "diverged", "data_invalid")
# What describes a dataset, and is in no result.
DESCRIPTION = {"title", "provenance", "tags", "expected_failures", "drop"}
# What frameworks read beside a request.
VARIABLES = (
    "CUDA_VISIBLE_DEVICES",
    "JAX_DEFAULT_MATMUL_PRECISION",
    "JAX_ENABLE_X64",
    "NVIDIA_TF32_OVERRIDE",
    "TF_ENABLE_ONEDNN_OPTS",
    "TF_XLA_FLAGS",
    "XLA_FLAGS",
)
LONGEST = 40
# The field that names code as ``module:name``, by the kind of what has it.
NAMES_CODE = {"imported": "target", "function": "function"}


@dataclass(frozen=True)
class Lookup:
    """Hold a cell's fingerprint, its key, and the record that an earlier run has under it.

    ``parts`` names each part, as ``module ml.core.splits``, with its value or hash. The key is
    None where a part is not known, as for a table that a function makes; ``unknown`` says why.
    """

    parts: dict[str, str]
    key: str | None
    record: Record | None
    unknown: str | None
    modules: tuple[Module, ...]

    def is_current(self) -> bool:
        """Tell whether no source file was changed since it was hashed."""
        return all(_stamp(module.path) == module.stamp for module in self.modules)


class Cache:
    """Find the record of an earlier run for a cell where nothing that matters has changed."""

    def __init__(self, reports: Path, sources: Sources) -> None:
        self._reports = reports
        self._sources = sources
        self._data: dict[str, tuple[dict[str, str], tuple[str, ...], str | None]] = {}

    def look_up(self, request: TrainRequest, frameworks: Iterable[str], find: bool) -> Lookup:
        """Return a request's fingerprint and key and, where ``find`` asks, what is under it.

        ``frameworks`` are those that its worker enters. The parts are the request, the sources
        that the worker imports by way of its entry points and of the request's own targets, the
        versions of the packages that these enter, the dataset, and the class of hardware.
        """
        asked = request.model_dump(mode="json")
        targets = dict.fromkeys(_targets(asked))
        data, entered, unknown = self._describe_data(asked.pop("data"))
        entries = ("harness.execute.remote", "ml.worker", *(f"ml.{f}" for f in frameworks))
        modules, packages = self._sources.closure((*entries, *targets))
        versions = self._sources.versions(sorted({*packages, *entered}))
        parts = {
            "request": digest(json.dumps(asked, sort_keys=True).encode()),
            **data,
            **{f"module {name}": modules[name].digest for name in sorted(modules)},
            **{f"package {name}": versions[name] for name in sorted(versions)},
            **self._hardware,
        }
        key = None if unknown else hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
        record = self._read(key) if find and key else None
        return Lookup(parts, key, record, unknown, tuple(modules.values()))

    def _read(self, key: str) -> Record | None:
        past = self._known.get(key)
        if past is None:
            return None
        try:
            record = parse_line(past.read())
        except (OSError, ValidationError, NewerVersion):
            return None
        if not isinstance(record, Record) or record.key != key or record.cut:
            return None
        # A breach may be one beside an earlier table, which is no part of what is known here.
        if record.error is not None and record.error.contract is not None:
            return None
        return record

    @cached_property
    def _known(self) -> dict[str, Past]:
        found: dict[str, Past] = {}
        for past in read_past(self._reports, list_sizes(self._reports, RUNS_REUSED)):
            if past.key and past.outcome in REUSABLE:
                found.setdefault(past.key, past)
        return found

    @cached_property
    def _hardware(self) -> dict[str, str]:
        return {
            "python": platform.python_version(),
            "hardware processor": processor(),
            "hardware cores": str(cores()),
            "hardware accelerators": ", ".join(accelerators()) or "none",
            **{f"variable {n}": _short(os.environ[n]) for n in VARIABLES if n in os.environ},
        }

    def _describe_data(
        self, data: dict[str, Any]
    ) -> tuple[dict[str, str], tuple[str, ...], str | None]:
        """Return the parts of a request's data, its packages, and why they are not all known."""
        name = json.dumps(data, sort_keys=True)
        if name not in self._data:
            if data["kind"] == "descriptor":
                self._data[name] = _describe_file(Path(data["path"]))
            else:
                unknown = None
                if data["kind"] != "inline":
                    unknown = "its table is made by a function, whose inputs are not known"
                self._data[name] = {"data": digest(name.encode())}, (), unknown
        return self._data[name]


def _describe_file(path: Path) -> tuple[dict[str, str], tuple[str, ...], str | None]:
    try:
        descriptor = read_descriptor(path)
    except DataInvalid as problem:
        return {}, (), str(problem)
    values = descriptor.model_dump(mode="json", exclude=DESCRIPTION)
    values["drop"] = sorted(descriptor.drop)
    parts = {f"data {field}": _short(value) for field, value in sorted(values.items())}
    source = descriptor.source
    if isinstance(source, FileSource):
        parts["data file"] = _hash_file(path.parent / source.path)
    return parts, _packages_of(descriptor), None


def _packages_of(descriptor: Descriptor) -> tuple[str, ...]:
    source = descriptor.source
    if isinstance(source, PackageSource):
        return (source.package,)
    return ("sklearn",) if source.kind == "sklearn" else ()


def _hash_file(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()[:16]
    except OSError:
        return ABSENT


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return text if len(text) <= LONGEST else digest(text.encode())


def _targets(values: Any) -> Iterator[str]:
    """Yield the modules that a request names as ``module:name``."""
    if isinstance(values, dict):
        for kind, name in NAMES_CODE.items():
            if values.get("kind") == kind and ":" in str(values.get(name)):
                yield str(values[name]).partition(":")[0]
        values = list(values.values())
    if isinstance(values, list):
        for value in values:
            yield from _targets(value)


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size
