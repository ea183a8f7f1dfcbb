"""Write the pages of a session's checks of data at its end, and say where they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml.core.errors import MatrixError

PLUGIN = "mlmatrix-checks"


def follow_check(config: pytest.Config, reports: Path, line: str) -> None:
    """Take notice of a check that a test has made; ``line`` tells how it ended."""
    plugin = config.pluginmanager.get_plugin(PLUGIN)
    if plugin is None:
        plugin = ChecksReporter(config, reports)
        config.pluginmanager.register(plugin, PLUGIN)
    plugin.lines[line] = None


class ChecksReporter:
    """Write the pages when the tests have ended, and print a line for each check."""

    def __init__(self, config: pytest.Config, reports: Path) -> None:
        self.lines: dict[str, None] = {}
        self._config = config
        self._reports = reports
        self._page: Path | None = None
        self._problem = ""

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Write the pages; what goes wrong costs the pages, and not the session."""
        try:
            from harness.report.files import copy_assets
            from harness.report.healthsite import write_checks

            copy_assets(self._reports)
            self._page = write_checks(self._reports)
        except MatrixError as problem:
            self._problem = f"no pages of data health: {problem}"
        except Exception as problem:  # noqa: BLE001 - a page must not cost the session
            self._problem = f"no pages of data health: {type(problem).__name__}: {problem}"

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the checks, and where the list of them is."""
        terminalreporter.ensure_newline()
        terminalreporter.section("data health")
        for line in self.lines:
            terminalreporter.write_line(line)
        if self._page is not None:
            here = self._config.invocation_params.dir
            page = self._page
            shown = page.relative_to(here) if page.is_relative_to(here) else page
            terminalreporter.write_line(f"report: {shown}")
        if self._problem:
            terminalreporter.write_line(self._problem, red=True)
