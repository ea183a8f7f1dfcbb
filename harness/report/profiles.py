"""Fetch the profiles of tables from beyond the wall, and keep them beside the pages."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.report.contractview import contract_of
from harness.report.files import DATA, name_file, read_data, write_data
from harness.store.record import Record
from ml.core.descriptor import read_descriptor
from ml.core.errors import DataInvalid

VERSION = 1
SECONDS = 60.0
CHANGED = "the table has changed since: its descriptor now declares another content"


@dataclass(frozen=True)
class Profiled:
    """Hold a table's profile, as ``mlmatrix data profile --json`` writes it, or why not."""

    profile: Mapping[str, Any] | None
    reason: str = ""


def gather_profiles(reports: Path, records: Sequence[Record]) -> dict[str, Profiled]:
    """Return the profile of each dataset of the records, by its name.

    A profile is made once for a table's content, by a process of the data room, from a table
    that is materialised; nothing is fetched or materialised for a page. All that are missing
    are made together, within ``SECONDS``.
    """
    found: dict[str, Profiled] = {}
    missing: dict[str, tuple[str, str]] = {}
    for dataset, data, content in _list_tables(records):
        kind = data.get("kind")
        path = str(data.get("path", ""))
        stem = name_file("profile", f"{dataset} {content}")
        kept = read_data(reports, stem) if content else None
        if kept is not None and _fits(kept, content):
            found[dataset] = Profiled(kept)
        elif kind == "function":
            found[dataset] = Profiled(None, "a function makes this table, so it is not kept")
        elif kind == "inline":
            found[dataset] = Profiled(None, "its values came with the request, and are not kept")
        elif kind != "descriptor":
            found[dataset] = Profiled(None, "its request names no descriptor")
        elif content is None:
            found[dataset] = Profiled(None, "no cell has read the table yet")
        elif (declared := _read_content(path)) is None:
            found[dataset] = Profiled(None, f"its descriptor cannot be read here: {path}")
        elif declared != content:
            found[dataset] = Profiled(None, CHANGED)
        else:
            missing[dataset] = (path, content)
    answers = _profile([path for path, _ in missing.values()]) if missing else {}
    for dataset, (path, content) in missing.items():
        answer = answers.get(path, {"reason": f"no profile within {SECONDS:g} s"})
        profile = answer.get("profile")
        if profile is None:
            found[dataset] = Profiled(None, str(answer["reason"]))
        elif not _fits(profile, content):
            found[dataset] = Profiled(None, CHANGED)
        else:
            write_data(reports, name_file("profile", f"{dataset} {content}"), profile)
            found[dataset] = Profiled(profile)
    _remove_others(reports, records)
    return found


def _remove_others(reports: Path, records: Sequence[Record]) -> None:
    """Remove the profiles of tables that no record has; what was not read may come back."""
    contents = {dataset: content for dataset, _, content in _list_tables(records)}
    for path in (reports / DATA).glob("profile-*.js"):
        profile = read_data(reports, path.stem)
        known = profile if isinstance(profile, dict) else {}
        content = contents.get(known.get("id", ""), "")
        if content is not None and content != known.get("content_sha256"):
            path.unlink(missing_ok=True)


def _read_content(path: str) -> str | None:
    try:
        return read_descriptor(Path(path)).content_sha256 if path.endswith(".toml") else None
    except DataInvalid:
        return None


def _list_tables(
    records: Sequence[Record],
) -> list[tuple[str, Mapping[str, Any], str | None]]:
    tables: dict[str, tuple[Mapping[str, Any], str | None]] = {}
    for record in records:
        data = record.request.get("data")
        contract = contract_of(record)
        content = contract.content_sha256 if contract else None
        if record.result:
            content = record.result.data.content_sha256
        known = tables.get(record.dataset)
        if known is None or (known[1] is None and content is not None):
            tables[record.dataset] = (data if isinstance(data, dict) else {}, content)
    return [(dataset, data, content) for dataset, (data, content) in tables.items()]


def _fits(profile: Any, content: str | None) -> bool:
    return (
        isinstance(profile, dict)
        and profile.get("version") == VERSION
        and profile.get("content_sha256") == content
    )


def _profile(paths: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the answers by path; those that came in time, where time ran out."""
    absolute = {str(Path(path).resolve()): path for path in paths}
    command = [sys.executable, "-m", "ml.datasets", "profile", "--json", "--stored", "--"]
    try:
        done = subprocess.run(  # noqa: S603
            [*command, *absolute], capture_output=True, timeout=SECONDS, check=False
        )
        output = done.stdout
        reason = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
    except subprocess.TimeoutExpired as problem:
        output, reason = problem.stdout or b"", []
    except OSError as problem:
        output, reason = b"", [f"the data room cannot be entered: {problem}"]
    answers: dict[str, dict[str, Any]] = {}
    for line in output.splitlines():
        try:
            answer = json.loads(line)
            answers[absolute[answer["path"]]] = answer
        except (ValueError, KeyError, TypeError):
            continue
    if reason:
        for path in paths:
            answers.setdefault(path, {"reason": reason[0]})
    return answers
