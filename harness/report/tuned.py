"""Put the best tuned models of a dataset's frameworks side by side, with what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.report.best import (
    TITLES,
    Best,
    choose_best,
    compare_two,
    mean_fit,
    place_best,
)
from harness.report.sweeps import (
    SweepLine,
    Tuning,
    build_sweeps,
    compare_tuned,
    describe_budget,
    write_counts,
)
from harness.report.text import NOTHING, write_gain, write_number, write_seconds
from harness.store.record import Record


@dataclass(frozen=True)
class Swept:
    """Hold the newest record of a sweep's cell, and the run that it is from."""

    run: str
    record: Record


def compare_sweeps(swept: Sequence[Swept]) -> Best | None:
    """Put the frameworks' best tuned models side by side; None where no sweep has a result.

    The best of a framework is the one with the best metric on the test rows. Where the budgets
    of the sweeps shown differ, the verdict says so, as the comparison is then not a fair one.
    """
    best, missing = choose_best([one.record for one in swept])
    if not best:
        return None
    chosen = [next(one for one in swept if one.record is record) for record in best.values()]
    return Best(
        frameworks=tuple(TITLES[one.record.framework] for one in chosen),
        cells=tuple(one.record.cell for one in chosen),
        algorithms=tuple(one.record.algorithm for one in chosen),
        facts=tuple(_list_facts(chosen)),
        missing=missing,
        verdict=_write_verdict(chosen, compare_two(best.get("pytorch"), best.get("tensorflow"))),
    )


def _write_verdict(chosen: Sequence[Swept], compared: str) -> str:
    parts = [compared] if compared else []
    budgets = {describe_budget(one.record) for one in chosen}
    if len(budgets) > 1:
        parts.append("Their budgets differ, so that this comparison is not an equal one.")
    return " ".join(parts)


def _list_facts(chosen: Sequence[Swept]) -> list[tuple[str, tuple[str, ...], int | None]]:
    lines = build_sweeps([one.record for one in chosen])
    tunings = [_compare(one.record) for one in chosen]
    first = lines[0]
    tuned = [line.tuned for line in lines]
    gains = [line.gain for line in lines]
    facts: list[tuple[str, tuple[str, ...], int | None]] = [
        (
            first.metric,
            tuple(
                f"{write_number(line.tuned, 4)} ± {write_number(line.spread, 2)}" for line in lines
            ),
            place_best(tuned, first.greater_is_better),
        ),
        (
            f"default's {first.metric}",
            tuple(write_number(line.default, 4) for line in lines),
            place_best([line.default for line in lines], first.greater_is_better),
        ),
        (
            "gain by tuning",
            tuple(_write_gains(tuning) for tuning in tunings),
            place_best(gains, greater=True),
        ),
        ("best settings", tuple(_write_settings(line) for line in lines), None),
        ("trials", tuple(_write_trials(line) for line in lines), None),
        ("budget", tuple(describe_budget(one.record) for one in chosen), None),
        ("epochs of all trials", tuple(f"{line.epochs:,}" for line in lines), None),
        (
            "search",
            tuple(write_seconds(line.seconds) for line in lines),
            place_best([line.seconds for line in lines], greater=False),
        ),
        ("fit of the tuned", tuple(write_seconds(mean_fit(o.record.result)) for o in chosen), None),
        ("run", tuple(one.run for one in chosen), None),
    ]
    return facts


def _compare(record: Record) -> Tuning:
    assert record.result is not None
    assert record.result.sweep is not None
    return compare_tuned(record.result, record.result.sweep)


def _write_gains(tuning: Tuning) -> str:
    if tuning.is_default:
        return "none: the default is best"
    text = write_gain(tuning.gain)
    if tuning.gain and len(tuning.gains) > 1:
        wins = sum(gain > 0 for gain in tuning.gains)
        text += f", better in {wins} of {len(tuning.gains)}"
    return text


def _write_settings(line: SweepLine) -> str:
    return ", ".join(f"{name} {text}" for name, text in line.settings) or NOTHING


def _write_trials(line: SweepLine) -> str:
    return f"{line.trials}: {write_counts(line.ok, line.pruned, line.failed)}"
