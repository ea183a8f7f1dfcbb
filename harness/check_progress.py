"""Show how far a check of tables is: a live line in a terminal, plain lines anywhere else."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import monotonic
from types import TracebackType
from typing import Any, TextIO

from harness.console import open_console

SECONDS_BETWEEN_LINES = 10.0


@dataclass
class CheckProgress:
    """Show stages as they begin, and the rows read so far; a context, within which it does."""

    stream: TextIO
    _stage: str = field(default="starting", init=False)
    _rows: int | None = field(default=None, init=False)
    _display: Any = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._started = self._begun = self._said = monotonic()

    def __enter__(self) -> CheckProgress:
        """Begin to show it: live where the stream is a terminal and there is rich."""
        self._display = _open_line(self, self.stream)
        if self._display is not None:
            self._display.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Show it no longer."""
        if self._display is not None:
            self._display.stop()

    def tell(self, stage: str, rows: int | None) -> None:
        """Take notice of what is done now, and of the rows that were read."""
        moment = monotonic()
        begins = stage != self._stage
        if begins:
            self._begun = moment
        self._stage, self._rows = stage, rows
        if self._display is None and (begins or moment - self._said >= SECONDS_BETWEEN_LINES):
            self._said = moment
            print(self.line(), file=self.stream, flush=True)

    def line(self) -> str:
        """Return what is done now, the rows read in it, and their number a second."""
        if self._rows is None:
            return self._stage
        seconds = monotonic() - self._begun
        pace = f", {self._rows / seconds:,.0f} rows/s" if seconds > 1 else ""
        return f"{self._stage}: {self._rows:,} rows{pace}"

    def elapsed(self) -> float:
        """Return the seconds since it began."""
        return monotonic() - self._started


def _open_line(progress: CheckProgress, stream: TextIO) -> Any:
    """Return a live line, None where the stream is no terminal or rich is not there."""
    console = open_console(stream)
    if console is None:
        return None
    from rich.live import Live
    from rich.spinner import Spinner
    from rich.text import Text

    spinner = Spinner("dots")

    def draw() -> Spinner:
        spinner.update(text=Text(f"{progress.line()}  {progress.elapsed():.0f} s"))
        return spinner

    return Live(
        console=console,
        get_renderable=draw,
        refresh_per_second=8,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
