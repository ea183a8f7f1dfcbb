"""Look at each framework: is it installed, what does its worker find, and does it train."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from harness.catalog.algorithms import ALGORITHMS
from harness.catalog.frameworks import FRAMEWORKS
from harness.execute.local import LocalExecutor
from harness.gates.judge import score_result
from harness.terminal import lay_out
from ml.core.contracts import (
    Failure,
    Framework,
    FrameworkStatus,
    InlineData,
    RuntimeSpec,
    Scalar,
    TrainRequest,
)

SECONDS = 60.0
TABLE = "framework health version devices device threads start training"


@dataclass(frozen=True)
class Health:
    """Hold what was found of one framework; ``health`` is missing, ok, or what went wrong.

    ``start`` and ``training`` are seconds: until the worker had answered, and of a tiny model.
    """

    framework: Framework
    health: str
    reason: str | None = None
    status: FrameworkStatus | None = None
    start: float | None = None
    training: float | None = None


def check_frameworks(executor: LocalExecutor, runtime: RuntimeSpec) -> Iterator[Health]:
    """Look at every framework in turn; what is wrong with one does not stop the others."""
    for framework in FRAMEWORKS:
        yield _check(executor, framework, runtime)


def describe_health(found: list[Health]) -> list[str]:
    """Return the lines of the table, and below it why a framework is not in order."""
    rows = [tuple(TABLE.split())]
    for one in found:
        status = one.status
        rows.append(
            (
                one.framework,
                one.health,
                ",".join(status.versions.values()) if status else "–",
                ",".join(status.devices) if status else "–",
                status.device if status else "–",
                str(status.threads) if status else "–",
                _seconds(one.start),
                _seconds(one.training),
            )
        )
    reasons = [f"{one.framework}: {one.reason}" for one in found if one.reason]
    return [*lay_out(rows, left=5), *([""] if reasons else []), *reasons]


def _check(executor: LocalExecutor, framework: Framework, runtime: RuntimeSpec) -> Health:
    entry = FRAMEWORKS[framework]
    if entry.missing:
        return Health(framework, "missing", entry.missing)
    started = time.perf_counter()
    status = executor.status(framework)
    start = time.perf_counter() - started
    if isinstance(status, Failure):
        return Health(framework, status.outcome, _explain(status, entry.install), start=start)
    request = _tiny_request(framework, runtime)
    execution = executor.send(framework, "train", request, SECONDS)
    response, training = execution.response, execution.seconds
    health, reason = "ok", None
    if isinstance(response, Failure):
        health, reason = response.outcome, _explain(response, entry.install)
    else:
        score = score_result(response)
        if score is None or score.improvement <= 0:
            health = "error"
            reason = f"it trained and learned nothing: {score}; reinstall it: {entry.install}"
    return Health(framework, health, reason, status, start, training)


def _tiny_request(framework: Framework, runtime: RuntimeSpec) -> TrainRequest:
    """Return the framework's mlp on 48 rows of a straight line."""
    algorithm = next(a for a in ALGORITHMS if (a.framework, a.id) == (framework, "mlp"))
    line = [row / 8 for row in range(48)]
    columns: dict[str, tuple[Scalar, ...]] = {"x": (*line,), "y": (*(2 * x - 1 for x in line),)}
    return TrainRequest(
        id=f"health-{framework}",
        data=InlineData(task="regression", target="y", columns=columns),
        model=algorithm.model,
        preprocessing=algorithm.preprocessing,
        replicates=1,
        runtime=runtime,
    )


def _explain(failure: Failure, install: str) -> str:
    # What is raised outside of a request comes from the framework's own import.
    broken = failure.error.code == "worker_raised" or failure.error.remedy is None
    remedy = f"reinstall it: {install}" if broken else failure.error.remedy
    return f"{failure.error.message}; {remedy}"


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} s"
