"""Misbehave inside a node's worker process: as fault_worker does, or by killing Ray's process."""

import json
import os
import signal
import time
from pathlib import Path

import fault_worker
import psutil


def serve(framework, operation, payload):
    request = json.loads(payload)
    if request.get("id", "").startswith("devices"):
        answer = json.loads(fault_worker.tell())
        seen = os.environ.get("CUDA_VISIBLE_DEVICES")
        answer["error"]["message"] = f"CUDA_VISIBLE_DEVICES={seen!r}"
        return json.dumps(answer)
    if operation == "warm" or not request["id"].startswith(("orphaned", "waiting_once")):
        return fault_worker.serve(framework, operation, payload)
    tries = Path(request["data"]["path"])
    with tries.open("a") as file:
        file.write(".")
    if request["id"].startswith("orphaned_once") and tries.stat().st_size > 1:
        return fault_worker.tell()
    if request["id"].startswith("waiting_once"):
        if tries.stat().st_size > 1:
            return fault_worker.tell()
        time.sleep(60)
    # Between Ray's process and this one stands the worker's guard.
    os.kill(psutil.Process(os.getppid()).ppid(), signal.SIGKILL)
    time.sleep(60)
    return ""
