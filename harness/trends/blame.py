"""Say what changed between two runs of a cell, the most plausible first, and how to rerun both."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from harness.store.series import Kind

CauseKind = Literal["data", "entry", "hardware", "packages", "commits", "uncommitted", "unknown"]

# What makes other work comes first. Then, a metric follows the code and the libraries, and a
# machine hardly moves it; a time follows the machine before anything else.
ORDER: Mapping[Kind, tuple[CauseKind, ...]] = {
    "metric": ("data", "entry", "commits", "uncommitted", "packages", "hardware", "unknown"),
    "timing": ("hardware", "data", "entry", "packages", "commits", "uncommitted", "unknown"),
    "memory": ("data", "entry", "packages", "commits", "uncommitted", "hardware", "unknown"),
}
PACKAGE = "package "


@dataclass(frozen=True)
class Side:
    """Hold the facts of one run of a cell.

    ``environment`` has a name and a text for each part: ``cpu``, ``platform``, ``threads``, and a
    package's version under ``package NAME``. ``data`` and ``entry`` are the hashes that a point
    of a series has; ``request`` is the request itself, with which a change of the entry is named.
    """

    run: str
    commit: str | None
    branch: str | None = None
    dirty: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    data: str = ""
    entry: str = ""
    request: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Cause:
    """Hold one thing that changed, in words."""

    kind: CauseKind
    text: str


@dataclass(frozen=True)
class Blame:
    """Hold what changed between two runs, most plausible first, and the command for each side."""

    causes: tuple[Cause, ...]
    rerun_old: str
    rerun_new: str


def blame(cell: str, old: Side, new: Side, kind: Kind) -> Blame:
    """Compare two runs' facts of a cell, for a change in a series of this kind."""
    causes = [*_work(old, new), *_environment(old, new), *_commits(old, new)]
    if not causes:
        causes.append(
            Cause(
                "unknown",
                "nothing that is recorded changed: same commit, packages, hardware, data and entry",
            )
        )
    order = ORDER[kind]
    causes.sort(key=lambda cause: order.index(cause.kind))
    return Blame(tuple(causes), rerun_command(cell, old), rerun_command(cell, new))


def rerun_command(cell: str, side: Side) -> str:
    """Return the shell command that reruns one side of a cell; a comment says what is lost."""
    run = f"pytest -m slow_matrix -k {shlex.quote(cell)}"
    if side.commit is None:
        return f"{run}  # the commit of {side.run} is not known"
    command = f"git checkout {shlex.quote(side.commit)} && {run}"
    if side.dirty:
        command += f"  # without the uncommitted changes that {side.run} had"
    return command


def _work(old: Side, new: Side) -> list[Cause]:
    causes = []
    if old.data != new.data:
        causes.append(
            Cause("data", f"the table's content: {_short(old.data)} → {_short(new.data)}")
        )
    differences = (
        _differences(old.request, new.request)
        if old.request is not None and new.request is not None
        else []
    )
    if old.entry != new.entry or differences:
        what = "; ".join(differences) or f"{_short(old.entry)} → {_short(new.entry)}"
        causes.append(Cause("entry", f"the catalog's entry or its request: {what}"))
    return causes


def _environment(old: Side, new: Side) -> list[Cause]:
    causes = []
    for name in sorted({*old.environment, *new.environment}):
        before, after = old.environment.get(name), new.environment.get(name)
        if before == after:
            continue
        text = f"{before or 'not there'} → {after or 'not there'}"
        if name.startswith(PACKAGE):
            causes.append(Cause("packages", f"{name.removeprefix(PACKAGE)}: {text}"))
        else:
            causes.append(Cause("hardware", f"{name}: {text}"))
    return causes


def _commits(old: Side, new: Side) -> list[Cause]:
    causes = []
    if old.commit != new.commit:
        if old.commit is None or new.commit is None:
            unknown = " and ".join(side.run for side in (old, new) if side.commit is None)
            causes.append(Cause("commits", f"perhaps the code: the commit of {unknown} is unknown"))
        else:
            span = f"{old.commit[:10]}..{new.commit[:10]}"
            text = f"commits {span}, see: git log --oneline {span}"
            if old.branch != new.branch and old.branch and new.branch:
                text += f" (from branch {old.branch} to {new.branch})"
            causes.append(Cause("commits", text))
    dirty = [side.run for side in (old, new) if side.dirty]
    if dirty:
        causes.append(Cause("uncommitted", f"uncommitted changes in {' and '.join(dirty)}"))
    return causes


def _differences(old: Mapping[str, Any], new: Mapping[str, Any], place: str = "") -> list[str]:
    """Name what two requests differ in, by dotted places."""
    found = []
    for name in sorted({*old, *new}):
        before, after = old.get(name), new.get(name)
        where = f"{place}{name}"
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found += _differences(before, after, f"{where}.")
        elif name not in old:
            found.append(f"{where} is new: {after!r}")
        elif name not in new:
            found.append(f"{where} is gone: {before!r}")
        elif before != after:
            found.append(f"{where}: {before!r} → {after!r}")
    return found


def _short(digest: str) -> str:
    return digest[:10] or "unknown"
