"""Choose settings and prune trials with Optuna; the only module that imports it."""

from __future__ import annotations

import importlib.util
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from ml.core.contracts import Choice, FloatRange, IntRange, SearchSpace, SweepSpec, Trial
from ml.core.errors import RequestInvalid, Unavailable
from ml.core.points import (
    Params,
    count_points,
    decode,
    draw_point,
    encode,
    key_of,
    point_at,
)
from ml.core.seeding import stream
from ml.core.settings import Settings, contains, size_of

try:
    import optuna
    from optuna.distributions import (
        BaseDistribution,
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )
except ModuleNotFoundError as missing:
    if (missing.name or "").split(".")[0] != "optuna":
        raise
    raise Unavailable(
        "there is no module 'optuna', with which a sweep chooses its settings",
        remedy="pip install 'pytest-mlmatrix[sweep]'",
    ) from None

OPTUNA_VERSION: str = optuna.__version__
# One trial of so many goes on from a rung; and the first rung's share of a training.
ASHA_FACTOR, ASHA_SHARE = 4, 16
HYPERBAND_FACTOR, HYPERBAND_SHARE = 3, 9
# Without a pruner's own steps, a training is looked at so many times.
LOOKS = 10
# How often the sampler is asked anew for settings that were tried, before any untried ones do.
ASKED_AGAIN = 8
# A space of at most so many points is written out to find those that were not tried.
WRITTEN_OUT = 20_000
LARGEST_GRID = 2**62
FEWEST_FOLDS_FOR_WILCOXON = 5
FEWEST_FOR_IMPORTANCE = 10


def check_search(spec: SweepSpec) -> list[str]:
    """Return what is to be known of a sampler and pruner in this space, as warnings.

    Raises RequestInvalid where the sampler cannot search the space, and Unavailable where it
    needs what is not installed.
    """
    continuous = [path for path, one in spec.space.items() if size_of(one) is None]
    choices = [path for path, one in spec.space.items() if isinstance(one, Choice)]
    notes = []
    if spec.sampler == "grid":
        if continuous:
            raise RequestInvalid(
                f"a grid has no points between real numbers: {', '.join(continuous)}",
                code="space_not_finite",
                field=f"sweep.space.{continuous[0]}",
                expected="a choice or a range of whole numbers",
                received="a range of real numbers",
                remedy="list the values: {'kind': 'choice', 'values': […]}; or choose the "
                "sampler 'random' or 'tpe'",
            )
        points = count_points(spec.space) or 0
        if points > LARGEST_GRID:
            raise RequestInvalid(
                "the grid has more points than can be counted",
                code="space_too_large",
                field="sweep.space",
                expected="at most 2**62 points",
                received=f"at least 2**{points.bit_length() - 1}",
                remedy="choose the sampler 'random'",
            )
    if spec.sampler == "cmaes":
        if len(choices) == len(spec.space):
            raise RequestInvalid(
                "cmaes searches numbers, and every hyperparameter here is a choice",
                code="space_not_numeric",
                field="sweep.sampler",
                expected="at least one range of numbers in the space",
                received="choices only",
                remedy="choose the sampler 'tpe', 'random' or 'grid'",
            )
        notes += [f"cmaes searches numbers: {path} is drawn at random" for path in choices]
        _need("cmaes", "cmaes", "pytest-mlmatrix[sweep]")
    if spec.sampler == "gp":
        _need("gp", "torch", "pytest-mlmatrix[torch]")
        _need("gp", "scipy", "pytest-mlmatrix[report]")
    if spec.pruner == "wilcoxon":
        _need("wilcoxon", "scipy", "pytest-mlmatrix[report]")
        if spec.folds < FEWEST_FOLDS_FOR_WILCOXON:
            notes.append(
                f"wilcoxon can tell two trials apart after 4 folds at the earliest: with "
                f"{spec.folds} it prunes none"
            )
    return notes


