"""Build what a dataset's page shows of its table's contract."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.report.heatmap import SYMBOLS, State
from harness.report.text import count
from harness.store.record import Record
from ml.core.contracts import CheckName, ContractReport, ErrorInfo

TITLES: dict[CheckName, str] = {
    "schema": "Declared columns",
    "content": "Content",
    "repeats": "Rows on both sides of the split",
    "predictor": "A column that tells the target",
    "time": "Order of time",
    "groups": "Groups on both sides of the split",
    "classes": "Rows of each class",
    "labels": "Label noise",
    "drift": "Beside the last run's table",
}
_STATES: dict[str, tuple[State, str]] = {
    "passed": ("passed", "passed"),
    "warning": ("expected", "warning"),
    "expected": ("passed", "as declared"),
    "breach": ("failed", "breach"),
}
_ORDER = ("passed", "expected", "warning", "breach")


@dataclass(frozen=True)
class CheckRow:
    """Hold one check: its verdict as a badge, what was found, and what it objects to and why not.

    ``notes`` are texts beside the finding: further objections, and the declared reasons.
    """

    name: str
    state: State
    symbol: str
    word: str
    found: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class ContractView:
    """Hold how a table keeps its contract; ``summary`` says it in a sentence."""

    summary: str
    rows: tuple[CheckRow, ...]


def build_contract(records: Sequence[Record]) -> ContractView | None:
    """Return the contract of a dataset's records, None where none of them has one.

    A table with another content than is declared has only that one check. Cells may take other
    samples of one table: the worst contract is shown, and of equal ones the one of most rows.
    """
    contracts = [one for record in records if (one := contract_of(record)) is not None]
    if not contracts:
        changed = [record.error for record in records if record.error is not None]
        return next((_tell_changed(e) for e in changed if e.code == "content_changed"), None)
    worst = max(contracts, key=lambda one: (_place(one), one.rows))
    states = [check.status for check in worst.checks]
    parts = [
        count(states.count(status), status, plural)
        for status, plural in (("breach", "breaches"), ("warning", "warnings"))
        if status in states
    ]
    told = " and ".join(parts) or "no objection"
    summary = f"{told} in {count(len(states), 'check')} of {worst.rows:,} rows."
    if "breach" in states:
        summary += " No model was trained on them."
    return ContractView(summary[0].upper() + summary[1:], tuple(_rows(worst)))


def _tell_changed(error: ErrorInfo) -> ContractView:
    odd = (error.detail or "").splitlines()
    notes = (f"Declared: {error.expected}", f"Found: {error.received}", *odd)
    row = CheckRow(TITLES["content"], "failed", SYMBOLS["failed"], "breach", error.message, notes)
    return ContractView("1 breach. No model was trained on this table.", (row,))


def contract_of(record: Record) -> ContractReport | None:
    """Return the contract that a record's data kept or broke."""
    if record.result is not None:
        return record.result.contract
    return record.error.contract if record.error is not None else None


def _place(contract: ContractReport) -> int:
    return max((_ORDER.index(check.status) for check in contract.checks), default=0)


def _rows(contract: ContractReport) -> list[CheckRow]:
    rows = []
    for check in contract.checks:
        state, word = _STATES[check.status]
        notes: list[str] = []
        for breach in contract.breaches:
            if breach.check != check.name:
                continue
            if breach.message != check.found:
                notes.append(breach.message)
            if breach.expected is not None:
                notes.append(f"Declared as natural: {breach.expected}")
        rows.append(
            CheckRow(
                name=TITLES[check.name],
                state=state,
                symbol=SYMBOLS[state],
                word=word,
                found=check.found,
                notes=tuple(dict.fromkeys(notes)),
            )
        )
    return rows
