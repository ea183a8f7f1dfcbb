"""Turn a table into a float32 matrix by what its training rows show, and by nothing else."""

from __future__ import annotations

import json
import math
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from ml.core.contracts import Contract, PreprocessingSpec
from ml.core.errors import DataInvalid, describe
from ml.core.specs import Positive
from ml.core.table import Table
from ml.preprocessing.scaling import measure_moments, standardise

Rows = NDArray[np.int64]
Floats32 = NDArray[np.float32]


class Fitted(Contract):
    """Read and write fitted numbers as JSON, float for float."""

    def to_json(self) -> dict[str, Any]:
        """Return plain dicts, lists, strings and numbers; ``from_json`` restores them exactly."""
        return self.model_dump(mode="json")

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Restore what ``to_json`` gave; raises DataInvalid naming the field that is wrong."""
        try:
            return cls.model_validate_json(json.dumps(values))
        except (ValidationError, TypeError) as problem:
            where, what, received = "", str(problem), values
            if isinstance(problem, ValidationError):
                first = problem.errors(include_url=False)[0]
                where = ".".join(str(part) for part in first["loc"])
                what, received = first["msg"], first.get("input")
            raise DataInvalid(
                f"the stored {cls.__name__} cannot be read: {what}",
                code="artifact_unreadable",
                field=where or None,
                received=describe(received),
                remedy="train the cell again; the file is cut or was changed",
            ) from None


class TargetScaler(Fitted):
    """Standardise a regression's target by the mean and deviation of its training rows."""

    mean: float
    std: Positive

    @classmethod
    def fit(cls, target: NDArray[Any]) -> Self:
        """Measure the training rows' target [n]; a constant one gets the deviation 1."""
        mean, std = measure_moments(np.asarray(target, dtype=np.float64))
        return cls(mean=float(mean), std=float(std))

    def transform(self, target: NDArray[Any]) -> Floats32:
        """Return the scaled target, float32, computed in float64 and clipped to ±1e30."""
        return standardise(np.asarray(target, dtype=np.float64), self.mean, self.std)

    def inverse(self, scaled: NDArray[Any]) -> NDArray[np.float64]:
        """Return scaled values in the target's unit, float64; what exceeds it becomes infinite."""
        with np.errstate(over="ignore"):
            values: NDArray[np.float64] = np.asarray(scaled, np.float64) * self.std + self.mean
        return values


class NumericColumn(Fitted):
    """Hold how one numeric column is filled and scaled, and which columns it gives."""

    name: str
    value: bool
    indicator: bool
    fill: float
    shift: float
    divisor: Positive


class CategoricalColumn(Fitted):
    """Hold the kept levels of one categorical column, most frequent first.

    ``other`` says whether the training rows have levels beyond the kept ones, ``missing``
    whether they have missing values; a column with neither and no level is left out.
    """

    name: str
    kept: tuple[str, ...]
    other: bool
    missing: bool
    shift: float
    divisor: Positive

    @property
    def width(self) -> int:
        """Return the number of distinct values that the training rows show."""
        return len(self.kept) + self.other + self.missing

    def place_levels(self, levels: tuple[str, ...], elsewhere: int, missing: int) -> Rows:
        """Return the place of each of a table's levels, and last the place of missing.

        A level that is not kept is placed ``elsewhere``; index -1, missing, finds the last one.
        """
        places = {level: place for place, level in enumerate(self.kept)}
        return np.array([*(places.get(level, elsewhere) for level in levels), missing])


class Preprocessor(Fitted):
    """Hold what was fitted on training rows, and transform any rows of such a table.

    The output's columns are the numeric values, their missing indicators (0 or 1), then the
    categorical columns. ``dropped`` maps each input column left out to the reason.
    """

    encoding: Literal["one_hot", "ordinal"]
    numeric: tuple[NumericColumn, ...]
    categorical: tuple[CategoricalColumn, ...]
    dropped: dict[str, str]

    @property
    def names(self) -> tuple[str, ...]:
        """Return the output columns' names, such as ``age``, ``age:missing``, ``city=Rome``."""
        names = [column.name for column in self.numeric if column.value]
        names += [f"{column.name}:missing" for column in self.numeric if column.indicator]
        for column in self.categorical:
            if self.encoding == "ordinal":
                names += [column.name] * (column.width > 0)
                continue
            names += [f"{column.name}={level}" for level in column.kept]
            names += [f"{column.name}:other"] * column.other
            names += [f"{column.name}:missing"] * column.missing
        return tuple(names) or ("constant",)

    @property
    def features(self) -> int:
        """Return the number of output columns, at least 1."""
        return len(self.names)

    def transform(self, table: Table, rows: Rows) -> Floats32:
        """Return the rows as float32 [len(rows), features], C-contiguous, finite.

        Missing numeric values become the training median; values are clipped to ±1e30 after
        scaling. A level unknown to the training rows goes to the ``other`` column or rank; in
        one_hot it is all zeros where there is no such column, as is a missing value where the
        training rows have none. Where every column was dropped the output is one column of
        zeros. Raises DataInvalid where the table's columns are not those fitted.
        """
        self._require_columns(table)
        out = np.zeros((rows.size, self.features), dtype=np.float32)
        at = self._write_numeric(table.numeric, rows, out)
        codes = table.categorical[rows]
        for index, column in enumerate(self.categorical):
            if not column.width:
                continue
            levels = table.levels[index]
            if self.encoding == "ordinal":
                places = column.place_levels(levels, len(column.kept), -1)
                values = standardise(places.astype(np.float64), column.shift, column.divisor)
                out[:, at] = values[codes[:, index]]
                at += 1
                continue
            elsewhere = len(column.kept) if column.other else -1
            missing = column.width - 1 if column.missing else -1
            hot = column.place_levels(levels, elsewhere, missing)[codes[:, index]]
            shown = np.flatnonzero(hot >= 0)
            out[shown, at + hot[shown]] = 1.0
            at += column.width
        return out

    def _write_numeric(self, values: NDArray[np.float64], rows: Rows, out: Floats32) -> int:
        valued = [column for column in self.numeric if column.value]
        fill, shift, divisor = (
            np.array([getattr(column, name) for column in valued])
            for name in ("fill", "shift", "divisor")
        )
        # A copy, and so ours to fill in place.
        shown = values[np.ix_(rows, np.array([column.value for column in self.numeric], bool))]
        np.copyto(shown, fill, where=np.isnan(shown))
        out[:, : len(valued)] = standardise(shown, shift, divisor)
        flagged = values[
            np.ix_(rows, np.array([column.indicator for column in self.numeric], bool))
        ]
        end: int = len(valued) + flagged.shape[1]
        out[:, len(valued) : end] = np.isnan(flagged)
        return end

    def _require_columns(self, table: Table) -> None:
        for kind, fitted, received in (
            ("numeric", self.numeric, table.numeric_names),
            ("categorical", self.categorical, table.categorical_names),
        ):
            expected = tuple(column.name for column in fitted)
            if expected != received:
                raise DataInvalid(
                    f"dataset {table.id}: its {kind} columns are not those of the training table",
                    code="columns_differ",
                    field=f"{kind}_names",
                    expected=describe(expected),
                    received=describe(received),
                    remedy="give the columns that the model was trained on, in that order",
                )


