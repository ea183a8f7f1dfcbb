"""Plan what to try for a candidate, beyond the wall: ``python -m ml.health.plan REQUEST``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from ml.core.errors import MatrixError, RequestInvalid
from ml.core.recommendations import Action, Plan, PlanRequest
from ml.datasets.sources import write_atomically
from ml.health.actions import derive_actions, strange_count, strange_rows
from ml.health.cells import Sampled, sample_cells
from ml.health.check import check
from ml.health.locate import locate_rows
from ml.health.located import LocatedRows
from ml.health.mending import Case, Mended, mend
from ml.health.report import HealthReport
from ml.health.signatures import Library
from ml.health.sketching import sketch_table
from ml.health.staging import (
    LEAST_TEST,
    MOST_ROWS,
    Stage,
    hash_cells,
    name_classes,
    part_reference,
    repeated_rows,
    settle_target,
    write_stage,
)
from ml.health.stored import is_stored

PLAN = "plan.json"
AS_IT_IS = "as_it_is"
MOST_POSITIONS = 1000
MOST_FLAGGED = 5000


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the plan that a request asks for; a user's mistake is one line and status 2."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        request = PlanRequest.model_validate_json(given[0] if given else "")
    except ValidationError as problem:
        print(f"error: this is no request for a plan: {problem}", file=sys.stderr)
        return 2
    try:
        plan = make_plan(request)
    except MatrixError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    text = plan.model_dump_json()
    # Last, and whole: where the plan is, its tables are.
    write_atomically(Path(request.folder) / PLAN, lambda stream: stream.write(text.encode()))
    return 0


def make_plan(request: PlanRequest) -> Plan:
    """Check the candidate, derive actions, and write the tables to try them on.

    An action that would change nothing is left out. Raises MatrixError for tables that cannot be
    read or compared, or a target that the reference has not.
    """
    if is_stored(request.reference):
        raise RequestInvalid(
            f"{request.reference} is a sketch, and proxies are tested on rows",
            code="rows_needed",
            field="reference",
            expected="the reference's table",
        )
    reference = sketch_table(request.reference, group=request.group, seed=request.seed)
    candidate = sketch_table(request.candidate, layout=reference.layout, seed=request.seed, part=1)
    report = check(
        reference,
        candidate,
        group=request.group,
        tolerance=request.tolerance,
        seed=request.seed,
    )
    notes: list[str] = []
    located: LocatedRows | None = None
    if report.verdict in ("differs", "collapsed") and report.dimensions:
        # What a network would attribute to columns is not asked here, and costs its import.
        located = locate_rows(
            request.reference,
            request.candidate,
            group=request.group,
            tolerance=request.tolerance,
            seed=request.seed,
            most=MOST_FLAGGED,
            attributions=False,
        )
    matches = Library(request.incidents).match(report)
    notes += [f"it looks like {one.kind} ({one.confidence:.0%} sure)" for one in matches]
    actions = derive_actions(report, located, matches, request.target)
    sides = [
        sample_cells(table, reference.layout, most=MOST_ROWS, seed=request.seed, part=part)
        for part, table in enumerate((request.reference, request.candidate))
    ]
    stage, why = _stage(request, sides[0], sides[1], located, _suspect(report))
    notes += why
    tables: dict[str, str] = {}
    kept: list[Action] = []
    staged = stage if request.target is not None and not why else None
    folder = Path(request.folder) / "tables"
    if staged is not None:
        try:
            tables[""] = write_stage(staged, staged.case.cells, AS_IT_IS, folder)
        except MatrixError as problem:
            notes.append(f"no proxies: {problem.message}")
            staged = None
    for action in actions:
        mended = mend(stage.case, action)
        if mended is None:
            continue
        found = _counted(action, mended, sides, located)
        if staged is not None:
            name = f"{action.action}_{len(kept) + 1}"
            try:
                tables[found.name] = write_stage(staged, mended.cells, name, folder)
            except MatrixError as problem:
                notes.append(f"{found.name} cannot be tried: {problem.message}")
        kept.append(found)
    return Plan(
        verdict=report.verdict,
        score=report.score,
        rows=report.candidate.rows,
        target=request.target,
        task=stage.task if staged is not None else None,
        test_rows=stage.test.rows if staged is not None else 0,
        test_sha256=hash_cells(stage.test) if staged is not None else "",
        actions=tuple(kept),
        tables=tables,
        notes=tuple(notes),
    )


def _suspect(report: HealthReport) -> set[str]:
    """Return the columns that something may be wrong with."""
    found = {difference.column for difference in report.schema_differences}
    for dimension in report.dimensions:
        if dimension.p is not None and dimension.p <= report.alpha:
            worst = max((one.standing for one in dimension.worst), default=0.0)
            for one in dimension.worst:
                if one.standing >= max(3.0, 0.3 * worst) and " × " not in one.column:
                    found.add(one.column)
    return found


def _stage(
    request: PlanRequest,
    reference: Sampled,
    candidate: Sampled,
    located: LocatedRows | None,
    suspect: set[str],
) -> tuple[Stage, list[str]]:
    """Return what tables are made of, and why no proxies can be trained on them, if so."""
    notes: list[str] = []
    grouped = request.group is not None
    donors, test = part_reference(reference, candidate, grouped=grouped, seed=request.seed)
    places = {int(position): place for place, position in enumerate(candidate.positions)}
    flagged = {}
    for row in strange_rows(located) if located is not None else ():
        if row.row in places:
            flagged[places[row.row]] = tuple(one.column for one in row.columns)
    case = Case(
        cells=candidate.cells,
        donors=donors,
        repeated=repeated_rows(candidate.hashes, reference.hashes)[candidate.positions],
        copied=np.isin(candidate.hashes, reference.hashes)[candidate.positions],
        target=request.target,
        flagged=flagged,
        unfit=candidate.unfit,
        trusted=tuple(name for name in candidate.cells.columns if name not in suspect),
    )
    if request.target is None:
        return Stage(case, test, "", "regression"), notes
    task = settle_target(reference.cells.columns, request.target, request.task)
    if task == "classification":
        cells, donors, test = (
            name_classes(side, request.target) for side in (case.cells, donors, test)
        )
        case = replace(case, cells=cells, donors=donors)
    if test.rows < LEAST_TEST:
        notes.append(
            f"no proxies: {test.rows} rows of the reference are left to test on that the "
            f"candidate does not hold, and {LEAST_TEST} are needed"
        )
    return Stage(case, test, request.target, task), notes


def _counted(
    action: Action, mended: Mended, sides: Sequence[Sampled], located: LocatedRows | None
) -> Action:
    """Return the action with the rows that it touches.

    Repeats and copies are known of all rows, the others in the sample, and by its share.
    """
    reference, candidate = sides
    share = candidate.rows / max(len(candidate.positions), 1)
    positions = np.sort(candidate.positions[mended.touched])
    rows = round(len(positions) * share)
    if action.action in ("drop_repeated", "drop_copies"):
        hashes = candidate.hashes, reference.hashes
        repeated = action.action == "drop_repeated"
        marked = repeated_rows(*hashes) if repeated else np.isin(*hashes)
        positions = np.flatnonzero(marked)
        rows = len(positions)
    if action.action in ("drop_flagged", "mend_flagged") and located is not None:
        rows = strange_count(located)
    return action.model_copy(
        update={
            "rows": rows,
            "added": round(mended.added * share),
            "positions": tuple(int(place) for place in positions[:MOST_POSITIONS]),
        }
    )


if __name__ == "__main__":
    sys.exit(main())
