"""Give a test its checks of data: by the fixture `matrix_health`, kept below the reports."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from harness.checking import check_tables
from harness.health_marker import VERDICTS, read_health_marker, read_verdicts
from harness.healthwords import describe_check, explain_verdict, headline, make_printable
from harness.report.files import replace_file
from harness.report.healthsite import place_check
from harness.reporter import CHECKED, SETTINGS
from harness.store.checks import KeptCheck
from ml.core.errors import RequestInvalid, describe
from ml.health.exchange import CheckRequest, HealthCheck

PLUGIN = "mlmatrix-health"


class HealthChecks:
    """Check a candidate table against its reference when called, and keep what was found."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._node = request.node
        self._config = request.config
        try:
            self._marker = read_health_marker(self._node.get_closest_marker("matrix_health"))
        except ValueError as problem:
            pytest.fail(str(problem), pytrace=False)
        self._made = 0
        # Whoever compares a verdict in an assertion is told what is behind it.
        told = self._config.pluginmanager.get_plugin(PLUGIN)
        if told is None:
            told = Explanations()
            self._config.pluginmanager.register(told, PLUGIN)
        self._told: Explanations = told
        self._told.checks.clear()

    def __call__(
        self,
        candidate: Any = None,
        *,
        against: Any = None,
        group: str | None = None,
        tolerance: float | None = None,
        alpha: float | None = None,
        seed: int | None = None,
        verdict: str | Iterable[str] | None = None,
    ) -> HealthCheck:
        """Return the report of a check; what is left out is taken from the marker.

        A table is a pandas DataFrame, a path or URL, the folder of a stored sketch, or a
        dataset's id. With ``verdict``, one or several, the test fails on any other. Raises
        MatrixError for a table that cannot be read, or an argument that is not what it should be.
        """
        __tracebackhide__ = True
        marker = self._marker
        expected = marker.verdict
        if verdict is not None:
            try:
                expected = read_verdicts(verdict)
            except ValueError as problem:
                raise RequestInvalid(str(problem), field="verdict") from None
        terms = {"tolerance": tolerance, "alpha": alpha, "seed": seed}
        given: dict[str, Any] = {
            name: getattr(marker, name) if value is None else value for name, value in terms.items()
        }
        with (
            self._place("candidate", candidate, marker.candidate) as (first, first_name),
            self._place("reference", against, marker.reference) as (second, second_name),
        ):
            check = check_tables(
                CheckRequest(
                    candidate=first,
                    reference=second,
                    group=marker.group if group is None else group,
                    data=tuple(str(folder) for folder in self._config.stash[SETTINGS].data),
                    **{name: value for name, value in given.items() if value is not None},
                )
            )
        check = check.model_copy(update={"names": (second_name, first_name)})
        page = self._keep(check, expected or ())
        self._told.checks.append((check, page))
        if expected is not None and check.verdict not in expected:
            text = explain_verdict(check, " or ".join(expected), page)
            pytest.fail("\n".join(text), pytrace=False)
        return check

    @contextmanager
    def _place(self, side: str, given: Any, marked: Any) -> Iterator[tuple[str, str]]:
        """Give a table's path and name; a DataFrame crosses the wall as a file."""
        table = marked if given is None else given
        if table is None:
            argument = "as the first argument" if side == "candidate" else "as against=…"
            raise RequestInvalid(
                f"matrix_health was given no {side}",
                field=side,
                remedy=f"give it {argument}, or @pytest.mark.matrix_health({side}=…)",
            )
        if isinstance(table, str | Path):
            path = Path(table)
            # A marker's path is taken from the root folder, as everything declared is.
            rooted = self._config.rootpath / path
            if given is None and "://" not in str(table) and rooted.exists():
                yield str(rooted), str(table)
            else:
                yield str(table), str(table)
            return
        if not hasattr(table, "to_parquet"):
            raise RequestInvalid(
                f"the {side} is no table",
                field=side,
                expected="a pandas DataFrame, a path, a URL, or a dataset's id",
                received=describe(table),
            )
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "table.parquet"
            try:
                table.to_parquet(path, index=False)
            except Exception as problem:
                raise RequestInvalid(
                    f"the {side} cannot be written as Parquet: {problem}", field=side
                ) from problem
            yield str(path), f"the test's {side}"

    def _keep(self, check: HealthCheck, expected: tuple[str, ...]) -> str:
        """Keep a check below the reports, and return where its page will be."""
        self._made += 1
        test = self._node.nodeid
        path = place_check(self._config.stash[SETTINGS].reports, test, self._made)
        kept = KeptCheck(
            test=test,
            number=self._made,
            moment=datetime.now(UTC).isoformat(timespec="seconds"),
            expected=expected,
            check=check,
        )
        replace_file(path, kept.model_dump_json(indent=1).encode())
        page = path.with_suffix(".html")
        here = self._config.invocation_params.dir
        shown = str(page.relative_to(here) if page.is_relative_to(here) else page)
        lines = "\n".join([*describe_check(check), "", f"page: {shown}"])
        self._node.add_report_section("call", "data health", lines)
        line = f"{headline(check)}: {check.names[1]} against {check.names[0]}, {shown}"
        self._node.user_properties.append((CHECKED, make_printable(line)))
        return shown


class Explanations:
    """Tell, where an assertion on a verdict fails, which dimensions and columns changed."""

    def __init__(self) -> None:
        self.checks: list[tuple[HealthCheck, str]] = []

    def pytest_assertrepr_compare(self, op: str, left: object, right: object) -> list[str] | None:
        """Explain the comparison of a verdict with another, or with several."""
        wanted = (right,) if isinstance(right, str) else right
        if not isinstance(wanted, tuple | list | set | frozenset) or not isinstance(left, str):
            return None
        if not wanted or not all(one in VERDICTS for one in wanted):
            return None
        for check, page in reversed(self.checks):
            if check.verdict == left:
                names = " or ".join(sorted(str(one) for one in wanted))
                expected = f"not {names}" if op in ("!=", "not in") else names
                return explain_verdict(check, expected, page)
        return None
