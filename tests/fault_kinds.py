"""Know every kind of fault: what a cell does in its worker, and what its record must then say."""

import ctypes
import os
import signal
import stat
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

# No other process sleeps that long, so what a cell has left running is known by it.
SECONDS_OF_A_CHILD = "60417"
FLOOD_MEBIBYTES = 48


@dataclass(frozen=True)
class Fault:
    """Hold an act, and the outcome, code and words of a cell whose training does that."""

    act: object
    outcome: str
    code: str = ""
    words: str = ""


class Unprintable(Exception):
    def __str__(self):
        raise ValueError("no text")


class Unpicklable(Exception):
    def __init__(self):
        super().__init__("holds what cannot be sent")
        self.held = lambda: None


def raises(make):
    def act():
        raise make()

    return act


def hang():
    while True:
        time.sleep(0.01)


def hang_in_c():
    ctypes.PyDLL(None).sleep(600)  # A PyDLL keeps the interpreter's lock.


def print_then_die():
    print("last words", flush=True)
    os.write(2, b"and from C\n")
    os._exit(3)


def fill_memory():
    held = []
    while True:
        held.append(b"\1" * 2**24)
        time.sleep(0.01)


def fill_memory_in_a_child():
    program = "held = []\nwhile True: held.append(b'\\1' * 2**24); __import__('time').sleep(.01)"
    subprocess.run([sys.executable, "-c", program], check=False)


def allocate_at_once():
    # It is zero and never touched, so that only the limit on allocations refuses it.
    bytearray(2**46 if Path("/proc/driver/nvidia").exists() else 2**33)


def abort_for_want_of_memory():
    os.write(2, b"terminate called after throwing an instance of 'std::bad_alloc'\n")
    os.abort()


def flood():
    for _ in range(FLOOD_MEBIBYTES):
        os.write(1, b"o" * 2**19)
        os.write(2, b"e" * 2**19)
    os.write(1, b"\nthe flood is over\n")


def write_junk():
    for path in Path("/proc/self/fd").iterdir():
        number = int(path.name)
        try:
            if number > 2 and stat.S_ISSOCK(os.fstat(number).st_mode):
                os.write(number, b'{"status": "ok"}\n')
        except OSError:
            continue


def leave_children():
    sleep = f"sleep {SECONDS_OF_A_CHILD}"
    subprocess.Popen(sleep.split(), start_new_session=True)
    # The shell ends, and what it has started is nobody's child.
    subprocess.run(["sh", "-c", f"{sleep} >/dev/null 2>&1 &"], check=True, start_new_session=True)


def change_surroundings():
    os.chdir("/")
    os.environ["OMP_NUM_THREADS"] = "99"
    del os.environ["PATH"]


def fill_disk():
    with Path("/dev/full").open("w") as stream:
        stream.write("no room")


FAULTS = {
    "exception": Fault(
        raises(lambda: ValueError("on purpose")), "error", "unexpected_exception", "on purpose"
    ),
    "unpicklable": Fault(raises(Unpicklable), "error", "unexpected_exception", "cannot be sent"),
    "unprintable": Fault(raises(Unprintable), "error", "unexpected_exception", "not be printed"),
    "SystemExit": Fault(raises(lambda: SystemExit(7)), "crashed", "worker_died", "code 7"),
    "KeyboardInterrupt": Fault(
        raises(KeyboardInterrupt), "error", "worker_raised", "KeyboardInterrupt"
    ),
    "os._exit": Fault(print_then_die, "crashed", "worker_died", "code 3"),
    "abort": Fault(os.abort, "crashed", "worker_died", "signal 6 (SIGABRT)"),
    "segfault": Fault(lambda: ctypes.string_at(0), "crashed", "worker_died", "11 (SIGSEGV)"),
    "SIGKILL": Fault(
        lambda: os.kill(os.getpid(), signal.SIGKILL), "crashed", "worker_died", "9 (SIGKILL)"
    ),
    "hang in Python": Fault(hang, "timeout", "time_limit", "no result within"),
    "hang in C": Fault(hang_in_c, "timeout", "time_limit", "no result within"),
    "runaway memory": Fault(fill_memory, "out_of_memory", "memory_limit", "more than the limit"),
    "runaway child": Fault(
        fill_memory_in_a_child, "out_of_memory", "memory_limit", "more than the limit"
    ),
    "huge allocation": Fault(
        allocate_at_once, "out_of_memory", "out_of_memory", "could not get the memory"
    ),
    "bad_alloc in C++": Fault(
        abort_for_want_of_memory, "out_of_memory", "no_memory", "(std::bad_alloc)"
    ),
    "output flood": Fault(flood, "ok"),
    "junk on the wall": Fault(write_junk, "error", "bad_response", '{"status": "ok"}'),
    "child left": Fault(leave_children, "ok"),
    "folder, variables": Fault(change_surroundings, "ok"),
    "full disk": Fault(fill_disk, "error", "disk_full", "No space left"),
}
