"""Show sweeps while they run: a live table in a terminal, plain lines anywhere else."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, TextIO

from harness.cell import Cell
from harness.console import open_console
from harness.report.text import NOTHING
from harness.store.record import Record
from harness.store.trials import read_trials
from ml.core.contracts import Trial

if TYPE_CHECKING:
    from rich.table import Table

REFRESHES = 2
SECONDS_BETWEEN_LINES = 30.0
COLUMNS = ("cell", "trials", "pruned", "failed", "best", "default", "seconds")


@dataclass(frozen=True)
class Standing:
    """Hold how far a sweep is; ``best`` and ``default`` are metrics on the validation rows.

    A trial has ``failed`` where it has no value; one that the clock stopped has.
    """

    trials: int
    pruned: int
    failed: int
    best: float | None
    default: float | None


def stand(trials: Sequence[Trial], greater_is_better: bool) -> Standing:
    """Count trials, and find the best value among those that were trained to their end."""
    values = [t.value for t in trials if t.outcome == "ok" and t.value is not None]
    default = [t.value for t in trials if t.index == 0 and t.outcome == "ok"]
    return Standing(
        trials=len(trials),
        pruned=sum(t.outcome == "pruned" for t in trials),
        failed=sum(t.value is None and t.outcome != "pruned" for t in trials),
        best=(max if greater_is_better else min)(values) if values else None,
        default=default[0] if default else None,
    )


@dataclass
class Row:
    """Hold a sweep that is shown: its file of trials, and its record once it has ended."""

    cell: Cell
    path: Path
    started: float | None = None
    seconds: float | None = None
    record: Record | None = None

    def standing(self) -> Standing:
        """Return how far it is, by its result or by the trials in its file."""
        # By the metrics that cells are judged by, more is better of a class and less of a number.
        greater = self.cell.task == "classification"
        result = self.record.result if self.record else None
        if result is not None and result.sweep is not None:
            return stand(result.sweep.trials, result.greater_is_better)
        return stand(read_trials(self.path) if self.started is not None else [], greater)

    def words(self) -> tuple[str, ...]:
        """Return the row in words, as ``COLUMNS`` names them."""
        assert self.cell.sweep is not None
        found = self.standing()
        seconds = self.seconds
        if seconds is None and self.started is not None:
            seconds = monotonic() - self.started
        return (
            self.cell.id,
            f"{found.trials}/{self.cell.sweep.trials}",
            str(found.pruned),
            str(found.failed),
            write_value(found.best),
            write_value(found.default),
            NOTHING if seconds is None else f"{seconds:.1f}",
        )

    def line(self) -> str:
        """Return the row as a line of text."""
        cell, trials, pruned, failed, best, default, seconds = self.words()
        how = "" if self.record is None else f"{self.record.outcome}, "
        return (
            f"{cell}: {how}{trials} trials, {pruned} pruned, {failed} failed, best {best}, "
            f"default {default}, {seconds} s"
        )


@dataclass
class Progress:
    """Follow sweeps as they begin and end; a context, within which they are shown."""

    rows: list[Row]
    stream: TextIO
    _display: Any = field(default=None, init=False)

    def __enter__(self) -> Progress:
        """Begin to show them: a table where the stream is a terminal and there is rich."""
        self._display = _open_table(self.rows, self.stream) or _Lines(self.rows, self.stream)
        self._display.start()
        return self

    def __exit__(self, *problem: object) -> None:
        """Show them no longer."""
        self._display.stop()

    def begin(self, row: Row) -> None:
        """Take notice that a sweep begins."""
        row.started = monotonic()

    def end(self, row: Row, record: Record) -> None:
        """Take notice of how a sweep ended."""
        row.seconds = monotonic() - (row.started or monotonic())
        row.record = record
        if isinstance(self._display, _Lines):
            self._display.tell(row)


class _Lines:
    """Print a line for a sweep that has ended, and now and then for the one that runs."""

    def __init__(self, rows: Sequence[Row], stream: TextIO) -> None:
        self._rows = rows
        self._stream = stream
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def tell(self, row: Row) -> None:
        print(row.line(), file=self._stream, flush=True)

    def _watch(self) -> None:
        while not self._stopped.wait(SECONDS_BETWEEN_LINES):
            for row in self._rows:
                if row.started is not None and row.record is None:
                    self.tell(row)


def _open_table(rows: Sequence[Row], stream: TextIO) -> Any:
    """Return a live table, None where the stream is no terminal or rich is not there."""
    console = open_console(stream)
    if console is None:
        return None
    from rich.live import Live

    return Live(
        console=console,
        get_renderable=lambda: _draw(rows),
        refresh_per_second=REFRESHES,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )


def _draw(rows: Sequence[Row]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for name in COLUMNS:
        table.add_column(name, justify="left" if name == "cell" else "right", no_wrap=True)
    for row in rows:
        running = row.started is not None and row.record is None
        style = "bold" if running else "dim" if row.record is None else ""
        table.add_row(*map(Text, row.words()), style=style)
    return table


def write_value(value: float | None) -> str:
    """Return a metric in four digits, a dash where there is none."""
    return NOTHING if value is None else f"{value:.4g}"
