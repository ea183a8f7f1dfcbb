"""Remove runs that are old: never the newest, never one that is being written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from harness.store.indexing import FOLDERS
from harness.store.journal import JOURNAL, hold_run
from harness.store.rows import RunRow
from ml.core.errors import MatrixError


@dataclass(frozen=True)
class Removal:
    """Hold what became of an old run; ``kept`` says why it is still there, None where it is not."""

    run: str
    kind: str
    started: str | None
    bytes: int
    kept: str | None


def choose_old(
    reports: Path, runs: Sequence[RunRow], keep: int | None, keep_days: float | None, now: datetime
) -> list[RunRow]:
    """Return the runs to remove, the oldest first: beyond the newest ``keep``, or older than days.

    ``runs`` stand newest first; each kind is counted by itself. The newest of a kind stays.
    """
    found: list[RunRow] = []
    for kind in FOLDERS:
        others = [run for run in runs if run.kind == kind][1:]
        if keep is not None:
            found += others[keep - 1 :]
        elif keep_days is not None:
            limit = now - timedelta(days=keep_days)
            found += [run for run in others if _last_written(reports, run) < limit]
    return sorted(found, key=lambda run: (run.name, run.kind))


def remove_runs(reports: Path, runs: Sequence[RunRow], dry_run: bool) -> list[Removal]:
    """Remove the folders of these runs and return what became of each.

    A run that a session writes to is kept; with ``dry_run`` all are.
    """
    removed = []
    for run in runs:
        folder = reports / FOLDERS[run.kind] / run.name
        size = sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())
        kept = None
        try:
            handle = hold_run(folder)
        except (MatrixError, OSError) as problem:
            kept = str(problem)
        else:
            try:
                if not dry_run:
                    # Without its journal a folder is no run, should the rest be cut off.
                    (folder / JOURNAL).unlink()
                    shutil.rmtree(folder)
            except OSError as problem:
                kept = f"{problem.filename}: {problem.strerror}"
            finally:
                os.close(handle)
        removed.append(Removal(run.name, run.kind, run.started, size, kept))
    return removed


def _last_written(reports: Path, run: RunRow) -> datetime:
    text = run.finished or (run.resumed[-1][0] if run.resumed else run.started)
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        path = reports / FOLDERS[run.kind] / run.name / JOURNAL
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
