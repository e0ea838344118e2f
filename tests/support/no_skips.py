"""A pytest plugin for CI, `-p tests.support.no_skips`: a skipped test fails the run, naming what it lacks."""

from __future__ import annotations

import pytest


class _NoSkips:
    """Collects skips where the reports of all workers arrive, and turns them into a failure at the end."""

    def __init__(self) -> None:
        self.reasons: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember a test that did not run; an expected failure is not a skip."""
        if report.skipped and not hasattr(report, "wasxfail"):
            self.reasons[report.nodeid] = _reason(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Remember a module that did not run."""
        if report.skipped:
            self.reasons[report.nodeid] = _reason(report)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail a run that would have passed."""
        if self.reasons and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say which tests did not run and why."""
        for nodeid, reason in sorted(self.reasons.items()):
            terminalreporter.write_line(f"SKIPPED, which fails this run: {nodeid}: {reason}", red=True)


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    return report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)


def pytest_configure(config: pytest.Config) -> None:
    """Watch in the process that sees every report, not in the workers of xdist."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_NoSkips(), "no-skips")
