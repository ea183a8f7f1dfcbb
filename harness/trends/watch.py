"""Watch one noisy level night by night: suspect, confirm by reruns, tell, start anew.

Each night is compared with a reference from the runs before it by two one-sided cumulative sums of
log-likelihood ratios (Page 1954, "Continuous inspection schemes"), one for worse and one for
better. One that passes its threshold makes the night suspect, and no more. The cell's reruns then
feed a sequential probability ratio test (Wald 1945, "Sequential tests of statistical hypotheses")
of "the level is the reference" against "it moved by the step that is sought". Reruns are fresh,
so that test is right whatever made the night stand out: an outlier, a heavy tail, or the search
through many nights. It is what bounds false alarms; the charts only say where to spend reruns.

The reference is a trimmed mean (Tukey and McLaughlin 1963; a fifth from either end) with half the
range from the 16th to the 84th percentile as its spread; increments are clipped (Huber 1965, "A
robust version of the probability ratio test"), so that no single rerun decides. The reference's
own error, widened by the series' autocorrelation, is counted against a change.

Why not E-divisive (Matteson and James 2014) or penalised segmentation (Killick et al. 2012): they
look at a finished series; read anew every night, their error rate is per look, not per series,
and they have no place for reruns. `benchmarks/trend_truth.py` measures the difference.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from harness.trends.ledger import Change, Ledger
from harness.trends.rule import Rule

Verdict = Literal["told", "cleared", "open"]
TRIM = 0.2
# Half the range from the 16th to the 84th percentile is a normal's standard deviation.
TAIL = 0.16
# A trimmed mean of a fifth per side has this error, in those of a normal's mean.
TRIMMED_ERROR = 1.07
# No single value moves a ratio by more; three at least are needed to tell, two to clear.
CLIP = 2.5
# A spread is never taken as less than the sought step by this: less would be rounding.
MOST_STEP = 2.0
# n values show their spread too small; it is widened by 1 + this / n.
FEW = 2.0
# Of a segment that was just begun, this many values stand for its level.
LEAST_VALUES = 3
# The unmoved level is granted so many of the reference's own errors.
GUARD = 1.45


@dataclass(frozen=True)
class Reference:
    """Hold a level, its values' spread, the level's own error in spreads, and their number."""

    level: float
    spread: float
    error: float
    count: int


def condense(ordered: Sequence[float], rule: Rule, spread: float | None = None) -> Reference:
    """Return the reference of values in order of size, at least one; logarithms."""
    n = len(ordered)
    cut = int(TRIM * n)
    level = math.fsum(ordered[cut : n - cut]) / (n - 2 * cut)
    if spread is None:
        place = TAIL * (n - 1)
        k, rest = int(place), place - int(place)
        low = ordered[k] + (rest * (ordered[k + 1] - ordered[k]) if n > 1 else 0.0)
        high = ordered[n - 1 - k] - (
            rest * (ordered[n - 1 - k] - ordered[n - 2 - k]) if n > 1 else 0.0
        )
        spread = (high - low) / 2 * (1 + FEW / n)
    spread = max(spread, math.log1p(rule.floor) / MOST_STEP)
    return Reference(level, spread, TRIMMED_ERROR / math.sqrt(n), n)


@dataclass(frozen=True)
class Test:
    """Hold the ratio of a sequential test and how many values it took."""

    verdict: Verdict
    ratio: float
    used: int


@dataclass
class Suspicion:
    """Hold a suspicion that stands: for worse or better, since when, and how later nights speak."""

    worse: bool
    raised: int
    first: int
    ratio: float
    inflation: float = 1.0
    nights: float = 0.0


class Watch:
    """Follow one series of logarithms, larger is worse; ``ledger`` has the changes that were told.

    ``places`` are the points' places in the whole series. Told changes, the standing suspicion
    and the newest settled test are read from the attributes.
    """

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.ledger = Ledger(math.log1p(rule.floor) / 2)
        self.starts: list[int] = []
        self.suspicion: Suspicion | None = None
        self.settled: tuple[int, Test] | None = None
        self.reference: Reference | None = None
        self.begin([], None)

    def begin(self, values: Sequence[float], spread: float | None) -> None:
        """Start on a new level, of which ``values`` are known and the spread is presumed."""
        self.order: deque[float] = deque(values)
        self.ordered = sorted(values)
        self.pending: deque[tuple[int, float]] = deque()
        self.presumed = spread
        self.sums = {True: 0.0, False: 0.0}
        self.begun = {True: -1, False: -1}
        self.suspicion = None

    def refer(self) -> Reference | None:
        """Return what the level is compared with; None as long as too little is known."""
        n = len(self.ordered)
        if n >= self.rule.minimum_history:
            self.presumed = None
        elif self.presumed is None or n < LEAST_VALUES:
            return None
        return condense(self.ordered, self.rule, self.presumed)

    def inflation(self, reference: Reference) -> float:
        """Return by how much autocorrelation widens the variance of the values' mean.

        (1 + rho) / (1 - rho) of the correlation rho with the value before, corrected for its bias
        (Marriott and Pope 1954) and taken one error larger, as few values tell it badly; one
        that is less than its error counts as none. Large residuals are clipped: spikes.
        """
        bound = 2 * reference.spread
        residuals = [max(-bound, min(bound, y - reference.level)) for y in self.order]
        total = math.fsum(r * r for r in residuals)
        if total == 0.0:
            return 1.0
        n = len(residuals)
        rho = math.fsum(a * b for a, b in pairwise(residuals)) / total
        rho += (1 + 3 * rho) / n
        error = 1 / math.sqrt(n)
        if rho < error:
            return 1.0
        rho = min(0.8, rho + error)
        return (1 + rho) / (1 - rho)

    def step(
        self, place: int, value: float, reruns: Sequence[float] = (), old: Sequence[float] = ()
    ) -> None:
        """Take one night's value, and its reruns and those of the old side if there were any."""
        rule = self.rule
        if self.suspicion is None:
            self.absorb()
            self.reference = self.refer()
            self.pending.append((place, value))
            if self.reference is None:
                return
            self.chart(place, value, self.reference)
            if self.suspicion is None:
                return
            inflation = self.inflation(self.reference)
            self.suspicion.inflation = inflation
            found = self.reference
            # Values that remember each other show less of their spread, too.
            wider = (1 + FEW * inflation / found.count) / (1 + FEW / found.count)
            self.reference = replace(
                found, spread=found.spread * wider, error=found.error * math.sqrt(inflation)
            )
        elif self.reference is not None:
            self.pending.append((place, value))
            worse, inflation = self.suspicion.worse, self.suspicion.inflation
            # Nights that remember each other say less than reruns.
            self.suspicion.nights += increment(value, self.reference, rule, worse) / inflation
        assert self.reference is not None
        if reruns:
            against = self.reference
            if old:
                against = condense(sorted(old), rule, against.spread)
            test = decide(reruns, against, rule, self.suspicion.worse)
            if test.verdict == "cleared":
                # An older suspicion may stand for the one side while the level went to the other.
                other = decide(reruns, against, rule, not self.suspicion.worse)
                if other.verdict == "told":
                    test = other
                    self.suspicion.worse, self.suspicion.first = not self.suspicion.worse, place
        else:
            test = wait(self.suspicion.nights, rule)
        if test.verdict == "told":
            self.settled = (place, test)
            self.tell(place, reruns[: test.used], test.ratio)
        elif test.verdict == "cleared":
            self.settled = (place, test)
            self.suspicion = None
            self.sums = {True: 0.0, False: 0.0}

    def absorb(self) -> None:
        """Let nights that are no longer recent join the reference."""
        while len(self.pending) > self.rule.recent:
            _, value = self.pending.popleft()
            self.order.append(value)
            insort(self.ordered, value)
        while len(self.order) > self.rule.window:
            gone = self.order.popleft()
            del self.ordered[bisect_left(self.ordered, gone)]

    def chart(self, place: int, value: float, reference: Reference) -> None:
        """Add a night to both cumulative sums; raise a suspicion where one passes."""
        # Whoever mends a regression wants to hear of it as soon as of a regression.
        mending = bool(self.ledger.open) and self.ledger.open[-1].worse
        better = self.rule.suspicion if mending else self.rule.suspicion_better
        for worse, threshold in ((True, self.rule.suspicion), (False, better)):
            if self.sums[worse] == 0.0:
                self.begun[worse] = place
            self.sums[worse] = max(
                0.0, self.sums[worse] + increment(value, reference, self.rule, worse, guard=0.0)
            )
            nights = place - self.begun[worse] + 1
            needed = threshold + max(0.0, self.rule.haste - (nights - 1))
            if self.sums[worse] >= needed and self.suspicion is None:
                self.suspicion = Suspicion(worse, place, self.begun[worse], self.sums[worse])

    def tell(self, place: int, reruns: Sequence[float], ratio: float) -> None:
        """Enter a confirmed change in the ledger and begin anew on its level."""
        assert self.suspicion is not None
        assert self.reference is not None
        reference, worse = self.reference, self.suspicion.worse
        nights = [(p, y) for p, y in self.pending if p <= place]
        # How likely each night is the first on the new level, given the nights after it.
        since = [y for p, y in nights if p >= self.suspicion.first]
        level = condense(sorted(reruns or since), self.rule).level
        ratios, total = [], 0.0
        for p, y in reversed(nights):
            total += max(-CLIP, min(CLIP, _ratio(y, reference.level, level, reference.spread)))
            # Clipped ratios cancel, and a rounding is not to choose between equals.
            ratios.append((round(total, 6), p))
        best, first = max(ratios)
        likely = [p for ratio, p in ratios if ratio >= best - 2.0]
        values = [*reruns, *(y for p, y in nights if p >= first)]
        after = condense(sorted(reruns or values), self.rule)
        self.ledger.enter(
            Change(
                worse=worse,
                before=reference.level,
                after=after.level,
                first=first,
                earliest=min(likely),
                latest=max(likely),
                at=place,
                error=reference.error * reference.spread,
                spread=reference.spread,
                count=after.count,
                reruns=bool(reruns),
                ratio=ratio,
            )
        )
        self.starts.append(first)
        self.begin(values, reference.spread)


