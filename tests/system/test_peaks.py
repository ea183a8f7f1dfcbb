"""See that a cell's peak memory is its own, whatever its worker has trained before."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ml.registry import ENTRY_POINTS

pytestmark = pytest.mark.system

WORKER = Path(__file__).with_name("peak_worker.py")
MEBIBYTE = 2**20


@pytest.mark.parametrize("framework", ENTRY_POINTS)
def test_a_big_cell_leaves_nothing_in_the_peak_of_the_next(framework):
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("this kernel cannot reset the peak")
    done = subprocess.run(
        [sys.executable, str(WORKER), framework],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    small, big, again = json.loads(done.stdout.splitlines()[-1])
    assert big - small > 40 * MEBIBYTE
    assert abs(again - small) < 64 * MEBIBYTE
