"""Write runs that never were: valid journals of full records, as many and as fast as needed.

    python benchmarks/synthetic_runs.py FOLDER --runs 1000 --cells 500

Metrics, times, memory, environment and a few failures vary as they do from night to night; the
same seed gives the same runs. A template of each cell is made by the real models, once, and what
varies is put into its text.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from harness.store.journal import JOURNAL
from harness.store.record import End, Head, Record, Score, Verdict
from ml.core.contracts import (
    DataSummary,
    DescriptorData,
    ErrorInfo,
    EstimatorSpec,
    History,
    NetworkSpec,
    ReplicateResult,
    RuntimeSpec,
    SampleInfo,
    Timings,
    TrainRequest,
    TrainResult,
)

FRAMEWORKS = ("sklearn", "pytorch", "tensorflow", "jax")
ALGORITHMS = ("linear", "mlp", "resnet", "cnn", "transformer")
REPLICATES = 3
FIRST_NIGHT = datetime(2026, 1, 1, 2, tzinfo=UTC)
# A night on which a package is newer, and one on which the machine is another.
PACKAGE_NIGHT, MACHINE_NIGHT = 0.4, 0.7
NOISE = 0.03
FAILED = 0.004


def cell_names(cells: int) -> list[tuple[str, str, str, str]]:
    """Return dataset, algorithm, framework and task of so many cells."""
    found = []
    for index in range(cells):
        dataset, rest = divmod(index, len(FRAMEWORKS) * len(ALGORITHMS))
        algorithm, framework = divmod(rest, len(FRAMEWORKS))
        task = ("classification", "regression")[dataset % 2]
        found.append((f"data{dataset:02}", ALGORITHMS[algorithm], FRAMEWORKS[framework], task))
    return found


def write_runs(reports: Path, runs: int, cells: int, first: int = 0, seed: int = 0) -> list[Path]:
    """Write so many runs of so many cells; ``first`` is the number of the first one's night."""
    written = []
    texts = [_Cell(*names, seed) for names in cell_names(cells)]
    for night in range(first, first + runs):
        started = FIRST_NIGHT + timedelta(days=night)
        draw = random.Random(f"{seed} {night}")
        name = f"{started:%Y%m%d-%H%M%S}-{draw.getrandbits(24):06x}"
        folder = reports / "runs" / name
        folder.mkdir(parents=True)
        head = _make_head(name, started, night, max(runs, first + runs), draw)
        lines = [head.model_dump_json().encode()]
        # Some nights a machine is slower in all it does.
        slow = draw.lognormvariate(0, NOISE)
        lines += [one.write(name, started, night, slow, draw) for one in texts]
        finished = (started + timedelta(hours=1)).isoformat(timespec="milliseconds")
        end = End(finished=finished, exit_status=0, seconds=3600.0)
        lines.append(end.model_dump_json().encode())
        (folder / JOURNAL).write_bytes(b"\n".join(lines) + b"\n")
        written.append(folder)
    return written


def _make_head(name: str, started: datetime, night: int, nights: int, draw: random.Random) -> Head:
    return Head(
        run=name,
        started=started.isoformat(timespec="milliseconds"),
        command=("pytest", "-m", "slow_matrix"),
        git_commit=f"{draw.getrandbits(160):040x}",
        git_branch="main",
        git_dirty=False,
        python="3.11.7",
        platform="Linux-6.1-x86_64-with-glibc2.36",
        cpu="AMD EPYC 9654" if night < MACHINE_NIGHT * nights else "AMD EPYC 9755",
        cores=8,
        memory_bytes=32 * 2**30,
        threads_per_worker=1,
        runtime=RuntimeSpec(),
        packages={
            "numpy": "2.4.5" if night < PACKAGE_NIGHT * nights else "2.4.6",
            "scikit-learn": "1.9.1",
            "torch": "2.13.0",
            "tensorflow-cpu": "2.21.0",
            "jax": "0.10.2",
        },
    )


class _Cell:
    """Write one cell's lines by filling a template of its record."""

    def __init__(self, dataset: str, algorithm: str, framework: str, task: str, seed: int) -> None:
        self._draw = random.Random(f"{seed} {dataset} {algorithm} {framework}")
        self.level = self._draw.uniform(0.7, 0.95)
        self.fit = self._draw.lognormvariate(0, 1)
        self.memory = self._draw.randint(2**20, 2**29)
        # Seeds are the same every night, so a cell repeats itself until its code changes.
        self.period = self._draw.randint(100, 900)
        self.name = f"{seed} {dataset} {algorithm} {framework}"
        self.base = _make_record(dataset, algorithm, framework, task, self._draw)
        self.ok, self.failed = _as_template(self.base), _as_template(_fail(self.base))

    def write(
        self, run: str, started: datetime, night: int, slow: float, draw: random.Random
    ) -> bytes:
        """Return the cell's line of a run."""
        version = random.Random(f"{self.name} {night // self.period}")
        values = [self.level + version.gauss(0, 0.01) for _ in range(REPLICATES)]
        mean = sum(values) / REPLICATES
        spread = (sum((v - mean) ** 2 for v in values) / (REPLICATES - 1)) ** 0.5
        fits = [self.fit * slow * draw.lognormvariate(0, NOISE) for _ in values]
        facts = {
            b"run": run.encode(),
            b"started": started.isoformat(timespec="milliseconds").encode(),
            b"seconds": b"%.6f" % (1.2 * sum(fits) + 0.3),
            b"value": b"%.6f" % mean,
            b"improvement": b"%.6f" % (mean - 0.5),
            b"spread": b"%.6f" % spread,
            b"fit": b"%.6f" % sum(fits),
            b"rows": b"%.3f" % (5_000 / sum(fits)),
            b"memory": b"%d" % (self.memory * draw.lognormvariate(0, 0.01)),
            b"calibration": b"%.6f" % (0.05 * slow * draw.lognormvariate(0, 0.01)),
        }
        for index in range(REPLICATES):
            facts[b"value%d" % index] = b"%.6f" % values[index]
            facts[b"fit%d" % index] = b"%.6f" % fits[index]
        return (self.failed if draw.random() < FAILED else self.ok) % facts


