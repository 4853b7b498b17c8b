"""Daemons that break one promise each, for negative controls: these are seen to fail. BROKEN says which.

Started by a real keeper, as `sidecar serve` starts it, but for the name of the daemon's module.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from sidecar import daemon, disk, policy
from sidecar.boot import command
from sidecar.daemon import space, syncer
from tests.daemon_process import Daemon

ROOT = str(Path(__file__).parent.parent.parent)


def ack_before_sync() -> None:
    """Take a commit for what is on the disk."""
    syncer.Syncer.put = lambda self, done, failed: done()  # type: ignore[method-assign]


def deaf() -> None:
    """Do not hear that a sync failed."""
    really = disk.SyncedFile.sync

    def sync(self: disk.SyncedFile) -> None:
        with suppress(OSError):
            really(self)

    disk.SyncedFile.sync = sync  # type: ignore[method-assign]


def forgetful() -> None:
    """Take at_most_once for any other job once it is interrupted."""
    really = policy.after_attempt

    def after_attempt(ending: Any, verdict: str, options: Mapping[str, Any], *more: Any) -> Any:
        return really(ending, verdict, {**options, "at_most_once": False}, *more)

    policy.after_attempt = after_attempt


def no_reserve() -> None:
    """Take in jobs to the last byte."""
    space.Space.check = lambda self: None  # type: ignore[method-assign]


WAYS: dict[str, Callable[[], None]] = {way.__name__: way for way in (ack_before_sync, deaf, forgetful, no_reserve)}


def main() -> None:
    """Break, then serve."""
    WAYS[os.environ.pop("BROKEN")]()
    daemon.main()


class Broken(Daemon):
    """A `sidecar serve` whose daemon is broken one way."""

    def __init__(self, way: Callable[[], None], config: str = "", env: dict[str, str] | None = None) -> None:
        super().__init__(config, None, {**(env or {}), "BROKEN": way.__name__})
        settings = {
            "runtime_dir": str(self.runtime), "state_dir": str(self.state), "path": [ROOT, *sys.path],
            "config": str(self.folder / "sidecar.toml") if config else None, "daemon_module": __name__,
        }  # fmt: skip
        self._command = [*command(sys.executable, "sidecar.keeper", [ROOT, *sys.path]), json.dumps(settings)]
