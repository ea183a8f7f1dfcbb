"""Train models of trials by the indices of their trials: side by side, or one by one."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from ml.core.contracts import NetworkSpec, SweepRequest
from ml.core.folds import Fold
from ml.core.imported import make_learner
from ml.core.learner import Adapter, Cohort, Draws, FitReport, Learner, Member
from ml.core.settings import Model


def trains_networks(request: SweepRequest, adapter: Adapter) -> bool:
    """Tell whether the request's model trains in epochs, and not in one go."""
    return isinstance(request.model, NetworkSpec) and adapter.open_cohort is not None


def open_trainees(
    request: SweepRequest,
    adapter: Adapter,
    models: Mapping[int, Model],
    fold: Fold,
    number: int,
    seconds: float,
) -> Cohort:
    """Return a cohort of models, called by their trials' indices, on the fold of this number.

    All of them draw from the same random streams, so that equal settings give equal models.
    Networks train side by side; what trains in one go is fitted when it is asked to advance.
    """
    members: dict[int, Member] = {}
    fits: dict[int, Callable[[], tuple[Learner, FitReport]]] = {}
    for index, model in models.items():
        draws = Draws.of(request.seed, "trial", number)
        if trains_networks(request, adapter):
            assert isinstance(model, NetworkSpec)
            members[index] = Member(
                model, fold.problem, fold.train, fold.validation, draws, seconds
            )
        else:
            fits[index] = _fit_later(adapter, model, fold, draws, seconds)
    return _SideBySide(request, adapter, members) if members else _OneByOne(fits)


def _fit_later(
    adapter: Adapter, model: Model, fold: Fold, draws: Draws, seconds: float
) -> Callable[[], tuple[Learner, FitReport]]:
    def fit() -> tuple[Learner, FitReport]:
        learner = make_learner(adapter, model, fold.problem)
        held = fold.validation if adapter.uses_validation else None
        return learner, learner.fit(fold.train, held, draws, seconds)

    return fit


class _SideBySide:
    """Call the members of a cohort by the indices of their trials; see ``Cohort``."""

    def __init__(
        self, request: SweepRequest, adapter: Adapter, members: Mapping[int, Member]
    ) -> None:
        assert adapter.open_cohort is not None
        self._places = {index: place for place, index in enumerate(members)}
        self._cohort = adapter.open_cohort(list(members.values()), request.runtime.models_at_once)

    def advance(self, epochs: Mapping[int, int]) -> None:
        self._cohort.advance({self._places[index]: goal for index, goal in epochs.items()})

    def drop(self, index: int) -> None:
        self._cohort.drop(self._places[index])

    def ended(self, index: int) -> bool:
        return self._cohort.ended(self._places[index])

    def report(self, index: int) -> FitReport:
        return self._cohort.report(self._places[index])

    def learner(self, index: int) -> Learner:
        return self._cohort.learner(self._places[index])

    def seconds(self, index: int) -> float:
        return self._cohort.seconds(self._places[index])


class _OneByOne:
    """Fit what trains in one go, when it is asked to advance; see ``Cohort``."""

    def __init__(self, fits: Mapping[int, Callable[[], tuple[Learner, FitReport]]]) -> None:
        self._fits = dict(fits)
        self._fitted: dict[int, tuple[Learner, FitReport] | Exception] = {}
        self._seconds: dict[int, float] = {}

    def advance(self, epochs: Mapping[int, int]) -> None:
        for index in epochs:
            started = time.monotonic()
            try:
                self._fitted[index] = self._fits.pop(index)()
            except Exception as problem:  # noqa: BLE001 - the trial's report raises it
                self._fitted[index] = problem
            self._seconds[index] = time.monotonic() - started

    def drop(self, index: int) -> None:
        self._fitted.pop(index, None)

    def ended(self, index: int) -> bool:
        return index in self._fitted

    def report(self, index: int) -> FitReport:
        return self._found(index)[1]

    def learner(self, index: int) -> Learner:
        return self._found(index)[0]

    def seconds(self, index: int) -> float:
        return self._seconds.get(index, 0.0)

    def _found(self, index: int) -> tuple[Learner, FitReport]:
        found = self._fitted[index]
        if isinstance(found, Exception):
            raise found
        return found
