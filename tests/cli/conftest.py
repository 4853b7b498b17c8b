"""Fixtures of the command line's tests: a stub daemon, and the command itself, run in this process."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from sidecar.cli import main
from sidecar.client import door

from .stub import Stub

Run = Callable[..., Result]

# Until click 8.2 stderr was mixed into stdout unless told otherwise; since then it cannot be.
_RUNNER: dict[str, Any] = {"mix_stderr": False} if "mix_stderr" in inspect.signature(CliRunner).parameters else {}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point the command to a runtime and a state folder with nothing in them, and to nothing of the user's."""
    for name in ("SIDECAR_ACK", "SIDECAR_SLOTS", "SIDECAR_CONFIG", "DJANGO_SETTINGS_MODULE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SIDECAR_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("SIDECAR_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(door, "_doors", {})  # a process keeps its connections, each test is to open its own
    return tmp_path


@pytest.fixture
def stub(folder: Path) -> Iterator[Stub]:
    """Start a stub daemon in the runtime folder."""
    made = Stub(folder)
    yield made
    made.close()


@pytest.fixture
def run(folder: Path) -> Run:
    """Give a function that runs `sidecar` with these words: `run("list", "--json")`."""

    def run_it(*words: str, input: bytes | None = None) -> Result:
        return CliRunner(**_RUNNER).invoke(main, words, input=input, prog_name="sidecar")

    return run_it
