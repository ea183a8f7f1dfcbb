"""Answer one request on the far side of the wall: ``python -m ml.health``, JSON in, lines out."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from pydantic import ValidationError

from ml.core.contracts import ErrorInfo
from ml.core.errors import MatrixError, RequestInvalid, is_want_of_memory
from ml.health.check import Terms, check_sketches, check_terms, sketch_side
from ml.health.diversity import measure_diversity
from ml.health.draw import draw_tables
from ml.health.exchange import (
    REQUEST,
    CheckRequest,
    HealthCheck,
    Refused,
    Sketched,
    SketchRequest,
    Stage,
)
from ml.health.locate import locate_rows
from ml.health.located import LocatedRows
from ml.health.named import find_table
from ml.health.recommend import recommend
from ml.health.signatures import Library
from ml.health.sketching import sketch_table
from ml.health.stored import is_stored, write_sketch

# Rows of each channel that are told; more than a page shows.
LISTED = 100

Tell = Callable[[str, int | None], None]


def main() -> int:
    """Read a request, write a line per stage and then the answer; return the exit status."""
    # What a library prints must not fall among the lines.
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def tell(stage: str, rows: int | None) -> None:
        _write(lines, Stage(stage=stage, rows=rows))

    try:
        request = REQUEST.validate_json(sys.stdin.buffer.read())
        answer = _check(request, tell) if request.kind == "check" else _sketch(request, tell)
    except ValidationError as problem:
        first = problem.errors(include_url=False)[0]
        _refuse(lines, RequestInvalid(first["msg"], field=".".join(map(str, first["loc"]))))
        return 2
    except MatrixError as problem:
        _refuse(lines, problem)
        return 2
    except Exception as problem:
        if not is_want_of_memory(problem):
            raise
        _refuse(lines, MatrixError("there was not enough memory", code="out_of_memory"))
        return 2
    _write(lines, answer)
    return 0


def _write(lines: TextIO, value: Stage | HealthCheck | Sketched | Refused) -> None:
    lines.write(value.model_dump_json() + "\n")
    lines.flush()


def _refuse(lines: TextIO, problem: MatrixError) -> None:
    names = ("code", "message", "field", "expected", "received", "remedy", "detail")
    error = ErrorInfo.model_validate({name: getattr(problem, name) for name in names})
    _write(lines, Refused(error=error))


def _check(request: CheckRequest, tell: Tell) -> HealthCheck:
    started = time.perf_counter()
    terms = Terms(request.tolerance, request.alpha, request.seed)
    check_terms(terms)
    group, seed = request.group, request.seed
    tell("reading the reference", None)
    reference = find_table(request.reference, request.data)
    candidate = find_table(request.candidate, request.data)
    first = sketch_side(
        reference, None, group, seed, lambda rows: tell("reading the reference", rows)
    )
    tell("reading the candidate", None)
    second = sketch_side(
        candidate, first.layout, group, seed, lambda rows: tell("reading the candidate", rows)
    )
    tell("comparing", None)
    report = check_sketches(first, second, terms)
    notes: list[str] = []
    located = diversity = None
    # What a sketch does not know of every row, the table itself is asked for.
    known = first if first.whole else reference
    tell("locating rows", None)
    with _noting("rows were not located", notes):
        located = locate_rows(known, candidate, group=group, tolerance=request.tolerance, seed=seed)
    tell("measuring diversity", None)
    with _noting("diversity was not measured", notes):
        # Only the meanings of texts are not in a sketch.
        sides = (reference, candidate) if first.layout.texts else (first, second)
        diversity = measure_diversity(*sides, group=group, seed=seed)
    tell("matching known damage", None)
    matches = Library(request.incidents).match(report)
    tell("drawing", None)
    return HealthCheck(
        **dict(report),
        names=(request.reference, request.candidate),
        drawing=draw_tables(first, second, report),
        located=None if located is None else _shorten(located),
        matches=matches,
        recommendations=recommend(report, located, matches),
        diversity=diversity,
        notes=tuple(notes),
        seconds=time.perf_counter() - started,
    )


@contextmanager
def _noting(what: str, notes: list[str]) -> Iterator[None]:
    """Note why a further part of the answer could not be had; the verdict stands without it."""
    try:
        yield
    except MatrixError as problem:
        notes.append(f"{what}: {problem}")


def _shorten(located: LocatedRows) -> LocatedRows:
    seen: Counter[str] = Counter()
    kept = []
    for row in located.flagged:
        seen[row.channel] += 1
        if seen[row.channel] <= LISTED:
            kept.append(row)
    return located.model_copy(update={"flagged": tuple(kept)})


def _sketch(request: SketchRequest, tell: Tell) -> Sketched:
    started = time.perf_counter()
    folder = Path(request.folder)
    if folder.is_dir() and any(folder.iterdir()) and not is_stored(folder):
        raise RequestInvalid(
            f"{folder} holds something else",
            code="folder_taken",
            field="folder",
            expected="a new folder, an empty one, or that of an earlier sketch",
        )
    tell("reading the table", None)
    table = find_table(request.table, request.data)
    sketch = sketch_table(
        table,
        group=request.group,
        seed=request.seed,
        tell=lambda rows: tell("reading the table", rows),
    )
    write_sketch(sketch, folder)
    return Sketched(
        folder=str(folder),
        rows=sketch.rows,
        columns=len(sketch.layout.columns),
        group=request.group,
        seconds=time.perf_counter() - started,
    )


if __name__ == "__main__":
    sys.exit(main())
