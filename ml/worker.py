"""Serve one framework's requests on the far side of the wall: JSON in, JSON out."""

from __future__ import annotations

import gc
import json
import os

from ml.core.errors import MatrixError
from ml.core.handling import failure_of, surface
from ml.core.memory import give_back
from ml.registry import entry_point

OPERATIONS = {
    "train": "handle_train_request",
    "distill": "handle_distill_request",
    "status": "handle_status_request",
}


def serve(framework: str, operation: str, payload: str, surfacing: bool = False) -> str:
    """Answer one request; ``surfacing`` raises what was not expected, for a debugger.

    ``warm`` imports the framework, sets it up for the runtime of its status request, and tells
    the process id; a runtime that is refused is for the requests that follow to tell.
    """
    try:
        module = entry_point(framework)
    except MatrixError as problem:
        return failure_of(problem, framework).model_dump_json()
    if operation == "warm":
        module.handle_status_request(json.loads(payload))
        # The imports live as long as the process: no collection need walk through them again.
        gc.freeze()
        return json.dumps({"pid": os.getpid()})
    give_back()
    handle = getattr(module, OPERATIONS[operation])
    with surface(surfacing):
        return json.dumps(handle(json.loads(payload)))
