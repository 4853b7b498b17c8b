"""Fixtures of the web stacks: one daemon, one interpreter for the applications, and a way to start a server."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from sidecar.client import Options, connect
from tests.daemon_process import Daemon

from .interpreter import Interpreter
from .server import Server

APPS = Path(__file__).parent / "apps"

Serve = Callable[..., Server]
CopyApp = Callable[..., Path]


@pytest.fixture(scope="package")
def daemon() -> Iterator[Daemon]:
    """Start one daemon for all stacks: each has its runtime, so none shares a zygote with another."""
    one = Daemon()
    try:
        yield one.start()
    finally:
        one.close()


@pytest.fixture(scope="package")
def interpreter(tmp_path_factory: pytest.TempPathFactory) -> Interpreter:
    """Make the interpreter in which the applications run."""
    return Interpreter(tmp_path_factory.mktemp("app-venv"))


@pytest.fixture
def client(daemon: Daemon) -> Options:
    """Give the test's own way to the daemon."""
    return connect(str(daemon.runtime))


@pytest.fixture(scope="module")
def copy_app(tmp_path_factory: pytest.TempPathFactory) -> CopyApp:
    """Give a function that copies an application to where no path leads: `copy_app("flask")`, `copy_app("x", to)`."""

    def copy(name: str, to: Path | None = None) -> Path:
        folder = to or tmp_path_factory.mktemp("app") / name
        return Path(shutil.copytree(APPS / name, folder, ignore=shutil.ignore_patterns("__pycache__")))

    return copy


@pytest.fixture(scope="module")
def serve(daemon: Daemon, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Give a function that starts a server in a folder, until the end of the module: `serve([*words], folder)`."""
    with ExitStack() as stack:

        def start(command: Sequence[str], folder: Path | str) -> Server:
            log = tmp_path_factory.mktemp("server") / "log"
            return stack.enter_context(Server(command, folder, daemon.env, log))

        yield start
