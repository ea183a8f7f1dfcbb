"""Arrange how far the frameworks are apart: a table of their pairs, and a cell's own ladder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.report.heatmap import SYMBOLS, State
from harness.report.text import NOTHING, count
from harness.store.ladder import Compared, PairRow, Worst, sum_up_pairs
from harness.store.record import RUNGS, Rung


@dataclass(frozen=True)
class RungSquare:
    """Hold the worst of one rung over a pair's cells, and the row of the cell that it is from."""

    anchor: str
    state: State
    symbol: str
    word: str
    title: str


@dataclass(frozen=True)
class ParityRow:
    """Hold one pair of frameworks; a square is None where no training was long enough."""

    frameworks: str
    note: str
    squares: tuple[RungSquare | None, ...]


@dataclass(frozen=True)
class ParityTable:
    """Hold the table of the pairs; ``columns`` are rungs with their limits in words."""

    columns: tuple[tuple[str, str], ...]
    rows: tuple[ParityRow, ...]


@dataclass(frozen=True)
class LadderEntry:
    """Hold how far a cell is from another framework at one rung."""

    word: str
    state: State


@dataclass(frozen=True)
class LadderRung:
    """Hold one rung of a cell: its limits in words, and an entry for each other framework."""

    name: str
    limit: str
    entries: tuple[LadderEntry, ...]


@dataclass(frozen=True)
class Ladder:
    """Hold a cell's comparisons with the other frameworks."""

    frameworks: tuple[str, ...]
    rungs: tuple[LadderRung, ...]


def build_parity(compared: Sequence[Compared], anchors: Mapping[str, str]) -> ParityTable | None:
    """Build the table of the pairs; ``anchors`` has the fragment of every cell's row.

    None where no two frameworks were compared.
    """
    if not compared:
        return None
    rungs = [rung for one in compared for rung in one.comparison.rungs]
    return ParityTable(
        columns=tuple((name, _write_limits(r for r in rungs if r.name == name)) for name in RUNGS),
        rows=tuple(_build_row(pair, anchors) for pair in sum_up_pairs(compared)),
    )


def build_ladder(cell: str, compared: Sequence[Compared]) -> Ladder | None:
    """Build a cell's own comparisons, None where it was not compared."""
    own = sorted((one for one in compared if cell in one.cells), key=lambda one: one.place)
    if not own:
        return None
    rungs = []
    for name in RUNGS:
        found = [one.find(name) for one in own]
        limit = _write_limits(rung for rung in found if rung is not None and rung.limit)
        entries = tuple(_build_entry(*pair) for pair in zip(own, found, strict=True))
        if any(found):
            rungs.append(LadderRung(name, "" if limit == NOTHING else limit, entries))
    frameworks = tuple(one.comparison.frameworks[one.cells[0] == cell] for one in own)
    return Ladder(frameworks, tuple(rungs))


def _build_row(pair: PairRow, anchors: Mapping[str, str]) -> ParityRow:
    notes = [count(pair.cells, "cell")]
    if pair.failed:
        notes.append(f"{pair.failed} failed")
    if pair.expected:
        notes.append(f"{pair.expected} as declared")
    return ParityRow(
        frameworks=" – ".join(pair.frameworks),
        note=", ".join(notes),
        squares=tuple(
            None if worst is None else _build_square(worst, anchors[worst.compared.record.cell])
            for worst in pair.worst
        ),
    )


def _build_square(worst: Worst, anchor: str) -> RungSquare:
    rung = worst.rung
    lines = [f"{rung.name}: {' and '.join(worst.compared.cells)}"]
    if rung.difference is not None and rung.limit:
        lines.append(f"difference {rung.word}, limit {rung.limit:.2g}")
    lines += [text for text in (rung.values, rung.reason) if text is not None]
    if worst.state == "expected":
        lines.append(f"declared: {worst.compared.expected}")
    return RungSquare(
        anchor=anchor,
        state=worst.state,
        symbol=SYMBOLS[worst.state] if worst.state != "passed" else "",
        word=rung.word,
        title="\n".join(lines),
    )


def _build_entry(one: Compared, rung: Rung | None) -> LadderEntry:
    if rung is None:
        return LadderEntry(NOTHING, "passed")
    if rung.passes:
        return LadderEntry(rung.word, "passed")
    return LadderEntry(f"{SYMBOLS[one.state]} {rung.word}", one.state)


def _write_limits(rungs: Iterable[Rung]) -> str:
    limits = {rung.limit for rung in rungs}
    if not limits:
        return NOTHING
    least, most = min(limits), max(limits)
    if most == 0:
        return "equal"
    return f"≤ {most:g}" if least == most else f"≤ {least:.2g} … {most:.2g}"
