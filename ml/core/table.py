"""Hold one dataset in numpy arrays, the same for every framework."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ml.core.contracts import SplitRule, Task


@dataclass(frozen=True)
class Table:
    """Hold features, target and what the split rule needs; rows agree in all arrays.

    ``numeric`` is float64 [n, p] with NaN for missing and never an infinity; ``categorical``
    is int32 [n, q], an index into that column's ``levels`` or -1 for missing. ``target`` is
    int64 class indices into ``classes`` for a classification, else float64; it has no missing
    value. ``time`` (int64, in periods) is set when the split rule is ``time``, rows then
    standing in time order; ``series`` (int32) says which series a row belongs to; ``group``
    (int64) is set when the split rule is ``group``, or ``given``: then 1 in the test rows, else 0.
    ``season`` and
    ``horizon`` are in periods. ``window`` names the features that are the target's past values,
    from the oldest on.

    In a binary classification the positive class is the last of ``classes``.
    """

    id: str
    task: Task
    content_sha256: str
    numeric: NDArray[np.float64]
    numeric_names: tuple[str, ...]
    categorical: NDArray[np.int32]
    categorical_names: tuple[str, ...]
    levels: tuple[tuple[str, ...], ...]
    target: NDArray[np.int64] | NDArray[np.float64]
    classes: tuple[str, ...]
    split: SplitRule
    time: NDArray[np.int64] | None = None
    series: NDArray[np.int32] | None = None
    group: NDArray[np.int64] | None = None
    season: int = 1
    horizon: int = 1
    window: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """Return the number of rows."""
        return int(self.target.shape[0])

    def take(self, rows: NDArray[np.int64]) -> Table:
        """Return the table with only these rows, in this order."""
        return replace(
            self,
            numeric=self.numeric[rows],
            categorical=self.categorical[rows],
            target=self.target[rows],
            time=None if self.time is None else self.time[rows],
            series=None if self.series is None else self.series[rows],
            group=None if self.group is None else self.group[rows],
        )
