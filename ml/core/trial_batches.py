"""Train the trials of a batch side by side, look at them on the way, and end those that lag."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import ValidationError

from ml.core.contracts import GREATER_IS_BETTER, SweepRequest, Trial
from ml.core.errors import MatrixError, RequestInvalid, describe, is_want_of_memory
from ml.core.folds import Fold
from ml.core.learner import Adapter, Cohort
from ml.core.search import Search
from ml.core.settings import Model, Settings, apply_settings
from ml.core.trainees import open_trainees, trains_networks
from ml.core.trial_journal import TrialJournal
from ml.core.trials import TrialOutcome

# How many times the clock is looked at in a training whose sweep is limited in time.
TIME_CHECKS = 20
OUT_OF_TIME = "the sweep's seconds were used up before it was done"


class Spending:
    """Count what the trials of a sweep cost, against its limits."""

    def __init__(self, epochs: int | None, seconds: float | None, elapsed: float) -> None:
        self._limit, self._seconds = epochs, seconds
        self._started = time.monotonic() - elapsed
        self.epochs = 0

    @property
    def elapsed(self) -> float:
        """Return the wall seconds of the search, those of earlier processes included."""
        return time.monotonic() - self._started

    @property
    def epochs_left(self) -> int | None:
        """Return how many epochs may be trained, None without a limit."""
        return None if self._limit is None else max(0, self._limit - self.epochs)

    @property
    def seconds_left(self) -> float | None:
        """Return how many wall seconds are left, None without a limit."""
        return None if self._seconds is None else max(0.0, self._seconds - self.elapsed)

    @property
    def is_out_of_time(self) -> bool:
        """Tell whether the seconds are used up."""
        return self.seconds_left == 0.0


@dataclass(frozen=True)
class Course:
    """Hold what all batches of a sweep share.

    ``rungs`` are the epochs after which trials are judged, ``limit`` the most that one trains.
    """

    request: SweepRequest
    adapter: Adapter
    folds: Sequence[Fold]
    search: Search
    journal: TrialJournal
    spending: Spending
    rungs: Sequence[int]
    limit: int

    @property
    def trains_networks(self) -> bool:
        """Tell whether trials train in epochs, and not in one go."""
        return trains_networks(self.request, self.adapter)

    @property
    def in_epochs(self) -> bool:
        """Tell whether trials are judged epoch by epoch, and not fold by fold."""
        return self.trains_networks and len(self.folds) == 1


def run_batch(course: Course, asked: Mapping[int, Settings]) -> list[Trial]:
    """Train trials by their settings and return them in the order of their indices.

    Each is appended to the journal as it ends; those that stand there are not trained again, and
    are judged at the same places as they were. Trials for which there was no time are left out.
    Raises RequestInvalid where the journal has other settings of a trial.
    """
    return _Batch(course, asked).run()


@dataclass
class _Run:
    """Hold a trial on its way; ``recorded`` is what the journal has of it, ``ended`` its end.

    ``earlier`` are its seconds on the folds before, ``looked`` those of valuing it.
    """

    index: int
    settings: Settings
    model: Model | None
    recorded: Trial | None
    steps: list[tuple[int, float]] = field(default_factory=list)
    epochs: int = 0
    seconds: float = 0.0
    earlier: float = 0.0
    looked: float = 0.0
    reason: str = ""
    ended: Trial | None = None


class _Batch:
    """Take a batch through its folds, or its rungs."""

    def __init__(self, course: Course, asked: Mapping[int, Settings]) -> None:
        self._course = course
        self._trainees: Cohort | None = None
        self._runs = [self._make_run(index, settings) for index, settings in asked.items()]
        # What is only replayed takes no time, though the clock may have run out since.
        self._replays = all(one.recorded is not None for one in self._runs)

    def run(self) -> list[Trial]:
        """Return the trials, ended."""
        for number, fold in enumerate(self._course.folds):
            models = {
                one.index: one.model
                for one in self._live()
                if one.recorded is None and one.model is not None
            }
            if models:
                self._trainees = open_trainees(
                    self._course.request,
                    self._course.adapter,
                    models,
                    fold,
                    number,
                    self._training_seconds(),
                )
            if self._course.in_epochs:
                self._train_by_rungs(fold)
            else:
                self._train_on_fold(fold, number)
        for run in self._live():
            if run.recorded is not None:
                self._end_as_recorded(run)
        return [one.ended for one in self._runs if one.ended is not None]

    def _make_run(self, index: int, settings: Settings) -> _Run:
        request, recorded = self._course.request, self._course.journal.trials.get(index)
        if recorded is not None and recorded.settings != settings:
            raise RequestInvalid(
                f"trial {index} of the journal has other settings than this sweep gives it",
                code="journal_mismatch",
                field="sweep.journal",
                expected=describe(settings),
                received=describe(recorded.settings),
                remedy="name another journal, or delete it to begin anew",
            )
        if index == 0:
            return _Run(index, settings, request.model, recorded)
        try:
            model = apply_settings(request.model, settings)
        except ValidationError as problem:
            why = problem.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
            run = _Run(index, settings, None, recorded)
            self._end(run, "error", f"these settings do not fit each other: {why}")
            return run
        return _Run(index, settings, model, recorded)

    def _live(self) -> list[_Run]:
        return [one for one in self._runs if one.ended is None]

    def _training_seconds(self) -> float:
        """Return the most seconds of one training: as long as one of a plain request."""
        request, left = self._course.request, self._course.spending.seconds_left
        limit = request.replicate_seconds
        return limit if left is None else min(limit, max(left, 1e-3))

    def _is_out_of_time(self) -> bool:
        return not self._replays and self._course.spending.is_out_of_time

    def _train_by_rungs(self, fold: Fold) -> None:
        """Train from rung to rung; what goes on does so from where it is."""
        course, reached = self._course, 0
        for target in [*course.rungs, course.limit]:
            live = self._live()
            if not live:
                break
            left, goal = course.spending.epochs_left, target
            if left is not None:
                goal = min(target, reached + left // len(live))
            if goal > reached:
                self._advance(live, reached, goal)
                for run in live:
                    self._look(run, fold, goal)
                if goal == target < course.limit:
                    self._judge(live, target)
            reached = goal
            if goal < target:
                self._cut("pruned", "the sweep's epochs were used up before it was done")
            elif self._is_out_of_time():
                self._cut("timeout", OUT_OF_TIME)

    def _train_on_fold(self, fold: Fold, number: int) -> None:
        """Train on one fold to the end: networks side by side, all else one by one."""
        course, step = self._course, number + 1
        if course.trains_networks:
            self._advance(self._live(), 0, course.limit)
        for run in self._live():
            if not course.trains_networks and run.recorded is None:
                if self._is_out_of_time() and (run.index or number):
                    break
                self._advance([run], 0, 1)
            self._look(run, fold, step)
        if step < len(course.folds):
            self._judge([one for one in self._runs if len(one.steps) == step], step)
        if self._is_out_of_time():
            # What was not begun is no trial.
            self._runs = [one for one in self._runs if one.ended or one.steps or one.seconds]
            self._cut("timeout", OUT_OF_TIME)

    def _advance(self, runs: Sequence[_Run], start: int, goal: int) -> None:
        spending = self._course.spending
        fresh = [one.index for one in runs if one.recorded is None]
        if self._trainees is None or not fresh:
            return
        step = goal - start
        if spending.seconds_left is not None:
            step = min(step, max(1, self._course.limit // TIME_CHECKS))
        for until in [*range(start + step, goal, step), goal]:
            self._trainees.advance(dict.fromkeys(fresh, until))
            if spending.is_out_of_time:
                break

    def _look(self, run: _Run, fold: Fold, step: int) -> None:
        """Take a trial's value as it now is; it ends where its training has."""
        if run.recorded is not None:
            self._replay(run, run.recorded)
            return
        trainees, in_epochs = self._trainees, self._course.in_epochs
        assert trainees is not None
        started, before = time.monotonic(), 0 if in_epochs else run.epochs
        problem, value, epochs = None, 0.0, 1
        try:
            report = trainees.report(run.index)
            if report.stopped == "time_budget":
                run.reason = "its training was stopped by its seconds, before it was done"
            epochs = report.epochs if self._course.trains_networks else 1
            value = fold.value(trainees.learner(run.index))
        except Exception as found:  # noqa: BLE001 - whatever a trial raises is its own row
            problem = found
            epochs = max(getattr(found, "epoch", 0), (run.epochs if in_epochs else 0) + 1)
        run.looked += time.monotonic() - started
        trained = run.earlier + trainees.seconds(run.index)
        self._spend(run, before + epochs, trained + run.looked)
        if problem is not None:
            self._end(run, *describe_failure(problem))
        elif in_epochs:
            run.steps.append((epochs, value))
            if trainees.ended(run.index):
                self._finish(run)
        elif trainees.ended(run.index):  # Else its time was up, and the fold values nothing.
            run.earlier = trained
            run.steps.append((step, value))
            if step == len(self._course.folds):
                self._finish(run)

    def _replay(self, run: _Run, recorded: Trial) -> None:
        """Take what the journal has of a trial up to the same place."""
        place, steps = len(run.steps), recorded.steps
        if place < len(steps):
            run.steps.append(steps[place])
            if self._course.in_epochs:
                self._spend(run, steps[place][0], recorded.seconds)
        if place == len(steps):
            self._end_as_recorded(run)
        elif place + 1 == len(steps) and recorded.outcome == "ok":
            self._finish(run)

    def _judge(self, runs: Sequence[_Run], step: int) -> None:
        """Compare trials with all that came as far, the best first, and end those that lag.

        So none goes on where a better one of its batch does not. The declared model is what the
        others are compared with, and always goes on.
        """
        search = self._course.search
        # Folds are paired where they are compared one by one.
        alone = self._course.in_epochs or self._course.request.sweep.pruner == "wilcoxon"
        values = {}
        for run in runs:
            if run.ended is None:
                found = [value for _, value in run.steps]
                values[run.index] = found[-1] if alone else statistics.fmean(found)
                search.report(run.index, step, values[run.index])
        sign = -1 if GREATER_IS_BETTER[self._course.folds[0].metric] else 1
        live = [run for run in runs if run.index in values]
        for run in sorted(live, key=lambda one: (sign * values[one.index], one.index)):
            prunes = search.prunes(run.index) and run.index > 0
            if run.recorded is None and prunes:
                assert self._trainees is not None
                self._trainees.drop(run.index)
                self._end(run, "pruned")
            elif run.recorded is not None and _was_pruned_at(run.recorded, len(run.steps)):
                self._end_as_recorded(run)

    def _finish(self, run: _Run) -> None:
        self._end(run, "ok", run.reason)
        if not self._course.in_epochs:
            return
        # What stopped early competes at the rungs above with the value that it keeps.
        epochs, value = run.steps[-1]
        for rung in self._course.rungs:
            if rung >= epochs:
                self._course.search.report(run.index, rung, value)
                if self._course.search.prunes(run.index):
                    break

    def _cut(self, outcome: TrialOutcome, reason: str) -> None:
        """End what is left, since a limit of the sweep is reached."""
        for run in self._live():
            if self._trainees is not None and run.recorded is None:
                self._trainees.drop(run.index)
            self._end(run, outcome, reason)

    def _end(self, run: _Run, outcome: TrialOutcome, reason: str = "") -> None:
        if run.recorded is not None:
            self._end_as_recorded(run)
            return
        values = [value for _, value in run.steps]
        value = None
        if values and outcome in ("ok", "pruned", "timeout"):
            value = values[-1] if self._course.in_epochs else statistics.fmean(values)
        run.ended = Trial(
            index=run.index,
            settings=run.settings,
            outcome=outcome,
            reason=reason,
            value=value,
            steps=tuple(run.steps),
            epochs=run.epochs,
            seconds=run.seconds,
        )
        self._course.journal.append(run.ended, self._course.spending.elapsed)

    def _end_as_recorded(self, run: _Run) -> None:
        assert run.recorded is not None
        run.ended = run.recorded
        self._spend(run, run.recorded.epochs, run.recorded.seconds)

    def _spend(self, run: _Run, epochs: int, seconds: float) -> None:
        self._course.spending.epochs += epochs - run.epochs
        run.epochs, run.seconds = epochs, seconds


def _was_pruned_at(recorded: Trial, place: int) -> bool:
    """Tell whether a trial was pruned after so many steps, and not cut by a limit of the sweep."""
    return recorded.outcome == "pruned" and not recorded.reason and len(recorded.steps) == place


def describe_failure(problem: Exception) -> tuple[TrialOutcome, str]:
    """Return a failed trial's outcome and reason."""
    if isinstance(problem, MatrixError):
        if isinstance(problem, RequestInvalid):
            return "error", problem.message
        return problem.outcome, problem.message  # type: ignore[return-value]  # a class attribute
    if is_want_of_memory(problem):
        return "out_of_memory", describe(problem)
    return "error", f"{type(problem).__name__}: {describe(problem)}"
