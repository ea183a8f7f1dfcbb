"""Show which rows of a damaged table are located, and how many clean ones are called bad."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from damage import SEVERITIES, Damaged, Others, damage

from ml.core.seeding import stream
from ml.health.locate import locate_rows

ROWS = 2000
LEAST = 1000
# Kinds of damage that are done to single rows.
KINDS = ("duplicates", "copies_of_reference", "outlier_cells")


@dataclass
class Found:
    """Count rows: those damaged, those flagged, those that are both, and all."""

    damaged: int = 0
    flagged: int = 0
    right: int = 0
    rows: int = 0
    tables: int = 0

    def add(self, damaged: np.ndarray, flagged: np.ndarray) -> None:
        """Count the rows of one table, two masks."""
        self.damaged += int(damaged.sum())
        self.flagged += int(flagged.sum())
        self.right += int((damaged & flagged).sum())
        self.rows += len(damaged)
        self.tables += 1

    @property
    def precision(self) -> float:
        """Return the share of flagged rows that were damaged."""
        return self.right / max(1, self.flagged)

    @property
    def recall(self) -> float:
        """Return the share of damaged rows that were flagged."""
        return self.right / max(1, self.damaged)

    @property
    def false(self) -> float:
        """Return the share of clean rows that were flagged."""
        return (self.flagged - self.right) / max(1, self.rows - self.damaged)


def damaged_rows(kind: str, damaged: Damaged) -> np.ndarray:
    """Return a mask of the rows that are to be found.

    Of a duplicate and its original nobody can tell which came first, so both are.
    """
    mask = np.zeros(len(damaged.frame), dtype=bool)
    mask[damaged.rows] = True
    if kind == "duplicates":
        texts = damaged.frame.astype(str)
        hashes = pd.util.hash_pandas_object(texts, index=False).to_numpy()
        mask = np.isin(hashes, hashes[mask])
    return mask


def flagged_rows(reference: pd.DataFrame, candidate: pd.DataFrame, seed: int) -> np.ndarray:
    """Return a mask of the candidate's rows that the localizer flags."""
    located = locate_rows(reference, candidate, seed=seed, most=len(candidate), attributions=False)
    mask = np.zeros(len(candidate), dtype=bool)
    mask[[each.row for each in located.flagged]] = True
    return mask


def show_rows(bench, frames, halves) -> None:
    """Print precision and recall of located rows by kind and severity, and clean rows flagged."""
    used = {name: pair[0] for name, pair in frames.items() if len(pair[0]) >= 2 * LEAST}
    clean, tallies = Found(), {(kind, each): Found() for kind in KINDS for each in SEVERITIES}
    for name, frame in used.items():
        for number in range(max(2, bench.options.pairs // 5)):
            draw = stream(bench.options.seed, "clean rows", name, number)
            first, second, _ = (frame.iloc[rows] for rows in halves(frame, draw))
            flagged = flagged_rows(first, second, number)
            clean.add(np.zeros(len(second), dtype=bool), flagged)
            if flagged.any():
                print(f"of {len(second)} clean rows of {name} {int(flagged.sum())} are flagged")
        for (kind, severity), tally in tallies.items():
            for number in range(bench.options.repeats):
                draw = stream(bench.options.seed, "rows", name, kind, severity, number)
                first, second, rest = (frame.iloc[rows] for rows in halves(frame, draw))
                damaged = damage(kind, severity, second, Others(first, rest[: 4 * ROWS]), draw)
                if damaged is not None:
                    tally.add(
                        damaged_rows(kind, damaged), flagged_rows(first, damaged.frame, number)
                    )
    print(f"\n## Located rows: {len(used)} datasets of {LEAST} rows a side or more\n")
    print("| kind | severity | tables | damaged rows | precision | recall | clean flagged, % |")
    print("|---|---|---|---|---|---|---|")
    for (kind, severity), tally in tallies.items():
        print(
            f"| {kind} | {severity} | {tally.tables} | {tally.damaged} | {tally.precision:.3f} "
            f"| {tally.recall:.3f} | {100 * tally.false:.2f} |"
        )
    print(f"| none | | {clean.tables} | 0 | | | {100 * clean.false:.3f} |", flush=True)
    for kind in KINDS:
        whole = Found()
        for severity in SEVERITIES:
            for field in ("damaged", "flagged", "right", "rows"):
                both = getattr(whole, field) + getattr(tallies[kind, severity], field)
                setattr(whole, field, both)
        print(f"{kind}: precision {whole.precision:.3f}, recall {whole.recall:.3f}")
        if kind != "copies_of_reference":
            bench.judge(whole.precision >= 0.85, f"precision on {kind}: .85 at least")
        if kind == "duplicates":
            bench.judge(whole.recall >= 0.95, "recall of duplicates: .95 at least")
    bench.judge(clean.false <= 0.001, "clean rows flagged: 0.1 % at most")
