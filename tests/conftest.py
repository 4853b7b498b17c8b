"""Shared fixtures: a real daemon, one for all cheap tests, or one of its own for a test that breaks things."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Generator, Iterator
from importlib import metadata
from typing import Any

import msgpack
import pytest

from .daemon_process import Daemon

StartDaemon = Callable[..., Daemon]


def pytest_configure() -> None:
    """Heed SIGINT even where we were started in a script's background, which has it ignored: our children inherit."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> str:
    """Name the versions under test: `make test-oldest` means something only with the C extension of msgpack."""
    kind = "pure Python" if "fallback" in msgpack.Unpacker.__module__ else "C"
    versions = [f"{name} {metadata.version(name)}" for name in ("trio", "click", "msgpack")]
    return f"{', '.join(versions)} ({kind})"


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail where something was left out and nothing may be (NO_SKIPS=1): what is missing there is a mistake."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("NO_SKIPS") == "1" and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture
def start_daemon() -> Iterator[StartDaemon]:
    """Give a function that starts a daemon: `start_daemon(config="drain = 1", slots=2, env={...})`."""
    started: list[Daemon] = []

    def start(**options: Any) -> Daemon:
        started.append(Daemon(**options))
        return started[-1].start()

    yield start
    _close_all(started)


@pytest.fixture
def daemon(start_daemon: StartDaemon) -> Daemon:
    """Start a daemon for this test alone."""
    return start_daemon()


@pytest.fixture(scope="session")
def shared_daemon() -> Iterator[Daemon]:
    """Start one daemon for every test that leaves it as it was: no signals, nothing about the whole of its jobs."""
    shared = Daemon()
    try:
        yield shared.start()
    finally:
        shared.close()


def _close_all(started: list[Daemon]) -> None:
    failures = []
    for one in reversed(started):
        try:
            one.close()
        except AssertionError as failure:
            failures.append(failure)
    if failures:
        raise failures[0]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the daemon's log with a test that failed."""
    report = yield
    if report.failed:
        given = getattr(item, "funcargs", {})
        for daemon in {id(one): one for one in given.values() if isinstance(one, Daemon)}.values():
            report.sections.append(("sidecar serve", daemon.log()[-20_000:]))
    return report
