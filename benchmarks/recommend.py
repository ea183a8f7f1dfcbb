"""Show what the first recommendation gains on damaged tables, by rows that no proxy has seen.

``python benchmarks/recommend.py`` parts real tables, see ``benchmarks/tables.py``, into a
reference, a candidate and fresh rows, damages the candidate in each of the ways of
``benchmarks/damage.py``, and lets a cascade rank what to do. The first recommendation is then
judged by another model, gradient boosting, trained on the mended candidate and on the damaged
one, and tested on the fresh rows. Beside it stands what that model lost by the damage. Gains are
in ROC AUC, balanced accuracy or R².

``--seed`` gives other parts and other damage, ``--severity`` another amount, ``--datasets`` and
``--kinds`` choose by name, ``--proxies`` is the number of sizes.
"""

from __future__ import annotations

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import argparse
import statistics
import tempfile
import time
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from damage import KINDS, Others, damage
from tables import load_frames

from harness.cascade import CASCADE, Proxy, make_cell, run_cascade, score_of
from harness.options import Settings
from harness.session import MatrixSession
from harness.store.environment import describe_run
from harness.store.journal import Journal
from ml.core.recommendations import Plan, PlanRequest
from ml.core.seeding import stream
from ml.health.cells import Cells, sample_cells
from ml.health.plan import make_plan
from ml.health.sketching import sketch_table
from ml.health.staging import Stage, name_classes, write_stage

ROWS = 2000
LEAST = 1000
JUDGE = Proxy("hist_gradient_boosting", "sklearn", 2 * ROWS, 1)
DATASETS = (
    "diamonds",
    "CPS1988",
    "gss_wages",
    "bank_marketing",
    "give_me_some_credit",
    "nyc_flights_late",
)


@dataclass
class Tally:
    """Hold a kind's cases: what was recommended first, what it gained, what the damage cost."""

    first: Counter = field(default_factory=Counter)
    gains: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)


def trained_rows(path: str) -> Cells:
    """Return the training rows of a staged table."""
    table = pq.read_table(Path(path).with_suffix(".parquet"))
    columns = {
        name: np.array(table.column(name).to_pylist(), dtype=object)
        if str(table.schema.field(name).type) == "string"
        else np.array(table.column(name).to_pandas(), dtype=np.float64)
        for name in table.column_names
    }
    part = columns.pop(table.column_names[-1])
    rows = np.flatnonzero(part == "train")
    return Cells(columns, table.num_rows).take(rows)


def try_case(frames, kind, options, folder: Path) -> tuple[str, float, float] | None:
    """Return the first recommendation, its gain on fresh rows, and what the damage cost there."""
    reference, clean, fresh, damaged = frames
    folder.mkdir()
    target = str(clean.columns[-1])
    paths = {}
    for name, frame in (("reference", reference), ("candidate", damaged)):
        paths[name] = str(folder / f"{name}.parquet")
        frame.to_parquet(paths[name], index=False)
    plan = make_plan(PlanRequest(**paths, folder=str(folder), target=target, seed=options.seed))
    if not plan.tables:
        return None
    settings = Settings(
        root=folder,
        data=(),
        reports=folder,
        require=(),
        rows=ROWS,
        replicates=1,
        seconds=60.0,
        timeout=300.0,
        strict_tracks=False,
        isolation="none",
    )
    journal = Journal(
        folder / "runs" / "run", lambda run: describe_run(run, folder, (), settings.runtime)
    )
    session = MatrixSession(settings, journal, False)
    tried = run_cascade(
        plan, CASCADE[: options.proxies], settings, session.record, {}, lambda *_: None
    )
    layout = sketch_table(paths["reference"]).layout
    sides = [sample_cells(frame, layout, most=ROWS).cells for frame in (fresh, clean)]
    if plan.task == "classification":
        sides = [name_classes(side, target) for side in sides]
    best = next((one for one in tried.recommendations if (one.gain or 0) > 0), None)
    judged = {"": trained_rows(plan.tables[""]), "clean": sides[1]}
    if best is not None:
        judged["best"] = trained_rows(plan.tables[best.action])
    stage = Stage(None, sides[0], target, plan.task)  # type: ignore[arg-type]
    scores = {}
    for name, cells in judged.items():
        path = write_stage(stage, cells, f"judged_{name or 'as_it_is'}", folder / "judged")
        asked = Plan(
            verdict="", score=0, rows=1, target=target, task=plan.task, tables={name: path}
        )
        scores[name] = score_of(session.record(make_cell(asked, name, JUDGE, settings)))
    session.close()
    if scores[""] is None or scores["clean"] is None or scores.get("best", 0.0) is None:
        return None
    gain = scores["best"] - scores[""] if best is not None else 0.0
    return (
        best.action.partition(":")[0] if best is not None else "nothing",
        gain,
        scores["clean"] - scores[""],
    )


def main() -> None:
    """Run every kind of damage on every dataset, and print a table by kind."""
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--severity", default="severe", choices=("mild", "moderate", "severe"))
    parser.add_argument("--datasets", default=",".join(DATASETS))
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--proxies", type=int, default=2, choices=(1, 2, 3))
    options = parser.parse_args()
    found = load_frames()
    names = [name for name in options.datasets.split(",") if name in found]
    tallies = {kind: Tally() for kind in options.kinds.split(",")}
    started = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            frame = found[name][0]
            order = stream(options.seed, "recommend", name).permutation(len(frame))
            side = min(ROWS, len(frame) // 3)
            parts = [frame.iloc[order[i * side : (i + 1) * side]] for i in range(3)]
            if side < LEAST:
                continue
            for kind, tally in tallies.items():
                draw = stream(options.seed, "recommend", name, kind)
                others = Others(parts[0], frame.iloc[order[3 * side : 3 * side + 4 * ROWS]])
                damaged = damage(kind, options.severity, parts[1], others, draw)
                if damaged is None:
                    continue
                case = (*parts, damaged.frame)
                result = try_case(case, kind, options, Path(folder) / f"{name}_{kind}")
                print(f"{name} {kind}: {result}", flush=True)
                if result is not None:
                    tally.first[result[0]] += 1
                    tally.gains.append(result[1])
                    tally.losses.append(result[2])
    print(f"\n{time.process_time() - started:.0f} s of processor time\n")
    print("| kind | tables | lost by the damage | gained by the first | harmed | first |")
    print("|---|---|---|---|---|---|")
    for kind, tally in tallies.items():
        if tally.gains:
            first = ", ".join(f"{name} {count}" for name, count in tally.first.most_common(3))
            harmed = sum(gain < -0.01 for gain in tally.gains)
            print(
                f"| {kind} | {len(tally.gains)} | {statistics.fmean(tally.losses):.3f} "
                f"| {statistics.fmean(tally.gains):.3f} | {harmed} | {first} |"
            )


if __name__ == "__main__":
    main()
