"""Make nights for the site's tests: one matrix over and over, with changes at known nights."""

import random
import statistics
from datetime import UTC, datetime, timedelta

from report_fixture import HOSTILE, make_head, make_record, make_result, make_run, make_score
from report_matrix import make_failure, make_matrix_record

from harness.report.digest import digest_cell
from harness.store.record import End, Verdict
from harness.store.series import Point, Series
from harness.trends.trend import Segment, Since, Trend

DATASETS = {"wine": "classification", "oils": "classification", "ames": "regression"}
ALGORITHMS = (
    ("linear", "sklearn"),
    ("mlp", "pytorch"),
    ("mlp", "tensorflow"),
    ("mlp", "jax"),
)
SLOWER = "wine-mlp-pytorch-train"
WORSE = "oils-mlp-jax-train"
BETTER = "ames-linear-sklearn-train"
ODD = "wine-mlp-tensorflow-train"
ALIKE = "oils-linear-sklearn-train"
BROKEN = "ames-mlp-tensorflow-train"
FIXED = "oils-mlp-pytorch-train"
ALWAYS = "ames-mlp-jax-train"
KINDS = {"score": "metric", "fit": "timing", "seconds": "timing", "peak_memory": "memory"}
FIRST = datetime(2026, 2, 1, 2, tzinfo=UTC)


def name_night(night):
    return f"{FIRST + timedelta(days=night):%Y%m%d-%H%M%S}-{night:06x}"


def commit_of(night):
    return f"{random.Random(night // 2).getrandbits(160):040x}"


def shift(record, night, factor):
    """Return the record with noise of its night, and its score and fit times multiplied."""
    draw = random.Random(f"{record.cell} {night}")
    score_by, fit_by = factor
    metric = record.result.metric
    noise = [draw.gauss(0, 0.004) for _ in record.result.replicates]
    replicates = tuple(
        one.model_copy(
            update={
                "metrics": {**one.metrics, metric: one.metrics[metric] * (score_by + noise[place])},
                "timings": one.timings.model_copy(
                    update={"fit": one.timings.fit * fit_by * (1 + abs(draw.gauss(0, 0.03)))}
                ),
            }
        )
        for place, one in enumerate(record.result.replicates)
    )
    values = [one.metrics[metric] for one in replicates]
    value = sum(values) / len(values)
    score = make_score(
        value, record.score.baseline, record.score.greater_is_better, 0.004 * value, metric
    )
    result = record.result.model_copy(
        update={
            "replicates": replicates,
            "peak_memory_bytes": int(record.result.peak_memory_bytes * (1 + draw.gauss(0, 0.01))),
        }
    )
    seconds = record.seconds * (1 + abs(draw.gauss(0, 0.05)))
    return record.model_copy(update={"score": score, "result": result, "seconds": seconds})


def make_nights(reports, nights=12):
    """Make the runs of so many nights, newest first; what changes does so at two thirds."""
    at = nights * 2 // 3
    runs = []
    for night in range(nights):
        records = []
        for dataset, task in DATASETS.items():
            for algorithm, framework in ALGORITHMS:
                cell = f"{dataset}-{algorithm}-{framework}-train"
                broken = (
                    (cell == BROKEN and night == nights - 1)
                    or (cell == FIXED and night == nights - 2)
                    or (cell == ALWAYS and night >= at)
                )
                if broken:
                    kind = "timeout" if cell == BROKEN else "crashed"
                    records.append(make_failure(dataset, algorithm, framework, kind, task=task))
                    continue
                factor = {
                    SLOWER: (1.0, 1.12 if night >= at else 1.0),
                    WORSE: (0.95 if night >= at else 1.0, 1.0),
                    BETTER: (0.9 if night >= at else 1.0, 1.0),
                    ODD: (1.0, 1.3 if night == nights - 1 else 1.0),
                }.get(cell, (1.0, 1.0))
                record = make_matrix_record(dataset, algorithm, framework, task)
                records.append(shift(record, night, factor))
        moment = FIRST + timedelta(days=night)
        name = name_night(night)
        head = make_head(
            name,
            started=moment.isoformat(timespec="milliseconds"),
            git_commit=commit_of(night),
            git_dirty=False,
            packages={
                "numpy": "2.4.6",
                "scikit-learn": "1.9.1",
                "torch": "2.14.0+cpu" if night >= at else "2.13.0+cpu",
            },
        )
        ended = (moment + timedelta(minutes=20)).isoformat(timespec="milliseconds")
        end = End(finished=ended, exit_status=1, seconds=1200.0)
        runs.append(make_run(reports / "runs" / name, *records, head=head, end=end))
    return runs[::-1]


