"""Follow a session from the process that talks to the user: journal, progress, summary, page."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.options import Settings

if TYPE_CHECKING:
    from harness.store.journal import Journal
    from harness.terminal import Progress

RUN = pytest.StashKey[dict[str, Any]]()
SETTINGS = pytest.StashKey[Settings]()
CLUSTER = pytest.StashKey[dict[str, float]]()
FACTS = "mlmatrix"
RUN_INPUT = "mlmatrix_run"
REASON_CHARACTERS = 4000

# dataset-algorithm-framework-mode inside a node's brackets; the names have no hyphen.
_cell_in_node = re.compile(r"[\[-](\w+-\w+-\w+-(?:train|sweep|distill))(?=[\]-])")


def new_run(config: pytest.Config) -> dict[str, Any]:
    """Name a new run: UTC time and a random tail, so that names sort by time."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    return {
        "name": f"{stamp}-{secrets.token_hex(3)}",
        "command": ["pytest", *(str(part) for part in config.invocation_params.args)],
    }


def open_journal(config: pytest.Config) -> Journal:
    """Return the journal of this session's run; nothing is written yet."""
    from harness.store.environment import describe_run
    from harness.store.journal import Journal

    run, settings = config.stash[RUN], config.stash[SETTINGS]
    return Journal(
        settings.reports / "runs" / run["name"],
        lambda name: describe_run(
            name,
            settings.root,
            tuple(run["command"]),
            settings.runtime,
            settings.executor,
            config.stash.get(CLUSTER, {}),
        ),
    )


class Reporter:
    """Write test lines and the end, print progress and summary, and make the page."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._started = time.perf_counter()
        self._cells: set[str] = set()
        self._page: Path | None = None
        self._problems: list[str] = []

    @cached_property
    def _journal(self) -> Journal:
        return open_journal(self._config)

    @cached_property
    def _progress(self) -> Progress:
        from harness.terminal import Progress

        return Progress(total=len(self._cells))

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Take the cells that will run in this process."""
        self._expect(item.nodeid for item in session.items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: Sequence[str]) -> None:
        """Take the cells that xdist's workers will run."""
        self._expect(ids)

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Write how a cell's test ended, and say now and then how far the matrix is."""
        facts = getattr(report, FACTS, None)
        if facts is None or (report.when != "call" and report.passed):
            return
        from harness.store.record import TestLine

        self._journal.append(
            TestLine(
                node=report.nodeid,
                cell=facts["cell"],
                status=_status(report),
                reason=_reason(report)[:REASON_CHARACTERS],
                seconds=report.duration,
            )
        )
        line = self._progress.update(facts["cell"] or report.nodeid, report.failed)
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        if line and terminal is not None:
            terminal.ensure_newline()
            writer = self._config.get_terminal_writer()
            if writer.width_of_current_line:
                writer.line()
            writer.line(line)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """Close the journal of a session that had cells, and make its page."""
        if "_journal" not in self.__dict__ or not self._journal.exists:
            return
        from harness.store.journal import list_runs, now, read_run
        from harness.store.record import End
        from ml.core.errors import MatrixError

        seconds = time.perf_counter() - self._started
        self._journal.append(End(finished=now(), exit_status=int(exitstatus), seconds=seconds))
        self._journal.close_claims()
        reports = self._journal.folder.parents[1]
        try:
            from harness.report.site import write_site

            self._page = write_site(reports, [read_run(folder) for folder in list_runs(reports)])
        except MatrixError as problem:
            self._problems.append(f"no report page: {problem}")
        except Exception as problem:  # noqa: BLE001 - a page must not cost the session
            self._problems.append(f"no report page: {type(problem).__name__}: {problem}")
        if self._config.stash[SETTINGS].summaries:
            try:
                self._write_summaries()
            except Exception as problem:  # noqa: BLE001 - nor must a summary
                self._problems.append(f"no summary: {type(problem).__name__}: {problem}")

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the closing table and where the page is."""
        if "_journal" not in self.__dict__ or not self._journal.exists:
            return
        from harness.store.journal import read_run
        from harness.terminal import summarize_parity, summarize_run

        run = read_run(self._journal.folder)
        tables = {"parity": summarize_parity(run.records), "matrix": summarize_run(run)}
        terminalreporter.ensure_newline()
        for title, lines in tables.items():
            if lines:
                terminalreporter.section(title)
            for line in lines:
                terminalreporter.write_line(line)
        terminalreporter.write_line("")
        terminalreporter.write_line(f"journal: {self._shown(self._journal.folder)}")
        if self._page is not None:
            terminalreporter.write_line(f"report: {self._shown(self._page)}")
        for problem in self._problems:
            terminalreporter.write_line(problem, red=True)

    def _write_summaries(self) -> None:
        from harness.report.summary import choose_base, write_summary
        from harness.store.journal import list_runs, read_run

        run = read_run(self._journal.folder)
        earlier = (read_run(folder) for folder in list_runs(self._journal.folder.parents[1]))
        page = self._shown(self._page) if self._page else None
        text = write_summary(run, choose_base(run, earlier), page)
        for path in self._config.stash[SETTINGS].summaries:
            with path.open("a", encoding="utf-8") as file:
                file.write(text)

    def _expect(self, nodes: Iterable[str]) -> None:
        self._cells.update(found for node in nodes for found in _cell_in_node.findall(node))

    def _shown(self, path: Path) -> str:
        here = self._config.invocation_params.dir
        return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _status(report: pytest.TestReport) -> Any:
    if hasattr(report, "wasxfail"):
        return "xfailed" if report.skipped else "xpassed"
    if report.failed and report.when != "call":
        return "error"
    return report.outcome


def _reason(report: pytest.TestReport) -> str:
    if hasattr(report, "wasxfail"):
        return str(report.wasxfail)
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2])
    return report.longreprtext
