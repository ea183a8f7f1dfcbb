"""Learn the signatures of damage, and show how often a report is matched with the right kind.

``python benchmarks/signatures.py --write`` damages the real tables of ``benchmarks/tables.py`` in
the ways of ``benchmarks/damage.py``, checks each, and writes the signatures of those found to
``ml/health/signatures.json``, which the package ships. ``python benchmarks/health.py --parts
signatures`` matches reports of other damage, of other seeds, by what was learnt of the other
tables.
"""

from __future__ import annotations

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import argparse
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from damage import KINDS, SEVERITIES, Others, Severity, damage
from tables import load_frames

from ml.core.seeding import stream
from ml.health.check import check
from ml.health.report import HealthReport
from ml.health.signature_features import signature_of
from ml.health.signatures import (
    BUNDLED,
    LEAST_CONFIDENCE,
    NEAREST,
    Library,
    Signature,
    Signatures,
    like,
    write_signatures,
)

ROWS = 2000
LEAST = 1000
SEED = 101
# Features of no damage here, which a user's own incidents may have.
FURTHER = ("schema.added", "schema.kind", "schema.missing")
WIDTHS = np.geomspace(0.05, 1.0, 25)
UNKNOWNS = np.geomspace(1e-5, 1.0, 26)
BANDS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


@dataclass(frozen=True)
class Case:
    """Hold the report of a damaged table."""

    dataset: str
    kind: str
    severity: str
    report: HealthReport


