"""Bring a journal's line to today's version, one step per version; a newer one is an error.

The way is asv's (``asv/util.py``, ``update_to_{x}``): each step takes the parsed line of a version
to the next, so that a line of any earlier version passes through all steps after it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from ml.core.errors import MatrixError

RECORD_VERSION = 2

# What models write: kind and version stand first.
_opening = re.compile(rb'\{"kind":"\w+","version":(\d+),')


class NewerVersion(MatrixError):
    """Refuse a line that a later pytest-mlmatrix has written."""

    code = "newer_version"


def migrate(text: str | bytes) -> str | bytes:
    """Return a line as one of today's version; what is no versioned line is returned as it is.

    Raises NewerVersion for a line of a later version.
    """
    content = text.encode() if isinstance(text, str) else text
    opening = _opening.match(content)
    if b'"version"' not in content or (opening and int(opening[1]) == RECORD_VERSION):
        return text
    try:
        line = json.loads(content)
    except ValueError:
        return text
    version = line.get("version") if isinstance(line, dict) else None
    if type(version) is not int or version < 1 or version == RECORD_VERSION:
        return text
    if version > RECORD_VERSION:
        raise NewerVersion(
            f"a line of version {version}",
            expected=f"version {RECORD_VERSION} or an earlier one",
            remedy="upgrade pytest-mlmatrix",
        )
    while line["version"] < RECORD_VERSION:
        STEPS[line["version"]](line)
        line["version"] += 1
    return json.dumps(line)


def from_1_to_2(line: dict[str, Any]) -> None:
    """Add the seconds of the calibration kernel, and how many numbers each rung had."""
    result = line.get("result")
    if line.get("kind") != "record" or not isinstance(result, dict):
        return
    result.setdefault("calibration_seconds", None)
    if isinstance(result.get("parity"), dict):
        result["parity"].setdefault("sizes", {})


STEPS: dict[int, Callable[[dict[str, Any]], None]] = {1: from_1_to_2}
