"""Look through earlier runs without reading their records: how long cells took, and by which key.

The names of a record stand first in its line, so that a pattern finds them; a line that does not
match, as one of another version, is passed over.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

JOURNAL = "records.jsonl"
# How many runs are looked through for a record to reuse, and for how long cells take.
RUNS_REUSED = 50
RUNS_TIMED = 10

_names = re.compile(
    rb'{"kind":"record","version":\d+,"run":"[^"]*","cell":"([^"]*)","dataset":"[^"]*",'
    rb'"algorithm":"[^"]*","framework":"[^"]*","mode":"[^"]*","task":"[^"]*",'
    rb'(?:"key":(?:"([^"]*)"|null),"reused":(?:"([^"]*)"|null),)?"outcome":"(\w+)"'
)
_seconds = re.compile(rb'"started":"[^"]*","seconds":([\d.e+-]+),"limit_seconds":')
_budget = re.compile(rb'"replicates":(\d+),"budget":{"rows":(\d+),')


@dataclass(frozen=True)
class Past:
    """Hold what is known of an earlier record, and where it stands."""

    run: str
    cell: str
    key: str
    reused: bool
    outcome: str
    seconds: float
    replicates: int
    rows: int
    place: tuple[Path, int, int]

    def read(self) -> bytes:
        """Return the record's line."""
        path, start, size = self.place
        with path.open("rb") as stream:
            stream.seek(start)
            return stream.read(size)


def list_sizes(reports: Path, most: int) -> list[tuple[str, int]]:
    """Return the names of the newest runs, ``most`` of them, and the bytes of their journals.

    Whoever reads no more than these bytes sees the same as the others, even of a live run.
    """
    found = []
    for path in sorted((reports / "runs").glob(f"*/{JOURNAL}"), reverse=True)[:most]:
        try:
            found.append((path.parent.name, path.stat().st_size))
        except OSError:
            continue
    return found


def read_past(reports: Path, sizes: Iterable[tuple[str, int]]) -> Iterator[Past]:
    """Yield what these runs have, run by run and within a run the newest record first."""
    for run, size in sizes:
        path = reports / "runs" / run / JOURNAL
        try:
            with path.open("rb") as stream:
                content = stream.read(size)
        except OSError:
            continue
        yield from reversed(list(_scan(run, path, content)))


def _scan(run: str, path: Path, content: bytes) -> Iterator[Past]:
    start = 0
    for line in content.splitlines(keepends=True):
        names = _names.match(line)
        seconds = _seconds.search(line, names.end()) if names else None
        budget = _budget.search(line, seconds.end()) if seconds else None
        if names and seconds and budget and line.endswith(b"\n"):
            cell, key, reused, outcome = (g.decode() if g else "" for g in names.groups())
            yield Past(
                run=run,
                cell=cell,
                key=key,
                reused=bool(reused),
                outcome=outcome,
                seconds=float(seconds[1]),
                replicates=int(budget[1]),
                rows=int(budget[2]),
                place=(path, start, len(line)),
            )
        start += len(line)


@dataclass
class Durations:
    """Tell how long a cell will take: as it last did, else the median of cells like it.

    Those are of its framework and mode. A record of as many replicates, and of the most rows
    within ``rows``, counts before others.
    """

    past: Iterable[Past]
    rows: int
    replicates: int
    runs: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        best: dict[str, Past] = {}
        for past in self.past:
            if past.reused or past.outcome == "unavailable":
                continue
            known = best.get(past.cell)
            if known is None or self._fit(past) > self._fit(known):
                best[past.cell] = past
        self._cells = {name: past.seconds for name, past in best.items()}
        groups: dict[str, list[float]] = {}
        for past in best.values():
            groups.setdefault(_kind(past.cell), []).append(past.seconds)
        self._medians = {name: statistics.median(found) for name, found in groups.items()}
        self._median = statistics.median(self._cells.values()) if self._cells else None
        self.runs = sorted({past.run for past in best.values()}, reverse=True)

    def seconds(self, cell: str) -> float | None:
        """Return the seconds that a cell will take, by its id; None without any history."""
        if cell in self._cells:
            return self._cells[cell]
        return self._medians.get(_kind(cell), self._median)

    def total(self, cells: Sequence[str], processes: int) -> float | None:
        """Return the seconds that processes take for cells together; None without any history."""
        found = [seconds for cell in cells if (seconds := self.seconds(cell)) is not None]
        return max(sum(found) / processes, *found) if found else None

    def _fit(self, past: Past) -> tuple[bool, int]:
        fits = past.replicates == self.replicates and past.rows <= self.rows
        return fits, past.rows if fits else 0


def _kind(cell: str) -> str:
    """Return the framework and mode of a cell by its id."""
    return cell.split("-", 2)[2]
