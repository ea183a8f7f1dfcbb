"""Name every expected failure: what happened, where, what was expected and received, what to do."""

from __future__ import annotations

from typing import Any

# Each framework has a class of its own for this, or none.
_NO_MEMORY_NAMES = ("OutOfMemoryError", "ResourceExhaustedError")
_NO_MEMORY_WORDS = ("can't allocate memory", "RESOURCE_EXHAUSTED", "std::bad_alloc")


class MatrixError(Exception):
    """Carry one expected failure with its place and its remedy.

    ``outcome`` is the outcome that a record of this failure gets; ``code`` is stable and
    machine-readable; ``field`` is the dotted place in the request, file or table; ``detail`` is
    the stack of foreign code that is at fault.
    """

    outcome = "error"
    code = "failed"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        field: str | None = None,
        expected: str | None = None,
        received: str | None = None,
        remedy: str | None = None,
        detail: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.field = field
        self.expected = expected
        self.received = received
        self.remedy = remedy
        self.detail = detail

    def __str__(self) -> str:
        parts = [self.message]
        if self.expected is not None:
            parts.append(f"expected {self.expected}")
        if self.received is not None:
            parts.append(f"received {self.received}")
        if self.remedy is not None:
            parts.append(self.remedy)
        return "; ".join(parts)


class RequestInvalid(MatrixError):
    """Refuse a request that does not say what to do."""

    code = "invalid_request"


class DataInvalid(MatrixError):
    """Refuse a dataset whose file, shape, hash or values are not what was declared."""

    outcome = "data_invalid"
    code = "invalid_data"


class TrainingDiverged(MatrixError):
    """Stop a training whose loss is no longer a finite number, or has exploded.

    ``epoch`` is the one in which it happened, from 1 on; 0 where that is not known.
    """

    outcome = "diverged"
    code = "loss_not_finite"
    epoch = 0


class Unavailable(MatrixError):
    """Report that something which must be installed is not."""

    outcome = "unavailable"
    code = "not_installed"


def describe(value: Any, limit: int = 120) -> str:
    """Return a short, one-line, printable form of a received value; it never raises."""
    try:
        text = repr(value)
    except Exception as problem:  # noqa: BLE001 - a foreign __repr__ may raise anything
        text = f"<{type(value).__name__} whose repr raised {type(problem).__name__}>"
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def is_want_of_memory(problem: Exception) -> bool:
    """Tell whether an exception of any framework says that there was too little memory."""
    if isinstance(problem, MemoryError) or type(problem).__name__ in _NO_MEMORY_NAMES:
        return True
    text = text_of(problem)
    return isinstance(problem, RuntimeError) and any(word in text for word in _NO_MEMORY_WORDS)


def text_of(problem: Exception) -> str:
    """Return an exception's text; it never raises."""
    try:
        return str(problem) or "(no message)"
    except Exception:  # noqa: BLE001 - a foreign __str__ may raise anything
        return "(the exception could not be printed)"