def damaged_reports(
    frames: dict[str, Any],
    seed: int,
    severities: tuple[Severity, ...],
    repeats: int = 1,
    check: Callable[..., HealthReport] = check,
    rows: int = ROWS,
) -> Iterator[Case]:
    """Yield the report of every dataset of LEAST rows a side, kind and severity."""
    for name, (frame, _) in frames.items():
        side = min(rows, len(frame) // 2)
        if len(frame) < 2 * LEAST:
            continue
        for kind in KINDS:
            for severity in severities:
                for number in range(repeats):
                    draw = stream(seed, "signatures", name, kind, severity, number)
                    order = draw.permutation(len(frame))
                    first, second, rest = (
                        frame.iloc[order[part]]
                        for part in (
                            slice(side),
                            slice(side, 2 * side),
                            slice(2 * side, 2 * side + 4 * ROWS),
                        )
                    )
                    damaged = damage(kind, severity, second, Others(first, rest), draw)
                    if damaged is not None:
                        report = check(first, damaged.frame, seed=number)
                        yield Case(name, kind, severity, report)


def learn(cases: list[Case]) -> Signatures:
    """Return the signatures of the cases that were found, and the terms of their likeness.

    Width and unknown are those under which each case, matched by what was learnt of the other
    datasets, is likeliest of its kind; and, where its kind is left out too, of none.
    """
    found = [case for case in cases if case.report.verdict != "healthy"]
    features = [signature_of(case.report) for case in found]
    names = tuple(sorted({*FURTHER, *(name for one in features for name in one)}))
    learnt = Signatures(
        features=names,
        width=1.0,
        unknown=1.0,
        signatures=tuple(
            Signature(
                kind=case.kind,
                source=case.dataset,
                values=tuple(float(f"{one.get(name, 0.0):.3g}") for name in names),
            )
            for case, one in zip(found, features, strict=True)
        ),
    )
    terms = fit_terms(learnt)
    return learnt.model_copy(update=terms)


def leave_out(learnt: Signatures, source: str, kind: str | None = None) -> Signatures:
    """Return signatures without those of a source, or of a kind."""
    kept = [one for one in learnt.signatures if source != one.source and kind != one.kind]
    return learnt.model_copy(update={"signatures": tuple(kept)})


def fit_terms(learnt: Signatures) -> dict[str, float]:
    """Return the width and the unknown of the least log loss, known and unknown kinds alike."""
    kinds = sorted({one.kind for one in learnt.signatures})
    known, unknown, places = [], [], []
    for source in sorted({one.source for one in learnt.signatures}):
        cases = [one for one in learnt.signatures if one.source == source]
        known.append(_nearest(leave_out(learnt, source), cases, kinds))
        places += [kinds.index(one.kind) for one in cases]
        rest = np.empty_like(known[-1])
        for kind in {one.kind for one in cases}:
            chosen = np.array([one.kind == kind for one in cases])
            own = [one for one in cases if one.kind == kind]
            rest[chosen] = _nearest(leave_out(learnt, source, kind), own, kinds)
        unknown.append(rest)
    rows, place = np.arange(len(places)), np.array(places)
    with_kind, without = np.concatenate(known), np.concatenate(unknown)
    best = (np.inf, 0.0, 0.0)
    for width in WIDTHS:
        likeness = like(with_kind, width)
        others = like(without, width).sum(axis=1)
        for weight in UNKNOWNS:
            right = likeness[rows, place] / (likeness.sum(axis=1) + weight)
            none = weight / (others + weight)
            loss = -np.log(np.maximum(right, 1e-6)).mean() - np.log(np.maximum(none, 1e-6)).mean()
            best = min(best, (float(loss), float(width), float(weight)))
    return {"width": float(f"{best[1]:.3g}"), "unknown": float(f"{best[2]:.3g}")}


def _nearest(learnt: Signatures, cases: list[Signature], kinds: list[str]) -> np.ndarray:
    """Return the distances of each case's NEAREST signatures of each kind; inf where none is."""
    nearest = Library(learnt=learnt).nearest(np.array([one.values for one in cases]))
    found = np.full((len(cases), len(kinds), NEAREST), np.inf)
    for kind, near in nearest.items():
        found[:, kinds.index(kind), : near.shape[1]] = near
    return found


def show_signatures(bench: Any, frames: dict[str, Any]) -> None:
    """Print how often the right kind is first, or among the first two, leaving a dataset out."""
    bundled = Library().learnt
    severities: tuple[Severity, ...] = ("moderate", "severe")
    cases = list(
        damaged_reports(frames, bench.options.seed, severities, bench.options.repeats, bench.check)
    )
    used = sorted({case.dataset for case in cases})
    libraries = {name: Library(learnt=leave_out(bundled, name)) for name in used}
    print(f"\n## Signatures: {len(used)} datasets, each matched by what was learnt of the others\n")
    print("| kind | reports | right first, % | among the first two, % | no match, % |")
    print("|---|---|---|---|---|")
    outcomes, judged = {}, []
    for case in cases:
        matches = libraries[case.dataset].match(case.report)
        outcomes.setdefault(case.kind, []).append(_outcome(case.kind, matches))
        if case.report.verdict != "healthy":
            judged.append((case.kind, matches))
    outcomes["**all**"] = [one for each in outcomes.values() for one in each]
    for kind, each in outcomes.items():
        first, two, none = (100 * float(np.mean(part)) for part in zip(*each, strict=True))
        print(f"| {kind} | {len(each)} | {first:.1f} | {two:.1f} | {none:.1f} |")
    bench.judge(two >= 90, "right kind among the first two: 90 % at least")
    _show_confidence(bench, bundled, cases, judged)
    _show_incidents(bench, bundled, cases)


def _outcome(kind: str, matches: tuple[Any, ...]) -> tuple[bool, bool, bool]:
    kinds = [match.kind for match in matches]
    return kinds[:1] == [kind], kind in kinds, not kinds


def _show_confidence(
    bench: Any, bundled: Signatures, cases: list[Case], judged: list[tuple[str, Any]]
) -> None:
    """Print how often a confidence is right, each kind once known and once left out."""
    unknown = []
    libraries: dict[tuple[str, str], Library] = {}
    for case in cases:
        if case.report.verdict == "healthy":
            continue
        key = case.dataset, case.kind
        if key not in libraries:
            libraries[key] = Library(learnt=leave_out(bundled, *key))
        unknown.append(("", libraries[key].match(case.report)))
    print("\nConfidence of the first match, each kind once known and once left out:\n")
    print("| confidence | matches | mean confidence, % | right, % |")
    print("|---|---|---|---|")
    pairs = [
        (matches[0].confidence, matches[0].kind == kind)
        for kind, matches in judged + unknown
        if matches
    ]
    gap = 0.0
    for low, high in pairwise(BANDS):
        band = [(p, right) for p, right in pairs if low <= p < high or p == high == 1]
        if band:
            mean, share = (float(np.mean(part)) for part in zip(*band, strict=True))
            gap += abs(mean - share) * len(band) / len(pairs)
            start = max(low, LEAST_CONFIDENCE)
            print(f"| {start} to {high} | {len(band)} | {100 * mean:.1f} | {100 * share:.1f} |")
    sure = np.mean([bool(found) and found[0].confidence >= 0.5 for _, found in judged])
    wrong = np.mean([bool(found) and found[0].confidence >= 0.5 for _, found in unknown])
    none = np.mean([not found for _, found in unknown])
    print(f"\nexpected calibration error {100 * gap:.1f} %; confidence of .5 or more:", end=" ")
    print(f"{100 * sure:.1f} % of known kinds, {100 * wrong:.1f} % of kinds left out,", end=" ")
    print(f"of which {100 * none:.1f} % match nothing")
    bench.judge(gap <= 0.1, "expected calibration error: 10 % at most")


def _show_incidents(bench: Any, bundled: Signatures, cases: list[Case]) -> None:
    """Print how often a kind of which one incident only was named is told when it comes again."""
    print("\nOf a kind that was left out, one report named as an incident of one's own:\n")
    print("| the incident was in | reports | told first, % | among the first two, % |")
    print("|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "incidents.json"
        for place in ("the same table", "another table"):
            outcomes = []
            for number, case in enumerate(cases):
                draw = stream(bench.options.seed, "incidents", place, number)
                same = place == "the same table"
                named = [
                    one
                    for one in bundled.signatures
                    if one.kind == case.kind and (one.source == case.dataset) == same
                ]
                if not named or case.report.verdict == "healthy":
                    continue
                own = named[int(draw.integers(len(named)))]
                write_signatures(Signatures(features=bundled.features, signatures=(own,)), path)
                library = Library(path, learnt=leave_out(bundled, case.dataset, case.kind))
                outcomes.append(_outcome(case.kind, library.match(case.report)))
            first, two, _ = (100 * float(np.mean(part)) for part in zip(*outcomes, strict=True))
            print(f"| {place} | {len(outcomes)} | {first:.1f} | {two:.1f} |")


def main() -> int:
    """Learn signatures, and write them where asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--write", action="store_true", help=f"write {BUNDLED.name}")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    cases = list(damaged_reports(load_frames(), options.seed, SEVERITIES))
    learnt = learn(cases)
    print(f"{len(cases)} damaged tables, {len(learnt.signatures)} signatures,", end=" ")
    print(f"{len(learnt.features)} features, width {learnt.width}, unknown {learnt.unknown}")
    if options.write:
        write_signatures(learnt, BUNDLED)
        print(f"written: {BUNDLED}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
