"""Prints which samples did not run, and why."""

from __future__ import annotations

import pytest

not_run = pytest.StashKey[dict[str, str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[not_run] = {}


@pytest.fixture(scope="session")
def samples_not_run(request: pytest.FixtureRequest) -> dict[str, str]:
    """Reasons by sample, printed below the results."""
    return request.config.stash[not_run]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Names samples that nobody should take for tested."""
    reasons = config.stash[not_run]
    if reasons:
        terminalreporter.section("documentation samples that did not run")
        for name, reason in reasons.items():
            terminalreporter.line(f"{name}: {reason}")