def rungs_of(spec: SweepSpec, limit: int) -> list[int]:
    """Return after how many of ``limit`` epochs a trial is looked at before its end, ascending.

    Successive halving looks at a 16th and a 4th of the epochs, Hyperband at a 9th and a 3rd.
    """
    if spec.pruner in ("none", "wilcoxon"):
        return []
    if spec.pruner == "median":
        every = max(1, limit // LOOKS)
        return list(range(every, limit, every))
    factor = ASHA_FACTOR if spec.pruner == "successive_halving" else HYPERBAND_FACTOR
    rung, rungs = _first_rung(spec, limit), []
    while rung < limit:
        rungs.append(rung)
        rung *= factor
    return rungs


class Search:
    """Ask for settings, and tell of what became of them; a trial is called by its index.

    Equal calls give equal answers for a seed, whatever the process. ``limit`` is the number of
    epochs (or folds) after which a trial is complete. Index 0 has the settings ``declared``,
    which the sampler hears of where they lie in the space.
    """

    def __init__(
        self, spec: SweepSpec, seed: int, greater_is_better: bool, declared: Settings, limit: int
    ) -> None:
        self._space = dict(sorted(spec.space.items()))
        self._distributions = {path: _distribution(one) for path, one in self._space.items()}
        self._draw = stream(seed, "sweep", "points")
        sampler_seed = int(stream(seed, "sweep", "sampler").integers(2**31))
        with _quiet():
            self._study = optuna.create_study(
                # Hyperband parts the trials among its brackets by this name.
                study_name="sweep",
                sampler=_sampler(spec, sampler_seed),
                pruner=_pruner(spec, limit),
                direction="maximize" if greater_is_better else "minimize",
            )
        self._size = count_points(self._space)
        self._grid: Iterator[int] | None = None
        if spec.sampler == "grid":
            assert self._size is not None
            count = min(self._size, spec.trials + 1)
            places = self._draw.choice(self._size, size=count, replace=False)
            self._grid = iter([int(place) for place in places])
        self._trials: dict[int, optuna.Trial] = {}
        self._seen: set[str] = set()
        self._inside = 0
        self._count = 0
        self._declared: Settings | None = declared

    @property
    def exhausted(self) -> bool:
        """Tell whether every point of the space was asked for."""
        return self._size is not None and self._inside >= self._size

    def ask(self, count: int) -> dict[int, Settings]:
        """Return the settings of at most so many new trials, by index; none is asked for twice."""
        found: dict[int, Settings] = {}
        with _quiet():
            if self._declared is not None and count:
                found[0] = self._ask_declared(self._declared)
                self._declared = None
            while len(found) < count and not self.exhausted:
                index = self._count
                trial, settings = self._ask_untried()
                self._note(index, trial, settings)
                found[index] = settings
        return found

    def report(self, index: int, step: int, value: float) -> None:
        """Tell a trial's value after so many epochs, or of a fold."""
        if index in self._trials:
            self._trials[index].report(value, step)

    def prunes(self, index: int) -> bool:
        """Tell whether to end a trial here, by what was reported of it and of others."""
        with _quiet():
            return index in self._trials and self._trials[index].should_prune()

    def tell(self, index: int, trial: Trial) -> None:
        """Tell how a trial ended; one that failed counts as worse than all others."""
        if index not in self._trials:
            return
        with _quiet():
            if trial.outcome == "ok":
                self._study.tell(self._trials[index], trial.value)
            else:
                self._study.tell(self._trials[index], state=optuna.trial.TrialState.PRUNED)

    def _ask_declared(self, declared: Settings) -> Settings:
        inside = _lie_inside(self._space, declared)
        trial = self._enqueued(encode(self._space, declared)) if inside else None
        self._note(0, trial, declared)
        return declared

    def _ask_untried(self) -> tuple[optuna.Trial, Settings]:
        if self._grid is not None:
            while True:
                params = point_at(self._space, next(self._grid))
                settings = decode(self._space, params)
                if key_of(settings) not in self._seen:
                    return self._enqueued(params), settings
        for _ in range(ASKED_AGAIN):
            trial = self._study.ask(self._distributions)
            settings = decode(self._space, trial.params)
            if key_of(settings) not in self._seen:
                return trial, settings
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
        params = self._draw_untried()
        return self._enqueued(params), decode(self._space, params)

    def _draw_untried(self) -> Params:
        """Return a point that was not tried, drawn evenly from all such points."""
        if self._size is not None and self._size <= WRITTEN_OUT:
            places = range(self._size)
            points = (point_at(self._space, place) for place in places)
            left = [p for p in points if key_of(decode(self._space, p)) not in self._seen]
            return left[int(self._draw.integers(len(left)))]
        while True:
            params = draw_point(self._draw, self._space)
            if key_of(decode(self._space, params)) not in self._seen:
                return params

    def _enqueued(self, params: Params) -> optuna.Trial:
        self._study.enqueue_trial(params)
        return self._study.ask(self._distributions)

    def _note(self, index: int, trial: optuna.Trial | None, settings: Settings) -> None:
        if trial is not None:
            self._trials[index] = trial
            self._inside += 1
        self._seen.add(key_of(settings))
        self._count = index + 1


def measure_importance(
    space: SearchSpace, trials: list[Trial], seed: int, greater_is_better: bool, unit: str
) -> tuple[dict[str, float], str]:
    """Return each hyperparameter's share of the variance of the values, and by which method.

    fANOVA (Hutter, Hoos and Leyton-Brown 2014) on the values of complete trials; where fewer
    than half of those with a value are complete, on the values after the first step, which all
    of them have alike; ``unit`` is what a step is counted in. Without scikit-learn it is
    PED-ANOVA (Watanabe, Bansal and Hutter 2023).
    Nothing, and the reason, where that tells nothing.
    """
    inside = [trial for trial in trials if _lie_inside(space, trial.settings)]
    values, what = _comparable_values(inside, unit)
    varied = [
        path
        for path in sorted(space)
        if len({key_of({path: trial.settings[path]}) for trial, _ in values}) > 1
    ]
    if len(values) < FEWEST_FOR_IMPORTANCE:
        counted = f"{len(values)} trial{'' if len(values) == 1 else 's'}"
        return {}, f"none: {counted} can be compared, and it takes {FEWEST_FOR_IMPORTANCE}"
    if len(varied) < 2:
        return {}, "none: fewer than two hyperparameters were varied"
    if len({value for _, value in values}) < 2:
        return {}, "none: all values are equal"
    chosen = {path: space[path] for path in varied}
    distributions = {path: _distribution(one) for path, one in chosen.items()}
    found = int(stream(seed, "sweep", "importance").integers(2**31))
    with _quiet():
        study = optuna.create_study(direction="maximize" if greater_is_better else "minimize")
        for trial, value in values:
            settings = {path: trial.settings[path] for path in varied}
            params = encode(chosen, settings)
            study.add_trial(
                optuna.trial.create_trial(params=params, distributions=distributions, value=value)
            )
        evaluator: optuna.importance.BaseImportanceEvaluator
        if importlib.util.find_spec("sklearn") is None:
            name, evaluator = "PED-ANOVA", optuna.importance.PedAnovaImportanceEvaluator()
        else:
            name = "fANOVA"
            evaluator = optuna.importance.FanovaImportanceEvaluator(seed=found)
        try:
            shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
        except RuntimeError as problem:  # Optuna finds no variance in any tree.
            return {}, f"none: {problem}"
    return {path: float(share) for path, share in shares.items()}, f"{name} of {what}"


def _lie_inside(space: SearchSpace, settings: Settings) -> bool:
    return settings.keys() == space.keys() and all(
        contains(one, settings[path]) for path, one in space.items()
    )


def _comparable_values(trials: list[Trial], unit: str) -> tuple[list[tuple[Trial, float]], str]:
    """Return values of trials that were trained alike, and what they are."""
    complete = [(t, t.value) for t in trials if t.outcome == "ok" and t.value is not None]
    looked_at = [t for t in trials if t.value is not None and t.steps]
    if 2 * len(complete) >= len(looked_at) or not looked_at:
        return complete, "the values of complete trials"
    first = min(trial.steps[0][0] for trial in looked_at)
    early = [(t, t.steps[0][1]) for t in looked_at if t.steps[0][0] == first]
    return early, f"the values after {first} {unit}{'' if first == 1 else 's'}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna from writing to the terminal of whoever called us."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(level)


def _need(what: str, module: str, extra: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise Unavailable(
            f"{what} needs the module {module!r}, which is not installed",
            field="sweep",
            remedy=f"pip install '{extra}', or choose another one",
        )


def _sampler(spec: SweepSpec, seed: int) -> optuna.samplers.BaseSampler:
    # By default ten trials are drawn at random, which is half of a small sweep.
    startup = max(4, min(10, spec.trials // 4))
    if spec.sampler == "tpe":
        return optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=startup, multivariate=True, constant_liar=True
        )
    if spec.sampler == "gp":
        return optuna.samplers.GPSampler(
            seed=seed, n_startup_trials=startup, warn_independent_sampling=False
        )
    if spec.sampler == "cmaes":
        return optuna.samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False)
    # The points of a grid are enqueued, so that none is drawn.
    return optuna.samplers.RandomSampler(seed=seed)


def _pruner(spec: SweepSpec, limit: int) -> optuna.pruners.BasePruner:
    if spec.pruner == "median":
        return optuna.pruners.MedianPruner()
    if spec.pruner == "wilcoxon":
        return optuna.pruners.WilcoxonPruner()
    if spec.pruner == "successive_halving":
        return optuna.pruners.SuccessiveHalvingPruner(
            min_resource=_first_rung(spec, limit), reduction_factor=ASHA_FACTOR
        )
    if spec.pruner == "hyperband":
        return optuna.pruners.HyperbandPruner(
            min_resource=_first_rung(spec, limit),
            max_resource=limit,
            reduction_factor=HYPERBAND_FACTOR,
        )
    return optuna.pruners.NopPruner()


def _first_rung(spec: SweepSpec, limit: int) -> int:
    if spec.pruner == "hyperband":
        return max(1, limit // HYPERBAND_SHARE)
    return math.ceil(limit / ASHA_SHARE)


def _distribution(dimension: FloatRange | IntRange | Choice) -> BaseDistribution:
    if isinstance(dimension, Choice):
        # Optuna takes scalars only, and true for 1: it is given their places.
        return CategoricalDistribution(range(len(dimension.values)))
    if isinstance(dimension, IntRange):
        high = dimension.high - (dimension.high - dimension.low) % dimension.step
        return IntDistribution(dimension.low, high, log=dimension.log, step=dimension.step)
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log)