def fit_preprocessor(spec: PreprocessingSpec, table: Table, rows: Rows) -> Preprocessor:
    """Fit medians, means, deviations and level counts on these rows only.

    A column that is constant, or wholly missing, in these rows is dropped; one that is constant
    but for missing values keeps its indicator. A categorical column has at most
    ``spec.max_levels`` distinct values, a missing one included: the most frequent levels, ties
    by name, then one place for all others. ``spec.scale`` standardises numeric values and
    ordinal ranks, never indicators or one_hot columns. Raises DataInvalid for no rows.
    """
    if not rows.size:
        raise DataInvalid(
            f"dataset {table.id}: preprocessing cannot be fitted on no rows",
            code="too_few_rows",
            expected="at least 1 training row",
            received="0",
            remedy="give the training part at least one row",
        )
    dropped: dict[str, str] = {}
    numeric = tuple(
        _fit_numeric(spec, name, table.numeric[rows, index], dropped)
        for index, name in enumerate(table.numeric_names)
    )
    categorical = tuple(
        _fit_categorical(spec, name, table.levels[index], table.categorical[rows, index], dropped)
        for index, name in enumerate(table.categorical_names)
    )
    return Preprocessor(
        encoding=spec.encoding, numeric=numeric, categorical=categorical, dropped=dropped
    )


def _fit_numeric(
    spec: PreprocessingSpec, name: str, values: NDArray[np.float64], dropped: dict[str, str]
) -> NumericColumn:
    missing = np.isnan(values)
    present = values[~missing]
    partly = 0 < present.size < values.size
    varies = bool(present.size and present.min() < present.max())
    fill, shift, divisor = 0.0, 0.0, 1.0
    if varies:
        # Halved, for the median is the mean of two values, whose sum may exceed float64.
        fill = float(np.median(present / 2) * 2)
        if spec.scale:
            mean, deviation = measure_moments(np.where(missing, fill, values))
            shift, divisor = float(mean), float(deviation)
    elif present.size:
        kept = ", but for missing values, whose indicator is kept" if partly else ""
        dropped[name] = "constant in the training rows" + kept
    else:
        dropped[name] = "missing in every training row"
    return NumericColumn(
        name=name, value=varies, indicator=partly, fill=fill, shift=shift, divisor=divisor
    )


def _fit_categorical(
    spec: PreprocessingSpec,
    name: str,
    levels: tuple[str, ...],
    codes: NDArray[np.int32],
    dropped: dict[str, str],
) -> CategoricalColumn:
    absent, *counts = np.bincount(codes + 1, minlength=len(levels) + 1).tolist()
    shown = sorted((-count, level) for count, level in zip(counts, levels, strict=True) if count)
    if len(shown) + (absent > 0) < 2:
        dropped[name] = (
            "constant in the training rows" if shown else "missing in every training row"
        )
        return CategoricalColumn(
            name=name, kept=(), other=False, missing=False, shift=0.0, divisor=1.0
        )
    room = spec.max_levels - (absent > 0)
    kept = shown if len(shown) <= room else shown[: room - 1]
    shift, divisor = 0.0, 1.0
    if spec.encoding == "ordinal" and spec.scale:
        others = sum(count for count, _ in shown[len(kept) :])
        ranks = [(-1, absent), (len(kept), -others)]
        ranks += [(rank, -count) for rank, (count, _) in enumerate(kept)]
        # Whole numbers, so that no order of summation can change the result.
        first = sum(rank * count for rank, count in ranks)
        second = sum(rank * rank * count for rank, count in ranks)
        shift = first / codes.size
        divisor = math.sqrt(second * codes.size - first * first) / codes.size
    return CategoricalColumn(
        name=name,
        kept=tuple(level for _, level in kept),
        other=len(kept) < len(shown),
        missing=absent > 0,
        shift=shift,
        divisor=divisor,
    )
