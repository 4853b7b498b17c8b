"""The keeper's book of zygotes, and the end of what a dead one left behind.

We are a subreaper, so what a zygote had forked is ours once it is dead. Then whatever is our child and in no book is
killed and reaped, until there is none, and only then its generation counts as dead. At other times strangers are only
reaped: as process 1 of a container we get everybody's orphans.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from math import inf

from .. import boot
from ..crashpoints import crash
from ..zygote.tree import Children
from . import spawn
from .notify import say
from .restarts import Restarts

DEFAULT = "default"


class Zygote:
    """One zygote; `sock` is the daemon's end of its socket, kept for every later daemon until it is retired."""

    def __init__(self, pid: int, generation: int, key: str, sock: socket.socket) -> None:
        self.pid = pid
        self.generation = generation
        self.key = key
        self.sock: socket.socket | None = sock
        self.old = False  # from before a reload: finishes what it has, gets nothing new
        self.started = time.monotonic()

    def retire(self) -> None:
        """Let go of its socket: it ends when the daemon has done so too, and no later daemon hears of it."""
        if self.sock is not None:
            self.sock.close()
            self.sock = None

    def kill(self) -> None:
        """End it; only for one that is in the book. What it forked comes to us and is swept."""
        os.kill(self.pid, signal.SIGKILL)


class Zygotes:
    """All zygotes: those that live, and those that are dead while something of theirs may live.

    The default one, which needs no runtime, always has to be there: it is started here, the others when asked for.
    """

    def __init__(self, module: str, path: list[str], environ: dict[str, str], fds: dict[str, int]) -> None:
        self._module = module
        self._path = path
        self._environ = environ | {"LD_BIND_NOW": "1"}  # relocations before the first fork, not after each
        self._fds = fds
        self._generation = int(time.time() * 1000)  # so that it is none of an earlier keeper's
        self._children = Children()
        self._beyond = set(self._children.pids())  # not of our making: here before us, or running as somebody else
        self.book: dict[int, Zygote] = {}  # by pid; in here until it is reaped
        self.mourned: list[Zygote] = []
        self.default: Zygote | None = None
        self._default_at = -inf
        self._restarts = Restarts()

    def start(self, key: str, interpreter: str | None, path: list[str]) -> Zygote:
        """Start a zygote, in our interpreter where none is named; raises OSError when that cannot be run."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                argv = boot.command(interpreter or sys.executable, self._module, path)
                pid = spawn.start(argv, self._environ, {"daemon": theirs.fileno(), **self._fds})
            except BaseException:
                ours.close()
                raise
        crash and crash("keeper.zygote_started")
        self._generation += 1
        zygote = self.book[pid] = Zygote(pid, self._generation, key, ours)
        return zygote

    def renew(self) -> None:
        """Have new attempts begin with new code: all that are here are old now, and a default one follows."""
        for zygote in self.book.values():
            zygote.old = True
        self.start_default()

    def start_default(self) -> Zygote | None:
        """Start a default zygote; an older one goes on until the daemon retires it. None: later."""
        try:
            self.default = self.start(DEFAULT, None, self._path)
        except OSError as error:
            say(f"cannot start a zygote: {error.strerror}")
            self.default = None
            self._ended_default(0.0)
        return self.default

    def default_at(self) -> float:
        """Return when a default zygote is to be started."""
        return self._default_at if self.default is None else inf

    def living(self) -> list[Zygote]:
        """Return those that a daemon may use, the oldest first."""
        return [zygote for zygote in self.book.values() if zygote.sock is not None]

    def get(self, generation: int) -> Zygote | None:
        """Return a living or retired one."""
        return next((zygote for zygote in self.book.values() if zygote.generation == generation), None)

    def ended(self, zygote: Zygote, how: str, expected: bool) -> None:
        """Note that one was reaped, which `book` holds no more: what it forked is to be swept."""
        wanted = zygote.sock is not None
        zygote.retire()
        self.mourned.append(zygote)
        if zygote is self.default:
            self.default = None
            wanted = self._ended_default(time.monotonic() - zygote.started)
        if wanted and not expected:
            say(f"zygote {zygote.generation} ({zygote.key}) ended ({how}), what it ran is interrupted")

    def _ended_default(self, lived: float) -> bool:
        now = time.monotonic()
        self._default_at = now + self._restarts.died(now, lived)
        return self._restarts.worth_saying(now)

    def sweep(self, others: set[int]) -> list[int]:
        """Kill what dead zygotes left; return the generations of which nothing is left now. `others`: not to be hurt.

        To be called whenever a child was reaped, and only when no child is left to reap: each stray that is killed
        here is such a child in its turn, and what it leaves comes to us before it does.
        """
        if not self.mourned:
            return []
        strays = set(self._children.pids()) - self.book.keys() - others - self._beyond
        for pid in strays:
            try:
                os.kill(pid, signal.SIGKILL)
            except PermissionError:  # a job ran a setuid program: it ends when it likes
                self._beyond.add(pid)
        if strays - self._beyond:
            return []
        dead = [zygote.generation for zygote in self.mourned]
        self.mourned.clear()
        return dead

    def forget(self, pid: int) -> None:
        """Note that a stranger was reaped: its number may come again."""
        self._beyond.discard(pid)
