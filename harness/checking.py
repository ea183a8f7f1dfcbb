"""Have tables checked beyond the wall: a process that takes one request, and tells its stages."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable

from pydantic import ValidationError

from ml.core.errors import MatrixError
from ml.health.exchange import LINE, CheckRequest, HealthCheck, Refused, Sketched, SketchRequest

# More threads than one make the many small products of a check slower.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
LOG_CHARACTERS = 2000

Tell = Callable[[str, int | None], None]


def check_tables(request: CheckRequest, tell: Tell | None = None) -> HealthCheck:
    """Return what a check found; ``tell`` is called with each stage and the rows read in it.

    Raises MatrixError where there is no answer: a user's mistake, or a process that was lost.
    """
    __tracebackhide__ = True
    answer = _ask(request, tell)
    assert isinstance(answer, HealthCheck)
    return answer


def keep_sketch(request: SketchRequest, tell: Tell | None = None) -> Sketched:
    """Have a table's sketch kept in a folder; as ``check_tables``."""
    answer = _ask(request, tell)
    assert isinstance(answer, Sketched)
    return answer


def _ask(request: CheckRequest | SketchRequest, tell: Tell | None) -> HealthCheck | Sketched:
    __tracebackhide__ = True
    environment = {**dict.fromkeys(THREADS, "1"), **os.environ}
    with tempfile.TemporaryFile() as log:
        # -P: a project's own folder `ml` is not ours.
        command = [sys.executable, "-P", "-m", "ml.health"]
        pipe = subprocess.PIPE
        with subprocess.Popen(  # noqa: S603
            command, stdin=pipe, stdout=pipe, stderr=log, env=environment
        ) as process:
            try:
                answer = _listen(process, request, tell)
                process.wait()
            finally:
                # An interrupt, or whatever `tell` raised, leaves no process behind.
                process.kill()
        if isinstance(answer, Refused):
            raise MatrixError(**answer.error.model_dump(exclude={"contract"}))
        if answer is None:
            log.seek(0)
            raise _lost(process.returncode, log.read().decode(errors="replace"))
        return answer


def _listen(
    process: subprocess.Popen[bytes], request: CheckRequest | SketchRequest, tell: Tell | None
) -> HealthCheck | Sketched | Refused | None:
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(request.model_dump_json().encode())
        process.stdin.close()
    except BrokenPipeError:
        return None
    for text in process.stdout:
        try:
            line = LINE.validate_json(text)
        except ValidationError:
            return None
        if line.kind != "stage":
            return line
        if tell is not None:
            tell(line.stage, line.rows)
    return None


def _lost(status: int, log: str) -> MatrixError:
    lines = log.strip().splitlines()
    how = f"signal {-status}" if status < 0 else f"exit status {status}"
    return MatrixError(
        f"the process that checks tables ended without an answer, with {how}",
        code="check_lost",
        received=lines[-1] if lines else None,
        remedy="it may have been killed for want of memory" if status == -9 else None,
        detail=log[-LOG_CHARACTERS:] or None,
    )
