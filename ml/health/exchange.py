"""Define what crosses the wall for a check: what is asked, how far it is, what was found."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from ml.core.contracts import ErrorInfo
from ml.core.recommendations import Recommendation
from ml.core.specs import Contract, NotNegative
from ml.health.diversity_report import Diversity
from ml.health.drawn import Drawing
from ml.health.located import LocatedRows
from ml.health.matched import Match
from ml.health.report import HealthReport


class CheckRequest(Contract):
    """Ask for a check of a candidate against its reference, see ``ml.health.check.check``.

    A table is a path, a URL, the folder of a stored sketch, or the id of a dataset whose
    descriptor is ours or lies in one of the folders ``data``. ``incidents`` is a file of damage
    that the user has named, see ``ml.health.signatures.Library``.
    """

    kind: Literal["check"] = "check"
    reference: str
    candidate: str
    group: str | None = None
    tolerance: float = 0.0
    alpha: float = 0.02
    seed: int = 0
    data: tuple[str, ...] = ()
    incidents: str | None = None


class SketchRequest(Contract):
    """Ask for the sketch of a table, a later check's reference, to be kept in a folder."""

    kind: Literal["sketch"] = "sketch"
    table: str
    folder: str
    group: str | None = None
    seed: int = 0
    data: tuple[str, ...] = ()


class Stage(Contract):
    """Tell what is done now, and of a table how many rows have been read."""

    kind: Literal["stage"] = "stage"
    stage: str
    rows: int | None = None


class HealthCheck(HealthReport):
    """Hold a report with what a page shows beside it; ``seconds`` is how long it all took.

    ``names`` are reference and candidate as they were asked for. ``located`` and ``diversity``
    are None, with a note in ``notes``, where they could not be found. ``matches`` are known kinds
    of damage that the report resembles, and ``recommendations`` what to do, ranked without
    training anything.
    """

    kind: Literal["check"] = "check"
    names: tuple[str, str]
    seconds: NotNegative
    drawing: Drawing
    located: LocatedRows | None
    diversity: Diversity | None
    matches: tuple[Match, ...]
    recommendations: tuple[Recommendation, ...]
    notes: tuple[str, ...]


class Sketched(Contract):
    """Tell what a sketch holds that was kept."""

    kind: Literal["sketch"] = "sketch"
    folder: str
    rows: int
    columns: int
    group: str | None
    seconds: NotNegative


class Refused(Contract):
    """Tell why there is no answer."""

    kind: Literal["refused"] = "refused"
    error: ErrorInfo


Request = Annotated[CheckRequest | SketchRequest, Field(discriminator="kind")]
Line = Annotated[Stage | HealthCheck | Sketched | Refused, Field(discriminator="kind")]
REQUEST: TypeAdapter[CheckRequest | SketchRequest] = TypeAdapter(Request)
LINE: TypeAdapter[Stage | HealthCheck | Sketched | Refused] = TypeAdapter(Line)
