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
# Rows a side of tables that are sampled and scanned.
LARGE = 20_000
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

    def join(self, other: Found) -> None:
        """Count the other's rows as well."""
        for name in vars(self):
            setattr(self, name, getattr(self, name) + getattr(other, name))

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


Tallies = dict[tuple[str, str], Found]


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


def flagged_rows(
    reference: pd.DataFrame, candidate: pd.DataFrame, seed: int, **keywords
) -> np.ndarray:
    """Return a mask of the candidate's rows that the localizer flags."""
    located = locate_rows(
        reference, candidate, seed=seed, most=len(candidate), attributions=False, **keywords
    )
    mask = np.zeros(len(candidate), dtype=bool)
    mask[[each.row for each in located.flagged]] = True
    return mask


def clean_mask(rows: int) -> np.ndarray:
    """Return a mask of no rows."""
    return np.zeros(rows, dtype=bool)


def sides_of(frame: pd.DataFrame, rows: int, draw: np.random.Generator) -> list[pd.DataFrame]:
    """Return two sides of so many rows at most, and rows that neither has."""
    order, side = draw.permutation(len(frame)), min(rows, len(frame) // 2)
    rest = order[2 * side : 2 * side + 4 * ROWS]
    return [frame.iloc[part] for part in (order[:side], order[side : 2 * side], rest)]


def measure(bench, used, rows: int, severities, repeats: int, pairs: int) -> Tallies:
    """Return what is found of rows by kind and severity; kind and severity "" are clean tables."""
    tallies = {("", ""): Found()}
    for name, frame in used.items():
        for number in range(pairs):
            draw = stream(bench.options.seed, "clean rows", name, rows, number)
            first, second, _ = sides_of(frame, rows, draw)
            flagged = flagged_rows(first, second, number)
            tallies["", ""].add(clean_mask(len(second)), flagged)
            if flagged.any():
                print(f"of {len(second)} clean rows of {name} {int(flagged.sum())} are flagged")
        for kind in KINDS:
            for severity in severities:
                tally = tallies.setdefault((kind, severity), Found())
                for number in range(repeats):
                    draw = stream(bench.options.seed, "rows", name, kind, severity, rows, number)
                    first, second, rest = sides_of(frame, rows, draw)
                    damaged = damage(kind, severity, second, Others(first, rest), draw)
                    if damaged is None:
                        continue
                    one = Found()
                    flagged = flagged_rows(first, damaged.frame, number)
                    one.add(damaged_rows(kind, damaged), flagged)
                    tally.join(one)
                    if kind == "duplicates" and one.recall < 0.9:
                        nature = 100 * first.duplicated(keep=False).mean()
                        print(
                            f"of {severity} duplicates in {name} {one.recall:.2f} are found; "
                            f"{nature:.1f} % of the reference's rows are repeated"
                        )
    return tallies


def print_tallies(tallies: Tallies) -> None:
    """Print one line a kind and severity."""
    print("| kind | severity | tables | damaged rows | precision | recall | clean flagged, % |")
    print("|---|---|---|---|---|---|---|")
    for (kind, severity), tally in sorted(tallies.items(), key=lambda each: each[0][0] == ""):
        shares = f"{tally.precision:.3f} | {tally.recall:.3f}" if kind else " | "
        print(
            f"| {kind or 'none'} | {severity} | {tally.tables} | {tally.damaged} | {shares} "
            f"| {100 * tally.false:.3f} |",
            flush=True,
        )


def show_rows(bench, frames) -> None:
    """Print precision and recall of located rows by kind and severity, and clean rows flagged."""
    options = bench.options
    used = {name: pair[0] for name, pair in frames.items() if len(pair[0]) >= 2 * LEAST}
    print(f"\n## Located rows: {len(used)} datasets, {LEAST} to {ROWS} rows a side\n")
    tallies = measure(bench, used, ROWS, SEVERITIES, options.repeats, options.pairs)
    print_tallies(tallies)
    for kind in KINDS:
        whole = Found()
        for severity in SEVERITIES:
            whole.join(tallies[kind, severity])
        print(f"{kind}: precision {whole.precision:.3f}, recall {whole.recall:.3f}")
        if kind != "copies_of_reference":
            bench.judge(whole.precision >= 0.85, f"precision on {kind}: .85 at least")
        if kind == "duplicates":
            bench.judge(whole.recall >= 0.95, "recall of duplicates: .95 at least")
    bench.judge(tallies["", ""].false <= 0.001, "clean rows flagged: 0.1 % at most")
    large = {name: frame for name, frame in used.items() if len(frame) >= 2 * LARGE}
    print(f"\n## Located rows: {len(large)} datasets, {LARGE} rows a side\n")
    print_tallies(measure(bench, large, LARGE, ("mild", "moderate"), 1, 2))
    show_groups(bench, frames)


def show_groups(bench, frames) -> None:
    """Print the share of clean rows flagged where whole groups are on one side."""
    print("\n## Clean rows: whole groups on one side\n")
    print("| dataset | pairs | by group: flagged, % | by row: flagged, % |")
    print("|---|---|---|---|")
    for name, (frame, groups) in frames.items():
        if groups is None:
            continue
        by_group, by_row, pairs = Found(), Found(), max(2, bench.options.pairs // 3)
        for number in range(pairs):
            draw = stream(bench.options.seed, "groups of rows", name, number)
            names = draw.permutation(np.unique(groups))
            left = np.isin(groups, names[: len(names) // 2])
            table = frame.assign(belongs_to=groups)
            sides = [
                table.iloc[draw.permutation(np.flatnonzero(side))[:ROWS]] for side in (left, ~left)
            ]
            none = clean_mask(len(sides[1]))
            by_group.add(none, flagged_rows(*sides, number, group="belongs_to"))
            plain = [side.drop(columns="belongs_to") for side in sides]
            by_row.add(none, flagged_rows(*plain, number))
        shares = f"{100 * by_group.false:.2f} | {100 * by_row.false:.2f}"
        print(f"| {name} | {pairs} | {shares} |", flush=True)
