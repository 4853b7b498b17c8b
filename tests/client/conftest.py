"""Fixtures of the client's tests: a stub of a daemon, and a client that finds it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.client import Options, connect

from .stub import Stub


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give an empty runtime folder, the only one there is; its path is short enough for a socket."""
    made = Path(tempfile.mkdtemp(prefix="sc-"))
    monkeypatch.setenv("SIDECAR_RUNTIME_DIR", str(made))
    monkeypatch.setenv("SIDECAR_STATE_DIR", str(made / "state"))
    monkeypatch.delenv("SIDECAR_ACK", raising=False)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def stub(folder: Path) -> Iterator[Stub]:
    """Give a stub with both sockets open."""
    made = Stub(folder)
    made.open_handoff()
    made.open_control()
    yield made
    made.close()


@pytest.fixture
def client(folder: Path) -> Options:
    """Give a client of that folder, whether anybody is there or not."""
    return connect(str(folder))


@pytest.fixture
def spool(folder: Path) -> Path:
    """Give a spool, where a keeper would have linked it."""
    for name in ("tmp", "new", "corrupt"):
        (folder / "spool" / name).mkdir(parents=True)
    return folder / "spool"
