import subprocess
import sys

import psutil
import pytest

from harness.execute import memory
from harness.execute.memory import MEBIBYTE, data_limit, own_bytes, resident_bytes, settle_limit
from harness.execute.remote import descendants

pytestmark = pytest.mark.unit

# A process with 100 MiB, and its child that has the same pages and none of its own.
FORKED = """
import os, sys
held = b"1" * (100 * 2**20)
if os.fork() == 0:
    print("ready", flush=True)
sys.stdin.readline()
"""


def test_a_limit_is_what_was_asked_or_four_fifths_of_the_machine(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_CONTAINER_LIMITS", (tmp_path / "absent",))
    assert settle_limit(100.5) == 105_381_888
    assert settle_limit(None) == int(psutil.virtual_memory().total * 0.8)


@pytest.mark.parametrize(("text", "expected"), [("1048576000\n", 838_860_800), ("max\n", None)])
def test_a_container_that_has_less_is_the_machine(monkeypatch, tmp_path, text, expected):
    (tmp_path / "memory.max").write_text(text)
    monkeypatch.setattr(memory, "_CONTAINER_LIMITS", (tmp_path / "memory.max",))
    whole = int(psutil.virtual_memory().total * 0.8)
    assert settle_limit(None) == (whole if expected is None else expected)


def test_allocations_are_stopped_above_the_limit_of_resident_memory():
    allowed = data_limit(100 * MEBIBYTE)
    assert allowed is None or allowed > 1000 * MEBIBYTE


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what is shared")
def test_what_processes_share_is_counted_once():
    command = [sys.executable, "-c", FORKED]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout.readline() == b"ready\n"
        pids = [parent.pid, *descendants(parent.pid)]
        each, once = resident_bytes(pids), own_bytes(pids)
        parent.stdin.write(b"\n\n")
    assert len(pids) == 2
    assert each > 200 * MEBIBYTE
    assert 100 * MEBIBYTE < once < 150 * MEBIBYTE
