"""Keep a sweep's trials in a file, line by line as they end, from which a killed sweep goes on."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar

from pydantic import ValidationError

from ml.core.contracts import Trial
from ml.core.errors import DataInvalid, RequestInvalid, describe
from ml.core.specs import Contract, NotNegative


class JournalHead(Contract):
    """Open a journal: ``request`` is the hash of all that its trials depend on."""

    kind: Literal["sweep"] = "sweep"
    schema_version: Literal[1] = 1
    request: str


class JournalLine(Contract):
    """Hold a trial that has ended, and the wall seconds of the search until then."""

    kind: Literal["trial"] = "trial"
    elapsed: NotNegative
    trial: Trial


Line = TypeVar("Line", JournalHead, JournalLine)


def hash_facts(facts: Mapping[str, Any]) -> str:
    """Return the sha256 of facts as JSON, whatever the order of their names."""
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


class TrialJournal:
    """Append trials to a file, and have those that it held; without a path, keep nothing.

    ``trials`` are the recorded ones by index, ``elapsed`` the seconds of search they took. A last
    line that was torn is removed. One process at a time may hold a journal. Raises RequestInvalid
    for a path that cannot be written and for a journal of another request, and DataInvalid for
    one that is damaged.
    """

    def __init__(self, path: str | None, request: str) -> None:
        self.trials: dict[int, Trial] = {}
        self.elapsed = 0.0
        self._path = path
        self._handle: int | None = None
        if path is None:
            return
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        except (OSError, ValueError) as problem:  # ValueError: a path with a null byte
            self._refuse_path(problem)
        try:
            self._claim()
            self._read(request)
        except BaseException:
            self.close()
            raise

    def append(self, trial: Trial, elapsed: float) -> None:
        """Append a trial and hand it to the operating system; RequestInvalid where that fails."""
        self._write(JournalLine(elapsed=elapsed, trial=trial))

    def close(self) -> None:
        """Let go of the file."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _claim(self) -> None:
        assert self._handle is not None
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RequestInvalid(
                f"the journal {self._path} is still being written by another sweep",
                code="journal_in_use",
                field="sweep.journal",
                expected="a journal that nobody writes to",
                received=str(self._path),
                remedy="wait for that sweep or stop it, or name another journal",
            ) from None

    def _read(self, request: str) -> None:
        assert self._handle is not None
        size = os.fstat(self._handle).st_size
        content = os.pread(self._handle, size, 0)
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < size:
            os.ftruncate(self._handle, len(whole))
        if not whole:
            self._write(JournalHead(request=request))
            return
        first, *rest = whole.splitlines()
        head = self._parse(JournalHead, first, 1)
        if head.request != request:
            raise RequestInvalid(
                f"the journal {self._path} is of another sweep, or of other data or versions",
                code="journal_mismatch",
                field="sweep.journal",
                expected=f"a journal of the request {request[:12]}…",
                received=f"one of the request {head.request[:12]}…",
                remedy=f"name another journal, or delete {self._path} to begin anew",
            )
        for number, text in enumerate(rest, start=2):
            line = self._parse(JournalLine, text, number)
            self.trials[line.trial.index] = line.trial
            self.elapsed = max(self.elapsed, line.elapsed)

    def _write(self, line: Contract) -> None:
        if self._handle is None:
            return
        size = os.fstat(self._handle).st_size
        content = line.model_dump_json().encode() + b"\n"
        try:
            while content:
                content = content[os.write(self._handle, content) :]
        except OSError as problem:
            os.ftruncate(self._handle, size)  # A disk that is full keeps no part of a line.
            self._refuse_path(problem)

    def _refuse_path(self, problem: Exception) -> NoReturn:
        raise RequestInvalid(
            f"the journal cannot be written: {describe(problem)}",
            code="journal_not_written",
            field="sweep.journal",
            expected="a file that can be made and written",
            received=describe(self._path),
            remedy="name another file, or make room; what was written before is still there",
        ) from None

    def _parse(self, kind: type[Line], text: bytes, number: int) -> Line:
        try:
            return kind.model_validate_json(text)
        except ValidationError as problem:
            raise DataInvalid(
                f"{self._path}, line {number}: {problem.errors(include_url=False)[0]['msg']}",
                code="journal_unreadable",
                field="sweep.journal",
                expected="the file as this version of the package wrote it",
                received=str(self._path),
                remedy=f"delete {self._path} to begin anew, or name another journal",
            ) from None
