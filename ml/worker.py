"""Serve one framework's requests on the far side of the wall: JSON in, JSON out."""

from __future__ import annotations

import gc
import json
import os

from ml.core.errors import MatrixError
from ml.core.handling import failure_of
from ml.registry import entry_point

OPERATIONS = {
    "train": "handle_train_request",
    "distill": "handle_distill_request",
    "status": "handle_status_request",
}


def serve(framework: str, operation: str, payload: str) -> str:
    """Answer one request; ``warm`` only imports the framework and tells the process id."""
    try:
        module = entry_point(framework)
    except MatrixError as problem:
        return failure_of(problem, framework).model_dump_json()
    if operation == "warm":
        # The imports live as long as the process: no collection need walk through them again.
        gc.freeze()
        return json.dumps({"pid": os.getpid()})
    return json.dumps(getattr(module, OPERATIONS[operation])(json.loads(payload)))
