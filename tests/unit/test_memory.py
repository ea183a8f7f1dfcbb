from pathlib import Path

import numpy as np
import pytest

from ml.core import memory
from ml.core.memory import give_back, peak_bytes, reset_peak

pytestmark = pytest.mark.unit

MEBIBYTE = 1024**2


def touch(mebibytes):
    """Fill memory for as long as the call lasts, so that it is resident."""
    assert np.ones(mebibytes * MEBIBYTE // 8).sum() > 0


def test_the_peak_counts_what_was_held_and_given_back():
    reset_peak()
    before = peak_bytes()
    touch(128)
    assert peak_bytes() - before > 100 * MEBIBYTE
    assert 10 * MEBIBYTE < before < 2**45


def test_a_reset_forgets_the_peak_before_it():
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pytest.skip("this kernel cannot reset the peak")
    touch(256)
    high = peak_bytes()
    reset_peak()
    assert high - peak_bytes() > 200 * MEBIBYTE
    after = peak_bytes()
    touch(64)
    assert 48 * MEBIBYTE < peak_bytes() - after < 128 * MEBIBYTE


def test_without_proc_the_process_own_peak_stands_in(monkeypatch, tmp_path):
    real = peak_bytes()
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "absent")
    monkeypatch.setattr(memory, "_CLEAR", tmp_path / "absent" / "clear_refs")
    reset_peak()
    assert peak_bytes() >= real - MEBIBYTE
    touch(64)
    assert peak_bytes() < 2**45


def test_what_earlier_work_has_left_unused_is_not_in_the_peak():
    held = [bytes(1000) for _ in range(200_000)]
    pin = [held[-1], bytes(1000)]  # The end of the heap stays in use, as it does in a worker.
    cycle = [held]
    cycle.append(cycle)
    del held, cycle
    before = peak_bytes()
    give_back()
    reset_peak()
    assert before - peak_bytes() > 150 * MEBIBYTE
    assert len(pin) == 2
