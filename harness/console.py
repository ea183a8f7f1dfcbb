"""Open the terminal for lines that are drawn anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console


def open_console(stream: TextIO) -> Console | None:
    """Return a console, None where the stream is no terminal or rich is not there."""
    if not stream.isatty():
        return None
    try:
        from rich.console import Console
    except ModuleNotFoundError:
        return None
    console = Console(file=stream)
    return None if console.is_dumb_terminal else console
