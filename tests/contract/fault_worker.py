"""Misbehave inside a real worker process, as the cell's dataset says."""

import ctypes
import json
import os
import signal
import sys
import time


def serve(framework, operation, payload):
    if operation == "warm":
        return json.dumps({"pid": os.getpid()})
    fault = json.loads(payload)["id"].partition("-")[0]
    if fault != "dies_at_once":
        time.sleep(0.1)  # as work does, so that the pool knows who died
    return FAULTS[fault]()


def refuse():
    return json.dumps(
        {
            "status": "error",
            "id": "answered",
            "outcome": "data_invalid",
            "error": {"code": "process", "message": str(os.getpid())},
        }
    )


def tell_threads():
    answer = json.loads(refuse())
    answer["error"]["message"] = os.environ["OMP_NUM_THREADS"]
    return json.dumps(answer)


def raise_unprintable():
    class Unprintable(Exception):
        def __str__(self):
            raise ValueError("no text")

    raise Unprintable


def hang():
    while True:
        time.sleep(0.01)


def hang_in_c():
    ctypes.CDLL(None).sleep(600)


def print_then_die():
    print("last words")
    os.write(2, b"and from C\n")
    os._exit(3)


FAULTS = {
    "fine": refuse,
    "threads": tell_threads,
    "raises": raise_unprintable,
    "exits": lambda: sys.exit(7),
    "dies": print_then_die,
    "dies_at_once": lambda: os._exit(3),
    "segfaults": lambda: ctypes.string_at(0),
    "aborts": os.abort,
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "hangs": hang,
    "hangs_in_c": hang_in_c,
    "babbles": lambda: "not a response",
}
