"""Keep the checks of data that tests asked for, the newest of each, below the reports."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from ml.core.specs import Contract
from ml.health.exchange import HealthCheck

FOLDER = "health"


class KeptCheck(Contract):
    """Hold a check with the test that asked, when, and the verdicts that it was content with.

    ``number`` counts the checks of one test from 1; ``expected`` is empty where the test judged
    by itself.
    """

    schema_version: Literal[1] = 1
    test: str
    number: int
    moment: str
    expected: tuple[str, ...]
    check: HealthCheck


@dataclass(frozen=True)
class DamagedCheck:
    """Name a file that holds no check that can be read, and why."""

    path: Path
    reason: str


def read_checks(reports: Path) -> Iterator[tuple[Path, KeptCheck] | DamagedCheck]:
    """Yield the checks that are kept, in their files' order."""
    for path in sorted((reports / FOLDER).glob("*.json")):
        try:
            yield path, KeptCheck.model_validate_json(path.read_bytes())
        except ValidationError as problem:
            first = problem.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"]))
            yield DamagedCheck(path, f"{place}: {first['msg']}" if place else first["msg"])
        except OSError as problem:
            yield DamagedCheck(path, str(problem.strerror))