def make_series(runs):
    """Return the series of runs, given newest first, as the index has them of journals."""
    points = {}
    for run in runs[::-1]:
        for record in run.records:
            if record.result is None:
                continue
            digest = digest_cell(record)
            values = (digest.value, digest.fit, digest.seconds, digest.peak_memory)
            for (measure, kind), value in zip(KINDS.items(), values, strict=True):
                greater = measure == "score" and digest.greater_is_better
                found = points.setdefault((record.cell, measure, kind, greater), [])
                replicates = digest.replicates if measure == "score" else ()
                head = run.head
                found.append(
                    Point(
                        run=run.folder.name,
                        started=head.started,
                        commit=head.git_commit,
                        dirty=head.git_dirty,
                        environment="",
                        data="",
                        entry="",
                        value=value,
                        replicates=replicates,
                    )
                )
    return {key[:2]: Series(*key, tuple(found)) for key, found in points.items()}


def make_trends(runs):
    """Return trends by hand that say what ``make_nights`` did to its runs."""
    nights = len(runs)
    at = nights * 2 // 3
    oldest_first = runs[::-1]

    def value(run, cell, measure):
        record = next(record for record in run.records if record.cell == cell)
        if measure == "score":
            return record.score.value
        return statistics.fmean(one.timings.fit for one in record.result.replicates)

    def segment(cell, measure, first, last):
        values = [value(run, cell, measure) for run in oldest_first[first : last + 1]]
        level = statistics.fmean(values)
        half = 2 * statistics.pstdev(values) or 0.01 * level
        return Segment(first, last, level, level - half, level + half)

    def trend(cell, measure, state, effect, evidence, after=at, segments=None):
        since = Since(
            name_night(after - 1), name_night(after), commit_of(after - 1), commit_of(after)
        )
        if segments is None:
            segments = (
                segment(cell, measure, 0, after - 1),
                segment(cell, measure, after, nights - 1),
            )
        interval = (effect - 0.015, effect + 0.015)
        return Trend(cell, measure, state, True, since, effect, interval, evidence, segments)

    paired = "paired over 3 splits: the interval excludes zero and passes the floor of 1 %"
    whole = (segment(ODD, "fit", 0, nights - 2),)
    return [
        trend(SLOWER, "fit", "regressed", 0.12, "change point with p = 0.001, floor 5 %"),
        trend(WORSE, "score", "regressed", -0.05, paired),
        trend(BETTER, "score", "improved", -0.1, paired),
        trend(ODD, "fit", "suspect", 0.3, "above the band, not measured again", nights - 1, whole),
        trend(ALIKE, "score", "unchanged", 2e-7, "differs by 2e-07; 1 % would matter"),
        Trend(
            cell=SLOWER,
            measure="score",
            state="unchanged",
            changed=False,
            since=None,
            effect=None,
            interval=None,
            evidence=f"one level over {nights} runs",
            segments=(segment(SLOWER, "score", 0, nights - 1),),
        ),
    ]


def make_hostile_night(folder, text=HOSTILE):
    """Make a run and a trend in which names, metric, error and evidence are the given text."""
    draw = random.Random(0)
    result = make_result(f"{text}-mlp-jax-train", "jax", "classification", 0.5, True, draw, 5)
    replicate = result.replicates[0].model_copy(update={"metrics": {text: 0.5}})
    result = result.model_copy(
        update={"metric": text, "replicates": (replicate,), "warnings": (text,)}
    )
    good = make_record(
        text,
        text,
        "pytorch",
        result=result,
        score=make_score(0.9, 0.5, metric=text),
        verdicts=(Verdict(gate=text, status="pass", text=text, expected=text),),
    )
    bad = make_failure(text, "mlp", "jax", "error", request={text: text})
    bad = bad.model_copy(
        update={
            "reason": text,
            "error": bad.error.model_copy(update={"message": text, "detail": text}),
        }
    )
    head = make_head(folder.name, git_commit=text, git_branch=text, packages={text: text})
    run = make_run(folder, good, bad, head=head)
    since = Since(text, folder.name, text, text)
    segment = Segment(0, 0, 0.9, 0.8, 1.0)
    trends = [
        Trend(good.cell, measure, "regressed", True, since, 0.1, (0.05, 0.2), text, (segment,))
        for measure in ("score", text)
    ]
    return run, trends