def increment(
    value: float, reference: Reference, rule: Rule, worse: bool, guard: float = GUARD
) -> float:
    """Return what a value adds to the log-likelihood ratio of a moved against an unmoved level.

    The level moved by the sought step, at least ``rule.least_step`` spreads; the unmoved one is
    granted ``guard`` times the reference's own error in the direction of the change.
    """
    step = min(MOST_STEP, max(rule.least_step, math.log1p(rule.floor) / reference.spread))
    distance = (value - reference.level) / reference.spread
    if not worse:
        distance = -distance
    return max(-CLIP, min(CLIP, step * (distance - guard * reference.error - step / 2)))


def decide(values: Sequence[float], reference: Reference, rule: Rule, worse: bool) -> Test:
    """Test reruns in their order, and stop at the first that decides."""
    ratio = 0.0
    for used, value in enumerate(values[: rule.reruns], 1):
        ratio += increment(value, reference, rule, worse)
        if ratio >= rule.told:
            return Test("told", ratio, used)
        if ratio <= -rule.cleared:
            return Test("cleared", ratio, used)
    if len(values) >= rule.reruns:
        return Test("cleared", ratio, rule.reruns)
    return Test("open", ratio, len(values))


def wait(nights: float, rule: Rule) -> Test:
    """Test the nights after a suspicion that nothing was rerun for, by the sum of their ratios."""
    if nights >= rule.told_alone:
        return Test("told", nights, 0)
    return Test("cleared" if nights <= -rule.cleared else "open", nights, 0)


def _ratio(value: float, before: float, after: float, spread: float) -> float:
    step = (after - before) / spread
    return step * ((value - before) / spread - step / 2)
