"""Keep what was done for tables and what it gained: JSON lines, read back one by one."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from ml.core.errors import MatrixError
from ml.core.recommendations import ACTIONS
from ml.core.specs import Contract

GAINS = "gains.jsonl"
Score = Annotated[float, Field(ge=0, le=100)]


class Done(Contract):
    """Say that an action was done, and how the candidate stood before.

    ``before`` has the proxies' scores of the candidate as it was, on the test rows that
    ``test_sha256`` identifies; ``score`` is its health score.
    """

    kind: Literal["done"] = "done"
    version: Literal[1] = 1
    action: str
    candidate: str
    reference: str
    target: str | None
    at: str
    run: str | None = None
    score: Score | None = None
    before: dict[str, float] = Field(default_factory=dict)
    test_sha256: str = ""


class Gained(Contract):
    """Say what an action gained, in the metric's unit, and by how much the health score rose.

    ``done`` is when it was done. What was ``measured`` is a later check's; what was ``stated``,
    the user's. Where several actions were done at once, each has its part.
    """

    kind: Literal["gained"] = "gained"
    version: Literal[1] = 1
    action: str
    candidate: str
    reference: str
    target: str | None
    done: str
    at: str
    how: Literal["measured", "stated"]
    gain: float | None = None
    lift: float | None = None


Line = Done | Gained
_line: TypeAdapter[Line] = TypeAdapter(Annotated[Line, Field(discriminator="kind")])


def read_gains(path: Path) -> tuple[list[Line], list[str]]:
    """Return the lines that can be read, and a sentence for each of the others.

    Raises MatrixError for a file that is there and cannot be opened.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return [], []
    except OSError as problem:
        raise MatrixError(f"{path} cannot be read: {problem.strerror}") from None
    lines: list[Line] = []
    damage = []
    for number, text in enumerate(content.splitlines(), start=1):
        if not text.strip():
            continue
        try:
            line = _line.validate_json(text)
        except ValidationError as problem:
            message = problem.errors(include_url=False)[0]["msg"]
            damage.append(f"{path}, line {number}: {message}")
            continue
        if kind_of(line.action) not in ACTIONS:
            damage.append(f"{path}, line {number}: there is no action {line.action!r}")
            continue
        lines.append(line)
    return lines, damage


def append_gains(path: Path, lines: Iterable[Line]) -> None:
    """Append lines whole; several processes may do so at once. Raises MatrixError."""
    content = b"".join(line.model_dump_json().encode() + b"\n" for line in lines)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            size = os.fstat(handle).st_size
            # A line that a killed process left torn costs only itself.
            torn = size and os.pread(handle, 1, size - 1) != b"\n"
            os.write(handle, (b"\n" if torn else b"") + content)
        finally:
            os.close(handle)
    except OSError as problem:
        raise MatrixError(
            f"{path} cannot be written: {problem.strerror}",
            remedy="free space there, or name another folder with --reports",
        ) from None


def kind_of(action: str) -> str:
    """Return what was done, without the columns that it was done to."""
    return action.partition(":")[0]


def past_gains(lines: Iterable[Line], *, lifts: bool) -> dict[str, list[float]]:
    """Return earlier gains by what was done, the oldest first; or lifts of the score, of 1."""
    past: dict[str, list[float]] = {}
    for line in lines:
        if isinstance(line, Gained):
            value = None if line.lift is None else line.lift / 100
            value = value if lifts else line.gain
            if value is not None:
                past.setdefault(kind_of(line.action), []).append(value)
    return past


def find_open(
    lines: Iterable[Line], candidate: str, reference: str, target: str | None
) -> list[Done]:
    """Return what was done for a candidate since, and what it gained is not known yet."""
    waiting: dict[tuple[str, str], Done] = {}
    for line in lines:
        if (line.candidate, line.reference, line.target) != (candidate, reference, target):
            continue
        if isinstance(line, Done):
            waiting[line.action, line.at] = line
        else:
            waiting.pop((line.action, line.done), None)
    return list(waiting.values())


def settle_gains(
    waiting: list[Done], score: float, scores: dict[str, float], test_sha256: str, at: str
) -> list[Gained]:
    """Return what was gained by actions that were done, by how the candidate stands now.

    Proxies' scores count where their test rows are the same. A candidate that stands exactly as
    before has not been touched yet, and nothing is settled. Actions that were done since the
    same state share what they gained in equal parts.
    """
    states: dict[str, list[Done]] = {}
    for one in waiting:
        states.setdefault(f"{one.score} {sorted(one.before.items())}", []).append(one)
    settled = []
    for together in states.values():
        first = together[0]
        common = sorted(set(first.before) & set(scores)) if first.test_sha256 == test_sha256 else []
        changes = [scores[name] - first.before[name] for name in common]
        lift = None if first.score is None else score - first.score
        if not lift and not any(changes):
            continue
        gain = sum(changes) / len(changes) if changes else None
        for one in together:
            settled.append(
                Gained(
                    action=one.action,
                    candidate=one.candidate,
                    reference=one.reference,
                    target=one.target,
                    done=one.at,
                    at=at,
                    how="measured",
                    gain=None if gain is None else gain / len(together),
                    lift=None if lift is None else lift / len(together),
                )
            )
    return settled
