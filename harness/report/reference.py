"""Choose the run that a comparison stands on: the newest that is whole enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.store.journal import RunJournal
from harness.store.record import Record

# How many runs are looked through, and the share of the largest that a run must have.
RUNS_LOOKED = 10
SHARE = 0.5


@dataclass(frozen=True)
class Reference:
    """Hold a run's records, all of them or one dataset's; ``passed_over`` counts newer runs.

    They are left aside because they hold less than ``SHARE`` of the cells of the largest: a run
    of a few cells, with its own rows and seconds, is no ground to compare on.
    """

    run: str
    started: str | None
    records: tuple[Record, ...]
    passed_over: int


def choose_reference(runs: Sequence[RunJournal], dataset: str | None = None) -> Reference | None:
    """Return the newest run with enough cells among the newest; None where there is no cell.

    ``runs`` stand newest first, and only ``RUNS_LOOKED`` of them count. With ``dataset`` only
    its cells do, and a run without any is not passed over but left aside. A cell whose
    framework was unavailable counts as none.
    """
    found = []
    for run in runs[:RUNS_LOOKED]:
        chosen = [one for one in run.records if dataset in (None, one.dataset)]
        if chosen:
            found.append((run, chosen))
    sizes = [sum(one.outcome != "unavailable" for one in records) for _, records in found]
    if not sizes:
        return None
    place = next(place for place, size in enumerate(sizes) if size >= SHARE * max(sizes))
    run, records = found[place]
    return Reference(
        run=run.folder.name,
        started=run.head.started if run.head else None,
        records=tuple(records),
        passed_over=place,
    )
