"""Measure what large tables cost: sketch, check, located rows; each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
BATCH = 1 << 17
FLOATS, CATEGORIES = 14, 6


def make_table(path: Path, rows: int, seed: int) -> None:
    """Write a Parquet table of 14 numbers and 6 categories, batch by batch."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    draw = np.random.default_rng(seed)
    levels = pa.array([f"level {place}" for place in range(400)])
    writer = None
    for start in range(0, rows, BATCH):
        number = min(BATCH, rows - start)
        values = draw.standard_normal((number, FLOATS))
        values[:, 1] += values[:, 0]
        values[:, 2] = np.exp(values[:, 2])
        values[:, 3] = np.round(values[:, 3] * 10)
        columns: dict[str, Any] = {f"x{place}": values[:, place] for place in range(FLOATS)}
        for place in range(CATEGORIES):
            codes = np.minimum(draw.geometric(0.15, number), 3 * 10 ** (place % 3) + 5)
            columns[f"c{place}"] = levels.take(pa.array(codes))
        table = pa.table(columns)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()


def measure(work: str, *paths: Path) -> dict[str, Any]:
    """Return the seconds, the processor seconds and the peak in MB of one work in a new process."""
    ran = subprocess.run(
        [sys.executable, __file__, work, *map(str, paths)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    return json.loads(ran.stdout)


def show_cost(bench: Any, folder: Path) -> None:
    """Print what a sketch of 1M and 10M rows, a check and located rows of 1M against 1M cost."""
    quick = bench.options.quick
    sizes = (100_000, 1_000_000) if quick else (1_000_000, 10_000_000)
    print(f"\n## Cost: {FLOATS + CATEGORIES} columns, one thread\n")
    print("| work | seconds | processor seconds | rows a processor second | peak, MB |")
    print("|---|---|---|---|---|")
    peaks, speed = [], 0.0
    for rows in sizes:
        path = folder / f"{rows}.parquet"
        make_table(path, rows, seed=rows + bench.options.seed)
        found = measure("sketch", path)
        speed = rows / found["cpu"]
        peaks.append(found["peak"])
        _line(f"sketch of {rows:,} rows", found, f"{speed:,.0f}")
    path = folder / "other.parquet"
    make_table(path, sizes[0], seed=7 + bench.options.seed)
    found = measure("check", folder / f"{sizes[0]}.parquet", path)
    _line(
        f"check of {sizes[0]:,} against {sizes[0]:,} rows", found, f"{sizes[0] / found['cpu']:,.0f}"
    )
    rows_found = measure("locate", folder / f"{sizes[0]}.parquet", path)
    _line(
        f"rows located of {sizes[0]:,} against {sizes[0]:,}",
        rows_found,
        f"{sizes[0] / rows_found['cpu']:,.0f}",
    )
    bench.judge(speed >= 1e6, "a sketch of 10M rows: a million rows a processor second at least")
    bench.judge(peaks[-1] <= 600, "the peak at 10M rows: 600 MB at most")
    bench.judge(peaks[-1] <= 1.2 * peaks[0], "the peak at 10M rows: 1.2 times that at 1M at most")
    bench.judge(found["cpu"] < 10, "a check of 1M against 1M rows: under 10 s")


def _line(work: str, found: dict[str, Any], speed: str) -> None:
    cells = f"{found['wall']:.1f} | {found['cpu']:.1f} | {speed} | {found['peak']:.0f}"
    print(f"| {work} | {cells} |", flush=True)


def _work(work: str, paths: list[str]) -> dict[str, Any]:
    import resource

    from ml.health.check import check
    from ml.health.locate import locate_rows
    from ml.health.sketching import sketch_table

    started, spent = time.perf_counter(), time.process_time()
    if work == "sketch":
        sketch_table(paths[0])
    elif work == "check":
        check(*paths)
    else:
        locate_rows(*paths)
    return {
        "wall": time.perf_counter() - started,
        "cpu": time.process_time() - spent,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


if __name__ == "__main__":
    print(json.dumps(_work(sys.argv[1], sys.argv[2:])))
