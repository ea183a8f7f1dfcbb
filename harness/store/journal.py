"""Write and read a run's journal: one JSON line each, appended and flushed as it is known."""

from __future__ import annotations

import difflib
import fcntl
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from harness.store.history import JOURNAL as JOURNAL
from harness.store.migrations import NewerVersion, migrate
from harness.store.record import (
    End,
    Head,
    Line,
    Record,
    Rerun,
    Resumed,
    TestLine,
    Timing,
    parse_line,
)
from harness.store.rows import environment_of, hash_environment
from ml.core.errors import MatrixError

# Where runs of benchmarks are, apart from those of the matrix.
BENCHMARKS = "benchmarks"
# A record's names stand first in its line, and are short.
MARK_WITHIN = 600


@dataclass(frozen=True)
class RunJournal:
    """Hold what a journal says; ``damage`` names each line that could not be read.

    ``end`` is that of the last session that wrote to it, None where that was cut off.
    """

    folder: Path
    head: Head | None
    records: tuple[Record, ...]
    tests: tuple[TestLine, ...]
    end: End | None
    damage: tuple[str, ...]
    resumed: tuple[Resumed, ...] = ()


def now() -> str:
    """Return the time in UTC, ISO 8601 to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class Journal:
    """Append lines to a run's journal; several processes may do so at once.

    The first line makes the run's folder and is preceded by the head, so that a session
    without cells leaves nothing behind. Where a run is resumed, ``resumed_at`` is how many bytes
    its journal had: what stands there is of earlier sessions.
    """

    def __init__(
        self, folder: Path, make_head: Callable[[str], Head], resumed_at: int | None = None
    ) -> None:
        self.folder = folder
        self._make_head = make_head
        self._resumed_at = resumed_at or 0
        self._earlier = 0
        self._read_up_to = 0
        self._lines: list[bytes] = []

    @property
    def run(self) -> str:
        """Return the run's name."""
        return self.folder.name

    @property
    def environment(self) -> str:
        """Return the hash of this session's environment, as the index has it of a run."""
        return hash_environment(environment_of(self._make_head(self.run)))

    @property
    def exists(self) -> bool:
        """Tell whether any line has been written."""
        return (self.folder / JOURNAL).exists()

    def begin(self) -> None:
        """Write the head where nothing is written yet, so that the run can be resumed by now."""
        with self._locked() as handle:
            if not os.fstat(handle).st_size:
                self._write_lines(handle, self._make_head(self.run))

    def append(self, line: Record | TestLine | Timing | Rerun | Resumed | End) -> None:
        """Append one whole line and hand it to the operating system.

        A line that a killed process left torn is closed first, so that it costs only itself.
        """
        with self._locked() as handle:
            self._write(handle, line)

    def resume(self, line: Resumed) -> None:
        """Say that a session goes on with the run; a head that was torn is written again."""
        known = read_run(self.folder).head
        with self._locked() as handle:
            if known is None and os.fstat(handle).st_size:
                self._write(handle, self._make_head(self.run))
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
        """Return the cell's last record of this session, from whichever process."""
        return _last(self._read_lines()[self._earlier :], cell)

    def find_earlier(self, cell: str) -> Record | None:
        """Return the cell's last record of the sessions before the run was resumed."""
        return _last(self._read_lines()[: self._earlier], cell)

    @contextmanager
    def _locked(self) -> Iterator[int]:
        self.folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.folder / JOURNAL, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield handle
        finally:
            os.close(handle)

    def _write(self, handle: int, line: Line) -> None:
        head = () if os.fstat(handle).st_size else (self._make_head(self.run),)
        self._write_lines(handle, *head, line)

    def _write_lines(self, handle: int, *lines: Line) -> None:
        size = os.fstat(handle).st_size
        torn = size and os.pread(handle, 1, size - 1) != b"\n"
        content = b"\n" if torn else b""
        content += b"".join(line.model_dump_json().encode() + b"\n" for line in lines)
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
        if self._read_up_to < self._resumed_at:
            # A line that was torn is closed by the next one that is written.
            before = whole[: self._resumed_at - self._read_up_to]
            self._earlier = len(self._lines) + len(before.splitlines())
        self._read_up_to += len(whole)
        self._lines += whole.splitlines()
        return self._lines


def _last(lines: Iterable[bytes], cell: str) -> Record | None:
    found = [record for record in _select(lines, f'"cell":"{cell}"') if record.cell == cell]
    return found[-1] if found else None


def _select(lines: Iterable[bytes], mark: str) -> Iterator[Record]:
    """Yield the records whose line has the mark near its start; torn lines are passed over."""
    for text in lines:
        if mark.encode() in text[:MARK_WITHIN]:
            try:
                line = parse_line(text)
            except (ValidationError, NewerVersion):
                continue
            if isinstance(line, Record):
                yield line