# Numbers and texts that stand in a record once, and what is put in their places.
MARKS: dict[str, bytes] = {
    "run-of-the-template": b"run",
    "started-of-the-template": b"started",
    "71000001.5": b"seconds",
    "71000002.5": b"value",
    "71000003.5": b"improvement",
    "71000004.5": b"spread",
    "71000005.5": b"fit",
    "71000006.5": b"rows",
    "71000007": b"memory",
    "71000008.5": b"calibration",
    **{f"7200000{index}.5": b"value%d" % index for index in range(REPLICATES)},
    **{f"7300000{index}.5": b"fit%d" % index for index in range(REPLICATES)},
}


def _as_template(record: Record) -> bytes:
    text = record.model_dump_json().replace("%", "%%")
    for mark, name in MARKS.items():
        text = text.replace(mark, f"%({name.decode()})s")
    return text.encode()


def _make_record(
    dataset: str, algorithm: str, framework: str, task: str, draw: random.Random
) -> Record:
    cell = f"{dataset}-{algorithm}-{framework}-train"
    neural = framework != "sklearn"
    metric = "roc_auc" if task == "classification" else "r2"
    request = TrainRequest(
        id=cell,
        data=DescriptorData(path=f"data/{dataset}.toml"),
        model=NetworkSpec(architecture=algorithm)
        if neural
        else EstimatorSpec(estimator="linear", params={"alpha": 1.0}),
        replicates=REPLICATES,
        seed=draw.getrandbits(40),
    )
    epochs = 30 if neural else 0
    replicates = tuple(
        ReplicateResult(
            index=index,
            split_sha256=f"{draw.getrandbits(256):064x}",
            train_rows=6_375,
            validation_rows=1_125 if neural else 0,
            test_rows=2_500,
            features=20,
            metrics={metric: float(f"7200000{index}.5"), "other": draw.random()},
            baseline={metric: 0.5, "other": 0.1},
            epochs=epochs,
            best_epoch=epochs,
            updates=100 * epochs,
            history=History(
                train=tuple(round(draw.random(), 6) for _ in range(epochs)),
                validation=tuple(round(draw.random(), 6) for _ in range(epochs)),
            ),
            timings=Timings(prepare=0.02, fit=float(f"7300000{index}.5"), predict=0.003),
        )
        for index in range(REPLICATES)
    )
    result = TrainResult(
        id=cell,
        framework=framework,
        data=DataSummary(
            id=dataset,
            task=task,
            content_sha256=f"{random.Random(dataset).getrandbits(256):064x}",
            numeric=12,
            categorical=3,
            classes=("no", "yes") if task == "classification" else (),
            sample=SampleInfo(
                method="random", rows=10_000, rows_total=45_211, rows_sha256="3d6604a4" * 8
            ),
        ),
        metric=metric,
        greater_is_better=True,
        replicates=replicates,
        parameters=5_441 if neural else 0,
        timings=Timings(load=0.1, prepare=0.06, fit=71000005.5, predict=0.009, score=0.004),
        rows_per_second=71000006.5,
        peak_memory_bytes=71000007,
        calibration_seconds=71000008.5,
        artifact_bytes=draw.randint(2_000, 900_000),
        versions={"numpy": "2.4.6"},
        threads=1,
        device="cpu",
    )
    return Record(
        run="run-of-the-template",
        cell=cell,
        dataset=dataset,
        algorithm=algorithm,
        framework=framework,
        mode="train",
        task=task,
        key=f"{draw.getrandbits(128):032x}",
        outcome="ok",
        reason="",
        started="started-of-the-template",
        seconds=71000001.5,
        limit_seconds=300.0,
        score=Score(
            metric=metric,
            greater_is_better=True,
            value=71000002.5,
            baseline=0.5,
            improvement=71000003.5,
            spread=71000004.5,
        ),
        verdicts=(
            Verdict(gate="outcome", status="pass", text=f"{REPLICATES} replicates"),
            Verdict(gate="beats_baseline", status="pass", text=f"{metric} is better"),
            Verdict(gate="time_budget", status="pass", text="trained within 60 s"),
        ),
        request=request.model_dump(mode="json"),
        result=result,
        fingerprint={f"module ml.part{index}": "0123456789abcdef" for index in range(20)},
    )


def _fail(record: Record) -> Record:
    text = "the worker took longer than 300 s"
    return record.model_copy(
        update={
            "outcome": "timeout",
            "reason": text,
            "error": ErrorInfo(code="too_slow", message=text),
            "score": None,
            "result": None,
            "verdicts": (Verdict(gate="outcome", status="fail", text=text),),
        }
    )


def _lines(arguments: argparse.Namespace) -> Iterator[str]:
    start = time.perf_counter()
    folder = Path(arguments.folder)
    written = write_runs(folder, arguments.runs, arguments.cells, arguments.first, arguments.seed)
    size = sum((path / JOURNAL).stat().st_size for path in written)
    took = time.perf_counter() - start
    yield f"{len(written)} runs of {arguments.cells} cells, {size / 1e6:.0f} MB, in {took:.1f} s"


def main() -> None:
    """Write runs as the command line asks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--runs", type=int, default=1_000)
    parser.add_argument("--cells", type=int, default=500)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    print("\n".join(_lines(parser.parse_args())))


if __name__ == "__main__":
    main()
