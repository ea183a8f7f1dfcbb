"""Define a dataset's TOML descriptor: what it is, where it comes from, how it is split."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, PositiveInt, ValidationError, model_validator

from ml.core.contracts import (
    ColumnRule,
    Contract,
    ExpectedBreach,
    ForecastRule,
    Name,
    SplitRule,
    Task,
    check_rules,
)
from ml.core.errors import DataInvalid, describe

Format = Literal["csv", "xls", "xlsx", "parquet", "json", "hdf5", "frame_xz"]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class PackageSource(Contract):
    """A file inside an installed distribution, found by its metadata and never imported."""

    kind: Literal["package"]
    package: str
    resource: str
    format: Format
    sha256: Sha256


class FileSource(Contract):
    """A file beside the descriptor; ``path`` is relative to it and stays below it."""

    kind: Literal["file"]
    path: str
    format: Format
    sha256: Sha256 | None = None
    sheet: str | None = None
    key: str | None = None


class UrlSource(Contract):
    """A file fetched once over https and held to its hash."""

    kind: Literal["url"]
    url: Annotated[str, Field(pattern=r"^(https|file)://")]
    format: Format
    sha256: Sha256


class SklearnSource(Contract):
    """A table that scikit-learn carries, by the name of its loader without ``load_``."""

    kind: Literal["sklearn"]
    loader: Literal["breast_cancer", "diabetes", "wine", "digits"]


class Provenance(Contract):
    """Say who made the table and under which licence, as far as it is known."""

    origin: str
    licence: str
    note: str | None = None


class ExpectedFailure(Contract):
    """Declare that a gate rightly fails here; ``cells`` is a glob over cell ids."""

    cells: str
    gate: str
    reason: Annotated[str, Field(min_length=10)]


class Descriptor(Contract):
    """Declare one dataset; ``rows`` and ``columns`` count the materialised table.

    ``columns`` counts the features, computed ones included, and the target. ``target_above``
    turns a numeric target into a binary one. ``classes``, where given, are the only labels
    kept: rows with another are left out. ``drop`` maps each column left out to the reason.
    ``missing`` lists the strings that mean a missing value; blank text always means one.
    ``table_schema``, the table ``[schema]`` of the file, says what columns hold, and
    ``expected_breaches`` which checks of the contract rightly object.
    """

    model_config = ConfigDict(serialize_by_alias=True)

    id: Name
    title: str
    task: Task
    target: str
    target_above: float | None = None
    positive: str | None = None
    classes: tuple[str, ...] = ()
    source: Annotated[
        PackageSource | FileSource | UrlSource | SklearnSource, Field(discriminator="kind")
    ]
    provenance: Provenance
    rows: PositiveInt
    columns: PositiveInt
    content_sha256: Sha256
    tags: tuple[str, ...] = ()
    drop: dict[str, str] = Field(default_factory=dict)
    categorical: tuple[str, ...] = ()
    numeric: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    split: SplitRule = SplitRule()
    forecast: ForecastRule | None = None
    expected_failures: tuple[ExpectedFailure, ...] = ()
    # A field of pydantic's own has the name that the file gives it.
    table_schema: dict[str, ColumnRule] = Field(default_factory=dict, alias="schema")
    expected_breaches: tuple[ExpectedBreach, ...] = ()

    @model_validator(mode="after")
    def _rules_agree(self) -> Descriptor:
        check_rules(self.task, self.split, self.forecast)
        labels = self.target_above is not None or self.positive is not None or self.classes
        if self.task != "classification" and labels:
            raise ValueError("target_above, positive and classes belong to a classification")
        if self.target in self.drop:
            raise ValueError(f"the target {self.target!r} is also in [drop]")
        return self


def read_descriptor(path: Path) -> Descriptor:
    """Read and validate one descriptor; raises DataInvalid naming the file and the field."""
    try:
        values: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise DataInvalid(
            f"dataset descriptor {path} cannot be read: {problem}",
            code="descriptor_unreadable",
            field=str(path),
            expected="a TOML file in UTF-8",
            received=describe(problem),
            remedy="mend the file, or propose a new one with: mlmatrix data describe FILE",
        ) from None
    try:
        # By way of JSON, since TOML's lists stand for tuples, which strict Python input refuses.
        return Descriptor.model_validate_json(json.dumps(values, default=str))
    except ValidationError as problem:
        first = problem.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise DataInvalid(
            f"dataset descriptor {path}, {where}: {first['msg']}",
            code="descriptor_invalid",
            field=where,
            received=describe(first.get("input")),
            remedy=f"mend {where} in {path}",
        ) from None
