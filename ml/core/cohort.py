"""Train several networks side by side, each as if it were alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ml.core.contracts import NetworkSpec
from ml.core.learner import Cohort, FitReport, Floats32, Learner, Member, Problem
from ml.core.loop import Alone, Steppers, Training, advance
from ml.core.networks import NetworkLearner

__all__ = ["Cohort", "Member", "NetworkCohort"]

MakeLearner = Callable[[NetworkSpec, Problem], NetworkLearner]


class NetworkCohort:
    """Train the members through one framework's steppers; see ``ml.core.learner.Cohort``."""

    def __init__(
        self, make_learner: MakeLearner, members: Sequence[Member], models_at_once: int
    ) -> None:
        self._groups = [_Group(make_learner, {index: one}) for index, one in enumerate(members)]
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


class _Group:
    """Train members that are one computation, from when the first of them is asked for."""

    def __init__(self, make_learner: MakeLearner, members: dict[int, Member]) -> None:
        self.members = members
        self._make_learner = make_learner
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
        ((index, member),) = self.members.items()
        learner = self._make_learner(member.spec, member.problem)
        start = learner.start(member.train, member.validation, member.draws)
        stepper = learner.make_stepper(start)
        self._steppers = Alone(stepper)
        training = Training(
            start.train,
            start.validation,
            start.spec,
            start.problem,
            member.draws.order,
            member.seconds,
            stepper.weights,
        )
        stepper.stage(start.train, start.validation.features if start.validation else None)
        training.charge(time.monotonic() - started)
        self._trainings[index] = training

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
