"""Train several networks side by side, each as if it were alone."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from ml.core.contracts import NetworkSpec
from ml.core.learner import Cohort, FitReport, Floats32, Learner, Member, Problem
from ml.core.loop import Alone, Steppers, Training, advance, check_rows
from ml.core.networks import NetworkLearner, Start

__all__ = ["Cohort", "Member", "NetworkCohort", "Together", "count_at_once"]

MakeLearner = Callable[[NetworkSpec, Problem], NetworkLearner]


@dataclass(frozen=True)
class Together:
    """Say what a framework computes as one.

    Members of equal ``shape`` can be; those of shape None train alone. ``pays`` tells how many
    of a member's like are worth it, from shapes alone: a result must not depend on how busy a
    machine is. ``open`` returns the steppers of members of one shape, with their rows staged.
    """

    shape: Callable[[Member], Hashable]
    pays: Callable[[Member], int]
    open: Callable[[Mapping[int, Start]], Steppers]


def count_at_once(together: Together | None, member: Member, asked: int) -> int:
    """Return how many of a member's like a cohort computes as one; ``asked`` is 0 for what pays."""
    if together is None or asked == 1 or together.shape(member) is None:
        return 1
    return asked or max(together.pays(member), 1)


class NetworkCohort:
    """Train the members through one framework's steppers; see ``ml.core.learner.Cohort``."""

    def __init__(
        self,
        make_learner: MakeLearner,
        together: Together | None,
        members: Sequence[Member],
        models_at_once: int,
    ) -> None:
        self._groups = [
            _Group(make_learner, together, {index: members[index] for index in indices})
            for indices in _part(together, members, models_at_once)
        ]
        self._group_of = {index: group for group in self._groups for index in group.members}

    def advance(self, epochs: Mapping[int, int]) -> None:
        """Train members on until each has so many epochs in all; those that ended stay so."""
        for group in self._groups:
            group.advance({index: epochs[index] for index in group.members if index in epochs})

    def drop(self, index: int) -> None:
        """Train a member no further; what it has learnt so far stays."""
        self._group_of[index].drop(index)

    def ended(self, index: int) -> bool:
        """Tell whether there are no epochs to come."""
        return self._group_of[index].ended(index)

    def report(self, index: int) -> FitReport:
        """Tell of a member's epochs so far; raises what its training raised."""
        return self._group_of[index].report(index)

    def learner(self, index: int) -> Learner:
        """Return a learner with a member's best weights so far; raises as ``report`` does."""
        return self._group_of[index].learner(index)

    def seconds(self, index: int) -> float:
        """Return a member's share of the wall seconds of training."""
        return self._group_of[index].seconds(index)


@dataclass(frozen=True)
class _End:
    """Hold what is left of a member that trains no further."""

    report: FitReport | None
    problem: Exception | None
    weights: list[Floats32] | None
    seconds: float


def _part(together: Together | None, members: Sequence[Member], asked: int) -> list[list[int]]:
    """Return the members that are computed as one, as even in number as can be."""
    alike: dict[tuple[int, Any], list[int]] = {}
    for index, member in enumerate(members):
        at_once = count_at_once(together, member, asked)
        shape = together.shape(member) if together and at_once > 1 else index
        alike.setdefault((at_once, shape), []).append(index)
    groups: list[list[int]] = []
    for (at_once, _), indices in alike.items():
        count = -(-len(indices) // at_once)
        bounds = [len(indices) * part // count for part in range(count + 1)]
        groups.extend(indices[start:end] for start, end in itertools.pairwise(bounds))
    return groups


class _Group:
    """Train members that are one computation, from when the first of them is asked for."""

    def __init__(
        self, make_learner: MakeLearner, together: Together | None, members: dict[int, Member]
    ) -> None:
        self.members = members
        self._make_learner = make_learner
        self._together = together
        self._steppers: Steppers | None = None
        self._trainings: dict[int, Training] = {}
        self._ends: dict[int, _End] = {}

    def advance(self, epochs: Mapping[int, int]) -> None:
        """Train members on; a problem of the computation ends all that were in it."""
        wanted = {index: goal for index, goal in epochs.items() if index not in self._ends}
        if not wanted:
            return
        try:
            self._open()
            assert self._steppers is not None
            advance(self._steppers, self._trainings, wanted)
        except Exception as problem:  # noqa: BLE001 - the member's report raises it
            for index in wanted:
                self._end(index, problem)
        for index, training in list(self._trainings.items()):
            if training.ended:
                self._end(index)

    def drop(self, index: int) -> None:
        """Train a member no further."""
        if index not in self._ends:
            self._end(index)

    def ended(self, index: int) -> bool:
        """Tell whether there are no epochs to come."""
        return index in self._ends

    def report(self, index: int) -> FitReport:
        """Tell of a member's epochs so far."""
        end = self._ends.get(index) or self._now(index)
        if end.problem is not None:
            raise end.problem
        assert end.report is not None
        return end.report

    def learner(self, index: int) -> Learner:
        """Return a learner with a member's best weights so far."""
        self.report(index)
        end = self._ends.get(index) or self._now(index)
        member = self.members[index]
        learner = self._make_learner(member.spec, member.problem)
        if end.weights is not None:
            learner.take_weights(end.weights)
        return learner

    def seconds(self, index: int) -> float:
        """Return a member's share of the wall seconds."""
        end = self._ends.get(index) or self._now(index)
        return end.seconds

    def _open(self) -> None:
        if self._steppers is not None:
            return
        started = time.monotonic()
        learners, starts = {}, {}
        for index, member in self.members.items():
            learners[index] = self._make_learner(member.spec, member.problem)
            starts[index] = learners[index].start(member.train, member.validation, member.draws)
        steppers: Steppers
        if len(self.members) > 1:
            assert self._together is not None
            steppers = self._together.open(starts)
        else:
            ((index, start),) = starts.items()
            stepper = learners[index].make_stepper(start)
            check_rows(start.train)
            stepper.stage(start.train, start.validation.features if start.validation else None)
            steppers = Alone(stepper)
        for index, start in starts.items():
            member = self.members[index]
            self._trainings[index] = Training(
                start.train,
                start.validation,
                start.spec,
                start.problem,
                member.draws.order,
                member.seconds,
                partial(steppers.weights, index),
            )
        seconds = (time.monotonic() - started) / len(starts)
        for training in self._trainings.values():
            training.charge(seconds)
        self._steppers = steppers

    def _now(self, index: int, problem: Exception | None = None) -> _End:
        training = self._trainings.get(index)
        if training is None:
            return _End(FitReport(), problem, None, 0.0)
        found = problem or training.problem
        if found is not None:
            return _End(None, found, None, training.seconds)
        return _End(training.report(), None, training.best_weights(), training.seconds)

    def _end(self, index: int, problem: Exception | None = None) -> None:
        self._ends[index] = self._now(index, problem)
        self._trainings.pop(index, None)
        if self._steppers is not None:
            self._steppers.release(index)
        if len(self._ends) == len(self.members):
            self._steppers = None
