"""Load an artifact and predict with it, in the framework that wrote it or in another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from ml.artifacts.arrays import read_artifact
from ml.core.contracts import (
    EstimatorSpec,
    ImportedSpec,
    ModelSpec,
    NetworkSpec,
    Scalar,
    SplitRule,
    Task,
)
from ml.core.errors import DataInvalid, RequestInvalid, describe
from ml.core.imported import make_learner
from ml.core.learner import Adapter, Learner, Problem
from ml.core.table import Table
from ml.datasets.columns import indexed, numbers, raw_column, text_in_numeric, texts
from ml.datasets.readers import check_lengths
from ml.preprocessing.preprocessor import Preprocessor, TargetScaler
from ml.registry import entry_point

_specs: TypeAdapter[NetworkSpec | EstimatorSpec | ImportedSpec] = TypeAdapter(ModelSpec)


class Predictor:
    """Hold a loaded model with its preprocessing; ``classes`` is empty for a regression."""

    def __init__(
        self,
        task: Task,
        classes: tuple[str, ...],
        preprocessor: Preprocessor,
        scaler: TargetScaler | None,
        learner: Learner,
    ) -> None:
        self.task = task
        self.classes = classes
        self._preprocessor = preprocessor
        self._scaler = scaler
        self._learner = learner

    @classmethod
    def load(cls, folder: Path, framework: str | None = None) -> Self:
        """Read the artifact in ``folder``, for its own framework unless another is named.

        A network's weights are the same in every neural framework. Nothing in the files is
        executed. Raises DataInvalid for files that are damaged, changed or of a newer schema,
        and RequestInvalid for a framework that cannot hold such a model.
        """
        manifest, content = read_artifact(folder)
        try:
            if manifest["schema_version"] != 1:
                raise ValueError(f"schema_version {manifest['schema_version']!r} is not 1")
            spec = _specs.validate_python(manifest["model"], strict=False)
            preprocessor = Preprocessor.from_json(manifest["preprocessing"])
            target = manifest["target"]
            scaler = None if target is None else TargetScaler.from_json(target)
            classes, task = tuple(manifest["classes"]), manifest["task"]
            written_by = manifest["framework"]
            window = tuple(int(place) for place in manifest["window"])
            if not set(window) <= set(range(preprocessor.features)):
                raise ValueError(f"window {window} names features that there are not")
        except (KeyError, TypeError, ValueError, ValidationError) as problem:
            raise DataInvalid(
                f"the manifest in {folder} does not describe a model: {describe(problem)}",
                code="artifact_unreadable",
                field=str(folder),
                expected="a manifest of schema_version 1",
                remedy="train the cell again, or load it with the version that wrote it",
            ) from None
        adapter: Adapter = entry_point(framework or written_by).ADAPTER
        own = isinstance(spec, ImportedSpec) and adapter.name == written_by
        if not own and not isinstance(spec, adapter.accepts):
            raise RequestInvalid(
                f"a model of {written_by} cannot be loaded into {adapter.name}",
                code="model_kind",
                field="framework",
                expected=f"a framework that takes a model of kind {spec.kind!r}",
                received=repr(adapter.name),
                remedy="leave framework out to load it where it was trained",
            )
        adapter.prepare_in_place()
        width = Problem(preprocessor.features, len(classes), window=window)
        learner = make_learner(adapter, spec, width)
        learner.restore(content)
        return cls(task, classes, preprocessor, scaler, learner)

    def predict(self, columns: Mapping[str, Sequence[Scalar]]) -> NDArray[np.float64]:
        """Return probabilities [n, classes], or values [n] in the target's own unit.

        ``columns`` gives every feature that the model was trained on, by name; None is a
        missing value, further columns are left aside. Raises DataInvalid naming the column.
        """
        table = self._table(columns)
        features = self._preprocessor.transform(table, np.arange(table.rows))
        prediction = self._learner.predict(features)
        return prediction if self._scaler is None else self._scaler.inverse(prediction)

    def _table(self, columns: Mapping[str, Sequence[Scalar]]) -> Table:
        numeric = [column.name for column in self._preprocessor.numeric]
        categorical = [column.name for column in self._preprocessor.categorical]
        raw = {name: self._raw(columns, name) for name in (*numeric, *categorical)}
        lengths = {name: len(column) for name, column in raw.items()}
        check_lengths(lengths, "the data to predict")
        rows = next(iter(lengths.values()))
        values, codes, levels = np.empty((rows, len(numeric))), [], []
        for place, name in enumerate(numeric):
            values[:, place], offending = numbers(raw[name], frozenset(), parse_text=False)
            if offending is not None:
                where = f"column {name!r}, row {offending + 1}"
                raise text_in_numeric(where, name, raw[name][offending], "mend the value")
        for name in categorical:
            places, known = indexed(texts(raw[name], frozenset()), f"column {name!r}")
            codes.append(places)
            levels.append(known)
        return Table(
            id="columns",
            task=self.task,
            content_sha256="",
            numeric=values,
            numeric_names=tuple(numeric),
            categorical=np.array(codes, np.int32).reshape(len(categorical), rows).T,
            categorical_names=tuple(categorical),
            levels=tuple(levels),
            target=np.zeros(rows),
            classes=self.classes,
            split=SplitRule(),
        )

    def _raw(self, columns: Mapping[str, Sequence[Scalar]], name: str) -> NDArray[Any]:
        if name not in columns:
            raise DataInvalid(
                f"there is no column {name!r}, on which the model was trained",
                code="missing_column",
                field=name,
                received=describe(sorted(columns)),
                remedy="give it; None stands for a missing value",
            )
        return raw_column(columns[name], where=f"column {name!r}")
