"""Take the timings of pytest-benchmark's JSON as a run of their own, beside those of the matrix."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.store.journal import BENCHMARKS, JOURNAL
from harness.store.record import End, Head, Timing
from ml.core.errors import MatrixError

# Where a session of ours leaves the head of its run in pytest-benchmark's machine_info.
HEAD = "mlmatrix_head"


def import_benchmarks(file: Path, reports: Path) -> tuple[str, int | None]:
    """Keep a file of pytest-benchmark as a run; return its name, and how many timings it has.

    The name comes from the file's content, so that a file is taken once; the number is None
    where it had been. Raises MatrixError for a file that is none of pytest-benchmark's.
    """
    try:
        content = file.read_bytes()
    except OSError as problem:
        raise MatrixError(f"{file} cannot be read: {problem.strerror}") from None
    try:
        values = json.loads(content)
        started = datetime.fromisoformat(values["datetime"])
        # Old versions write UTC without saying so.
        moment = (started if started.tzinfo else started.replace(tzinfo=UTC)).astimezone(UTC)
        run = f"{moment:%Y%m%d-%H%M%S}-{hashlib.sha256(content).hexdigest()[:6]}"
        head = _read_head(values, run, moment)
        timings = _read_timings(values["benchmarks"], run, head.started)
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        raise MatrixError(
            f"{file} is no file of pytest-benchmark",
            expected="the JSON that `pytest --benchmark-json FILE` writes",
            received=_describe(problem),
        ) from None
    if not timings:
        raise MatrixError(f"{file} has no benchmarks", remedy="run some: pytest -m perf")
    seconds = sum(one.seconds * one.rounds for one in timings)
    end = End(finished=head.started, exit_status=0, seconds=seconds)
    lines = [line.model_dump_json() for line in (head, *timings, end)]
    return run, len(timings) if _write(reports, run, lines) else None


def name_cells(names: Sequence[str]) -> list[str]:
    """Return the cells of benchmarks, by their full names, safe as a file's name.

    Those that would be one cell are told apart by a hash of their names.
    """
    plain = [re.sub(r"[^\w.]+", "_", name).strip("_.") for name in names]
    number = Counter(plain)
    return [
        f"{cell}_{hashlib.sha256(name.encode()).hexdigest()[:6]}" if number[cell] > 1 else cell
        for cell, name in zip(plain, names, strict=True)
    ]


def _read_head(values: dict[str, Any], run: str, moment: datetime) -> Head:
    started = moment.isoformat(timespec="milliseconds")
    machine, commit = values["machine_info"], values["commit_info"]
    if HEAD in machine:
        head = Head.model_validate_json(json.dumps(machine[HEAD]))
        return head.model_copy(update={"run": run, "started": started})
    cpu = machine.get("cpu") or {}
    is_known = commit.get("id") not in (None, "unknown")
    return Head(
        run=run,
        started=started,
        command=("pytest", "--benchmark-json"),
        git_commit=commit["id"] if is_known else None,
        git_branch=commit.get("branch") if is_known else None,
        git_dirty=commit.get("dirty") if is_known else None,
        python=machine["python_version"],
        platform=f"{machine['system']}-{machine['release']}-{machine['machine']}",
        cpu=cpu.get("brand_raw") or machine.get("processor") or machine["machine"],
        cores=cpu.get("count") or 1,
        memory_bytes=0,
        threads_per_worker=1,
        packages={"pytest-benchmark": values["version"]},
    )


def _read_timings(
    benchmarks: Sequence[dict[str, Any]], run: str, started: str
) -> tuple[Timing, ...]:
    cells = name_cells([one["fullname"] for one in benchmarks])
    return tuple(
        Timing(
            run=run,
            cell=cell,
            name=one["fullname"],
            started=started,
            seconds=one["stats"]["median"],
            spread=one["stats"]["iqr"],
            rounds=one["stats"]["rounds"],
            calibration_seconds=(one.get("extra_info") or {}).get("calibration_seconds"),
            parameters=one.get("params") or {},
        )
        for cell, one in zip(cells, benchmarks, strict=True)
    )


def _describe(problem: Exception) -> str:
    if isinstance(problem, ValidationError):
        first = problem.errors(include_url=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    text = f"no field {problem}" if isinstance(problem, KeyError) else str(problem)
    return text[:200]


def _write(reports: Path, run: str, lines: Sequence[str]) -> bool:
    """Write the journal whole or not at all; tell whether it was not there before."""
    folder = reports / BENCHMARKS / run
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=reports, prefix=".import-"))
    try:
        (made / JOURNAL).write_text("\n".join(lines) + "\n")
        made.chmod(0o755)
        made.rename(folder)
    except OSError:
        shutil.rmtree(made, ignore_errors=True)
        if folder.exists():
            return False
        raise
    return True
