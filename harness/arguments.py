"""Declare the options and ini values, and what they may be."""

from __future__ import annotations

import pytest

NEWEST = "newest"
# The sides of a cell by which the command line selects.
SIDES = ("dataset", "algorithm", "framework", "mode")
ISOLATIONS = ("warm", "fresh", "none")
EXECUTORS = ("local", "ray")
# Those of ``ml.core.trials``, whose import would cost a session without cells.
SAMPLERS = ("random", "grid", "tpe", "gp", "cmaes", "pbt")
PRUNERS = ("none", "median", "wilcoxon", "successive_halving", "hyperband")


def add_options(parser: pytest.Parser) -> None:
    """Declare the options and ini values; an option wins over its ini value."""
    group = parser.getgroup("matrix", "dataset × algorithm × framework × mode (mlmatrix)")
    group.addoption(
        "--matrix-data",
        action="append",
        metavar="DIR",
        help="a further folder of dataset descriptors (*.toml); may be given several times",
    )
    for side in SIDES:
        group.addoption(
            f"--matrix-{side}",
            action="append",
            metavar="GLOB",
            help=f"run only cells whose {side} matches; may be given several times",
        )
    group.addoption(
        "--matrix-list",
        action="store_true",
        help="run nothing: list the cells that would run, what was left out, and why",
    )
    group.addoption(
        "--matrix-require",
        metavar="NAMES",
        help="frameworks, comma separated, that must be installed: fail instead of skipping",
    )
    group.addoption(
        "--matrix-reports", metavar="DIR", help="where runs and index.html go (default: reports)"
    )
    group.addoption(
        "--matrix-rows", metavar="N", help="rows used per cell at most (default: 10000)"
    )
    group.addoption("--matrix-replicates", metavar="N", help="seeded splits per cell (default: 3)")
    group.addoption(
        "--matrix-seconds",
        metavar="S",
        help="training time budget of a cell; beyond it training stops and the gate fails "
        "(default: 60)",
    )
    group.addoption(
        "--matrix-timeout",
        metavar="S",
        help="a cell that has no result by then is killed, with outcome timeout (default: 300)",
    )
    group.addoption(
        "--matrix-confirm",
        metavar="S",
        help="seconds that may be spent, when the tests have ended, on training cells again whose "
        "time or memory stands out, to be sure before it is told (default: 300; 0: none)",
    )
    group.addoption(
        "--matrix-memory",
        metavar="MIB",
        help="resident memory that a cell may use; beyond it the cell ends with outcome "
        "out_of_memory (default: four fifths of the machine's)",
    )
    group.addoption(
        "--matrix-isolation",
        metavar="HOW",
        help="warm: a worker process per framework; fresh: one per cell; none: in this process, "
        "to debug, without limits of time and memory (default: warm)",
    )
    group.addoption(
        "--matrix-retry",
        metavar="POLICY",
        help="outcomes after which a cell is tried again, and how often: 'crashed, "
        "out_of_memory: 1; timeout: 2' (default: never)",
    )
    group.addoption(
        "--matrix-resume",
        nargs="?",
        const=NEWEST,
        metavar="RUN",
        help="go on with a run that was cut off, the newest unless it is named: only cells "
        "without a final record run",
    )
    group.addoption(
        "--matrix-reuse",
        action="store_true",
        help="take an earlier run's record for a cell where nothing that matters has changed",
    )
    group.addoption(
        "--matrix-executor",
        metavar="NAME",
        help="local or ray: where cells run (default: local)",
    )
    group.addoption(
        "--matrix-ray-address",
        metavar="ADDRESS",
        help="the Ray cluster to run on; without it a local one is started",
    )
    group.addoption(
        "--matrix-summary",
        metavar="FILE",
        help="append totals, failures and changes to this file, as Markdown; also done to "
        "$GITHUB_STEP_SUMMARY",
    )
    group.addoption(
        "--matrix-device",
        metavar="NAME",
        help="auto, cpu or cuda (default: auto, the accelerator that a framework finds)",
    )
    group.addoption(
        "--matrix-threads", metavar="N", help="threads of each framework's worker (default: 1)"
    )
    group.addoption(
        "--matrix-deterministic",
        action="store_true",
        default=None,
        help="ask for equal numbers on every repetition (the default)",
    )
    group.addoption(
        "--no-matrix-deterministic",
        action="store_false",
        dest="matrix_deterministic",
        default=None,
        help="allow numbers that differ from one repetition to the next",
    )
    group.addoption(
        "--matrix-compilation",
        metavar="WHEN",
        help="auto, always or never: compile epochs, where a framework can choose (default: auto)",
    )
    group.addoption(
        "--matrix-models-at-once",
        metavar="N",
        help="models of equal shape that are trained as one computation at most (default: 0, what "
        "pays)",
    )
    group.addoption(
        "--matrix-trials",
        metavar="N",
        help="trials of a sweep, the model as declared being one (default: 20)",
    )
    group.addoption(
        "--matrix-sampler",
        metavar="NAME",
        help=f"how a sweep finds settings: {', '.join(SAMPLERS)} (default: tpe)",
    )
    group.addoption(
        "--matrix-pruner",
        metavar="NAME",
        help=f"how a sweep ends poor trials early: {', '.join(PRUNERS)} (default: "
        "successive_halving)",
    )
    group.addoption(
        "--matrix-folds",
        metavar="N",
        help="validation parts on which a trial is tried (default: 1)",
    )
    group.addoption(
        "--matrix-sweep-seconds",
        metavar="S",
        help="time of a sweep's search; trials that have begun then are the last (default: a "
        "third of --matrix-timeout; 0: no limit)",
    )
    parser.addini("matrix_data", "further folders of dataset descriptors", "paths", [])
    parser.addini("matrix_require", "frameworks that must be installed", "args", [])
    parser.addini("matrix_reports", "where runs and index.html go", default="reports")
    parser.addini("matrix_rows", "rows used per cell at most", default="10000")
    parser.addini("matrix_replicates", "seeded splits per cell", default="3")
    parser.addini("matrix_seconds", "training time budget of a cell", default="60")
    parser.addini("matrix_timeout", "hard time limit of a cell", default="300")
    parser.addini(
        "matrix_confirm", "seconds for training suspect cells again at the end", default="300"
    )
    parser.addini("matrix_memory", "resident memory that a cell may use, in MiB", default="")
    parser.addini("matrix_isolation", "warm, fresh or none", default="warm")
    parser.addini("matrix_retry", "outcomes after which a cell is tried again", default="")
    parser.addini("matrix_executor", "local or ray: where cells run", default="local")
    parser.addini("matrix_ray_address", "the Ray cluster to run on", default="")
    parser.addini("matrix_trials", "trials of a sweep", default="20")
    parser.addini("matrix_sampler", "how a sweep finds settings", default="tpe")
    parser.addini(
        "matrix_pruner", "how a sweep ends poor trials early", default="successive_halving"
    )
    parser.addini("matrix_folds", "validation parts on which a trial is tried", default="1")
    parser.addini("matrix_sweep_seconds", "time of a sweep's search", default="")
    parser.addini(
        "matrix_strict_tracks",
        "every test, not only those that ask for a cell, needs exactly one track marker",
        "bool",
        False,
    )
