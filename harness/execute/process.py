"""Hold one worker process: start it, ask it, watch its time and memory, end it and all below it."""

from __future__ import annotations

import json
import math
import os
import secrets
import select
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import psutil

from harness.execute import memory, remote

SECONDS_BETWEEN_LOOKS = 0.1
SECONDS_TO_END = 10.0
LOG_BYTES = 16 * 1024**2
LOG_BYTES_KEPT = 64 * 1024
LOG_CUT = b"\n[a log may have %d MiB; what followed here was dropped]\n" % (LOG_BYTES // 1024**2)
_CHUNK = 2**16


@dataclass(frozen=True)
class Reply:
    """Hold a worker's answer, or ``raised``, what left its module instead, with its stack.

    ``left`` names the processes that the call left running; they are gone, and so is the worker.
    """

    answer: str
    raised: str | None = None
    detail: str | None = None
    left: tuple[str, ...] = ()


class WorkerLost(Exception):
    """Say that a worker gave no answer; it is gone, with all below it."""


class NotTaken(WorkerLost):
    """Say that the worker was gone before it took the call."""


class TimedOut(WorkerLost):
    """Say that there was no answer in time."""


class MemoryExceeded(WorkerLost):
    """Say that worker and children held more bytes than they may."""

    def __init__(self, used: int) -> None:
        super().__init__(used)
        self.used = used


class Died(WorkerLost):
    """Say how the worker ended: its exit code, negative for a signal.

    ``by_kernel`` tells that the kernel has killed a process for want of memory meanwhile.
    """

    def __init__(self, exitcode: int, by_kernel: bool) -> None:
        super().__init__(exitcode)
        self.exitcode = exitcode
        self.by_kernel = by_kernel


class Garbled(WorkerLost):
    """Say that something but the answer was written to the wall's channel, and what."""


class WorkerProcess:
    """Run calls in a process of its own; ``limit`` is its resident memory in bytes.

    It is spawned, never forked: TensorFlow hangs in a fork of a process that has threads.
    Nothing of it outlives this process, even one that is killed; see ``remote``.
    """

    def __init__(self, log: Path, threads: int, limit: int, project: Sequence[str] = ()) -> None:
        """Start the process; raises OSError where the system has no room for one."""
        self._log = log
        self._limit = limit
        self._busy = False
        self._kept: frozenset[int] = frozenset()
        self._wall, theirs = socket.socketpair()
        log.parent.mkdir(parents=True, exist_ok=True)
        with theirs, log.open("ab") as output:
            # -P: the folder of that file must not stand for modules of the same names.
            self._guard = subprocess.Popen(  # noqa: S603
                [sys.executable, "-P", remote.__file__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        setup = {
            "path": sys.path,
            "log": str(log),
            "threads": threads,
            "project": list(project),
            "data_limit": memory.data_limit(limit),
        }
        with suppress(ConnectionError):  # A worker that ends at once takes no call.
            self._wall.sendall(json.dumps(setup).encode() + b"\n")
        self._wall.setblocking(False)

    def ask(
        self, module: str, framework: str, operation: str, payload: str, seconds: float
    ) -> Reply:
        """Call ``serve`` of a module there; raises WorkerLost where no answer comes in time."""
        if self.ended or self._busy or self._read() is not None:
            # It has ended, was left in the midst of a call, or has written after its last answer.
            self.end()
            raise NotTaken
        self._busy = True
        token = secrets.token_hex(8)
        sending = memoryview(
            json.dumps([token, module, framework, operation, payload]).encode() + b"\n"
        )
        taken, done = f"{token}\n".encode(), f"{token} ".encode()
        received = bytearray()
        kills = memory.count_kernel_kills()
        awaited = taken
        look = time.monotonic() + SECONDS_BETWEEN_LOOKS
        deadline = time.monotonic() + seconds
        poll = select.poll()
        while True:
            poll.register(self._wall, select.POLLIN | (select.POLLOUT if sending else 0))
            poll.poll(math.ceil(max(min(look, deadline) - time.monotonic(), 0) * 1000))
            sending = self._write(sending)
            chunk = self._read()
            moment = time.monotonic()
            if chunk == b"" or (moment >= look and self._guard.poll() is not None):
                code = self._join()
                if awaited is taken:
                    raise NotTaken
                raise Died(code, by_kernel=memory.count_kernel_kills() > kills)
            received += chunk or b""
            if awaited is taken and received.startswith(taken):
                awaited = done
                del received[: len(taken)]
            if received[: len(awaited)] != awaited[: len(received)]:
                self._give_up(Garbled(_show(received)))
            end = received.find(b"\n")
            if awaited is done and end >= 0:
                reply = self._reply(operation, bytes(received[len(done) : end]))
                if reply.left or len(received) > end + 1:
                    self.end()
                self._busy = False
                return reply
            if moment >= deadline:
                self._give_up(TimedOut())
            if moment >= look:
                self._look()
                look = moment + SECONDS_BETWEEN_LOOKS

    def end(self) -> None:
        """End the worker and all below it, and wait until each is gone."""
        self.release()
        self._join()

    def release(self) -> None:
        """Let the worker end, as ``end`` does, without waiting."""
        self._wall.close()

    @property
    def ended(self) -> bool:
        """Tell whether this worker takes no more calls."""
        return self._wall.fileno() < 0 or self._guard.poll() is not None

    def _reply(self, operation: str, text: bytes) -> Reply:
        try:
            told = json.loads(text)
        except ValueError:
            self._give_up(Garbled(_show(text)))
        left: tuple[str, ...] = ()
        if told.pop("children") or len(remote.children_of(self._guard.pid)) > 1:
            left = self._describe_left(operation)
        self._bound_log()
        return Reply(told.get("answer", ""), told.get("raised"), told.get("detail"), left)

    def _describe_left(self, operation: str) -> tuple[str, ...]:
        """Name the processes below the worker, or adopted from it, that a cell has left running.

        What a framework starts for itself when it is imported is no cell's.
        """
        below = remote.descendants(self._guard.pid)[1:]
        if operation in remote.SETUP_OPERATIONS:
            self._kept = frozenset(below)
        names = []
        for pid in below:
            with suppress(psutil.Error):
                process = psutil.Process(pid)
                if pid not in self._kept and process.status() != psutil.STATUS_ZOMBIE:
                    names.append(f"{process.name()} ({pid})")
        return tuple(names)

    def _look(self) -> None:
        pids = remote.descendants(self._guard.pid)
        if memory.resident_bytes(pids) > self._limit:
            used = memory.own_bytes(pids)
            if used > self._limit:
                self._give_up(MemoryExceeded(used))
        self._bound_log()

    def _bound_log(self) -> None:
        """Cut a log that has grown too large; what comes next follows the part that is kept."""
        try:
            if self._log.stat().st_size > LOG_BYTES:
                os.truncate(self._log, LOG_BYTES_KEPT)
                with self._log.open("ab") as stream:
                    stream.write(LOG_CUT)
        except OSError:
            return

    def _give_up(self, reason: WorkerLost) -> NoReturn:
        self.end()
        raise reason from None

    def _join(self) -> int:
        """Wait for the end, close the channel and return the worker's exit code."""
        try:
            code = self._guard.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            # A guard that is stopped or stuck: without it, the kernel ends its worker.
            self._guard.kill()
            code = self._guard.wait()
        self._wall.close()
        return code

    def _read(self) -> bytes | None:
        """Return what has come, empty at the channel's end, None where nothing has."""
        try:
            return self._wall.recv(_CHUNK)
        except BlockingIOError:
            return None
        except ConnectionError:
            return b""

    def _write(self, sending: memoryview) -> memoryview:
        try:
            return sending[self._wall.send(sending) :] if sending else sending
        except BlockingIOError:
            return sending
        except ConnectionError:  # What has come says why.
            return sending[:0]


def _show(received: bytes | bytearray) -> str:
    return f"{bytes(received[:60])!r}{'…' if len(received) > 60 else ''}"
