"""Say how a cell is run again."""

from __future__ import annotations

import shlex

from harness.store.record import Head, Record


def write_rerun(record: Record, head: Head | None) -> str:
    """Return the shell command that runs a cell of this run again."""
    command = head.command if head else ()
    if record.mode == "sweep" and command[:2] == ("mlmatrix", "sweep"):
        sides = ("dataset", "algorithm", "framework")
        chosen = [word for side in sides for word in (f"--{side}", getattr(record, side))]
        trials = str(record.request["sweep"]["trials"])
        return shlex.join(["mlmatrix", "sweep", *chosen, "--trials", trials])
    return shlex.join(["pytest", "-m", "slow_matrix", "-k", record.cell])
