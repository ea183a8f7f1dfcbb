"""Time other tools on the tables that the health check is timed on, each in its own environment.

``python benchmarks/health_peers.py --folder DIR`` makes an environment a tool in ``DIR``, where
there is none, and installs the tool by pip; they need other versions of pandas and numpy than
ours. A tool that cannot be installed or does not run is named with the reason, and left out.
Every tool, ours too, reads two Parquet tables of ``--rows`` rows and 20 columns and compares
them, in a process of its own, on one thread. Five faults are planted in the second table: a mean
shift, a variance cut by half, a shuffled correlated column, 2 % repeated rows and a lost category;
what each tool says of it is printed. The exit code is 1 where ours is less than 20 times as fast
as evidently, by processor time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from health_cost import make_table

ROOT = Path(__file__).parents[1]
TIMES = 20.0
COMMON = """
import json, resource, sys, time, warnings
warnings.simplefilter("ignore")
import pandas as pd
started, spent = time.perf_counter(), time.process_time()
first, second = (pd.read_parquet(path) for path in sys.argv[1:3])
"""
END = """
print("RESULT " + json.dumps({
    "wall": time.perf_counter() - started,
    "cpu": time.process_time() - spent,
    "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    "says": str(says)[:70],
}))
"""
OURS = """
import json, resource, sys, time
import pyarrow.csv, pyarrow.parquet, sklearn.ensemble
from ml.health.check import check
started, spent = time.perf_counter(), time.process_time()
report = check(*sys.argv[1:3])
says = report.verdict + ": " + ", ".join(
    f"{each.name}" for each in report.dimensions if each.p <= 0.02)
"""
# What a tool's newest version asks for and does not say.
PINS = {
    "evidently": ["pandas<3"],
    "deepchecks": ["numpy<2", "pandas<3", "pyarrow<22", "scikit-learn<1.7", "setuptools<81"],
}
# Each tool's package, what is imported before the clock starts, and what is timed.
PEERS = {
    "evidently": (
        "evidently",
        """
from evidently import Report
from evidently.presets import DataDriftPreset
""",
        """
found = Report([DataDriftPreset()]).run(second, first).dict()
says = found["metrics"][0].get("value")
""",
    ),
    "SDMetrics": (
        "sdmetrics",
        """
from sdmetrics.reports.single_table import QualityReport
""",
        """
kinds = {name: {"sdtype": "numerical" if first[name].dtype.kind == "f" else "categorical"}
         for name in first}
report = QualityReport()
report.generate(first, second, {"columns": kinds}, verbose=False)
says = f"quality {report.get_score():.3f}"
""",
    ),
    "deepchecks": (
        "deepchecks",
        """
from deepchecks.tabular import Dataset
from deepchecks.tabular.checks import FeatureDrift
""",
        """
names = [name for name in first if first[name].dtype.kind != "f"]
sides = [Dataset(side, cat_features=names) for side in (first, second)]
result = FeatureDrift().add_condition_drift_score_less_than().run(*sides)
says = "passes" if result.passed_conditions() else "fails"
""",
    ),
}


def plant(path: Path, made: Path) -> None:
    """Write a copy of a table with five faults."""
    import pyarrow.parquet as pq

    frame = pq.read_table(path).to_pandas()
    draw = np.random.default_rng(3)
    frame["x5"] += 0.2
    frame["x6"] *= 0.5
    frame["x1"] = draw.permutation(frame["x1"].to_numpy())
    frame.loc[frame["c1"] == "level 5", "c1"] = "level 1"
    repeated = draw.choice(len(frame), len(frame) // 50, replace=False)
    others = draw.choice(np.setdiff1d(np.arange(len(frame)), repeated), len(repeated))
    frame.iloc[repeated] = frame.iloc[others].to_numpy()
    frame.to_parquet(made, index=False)


def environment(folder: Path, package: str) -> Path | str:
    """Return the Python of a package's own environment, or why there is none."""
    python = folder / package / "bin" / "python"
    try:
        if not python.is_file():
            subprocess.run([sys.executable, "-m", "venv", str(folder / package)], check=True)
        here = [str(python), "-c", f"import {package}, pyarrow"]
        if subprocess.run(here, capture_output=True).returncode:
            install = [str(python), "-m", "pip", "install", "-q", package, "pyarrow"]
            install += PINS.get(package, [])
            ran = subprocess.run(install, capture_output=True, text=True)
            if ran.returncode:
                return f"pip could not install it: {_last(ran.stderr)}"
    except (OSError, subprocess.CalledProcessError) as problem:
        return f"no environment: {problem}"
    return python


def _last(text: str) -> str:
    return (text.strip().splitlines() or ["no output"])[-1][:150]


def run(python: Path | str, program: str, paths: list[Path], limit: float) -> dict | str:
    """Return what a program measured of itself, or why it did not."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    environ = os.environ | threads | {"DO_NOT_TRACK": "1", "DEEPCHECKS_DISABLE_LATEST_CHECK": "1"}
    environ["PYTHONPATH"] = str(ROOT) if str(python) == sys.executable else ""
    command = [str(python), "-c", program + END, *map(str, paths)]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, env=environ, timeout=limit)
    except subprocess.TimeoutExpired:
        return f"stopped after {limit:.0f} s"
    lines = [line for line in ran.stdout.splitlines() if line.startswith("RESULT ")]
    return json.loads(lines[-1][7:]) if lines else f"it failed: {_last(ran.stderr)}"


def main() -> int:
    """Time all tools, print a table, and return 1 where the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="for environments and tables")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--tools", default=",".join(PEERS), help="separated by commas")
    parser.add_argument("--limit", type=float, default=1800.0, help="seconds a tool has")
    options = parser.parse_args()
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / "reference.parquet", folder / "candidate.parquet"]
    base = folder / "base.parquet"
    make_table(paths[0], options.rows, seed=1)
    make_table(base, options.rows, seed=2)
    plant(base, paths[1])
    found = {"ours": run(sys.executable, OURS, paths, options.limit)}
    for name in options.tools.split(","):
        package, imports, work = PEERS[name]
        python = environment(folder, package)
        program = imports + COMMON + work
        unavailable = isinstance(python, str)
        found[name] = python if unavailable else run(python, program, paths, options.limit)
    print(f"{options.rows:,} rows a side, 20 columns, reading included, imports not, one thread\n")
    print("| tool | seconds | processor seconds | peak, MB | says of five planted faults |")
    print("|---|---|---|---|---|")
    for name, result in found.items():
        if isinstance(result, str):
            print(f"| {name} | | | | left out: {result} |")
            continue
        cells = f"{result['wall']:.1f} | {result['cpu']:.1f} | {result['peak']:.0f}"
        print(f"| {name} | {cells} | {result['says']} |")
    ours, theirs = found["ours"], found.get("evidently", "it was not asked for")
    if isinstance(ours, str):
        return 1
    if isinstance(theirs, str):
        print("\nnot compared with evidently, see above")
        return 0
    times = theirs["cpu"] / ours["cpu"]
    print(f"\n{times:.1f} times as fast as evidently, by processor time")
    return int(times < TIMES)


if __name__ == "__main__":
    raise SystemExit(main())
