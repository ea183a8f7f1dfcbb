"""Misbehave inside a real worker process, as the cell's dataset says."""

import json
import os
import subprocess
from pathlib import Path

from fault_kinds import FAULTS

ANSWERED = ("unexpected_exception", "disk_full", "out_of_memory")


def serve(framework, operation, payload):
    if operation == "warm":
        if json.loads(payload).get("id", "").startswith("helped"):
            subprocess.Popen(["sleep", "60"])
        return json.dumps({"pid": os.getpid()})
    request = json.loads(payload)
    name = request["id"].split("-")[0]
    if name == "babbles":
        return "not a response"
    if name == "dies_at_once":
        os._exit(3)
    fault = FAULTS.get(name)
    if fault is not None and fault.code in ANSWERED:
        from ml.core.handling import answer  # It imports numpy, which most of these need not.

        return json.dumps(answer(request, fault.act))
    if fault is not None:
        fault.act()
    return tell()


def tell():
    """Return where this worker is, as a response that says that there is no result."""
    variables = {name: v for name, v in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    told = {"pid": os.getpid(), "cwd": str(Path.cwd()), "environment": variables}
    error = {"code": "told", "message": json.dumps(told)}
    return json.dumps({"status": "error", "id": "told", "outcome": "error", "error": error})
