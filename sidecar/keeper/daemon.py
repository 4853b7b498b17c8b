"""What the keeper knows of one daemon, and how it is started. Who follows whom is in `daemons`.

A child's number is safe to signal as long as its record is in its book: it leaves that in the same step in
which it is reaped, and until then the kernel gives the number to nobody else.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from math import inf

from .. import boot
from . import spawn
from .link import Link

LOADING, LOADED, SERVING, READY = range(4)  # from LOADED to SERVING only by our "go"
_SLOW = 10.0  # times the usual silence for one that imports or opens the store: neither may beat


class Daemon:
    """One daemon: how far it is, when it was last heard."""

    def __init__(self, pid: int, link: Link, now: float) -> None:
        self.pid = pid
        self.link = link
        self.started = now
        self.heard = now
        self.ready_at = inf
        self.stage = LOADING
        self.leaving = False  # told to make room for the next one
        self.killed = ""  # why we killed it

    def silent_at(self, limit: float) -> float:
        """Return when its silence becomes too long; never while it waits for us, or was killed."""
        if self.killed or self.stage == LOADED:
            return inf
        return self.heard + (limit if self.stage == READY or self.leaving else _SLOW * limit)

    def hear(self, now: float) -> None:
        """Note a sign of life. One that was told to leave gets no more time by it."""
        if not self.leaving:
            self.heard = now

    def leave(self, now: float) -> None:
        """Have it make room, at once where it has nothing yet."""
        if self.leaving:
            return
        self.hear(now)
        self.leaving = True
        if self.stage >= SERVING:
            self.link.send({"do": "leave"})
        else:
            self.kill("not needed any more")

    def kill(self, why: str) -> None:
        """End it; only for one that is in the book."""
        self.killed = why
        os.kill(self.pid, signal.SIGKILL)

    def kill_silent(self) -> None:
        """End it for its silence: its loop does not turn, and nothing else can be asked of it."""
        self.kill("silent for too long")


def start(module: str, path: list[str], environ: dict[str, str], fds: dict[str, int]) -> Daemon:
    """Start a daemon; raises OSError when the kernel cannot."""
    link = Link()
    with link.theirs:
        try:
            argv = boot.command(sys.executable, module, path)
            pid = spawn.start(argv, environ, {"keeper": link.theirs.fileno(), **fds})
        except OSError:
            link.close()
            raise
    return Daemon(pid, link, time.monotonic())
