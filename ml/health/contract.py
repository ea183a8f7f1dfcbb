"""Check, before anything is trained on it, that a dataset keeps its contract."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import sqrt
from typing import Literal

import numpy as np

from ml.core.contracts import (
    Breach,
    CheckName,
    ContractCheck,
    ContractReport,
    InlineData,
    TableRules,
)
from ml.core.descriptor import Descriptor
from ml.core.errors import DataInvalid, MatrixError
from ml.core.splits import Split
from ml.core.table import Table
from ml.datasets.schema import check_schema
from ml.health.drift import Drift, Memory
from ml.health.labels import LabelNoise, count_support, estimate_noise
from ml.health.leakage import (
    count_early,
    count_shared_groups,
    find_predictors,
    share_repeated,
)

# A share or skill from which on a check warns, and from which on it is a breach.
REPEATED = (0.01, 0.1)
SKILL = (0.95, 0.99)
# Rows of a class that train, below which the check of classes warns.
SUPPORT = 5
# The growth of label noise since the last table that is a breach, which is also beyond so many
# standard deviations; and the p from which on labels may as well be shuffled.
GROWTH, DEVIATIONS = 0.1, 4.0
SHUFFLED = 0.05
# The p of a collapse that is a breach: no permutation of 199 lies as far out.
SURE = 0.005
SHOWN, TOLD = 5, 3
Level = Literal["breach", "warning"]


class ContractBreached(DataInvalid):
    """Refuse a table that does not keep its contract; ``contract`` says what was found."""

    code = "contract_breached"

    def __init__(self, dataset: str, contract: ContractReport) -> None:
        broken = breaches_of(contract)
        told = "; ".join(f"{breach.check}: {breach.message}" for breach in broken[:TOLD])
        more = f"; and {len(broken) - TOLD} more" if len(broken) > TOLD else ""
        super().__init__(
            f"dataset {dataset} breaks its contract: {told}{more}",
            field=broken[0].column,
            remedy="mend the table, or declare in [[expected_breaches]] why this is natural",
        )
        self.contract = contract


def breaches_of(contract: ContractReport) -> list[Breach]:
    """Return the breaches for which a table is refused: no warnings, none that is expected."""
    return [b for b in contract.breaches if b.severity == "breach" and b.expected is None]


def check_contract(
    table: Table,
    split: Split,
    source: Descriptor | TableRules,
    *,
    whole: Table | None = None,
    memory: Memory | None = None,
) -> ContractReport:
    """Return how a table and one split of it keep the contract that ``source`` declares.

    ``table`` has the rows that are trained and tested on, ``whole`` all rows where these are
    more. ``memory`` is of the dataset's earlier tables; a table that keeps its contract is
    remembered, one that does not is not. Nothing is raised for a breach.

    What a request's own values show of leakage warns only: whoever sends values sees them.
    """
    asked = _Asked(table, split, source, table if whole is None else whole, memory)
    done = [ended for name, look in CHECKS.items() if (ended := _run(asked, name, look))]
    report = ContractReport(
        content_sha256=asked.whole.content_sha256,
        rows=table.rows,
        checks=tuple(check for check, _ in done),
        breaches=tuple(breach for _, found in done for breach in found),
    )
    if memory is not None:
        _remember(asked, memory, refused=bool(breaches_of(report)))
    return report


@dataclass
class _Asked:
    """Hold what is checked, and what the checks find that is remembered."""

    table: Table
    split: Split
    source: Descriptor | TableRules
    whole: Table
    memory: Memory | None
    noise: LabelNoise | None = None
    drift: Drift | None = None


@dataclass
class _Found:
    """Gather what one check found: in words, and what it objects to."""

    check: CheckName
    words: str = ""
    breaches: list[Breach] = field(default_factory=list)

    def object(self, message: str, level: Level = "breach", column: str | None = None) -> None:
        self.breaches.append(
            Breach(check=self.check, column=column, message=message, severity=level)
        )


def _run(
    asked: _Asked, name: CheckName, look: Callable[[_Asked, _Found], None]
) -> tuple[ContractCheck, list[Breach]] | None:
    found = _Found(name)
    look(asked, found)
    if not found.words:
        return None
    settled = [_settle(asked, breach) for breach in found.breaches]
    levels = ["expected" if each.expected else each.severity for each in settled]
    order: tuple[Literal["breach", "warning", "expected"], ...] = ("breach", "warning", "expected")
    status: Literal["passed", "warning", "expected", "breach"] = next(
        (level for level in order if level in levels), "passed"
    )
    return ContractCheck(name=name, status=status, found=found.words), settled


def _settle(asked: _Asked, breach: Breach) -> Breach:
    """Return a breach as it counts here: with the declared reason, or as a warning."""
    for declared in asked.source.expected_breaches:
        if declared.check == breach.check and declared.column in (None, breach.column):
            return breach.model_copy(update={"expected": declared.reason})
    if isinstance(asked.source, InlineData) and breach.check != "schema":
        return breach.model_copy(update={"severity": "warning"})
    return breach


def _check_schema(asked: _Asked, found: _Found) -> None:
    rules = asked.source.table_schema
    if not rules:
        return
    found.breaches += check_schema(asked.whole, asked.source.target, rules)
    wrong = len({breach.column for breach in found.breaches})
    found.words = f"{len(rules)} columns are declared"
    found.words += f", {wrong} of them not as they are" if wrong else ", and are so"


def _check_content(asked: _Asked, found: _Found) -> None:
    # A descriptor's table that has another content is refused when it is loaded.
    if isinstance(asked.source, Descriptor):
        found.words = f"the table that is declared, {asked.whole.content_sha256[:12]}"


def _check_repeats(asked: _Asked, found: _Found) -> None:
    share = share_repeated(asked.table, asked.split)
    found.words = f"{share:.1%} of the test rows also train"
    if share > REPEATED[0]:
        found.object(found.words, "breach" if share > REPEATED[1] else "warning")


def _check_predictor(asked: _Asked, found: _Found) -> None:
    pairs = find_predictors(asked.table, asked.split, -np.inf)
    if not pairs:
        return
    best, skill = pairs[0]
    found.words = f"the best single column is {best!r}, with a skill of {max(skill, 0.0):.3f}"
    for name, skill in [pair for pair in pairs if pair[1] >= SKILL[0]][:SHOWN]:
        found.object(
            f"column {name!r} alone predicts the target, with a skill of {skill:.3f}",
            "breach" if skill >= SKILL[1] else "warning",
            name,
        )


def _check_time(asked: _Asked, found: _Found) -> None:
    if asked.source.split.rule != "time" or asked.table.time is None:
        return
    early = count_early(asked.table, asked.split)
    found.words = "every test row is newer than all that train"
    if early:
        found.words = f"{early:,} test rows are no newer than the newest that trains"
        found.object(f"time runs backwards: {found.words}", column=asked.source.split.column)


def _check_groups(asked: _Asked, found: _Found) -> None:
    if asked.source.split.rule != "group" or asked.table.group is None:
        return
    shared = count_shared_groups(asked.table, asked.split)
    found.words = "no group has rows on both sides of the split"
    if shared:
        found.words = f"{shared:,} groups have rows on both sides of the split"
        found.object(found.words, column=asked.source.split.column)


def _check_classes(asked: _Asked, found: _Found) -> None:
    classes = asked.table.classes
    if not classes:
        return
    trained, tested = count_support(asked.table, asked.split)
    rarest = int(trained.argmin())
    found.words = (
        f"{len(classes)} classes; {classes[rarest]!r} has {trained[rarest]:,} rows to train"
    )
    # Where one class alone trains, every model is refused, with the reason.
    absent = trained == 0 if (trained > 0).sum() > 1 else np.zeros(len(classes), dtype=bool)
    for place in np.flatnonzero(absent)[:SHOWN]:
        found.object(f"the class {classes[place]!r} has no row that trains")
    for place in np.flatnonzero((trained > 0) & (tested == 0))[:SHOWN]:
        found.object(f"the class {classes[place]!r} has no row that is tested", "warning")
    for place in np.flatnonzero((trained > 0) & (trained < SUPPORT))[:SHOWN]:
        number = "1 row that trains" if trained[place] == 1 else f"{trained[place]} rows that train"
        found.object(f"the class {classes[place]!r} has {number}", "warning")


def _check_labels(asked: _Asked, found: _Found) -> None:
    noise = asked.noise = estimate_noise(asked.whole)
    if noise is None:
        return
    found.words = f"{noise.share:.1%} of {noise.rows:,} rows are labelled unlike their nearest rows"
    before = asked.memory.noise_before(asked.whole) if asked.memory else None
    if before is not None:
        found.words += f"; it was {before.share:.1%}"
        # A class that became less rare is contradicted more often, and no noise.
        growth = noise.share - before.share - max(0.0, noise.chance - before.chance)
        variance = sum(n.share * (1 - n.share) / n.rows for n in (noise, before))
        if growth > max(GROWTH, DEVIATIONS * sqrt(variance)):
            found.object(f"label noise has grown: {found.words}", column=asked.source.target)
            return
    if noise.p > SHUFFLED:
        message = "like rows are labelled no more alike than if labels were shuffled"
        found.object(f"{message} (p = {noise.p:.2f})", "warning", asked.source.target)


def _check_drift(asked: _Asked, found: _Found) -> None:
    if asked.memory is None:
        return
    known, content = asked.memory.known, asked.whole.content_sha256
    if known is None:
        found.words = "there is no earlier table to compare with"
        return
    try:
        drift = asked.drift = asked.memory.compare(asked.whole, asked.source.target)
    except (MatrixError, OSError, ValueError) as problem:
        # ValueError: numbers near the ends of float64, of which no sketch can be kept.
        told = str(problem).splitlines()[0]
        found.words = f"the last run's table cannot be compared with: {told}"
        found.object(found.words, "warning")
        return
    if drift is None:
        same = known.content == content
        found.words = "the table is that of the last run" if same else "it is the first table"
        return
    found.words = f"{drift.verdict} beside the last run's table, {drift.against[:12]}"
    if drift.verdict in ("collapsed", "differs"):
        reasons = "; ".join(drift.reasons)
        is_sure = drift.p is not None and drift.p <= SURE
        level: Level = "breach" if drift.verdict == "collapsed" and is_sure else "warning"
        found.object(f"{found.words}: {reasons}" if reasons else found.words, level)


def _remember(asked: _Asked, memory: Memory, refused: bool) -> None:
    try:
        if refused:
            memory.refuse(asked.whole, asked.drift)
        else:
            memory.take(asked.whole, asked.source.target, asked.drift, asked.noise)
    except (MatrixError, OSError, ValueError):
        # Without a place to remember it in, the next table is compared with an earlier one.
        return


CHECKS: dict[CheckName, Callable[[_Asked, _Found], None]] = {
    "schema": _check_schema,
    "content": _check_content,
    "repeats": _check_repeats,
    "predictor": _check_predictor,
    "time": _check_time,
    "groups": _check_groups,
    "classes": _check_classes,
    "labels": _check_labels,
    "drift": _check_drift,
}
