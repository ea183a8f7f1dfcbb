"""Define a cell: one dataset × algorithm × framework × mode, and the request it makes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from ml.core.contracts import (
    Budget,
    DescriptorData,
    DistillRequest,
    EstimatorSpec,
    Framework,
    FunctionData,
    ImportedSpec,
    Mode,
    NetworkSpec,
    PreprocessingSpec,
    RuntimeSpec,
    SketchSpec,
    SweepRequest,
    SweepSpec,
    Task,
    TeacherSpec,
    TrainRequest,
)
from ml.core.descriptor import ExpectedFailure


@dataclass(frozen=True)
class Resources:
    """Hold what a cell needs of the machine that it runs on; memory is in MiB.

    A cell claims at least as many cpus as its runtime has threads, and its gpus only where the
    runtime's device is cuda.
    """

    cpus: float = 1
    gpus: float = 0
    memory_mib: float | None = None


@dataclass(frozen=True)
class Cell:
    """Hold what one cell runs; ``is_baseline`` marks a model that is itself the baseline.

    A cell that distils has ``teachers``, and ``model`` is their student. One that sweeps has
    ``sweep``, and ``model`` is its first trial. With ``sketches`` its table is compared with that
    of an earlier run. ``seeded_as`` is the name that the seed comes from where datasets are
    compared that are versions of one, else their own.
    """

    dataset: str
    algorithm: str
    framework: Framework
    mode: Mode
    task: Task
    data: DescriptorData | FunctionData
    model: NetworkSpec | EstimatorSpec | ImportedSpec
    preprocessing: PreprocessingSpec
    budget: Budget
    replicates: int
    timeout: float
    is_baseline: bool = False
    expected_failures: tuple[ExpectedFailure, ...] = ()
    teachers: tuple[TeacherSpec, ...] = ()
    runtime: RuntimeSpec = field(default_factory=RuntimeSpec)
    resources: Resources = Resources()
    sweep: SweepSpec | None = None
    sketches: SketchSpec | None = None
    seeded_as: str | None = None

    @property
    def id(self) -> str:
        """Return the pytest id and the trend's key; it never changes with its neighbours."""
        return f"{self.dataset}-{self.algorithm}-{self.framework}-{self.mode}"

    @property
    def seed(self) -> int:
        """Return the seed, from the dataset's name alone: all its cells share their splits."""
        name = self.seeded_as or self.dataset
        digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") >> 1

    def expected_failure(self, gate: str, cell: str | None = None) -> str | None:
        """Return the declared reason why this gate fails for this cell, if there is one.

        ``cell`` asks for another cell of the dataset by its id.
        """
        for declared in self.expected_failures:
            if declared.gate == gate and fnmatchcase(cell or self.id, declared.cells):
                return declared.reason
        return None

    @property
    def frameworks(self) -> tuple[Framework, ...]:
        """Return the frameworks that the cell needs: its own first, then its teachers'."""
        return tuple(dict.fromkeys((self.framework, *(t.framework for t in self.teachers))))

    def to_request(self) -> TrainRequest:
        """Return the request of the cell's mode, which crosses the wall."""
        request = TrainRequest(
            id=self.id,
            data=self.data,
            model=self.model,
            preprocessing=self.preprocessing,
            seed=self.seed,
            replicates=self.replicates,
            budget=self.budget,
            runtime=self.runtime,
            sketches=self.sketches,
        )
        if self.sweep is not None:
            return SweepRequest(**dict(request), sweep=self.sweep)
        if self.teachers:
            return DistillRequest(**dict(request), teachers=self.teachers)
        return request