def read_run(folder: Path) -> RunJournal:
    """Read a run's journal; a line that cannot be read becomes a sentence in ``damage``.

    Where a cell has several records, the last one counts; of a test, the last session's lines.
    """
    path = folder / JOURNAL
    head: Head | None = None
    end: End | None = None
    records: dict[str, Record] = {}
    tests: dict[str, list[TestLine]] = {}
    damage = []
    resumed: list[Resumed] = []
    session: dict[str, int] = {}
    try:
        lines = _read_whole(path).splitlines()
    except OSError as problem:
        lines = []
        damage.append(f"{path} cannot be read: {problem.strerror}")
    for number, text in enumerate(lines, start=1):
        if not text.strip():
            continue
        try:
            line = parse_line(text)
        except (ValidationError, NewerVersion) as problem:
            damage.append(describe_damage(path, number, problem))
            continue
        match line:
            case Head():
                head = line
            case Record():
                records[line.cell] = line
            case TestLine():
                if session.get(line.node) != len(resumed):
                    tests.pop(line.node, None)
                session[line.node] = len(resumed)
                tests.setdefault(line.node, []).append(line)
            case Resumed():
                resumed.append(line)
                end = None
            case End():
                end = line
    return RunJournal(
        folder,
        head,
        tuple(records.values()),
        tuple(line for lines_of_node in tests.values() for line in lines_of_node),
        end,
        tuple(damage),
        tuple(resumed),
    )


def describe_damage(path: Path, number: int, problem: ValidationError | NewerVersion) -> str:
    """Return why a line of a journal cannot be read, as one sentence."""
    if isinstance(problem, NewerVersion):
        return f"{path}, line {number}: {problem}"
    return f"{path}, line {number}: {problem.errors(include_url=False)[0]['msg']}"


def read_record(path: Path, start: int, size: int) -> Record:
    """Read the record that stands at a place of a journal.

    Raises MatrixError where there is none, or one of a later version.
    """
    try:
        with path.open("rb") as stream:
            before = stream.read(start).count(b"\n")
            line = parse_line(stream.read(size))
    except OSError as problem:
        raise MatrixError(f"{path} cannot be read: {problem.strerror}") from None
    except (ValidationError, NewerVersion) as problem:
        raise MatrixError(describe_damage(path, before + 1, problem)) from None
    if not isinstance(line, Record):
        raise MatrixError(f"{path}, line {before + 1}: a line of kind {line.kind!r}, no record")
    return line


def check_version(folder: Path) -> None:
    """Raise MatrixError where a later version of ours wrote to a run, so that none resumes it."""
    path = folder / JOURNAL
    for number, text in enumerate(_read_whole(path).splitlines(), start=1):
        try:
            migrate(text)
        except NewerVersion as problem:
            raise MatrixError(describe_damage(path, number, problem)) from None


def _read_whole(path: Path) -> bytes:
    """Read a file while nobody writes to it."""
    with path.open("rb") as stream:
        fcntl.flock(stream, fcntl.LOCK_SH)
        return stream.read()


def list_runs(reports: Path) -> list[Path]:
    """Return the folders of all runs that have a journal, newest first."""
    runs = reports / "runs"
    return sorted(
        (path.parent for path in runs.glob(f"*/{JOURNAL}")), key=lambda f: f.name, reverse=True
    )


def find_run(reports: Path, name: str | None) -> Path:
    """Return a run's folder by its name, the newest for None; MatrixError lists the newest.

    The name is looked up and never joined to a path.
    """
    runs = list_runs(reports)
    if not runs:
        raise MatrixError(
            f"there are no runs in {reports / 'runs'}",
            remedy="run `pytest -m slow_matrix` first, or name another folder of reports",
        )
    found = next((folder for folder in runs if name in (folder.name, None)), None)
    if found is None:
        names = [folder.name for folder in runs]
        near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
        raise MatrixError(
            f"there is no run {name!r} in {runs[0].parent}",
            expected=f"a run's name; the newest are {', '.join(names[:5])}",
            remedy=f"did you mean {near[0]!r}?" if near else "leave the name out for the newest",
        )
    return found


def hold_run(folder: Path) -> int:
    """Return a handle that marks a run as being written, until it is closed or this process ends.

    Raises MatrixError where another session writes to the run.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise MatrixError(
            f"run {folder.name} is still being written by another session",
            expected="a run that was cut off or has ended",
            remedy="wait for it or stop it, or name another run",
        ) from None
    except OSError:
        pass  # a file system without locks on folders: the journal's own still holds
    return handle
