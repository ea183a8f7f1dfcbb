"""Propose a descriptor for a table file: guess, say that it is a guess, and verify the rest."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from ml.core.descriptor import Descriptor
from ml.core.errors import DataInvalid, describe
from ml.datasets.columns import Columns, RawColumn, near, number_in, numbers, texts
from ml.datasets.load import column_count
from ml.datasets.periods import iso_date
from ml.datasets.readers import COMPRESSIONS, SUFFIXES, read_columns
from ml.datasets.schema import propose_schema
from ml.datasets.settle import rules_of, settle

TARGET_NAMES = ("target", "label", "class", "y", "outcome", "response", "churn", "default", "price")
MARKERS = frozenset({"NA", "N/A", "#N/A", "NULL", "null", "NaN", "nan", "?"})
WEAK_MARKERS = frozenset({"-", "--", ".", "None", "none", "unknown"})
ID_NAME = re.compile(
    r"(^|[_ .-])(id|uuid|guid|key|index|rownames?|row|nr|no|number)$|^unnamed_\d+$"
)
MOST_CLASSES = 20
MANY_LEVELS = 100


def propose_descriptor(file: Path, target: str | None = None, id: str | None = None) -> str:
    """Return the TOML text of a descriptor for ``file``, which loads as it stands.

    Saved as ``<id>.toml`` beside the file it is complete: the table's shape and hashes are
    computed, the rest is guessed and the comments say what a person must check. Raises
    DataInvalid for a file that is no readable table, or for a target that it has not.
    """
    name = id or re.sub(r"[^a-z0-9]+", "_", file.name.lower().split(".")[0]).strip("_")[:64]
    content, columns, source = _read(file)
    if target is not None and target not in columns:
        raise DataInvalid(
            f"{file} has no column {target!r}",
            code="missing_column",
            field="target",
            remedy=near(target, columns),
        )
    missing = _markers(columns)
    rows = len(next(iter(columns.values())))
    chosen = target or _likely_target(columns, missing)
    drop, dates, categorical, wide = _judge_features(columns, chosen, missing)
    task = _likely_task(columns[chosen], missing)
    proposal: dict[str, Any] = {
        "id": name,
        "title": file.name,
        "task": task,
        "target": chosen,
        "rows": max(rows, 1),
        "columns": len(columns),
        "content_sha256": "0" * 64,
        "tags": [],
        "categorical": categorical,
        "missing": sorted(missing),
        "source": {**source, "sha256": hashlib.sha256(content).hexdigest()},
        "provenance": {"origin": "unknown", "licence": "unknown"},
        "drop": drop,
    }
    comments = {
        "task": "check: guessed from the target's values; a forecast also needs a [forecast] table",
        "target": "check: guessed, name it with --target" if target is None else "as you named it",
        "provenance": "check: say who made the table and under which licence",
        "drop": "check: each column left out, and why; add those that give the answer away",
    }
    if dates:
        proposal["split"] = {"rule": "time", "column": dates[0]}
        comments["split"] = "check: a column of dates was found, so the newest rows are tested"
    if missing:
        comments["missing"] = "check: text found in the file that seems to mean a missing value"
    if task == "classification":
        proposal["positive"] = _rarer(columns[chosen], missing)
        comments["positive"] = "check: the class to detect; the rarer of the two"
    try:
        descriptor = Descriptor.model_validate_json(json.dumps(_without_empty(proposal)))
    except ValidationError as problem:
        first = problem.errors(include_url=False)[0]
        raise DataInvalid(
            f"no descriptor can be made of {file}: {first['msg']}",
            code="descriptor_invalid",
            field=".".join(str(part) for part in first["loc"]),
            received=describe(first.get("input")),
            remedy="name the dataset with --id, in small letters, digits and _",
        ) from None
    table = settle(columns, rules_of(descriptor))
    if len(table.classes) == 2:
        proposal["positive"] = table.classes[-1]
    proposal |= {
        "rows": table.rows,
        "columns": column_count(table),
        "content_sha256": table.content_sha256,
        "schema": propose_schema(table, chosen),
    }
    comments["schema"] = "check: what was found of each column; widen what may rightly change"
    head = (
        f"# A proposal for {describe(file.name)}: save it as {name}.toml beside the file, then\n"
        "# check the lines that say so. If you change what is read, the next load names the new\n"
        "# rows, columns and content_sha256.\n"
    )
    if wide:
        shown = ", ".join(describe(column) for column in wide)
        head += f"# check: text of many values, an id perhaps: {shown}\n"
    return head + "\n" + to_toml(_without_empty(proposal), comments)


def _read(file: Path) -> tuple[bytes, Columns, dict[str, str]]:
    suffixes = [suffix.lower() for suffix in file.suffixes if suffix.lower() not in COMPRESSIONS]
    format = SUFFIXES.get(suffixes[-1]) if suffixes else None
    if format is None:
        raise DataInvalid(
            f"{file} has a name that says no format",
            code="format_unknown",
            expected="one of " + ", ".join(SUFFIXES),
            received=file.suffix or "no suffix",
            remedy="rename the file, or save it as CSV",
        )
    try:
        content = file.read_bytes()
    except OSError as problem:
        raise DataInvalid(
            f"{file} cannot be read: {problem.strerror}",
            code="source_missing",
            remedy="name a file that exists",
        ) from None
    columns = read_columns(content, format, file.name)
    if len(columns) < 2:
        raise DataInvalid(
            f"{file} has one column only",
            code="no_features",
            expected="a target and at least one feature",
            received=", ".join(columns),
            remedy="check that comma, semicolon, tab or bar parts its columns",
        )
    return content, columns, {"kind": "file", "path": file.name, "format": format}


def _markers(columns: Columns) -> set[str]:
    found: set[str] = set()
    for column in columns.values():
        words = {value for value in column if isinstance(value, str)} if _is_text(column) else set()
        found |= words & MARKERS
        rest = {word for word in words - MARKERS if number_in(word) is None and word.strip()}
        if rest and rest <= WEAK_MARKERS and len(words) > len(rest):
            found |= rest
    return found


def _is_text(column: RawColumn) -> bool:
    return column.dtype == object and any(isinstance(value, str) for value in column)


def _likely_target(columns: Columns, missing: set[str]) -> str:
    usable = []
    for name, column in columns.items():
        known = set(texts(column, frozenset(missing))) - {None}
        is_numeric = numbers(column, frozenset(missing), parse_text=True)[1] is None
        if len(known) > 1 and (is_numeric or len(known) < len(column)):
            usable.append(name)
    by_name = {name.lower(): name for name in usable}
    named = [by_name[name] for name in TARGET_NAMES if name in by_name]
    return [*columns, *usable, *reversed(named)][-1]


def _likely_task(column: RawColumn, missing: set[str]) -> str:
    values, offending = numbers(column, frozenset(missing), parse_text=True)
    if offending is not None:
        return "classification"
    known = np.unique(values[~np.isnan(values)])
    few = len(known) <= MOST_CLASSES and bool((known == np.floor(known)).all())
    return "classification" if few else "regression"


def _judge_features(
    columns: Columns, target: str, missing: set[str]
) -> tuple[dict[str, str], list[str], list[str], list[str]]:
    """Return what to drop and why, dates, text of digits to keep as text, and wide text."""
    drop: dict[str, str] = {}
    dates: list[str] = []
    categorical: list[str] = []
    wide: list[str] = []
    for name, column in columns.items():
        if name == target:
            continue
        labels = texts(column, frozenset(missing))
        known = {label for label in labels if label is not None}
        values, offending = numbers(column, frozenset(missing), parse_text=True)
        distinct = len(known) == len(labels) and len(labels) > 2
        steps = np.diff(values) if offending is None else np.zeros(0)
        if len(known) <= 1:
            drop[name] = "constant" if known else "empty"
        elif distinct and (ID_NAME.search(name.lower()) or (len(steps) > 8 and (steps == 1).all())):
            drop[name] = "an id: every row has its own"
        elif offending is not None and all(iso_date(label) is not None for label in known):
            if None in labels or dates:
                drop[name] = "a date: no feature as it stands"
            else:
                dates.append(name)
        elif distinct and offending is not None and len(labels) > MOST_CLASSES:
            drop[name] = "an id: every row has its own text"
        elif offending is not None and len(known) > MANY_LEVELS:
            wide.append(name)
        elif (
            offending is None
            and _is_text(column)
            and any(re.match(r"0\d", label) for label in known)
        ):
            categorical.append(name)
    if len(drop) + len(dates) == len(columns) - 1:
        drop.clear()
        dates.clear()
    return drop, dates, categorical, wide


def _rarer(column: RawColumn, missing: set[str]) -> str | None:
    labels = [label for label in texts(column, frozenset(missing)) if label is not None]
    known = sorted(set(labels), key=labels.count)
    return known[0] if len(known) == 2 else None


def _without_empty(values: dict[str, Any]) -> dict[str, Any]:
    shown = ("tags", "drop")  # even when empty, since a person will want to fill them
    return {
        key: value for key, value in values.items() if value not in (None, [], {}) or key in shown
    }


def to_toml(values: dict[str, Any], comments: dict[str, str]) -> str:
    """Write values as TOML, tables after plain keys, each comment above its key.

    Values are text, numbers, truth values, lists of text, tables of these, and in a table
    further ones, each on a line.
    """
    plain = [key for key, value in values.items() if not isinstance(value, dict)]
    lines: list[str] = []
    for key in [*plain, *(key for key in values if key not in plain)]:
        note = [f"# {comments[key]}"] if key in comments else []
        value = values[key]
        if key in plain:
            lines += [*note, f"{_key(key)} = {_value(value)}"]
        else:
            rows = [f"{_key(inner)} = {_value(item)}" for inner, item in value.items()]
            lines += ["", *note, f"[{_key(key)}]", *rows]
    return "\n".join(lines) + "\n"


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _value(key)


def _value(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    if isinstance(value, dict):
        pairs = ", ".join(f"{_key(key)} = {_value(item)}" for key, item in value.items())
        return f"{{{pairs}}}" if not pairs else f"{{ {pairs} }}"
    # JSON writes text, numbers and truth values as TOML does, but for one control character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
