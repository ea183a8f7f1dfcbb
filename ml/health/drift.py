"""Remember a dataset's table by its sketch, and compare the next one with what is remembered."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import ValidationError

from ml.artifacts.arrays import write_file
from ml.core.contracts import Contract, SketchSpec
from ml.core.table import Table
from ml.health.labels import LabelNoise
from ml.health.report import Share, Verdict

STATE = "table.json"
CHARACTERS = 16


class Drift(Contract):
    """Tell how a table stands beside the one that was remembered, ``against`` by its content.

    ``p`` is that of all dimensions together, see ``ml.health.report.HealthReport``.
    """

    against: str
    verdict: Verdict
    p: Share | None
    reasons: tuple[str, ...]


class Remembered(Contract):
    """Hold the table that was taken last, and the one that was refused after it.

    ``run`` is the one that took it. ``drift`` and ``noise_before`` are of the table before it.
    """

    version: Literal[1] = 1
    content: str
    run: str
    noise: LabelNoise | None = None
    noise_before: LabelNoise | None = None
    drift: Drift | None = None
    refused: str | None = None
    refused_drift: Drift | None = None


class Memory:
    """Keep one dataset's sketch in ``folder/<dataset>``.

    A table that broke its contract is not remembered: the next is compared with the one before.
    What is kept holds sampled rows, and is to be guarded as the table is.
    """

    def __init__(self, spec: SketchSpec, dataset: str) -> None:
        self._folder = Path(spec.folder) / dataset
        self._run = spec.run
        self.known = self._read()

    def noise_before(self, table: Table) -> LabelNoise | None:
        """Return the label noise of the table before this one; None where it has not changed."""
        known = self.known
        if known is None:
            return None
        if known.content != table.content_sha256:
            return known.noise
        return known.noise_before if known.run == self._run else None

    def compare(self, table: Table, target: str) -> Drift | None:
        """Return how a table drifted; None where it has not changed since the last run, or is new.

        What was found in this run already is returned as it was. Raises MatrixError where the
        tables cannot be compared.
        """
        known, content = self.known, table.content_sha256
        if known is None:
            return None
        if known.content == content:
            return known.drift if known.run == self._run else None
        if known.refused == content and known.refused_drift is not None:
            return known.refused_drift
        # Only a table that has changed is compared, and what that takes is imported then.
        from ml.health.check import Terms, check_sketches
        from ml.health.settled import SettledSource
        from ml.health.sketching import sketch_table
        from ml.health.stored import read_sketch

        reference = read_sketch(self._place(known.content))
        source = SettledSource(table, target)
        group = reference.layout.group
        # Numbers near the ends of float64 overflow, and what becomes of them is told.
        with np.errstate(all="ignore"):
            candidate = sketch_table(source, layout=reference.layout, group=group, part=1)
            report = check_sketches(reference, candidate, Terms())
        return Drift(
            against=known.content, verdict=report.verdict, p=report.p, reasons=report.reasons
        )

    def take(
        self, table: Table, target: str, drift: Drift | None, noise: LabelNoise | None
    ) -> None:
        """Remember a table that kept its contract; raises MatrixError or OSError if it cannot."""
        known, content = self.known, table.content_sha256
        if known is not None and known.content == content:
            return
        from ml.health.settled import SettledSource
        from ml.health.sketching import sketch_table
        from ml.health.stored import write_sketch

        source = SettledSource(table, target)
        with np.errstate(all="ignore"):
            sketch = sketch_table(source, group=source.group)
        write_sketch(sketch, self._place(content))
        before = None if known is None else known.noise
        self._write(
            Remembered(
                content=content, run=self._run, noise=noise, noise_before=before, drift=drift
            )
        )
        # Another worker may be comparing with the one before, but with none of before that.
        kept = {content[:CHARACTERS], *([known.content[:CHARACTERS]] if known else [])}
        for place in self._folder.iterdir():
            if place.is_dir() and place.name not in kept:
                shutil.rmtree(place, ignore_errors=True)

    def refuse(self, table: Table, drift: Drift | None) -> None:
        """Remember that a table was refused, so that it is not compared again."""
        if self.known is not None and self.known.content != table.content_sha256:
            refused = {"refused": table.content_sha256, "refused_drift": drift}
            self._write(self.known.model_copy(update=refused))

    def _place(self, content: str) -> Path:
        return self._folder / content[:CHARACTERS]

    def _read(self) -> Remembered | None:
        with suppress(OSError, ValidationError):
            known = Remembered.model_validate_json((self._folder / STATE).read_bytes())
            if (self._place(known.content)).is_dir():
                return known
        return None

    def _write(self, state: Remembered) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        write_file(self._folder / STATE, state.model_dump_json().encode())
        self.known = state
