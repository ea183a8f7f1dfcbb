"""Serve one framework's requests on the far side of the wall: JSON in, JSON out."""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Callable
from typing import Any

from ml.core.errors import MatrixError
from ml.core.handling import failure_of, surface
from ml.core.memory import discount_earlier, give_back, mark_idle
from ml.registry import entry_point

OPERATIONS = {
    "train": "handle_train_request",
    "distill": "handle_distill_request",
    "sweep": "handle_sweep_request",
    "status": "handle_status_request",
}
# What every process trains before its first request.
_REHEARSED: tuple[dict[str, Any], ...] = (
    {"kind": "network", "architecture": "mlp", "hidden": [4], "epochs": 2},
    {"kind": "estimator", "estimator": "mlp", "params": {"max_iter": 2}},
)


def serve(framework: str, operation: str, payload: str, surfacing: bool = False) -> str:
    """Answer one request; ``surfacing`` raises what was not expected, for a debugger.

    ``warm`` imports the framework, sets it up for the runtime of its status request, trains a
    tiny model, so that what happens once in a process is at no cell's cost, and tells the process
    id; a runtime that is refused is for the requests that follow to tell.
    """
    try:
        module = entry_point(framework)
    except MatrixError as problem:
        return failure_of(problem, framework).model_dump_json()
    if operation == "warm":
        status = json.loads(payload)
        module.handle_status_request(status)
        _rehearse(module.handle_train_request, status)
        # The imports live as long as the process: no collection need walk through them again.
        gc.freeze()
        give_back()
        mark_idle()
        return json.dumps({"pid": os.getpid()})
    give_back()
    discount_earlier()
    handle = getattr(module, OPERATIONS[operation])
    with surface(surfacing):
        return json.dumps(handle(json.loads(payload)))


def _rehearse(handle_train: Callable[[dict[str, Any]], Any], status: dict[str, Any]) -> None:
    import pyarrow.parquet  # noqa: F401 - what reads the tables

    line = [row / 8 for row in range(48)]
    for model in _REHEARSED:
        payload = {
            "id": "rehearsal",
            "data": {
                "kind": "inline",
                "task": "regression",
                "target": "y",
                "columns": {"x": line, "y": [2 * x - 1 for x in line]},
            },
            "model": model,
            "replicates": 1,
            "runtime": status.get("runtime", {}),
        }
        # A kind of model that is another framework's is refused at once.
        if handle_train(payload)["status"] == "ok":
            return
