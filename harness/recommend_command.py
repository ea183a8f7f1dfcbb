"""Recommend what to do for a table: `mlmatrix data recommend`."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from harness.cascade import CASCADE, Tried, run_cascade, score_of
from harness.options import Settings
from harness.recommendwords import describe_cell, describe_tried
from harness.reporter import name_run
from harness.runtime import find_root, gather_runtime
from harness.session import MatrixSession
from harness.store.environment import describe_resumption, describe_run
from harness.store.gains import (
    GAINS,
    Done,
    Gained,
    Line,
    append_gains,
    find_open,
    past_gains,
    read_gains,
    settle_gains,
)
from harness.store.journal import (
    JOURNAL,
    Journal,
    check_version,
    find_run,
    hold_run,
    list_runs,
    now,
    read_run,
)
from harness.store.record import End, Record
from ml.core.errors import MatrixError
from ml.core.recommendations import Plan, PlanRequest, ProxyGain, rank_actions

FOLDER = "recommendations"
REQUEST = "request.json"
PLAN = "plan.json"
SHOWN = (
    "target",
    "task",
    "group",
    "tolerance",
    "seed",
    "proxies",
    "timeout",
    "incidents",
    "json",
)
TIMEOUT = 300.0
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def main(arguments: Sequence[str]) -> int:
    """Run the command; return 0, 2 for a mistake or an interruption."""
    options = _parser().parse_args(arguments)
    try:
        return _note_done(options) if options.done is not None else _recommend(options)
    except MatrixError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mlmatrix data", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    recommend = commands.add_parser("recommend", help="what to do for a table, the best first")
    recommend.add_argument("candidate", metavar="CANDIDATE", help="the path or URL of a table")
    recommend.add_argument("--against", required=True, metavar="REFERENCE", help="the same")
    recommend.add_argument(
        "--target", metavar="COLUMN", help="predicted by proxy models; without it none is trained"
    )
    recommend.add_argument(
        "--task",
        choices=("classification", "regression"),
        help="by the target's values unless given",
    )
    recommend.add_argument(
        "--group", metavar="COLUMN", help="rows with one value of it belong together"
    )
    recommend.add_argument(
        "--tolerance", type=float, default=0.0, metavar="SD", help="as of the check (default: 0)"
    )
    recommend.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0")
    recommend.add_argument(
        "--proxies",
        type=int,
        choices=range(len(CASCADE) + 1),
        default=len(CASCADE),
        help=f"sizes of proxy models (default: {len(CASCADE)})",
    )
    recommend.add_argument(
        "--timeout", type=float, default=TIMEOUT, metavar="S", help="of one training (default: 300)"
    )
    recommend.add_argument(
        "--incidents", metavar="FILE", help="signatures of your own incidents, to be recognised"
    )
    recommend.add_argument("--json", metavar="FILE", help="write all that was found")
    recommend.add_argument("--resume", metavar="RUN", help="go on with a run that was cut off")
    recommend.add_argument("--done", metavar="ACTION", help="keep that this was done, run nothing")
    recommend.add_argument(
        "--gained", type=float, metavar="X", help="with --done: what it gained, where it is known"
    )
    recommend.add_argument("--reports", default="reports", metavar="DIR", help="default: reports")
    return parser


def _name(table: str) -> str:
    """Return the name by which a table is known again: its absolute path, or its URL."""
    return table if "://" in table else str(Path(table).resolve())


def _recommend(options: argparse.Namespace) -> int:
    if options.gained is not None:
        raise MatrixError("--gained belongs to --done", remedy="say what was done, too")
    if not options.timeout > 0:
        raise MatrixError("--timeout is a number of seconds above 0", received=options.timeout)
    reports = (Path(options.reports) / FOLDER).resolve()
    asked = _read_request(options)
    root = find_root(Path.cwd())
    settings = Settings(
        root=root,
        data=(),
        reports=reports,
        require=(),
        rows=CASCADE[-1].rows,
        replicates=1,
        seconds=60.0,
        timeout=options.timeout,
        strict_tracks=False,
        runtime_given=gather_runtime(root, os.environ, {}, "--"),
    )
    lines, damage = read_gains(reports / GAINS)
    for text in damage:
        print(f"damaged: {text}", file=sys.stderr)
    command = tuple(_command(options))
    handle, resumed_at = None, None
    folder = reports / "runs" / name_run()
    if options.resume is not None:
        folder = find_run(reports, options.resume)
        handle = hold_run(folder)
        check_version(folder)
        resumed_at = (folder / JOURNAL).stat().st_size
    journal = Journal(
        folder, lambda name: describe_run(name, root, command, settings.runtime), resumed_at
    )
    if resumed_at is not None:
        journal.resume(describe_resumption(root, command))
    journal.begin()
    handle = hold_run(folder) if handle is None else handle
    started = time.perf_counter()
    print(f"run {journal.run}", flush=True)
    status = 2
    try:
        plan = _plan(asked, folder, settings)
        if plan is not None:
            status = _try(options, plan, asked, lines, settings, journal)
    except KeyboardInterrupt:
        line = shlex.join([*command, f"--resume={journal.run}"])
        print(f"interrupted; to go on: {line}", flush=True)
    finally:
        journal.append(
            End(finished=now(), exit_status=status, seconds=time.perf_counter() - started)
        )
        os.close(handle)
    return status


def _read_request(options: argparse.Namespace) -> PlanRequest:
    try:
        return PlanRequest(
            candidate=_name(options.candidate),
            reference=_name(options.against),
            folder="",
            target=options.target,
            task=options.task,
            group=options.group,
            tolerance=options.tolerance,
            seed=options.seed,
            incidents=None if options.incidents is None else _name(options.incidents),
        )
    except ValidationError as problem:
        first = problem.errors(include_url=False)[0]
        raise MatrixError(
            f"--{first['loc'][0]}: {first['msg']}", received=str(first["input"])
        ) from None


def _command(options: argparse.Namespace) -> list[str]:
    parts = ["mlmatrix", "data", "recommend", options.candidate, "--against", options.against]
    for name in SHOWN:
        value = getattr(options, name)
        parts += [] if value is None else [f"--{name}", str(value)]
    return parts + ([] if options.reports == "reports" else ["--reports", options.reports])


def _plan(asked: PlanRequest, folder: Path, settings: Settings) -> Plan | None:
    """Return the run's plan, made now by a process beyond the wall unless it is there.

    None where that process has said what is wrong with the tables.
    """
    request = asked.model_copy(update={"folder": str(folder)})
    kept, there = folder / PLAN, folder / REQUEST
    if there.is_file():
        if there.read_text(encoding="utf-8") != request.model_dump_json():
            raise MatrixError(
                f"run {folder.name} is of other tables, or of other options",
                expected=there.read_text(encoding="utf-8"),
                remedy="resume it with the command that began it, or begin a new one",
            )
    else:
        there.write_text(request.model_dump_json(), encoding="utf-8")
    if not kept.is_file():
        print("checking the candidate and planning", flush=True)
        threads = dict.fromkeys(THREADS, str(settings.runtime.threads))
        status = subprocess.call(  # noqa: S603
            [sys.executable, "-m", "ml.health.plan", request.model_dump_json()],
            env={**threads, **os.environ},
        )
        if status == 2:
            return None
        if status or not kept.is_file():
            raise MatrixError(
                f"no plan was made: the process ended with status {status}",
                remedy="see what it said above",
            )
    try:
        return Plan.model_validate_json(kept.read_bytes())
    except ValidationError as problem:
        text = problem.errors(include_url=False)[0]["msg"]
        raise MatrixError(f"{kept} is no plan: {text}", remedy="begin a new run") from None


def _try(
    options: argparse.Namespace,
    plan: Plan,
    asked: PlanRequest,
    lines: list[Line],
    settings: Settings,
    journal: Journal,
) -> int:
    print(f"{plan.verdict}, score {plan.score:.0f}: {len(plan.actions)} actions", flush=True)
    for note in plan.notes:
        print(f"note: {note}", flush=True)
    waiting = find_open(lines, asked.candidate, asked.reference, asked.target)
    proxies = CASCADE[: options.proxies] if plan.actions or waiting else ()
    session = MatrixSession(settings, journal, False)
    measured = bool(proxies and plan.tables)
    try:
        past = past_gains(lines, lifts=not measured)
        if measured:
            tried = run_cascade(plan, proxies, settings, session.record, past, _tell)
        else:
            tried = Tried(rank_actions(plan.actions, plan.rows, None, past), {})
    finally:
        session.close()
    settled = settle_gains(waiting, plan.score, tried.scores, plan.test_sha256, now())
    if settled:
        append_gains(settings.reports / GAINS, settled)
    print("\n".join(["", *describe_tried(plan, tried.recommendations, settled)]), flush=True)
    if options.json is not None:
        _write(Path(options.json), plan, tried, settled, journal.run)
    return 0


def _tell(action: str, record: Record, gain: ProxyGain | None) -> None:
    print(describe_cell(action, record, gain), flush=True)


def _write(path: Path, plan: Plan, tried: Tried, settled: list[Gained], run: str) -> None:
    values = {
        "schema_version": 1,
        "run": run,
        "plan": plan.model_dump(mode="json"),
        "recommendations": [one.model_dump(mode="json") for one in tried.recommendations],
        "scores": tried.scores,
        "settled": [one.model_dump(mode="json") for one in settled],
    }
    try:
        path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as problem:
        raise MatrixError(f"{path} cannot be written: {problem.strerror}") from None


def _note_done(options: argparse.Namespace) -> int:
    """Keep that an action was done, with how the candidate stood when it was recommended."""
    reports = (Path(options.reports) / FOLDER).resolve()
    candidate, reference = _name(options.candidate), _name(options.against)
    folder, plan = _newest_plan(reports, candidate, reference, options.target)
    names = [action.name for action in plan.actions]
    if options.done not in names:
        raise MatrixError(
            f"{options.done!r} was not among what run {folder.name} recommended",
            expected="one of " + ", ".join(names) if names else "nothing was recommended",
        )
    before = {}
    for record in read_run(folder).records:
        score = score_of(record)
        if score is not None and record.request["data"]["path"] == plan.tables.get(""):
            rows = record.request["budget"]["rows"]
            before[f"{record.algorithm}-{record.framework}-{rows}"] = score
    done = Done(
        action=options.done,
        candidate=candidate,
        reference=reference,
        target=options.target,
        at=now(),
        run=folder.name,
        score=plan.score,
        before=before,
        test_sha256=plan.test_sha256,
    )
    kept: list[Line] = [done]
    if options.gained is not None:
        kept.append(
            Gained(
                action=done.action,
                candidate=candidate,
                reference=reference,
                target=options.target,
                done=done.at,
                at=done.at,
                how="stated",
                gain=options.gained,
            )
        )
    append_gains(reports / GAINS, kept)
    what = "what it gained is measured when the candidate is looked at again"
    if options.gained is not None:
        what = f"it gained {options.gained:g}"
    print(f"kept in {reports / GAINS}: {options.done}; {what}")
    return 0


def _newest_plan(
    reports: Path, candidate: str, reference: str, target: str | None
) -> tuple[Path, Plan]:
    for folder in list_runs(reports):
        try:
            request = PlanRequest.model_validate_json((folder / REQUEST).read_bytes())
            plan = Plan.model_validate_json((folder / PLAN).read_bytes())
        except (OSError, ValidationError):
            continue
        if (request.candidate, request.reference, request.target) == (candidate, reference, target):
            return folder, plan
    raise MatrixError(
        f"nothing was recommended for {candidate} yet",
        remedy="run `mlmatrix data recommend` with the same tables and target first",
    )
