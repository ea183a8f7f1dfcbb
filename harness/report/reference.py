"""Choose the run that a comparison stands on: the newest that is whole enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.store.record import Record

# How many runs are looked through, and the share of the largest that a run must have.
RUNS_LOOKED = 10
SHARE = 0.5


@dataclass(frozen=True)
class Reference:
    """Hold the records of the run that is compared; ``passed_over`` counts newer, smaller runs."""

    run: str
    started: str | None
    records: tuple[Record, ...]
    passed_over: int = 0

    def of_dataset(self, dataset: str) -> tuple[Record, ...]:
        """Return the records of one dataset."""
        return tuple(record for record in self.records if record.dataset == dataset)


def choose_reference(sizes: Sequence[int]) -> int:
    """Return the place of the newest run with enough cells; ``sizes`` stand newest first.

    Only ``RUNS_LOOKED`` runs count, and a run with less than ``SHARE`` of the cells of the
    largest is passed over: a run of a few cells, with rows and seconds of its own, is no ground
    to compare on. Raises ValueError without a run.
    """
    looked = sizes[:RUNS_LOOKED]
    least = SHARE * max(looked)
    return next(place for place, size in enumerate(looked) if size >= least)
