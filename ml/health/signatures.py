"""Tell which known kind of damage a health report resembles."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from ml.core.errors import DataInvalid, RequestInvalid
from ml.core.specs import Contract, Positive
from ml.datasets.sources import write_atomically
from ml.health.matched import Match
from ml.health.report import HealthReport
from ml.health.signature_features import signature_of
from ml.health.signature_metric import Metric, learn_metric

FORMAT = "mlmatrix-health-signatures"
BUNDLED = Path(__file__).with_name("signatures.json")
# A kind is judged by so many of its signatures, the nearest ones.
NEAREST = 5
# Of fewer signatures the nearest lies further off, by the root of this degree of their number
# (Loftsgaarden and Quesenberry 1965): about as many directions as tell kinds apart.
DIRECTIONS = 10
# What resembles a kind less than this is no match.
LEAST_CONFIDENCE = 0.05
KindName = Annotated[str, Field(min_length=1, max_length=120)]


class Signature(Contract):
    """Hold the signature of one damaged table: its kind, where it is from, and its features."""

    kind: KindName
    source: KindName
    values: tuple[float, ...]


class Signatures(Contract):
    """Hold a file of signatures; ``features`` names the values of each.

    ``width`` is the distance at which a likeness has faded to .61, and ``unknown`` the likeness
    of a kind that is in no library, which every known one is weighed against.
    """

    format: Literal["mlmatrix-health-signatures"] = "mlmatrix-health-signatures"
    version: Literal[1] = 1
    features: tuple[str, ...]
    width: Positive | None = None
    unknown: Positive | None = None
    signatures: tuple[Signature, ...]


@dataclass(frozen=True)
class Base:
    """Hold what was learnt, and where its signatures lie in the space of distances.

    ``usual`` is the median number of signatures of a kind.
    """

    learnt: Signatures
    metric: Metric
    points: NDArray[np.float64]
    width: float
    unknown: float
    usual: float

    @classmethod
    def of(cls, learnt: Signatures) -> Base:
        """Return the base of signatures; raises RequestInvalid for those of incidents only."""
        if learnt.width is None or learnt.unknown is None or not learnt.signatures:
            raise RequestInvalid(
                "these signatures were not learnt",
                field="learnt",
                expected="signatures with a width and an unknown",
            )
        known = np.array([one.values for one in learnt.signatures], dtype=np.float64)
        metric = learn_metric(known, [one.kind for one in learnt.signatures])
        _, counts = np.unique([one.kind for one in learnt.signatures], return_counts=True)
        usual = float(np.median(counts))
        return cls(learnt, metric, metric.project(known), learnt.width, learnt.unknown, usual)


@cache
def _bundled() -> Base:
    return Base.of(read_signatures(BUNDLED))


def like(distances: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """Return the mean likeness of signatures at these distances, over the last axis."""
    return np.asarray(np.exp(-((distances / width) ** 2) / 2).mean(axis=-1))


class Library:
    """Hold signatures of known damage, and a user's own incidents.

    ``incidents`` is the JSON file of one's own, which ``add`` writes; it need not be there yet.
    """

    def __init__(
        self,
        incidents: str | Path | None = None,
        *,
        learnt: Signatures | None = None,
    ) -> None:
        self.incidents = None if incidents is None else Path(incidents)
        own = self._read_own()
        self._base = _bundled() if learnt is None else Base.of(learnt)
        self._take_in(own)

    @property
    def learnt(self) -> Signatures:
        """Return the signatures of known kinds of damage."""
        return self._base.learnt

    @property
    def kinds(self) -> tuple[str, ...]:
        """Return the names of all kinds, in order."""
        return tuple(sorted({one.kind for one in (*self.learnt.signatures, *self._own)}))

    def match(self, report: HealthReport, most: int = 2) -> tuple[Match, ...]:
        """Return the kinds of damage that a report resembles, the likeliest first.

        None of a healthy report, and none where nothing known resembles it: a confidence below
        LEAST_CONFIDENCE is no match.
        """
        if report.verdict == "healthy":
            return ()
        features = _aligned([signature_of(report)], self.learnt.features)
        nearest = {kind: near[0] for kind, near in self.nearest(features).items()}
        likeness = {kind: like(near, self._base.width) for kind, near in nearest.items()}
        total = sum(likeness.values()) + self._base.unknown
        found = [
            Match(
                kind=kind,
                distance=float(nearest[kind][0] / self._base.width),
                confidence=float(likeness[kind] / total),
            )
            for kind in sorted(likeness, key=lambda kind: (-likeness[kind], kind))
        ]
        return tuple(one for one in found[:most] if one.confidence >= LEAST_CONFIDENCE)

    def nearest(self, features: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """Return the distances of features [n, f] from each kind's NEAREST signatures, [n, k].

        Those of a kind of which few signatures are known are shortened to what they would be
        among as many as a shipped kind has.
        """
        points = self._base.metric.project(features)
        squares = (points**2).sum(axis=1)[:, None] + (self._points**2).sum(axis=1)
        distances = np.sqrt(np.maximum(squares - 2 * points @ self._points.T, 0.0))
        kinds = np.array([one.kind for one in (*self.learnt.signatures, *self._own)])
        found = {}
        for kind in self.kinds:
            near = np.sort(distances[:, kinds == kind], axis=1)
            few = max(1.0, self._base.usual / near.shape[1])
            found[kind] = near[:, :NEAREST] / few ** (1 / DIRECTIONS)
        return found

    def add(self, name: str, report: HealthReport) -> Signature:
        """Name the incident that a report shows, and write it to the file of one's own.

        Several reports may have one name, which may be that of a known kind. Raises
        RequestInvalid for a healthy report, an empty name, or where there is no such file;
        DataInvalid where the file cannot be read.
        """
        if self.incidents is None:
            raise RequestInvalid(
                "there is no file to write the incident to",
                field="incidents",
                remedy="make the library with one: Library('incidents.json')",
            )
        if report.verdict == "healthy":
            raise RequestInvalid(
                "a healthy report shows no incident",
                field="report",
                expected="verdict differs, collapsed or insufficient_power",
                received=report.verdict,
            )
        if not 0 < len(name) <= 120 or not name.isprintable():
            raise RequestInvalid(
                "this is no name of an incident",
                field="name",
                expected="1 to 120 printable characters",
                received=repr(name[:40]),
            )
        own = self._read_own()
        values = signature_of(report)
        names = tuple(sorted({*(own.features if own else ()), *values}))
        before = own.signatures if own else ()
        aligned = _aligned([_named(one, own) for one in before] + [values], names)
        signatures = tuple(
            Signature(kind=kind, source="own", values=tuple(row))
            for kind, row in zip(
                [*(one.kind for one in before), name], aligned.tolist(), strict=True
            )
        )
        whole = Signatures(features=names, signatures=signatures)
        write_signatures(whole, self.incidents)
        self._take_in(whole)
        return signatures[-1]

    def _read_own(self) -> Signatures | None:
        if self.incidents is None or not self.incidents.exists():
            return None
        return read_signatures(self.incidents)

    def _take_in(self, own: Signatures | None) -> None:
        self._own = own.signatures if own else ()
        features = _aligned([_named(one, own) for one in self._own], self.learnt.features)
        self._points = np.concatenate([self._base.points, self._base.metric.project(features)])


def _named(signature: Signature, file: Signatures | None) -> dict[str, float]:
    names = file.features if file else ()
    return dict(zip(names, signature.values, strict=True))


def _aligned(found: Iterable[dict[str, float]], names: tuple[str, ...]) -> NDArray[np.float64]:
    rows = [[one.get(name, 0.0) for name in names] for one in found]
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(names))


def read_signatures(path: Path) -> Signatures:
    """Return the signatures of a JSON file; raises DataInvalid where it holds none."""
    try:
        read = Signatures.model_validate_json(path.read_bytes())
        if any(len(one.values) != len(read.features) for one in read.signatures):
            raise ValueError(f"a signature has not {len(read.features)} values")
    except (OSError, ValueError) as problem:
        text = str(problem)
        if isinstance(problem, ValidationError):
            first = problem.errors()[0]
            text = f"{'.'.join(map(str, first['loc'])) or 'file'}: {first['msg']}"
        raise DataInvalid(
            f"{path} holds no signatures that can be read",
            code="signatures_unreadable",
            field=str(path),
            expected=f"JSON of {FORMAT}, version 1",
            received=text.splitlines()[0],
            remedy="restore the file, or name another one",
        ) from None
    return read


def write_signatures(signatures: Signatures, path: Path) -> None:
    """Write signatures to a JSON file, whole or not at all; raises RequestInvalid if it cannot."""
    lines = [signature.model_dump_json() for signature in signatures.signatures]
    head = signatures.model_copy(update={"signatures": ()}).model_dump_json(exclude_none=True)
    text = head.removesuffix("[]}") + "[\n" + ",\n".join(lines) + "\n]}\n"
    try:
        write_atomically(path, lambda file: file.write(text.encode()))
    except OSError as problem:
        raise RequestInvalid(
            f"{path} cannot be written: {problem.strerror}",
            field=str(path),
            remedy="name a file in a folder that can be written",
        ) from None
