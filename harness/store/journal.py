"""Write and read a run's journal: one JSON line each, appended and flushed as it is known."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from harness.store.record import End, Head, Record, TestLine, parse_line

JOURNAL = "records.jsonl"
# A record's names stand first in its line, and are short.
MARK_WITHIN = 600


@dataclass(frozen=True)
class RunJournal:
    """Hold what a journal says; ``damage`` names each line that could not be read."""

    folder: Path
    head: Head | None
    records: tuple[Record, ...]
    tests: tuple[TestLine, ...]
    end: End | None
    damage: tuple[str, ...]


def now() -> str:
    """Return the time in UTC, ISO 8601 to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class Journal:
    """Append lines to a run's journal; several processes may do so at once.

    The first line makes the run's folder and is preceded by the head, so that a session
    without cells leaves nothing behind.
    """

    def __init__(self, folder: Path, make_head: Callable[[str], Head]) -> None:
        self.folder = folder
        self._make_head = make_head
        self._read_up_to = 0
        self._lines: list[bytes] = []

    @property
    def run(self) -> str:
        """Return the run's name."""
        return self.folder.name

    @property
    def exists(self) -> bool:
        """Tell whether any line has been written."""
        return (self.folder / JOURNAL).exists()

    def append(self, line: Record | TestLine | End) -> None:
        """Append one whole line and hand it to the operating system.

        A line that a killed process left torn is closed first, so that it costs only itself.
        """
        with self._locked() as handle:
            self._write(handle, line)

    def append_judged(
        self, dataset: str, algorithm: str, judge: Callable[[tuple[Record, ...]], Record]
    ) -> Record:
        """Append and return the record that ``judge`` makes of those that came before it.

        It is given this run's records of the same dataset and algorithm, one per cell. No other
        process appends in between, so of any two records one is judged with sight of the other.
        """
        with self._locked() as handle:
            record = judge(self._read_records(dataset, algorithm))
            self._write(handle, record)
        return record

    @contextmanager
    def claim(self, cell: str) -> Iterator[None]:
        """Hold a cell for one process of this run at a time, so that it is run once."""
        locks = self.folder / "locks"
        locks.mkdir(parents=True, exist_ok=True)
        handle = os.open(locks / cell, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def close_claims(self) -> None:
        """Remove what claims left behind, once no process of the run holds one."""
        shutil.rmtree(self.folder / "locks", ignore_errors=True)

    def find(self, cell: str) -> Record | None:
        """Return the cell's record if this run has one already, from whichever process."""
        found = _select(self._read_lines(), f'"cell":"{cell}"')
        return next((record for record in found if record.cell == cell), None)

    @contextmanager
    def _locked(self) -> Iterator[int]:
        self.folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.folder / JOURNAL, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield handle
        finally:
            os.close(handle)

    def _write(self, handle: int, line: Record | TestLine | End) -> None:
        size = os.fstat(handle).st_size
        content = b""
        if size == 0:
            content = self._make_head(self.run).model_dump_json().encode() + b"\n"
        elif os.pread(handle, 1, size - 1) != b"\n":
            content = b"\n"
        content += line.model_dump_json().encode() + b"\n"
        try:
            while content:
                content = content[os.write(handle, content) :]
        except OSError:
            os.ftruncate(handle, size)  # A disk that is full keeps no part of a line.
            raise

    def _read_records(self, dataset: str, algorithm: str) -> tuple[Record, ...]:
        found = _select(self._read_lines(), f'"dataset":"{dataset}","algorithm":"{algorithm}"')
        chosen = [r for r in found if (r.dataset, r.algorithm) == (dataset, algorithm)]
        return tuple({record.cell: record for record in chosen}.values())

    def _read_lines(self) -> list[bytes]:
        """Return all whole lines; only those that came since the last call are read."""
        try:
            with (self.folder / JOURNAL).open("rb") as stream:
                stream.seek(self._read_up_to)
                content = stream.read()
        except FileNotFoundError:
            return []
        whole = content[: content.rfind(b"\n") + 1]
        self._read_up_to += len(whole)
        self._lines += whole.splitlines()
        return self._lines


def _select(lines: Iterable[bytes], mark: str) -> Iterator[Record]:
    """Yield the records whose line has the mark near its start; torn lines are passed over."""
    for text in lines:
        if mark.encode() in text[:MARK_WITHIN]:
            try:
                line = parse_line(text)
            except ValidationError:
                continue
            if isinstance(line, Record):
                yield line


def read_run(folder: Path) -> RunJournal:
    """Read a run's journal; a line that cannot be read becomes a sentence in ``damage``.

    Where a cell has several records, the last one counts.
    """
    path = folder / JOURNAL
    head: Head | None = None
    end: End | None = None
    records: dict[str, Record] = {}
    tests = []
    damage = []
    try:
        lines = path.read_bytes().splitlines()
    except OSError as problem:
        lines = []
        damage.append(f"{path} cannot be read: {problem.strerror}")
    for number, text in enumerate(lines, start=1):
        if not text.strip():
            continue
        try:
            line = parse_line(text)
        except ValidationError as problem:
            first = problem.errors(include_url=False)[0]
            damage.append(f"{path}, line {number}: {first['msg']}")
            continue
        match line:
            case Head():
                head = line
            case Record():
                records[line.cell] = line
            case TestLine():
                tests.append(line)
            case End():
                end = line
    return RunJournal(folder, head, tuple(records.values()), tuple(tests), end, tuple(damage))


def list_runs(reports: Path) -> list[Path]:
    """Return the folders of all runs that have a journal, newest first."""
    runs = reports / "runs"
    return sorted(
        (path.parent for path in runs.glob(f"*/{JOURNAL}")), key=lambda f: f.name, reverse=True
    )
