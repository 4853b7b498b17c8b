"""The book of daemons: who serves, who follows, and when.

    loading ──loaded──► waiting ──our go──► serving ──► ready       one serves; a reload's successor waits beside it
                                               └──our leave──► ended, and the successor gets the go

Go is never said while the orphans of a dead zygote live: a daemon takes a zygote that it is not shown for dead, and
runs its attempts again. One that dies is replaced at once, or after a pause where that keeps happening; while we stop,
once. One that says that no daemon can open this store is the last: who runs us learns it by our own status.
"""

from __future__ import annotations

import os
import signal
import time
from math import inf

from ..crashpoints import crash
from ..errors import UNUSABLE
from . import daemon
from .daemon import LOADED, LOADING, READY, SERVING, Daemon
from .notify import Notifier, say
from .restarts import Restarts
from .settings import Settings
from .zygotes import Zygote, Zygotes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_WELL = 10.0  # seconds of beats after which a daemon is taken for well


class Daemons:
    """All daemons; `over` once the last one has ended and none is to follow."""

    def __init__(
        self, settings: Settings, environ: dict[str, str], fds: dict[str, int], zygotes: Zygotes, notifier: Notifier
    ) -> None:
        self._settings = settings
        self._environ = environ | {
            "SIDECAR_STATE_DIR": settings.state_dir,
            "SIDECAR_CONFIG": settings.config,
            "SIDECAR_SLOTS": settings.slots,
            "SIDECAR_HEARTBEAT": str(settings.heartbeat),
        }
        self._fds = fds
        self._zygotes = zygotes
        self._notifier = notifier
        self._restarts = Restarts()
        self._deaths = 0  # in a row, of what a daemon may have read: the next one is told, and mistrusts what it reads
        self._start_at = -inf
        self._stops = 0
        self._rescued = False  # one ended badly while we stopped, and got its replacement
        self._successor: Daemon | None = None
        self.current: Daemon | None = None  # the one that has the store, or gets it next
        self.book: dict[int, Daemon] = {}  # by pid; in here until it is reaped
        self.over = False
        self.hopeless = False  # no daemon can serve here

    def alarms(self) -> list[tuple[float, Callable[[], None]]]:
        """Return what is to be done, and when."""
        found = [(one.silent_at(self._settings.heartbeat), one.kill_silent) for one in self.book.values()]
        if self.current is None and not self.over:
            found.append((self._start_at, self._start))
        return found

    def tell(self, message: dict[str, Any]) -> None:
        """Tell the one that serves; one that does not yet is told at its go how things are."""
        if self.current is not None and self.current.stage >= SERVING:
            self.current.link.send(message)

    def show(self, zygote: Zygote) -> None:
        """Give the one that serves the use of a zygote."""
        if self.current is not None and self.current.stage >= SERVING and zygote.sock is not None:
            names = ("generation", "key", "pid", "old")
            about = {"do": "zygote"} | {name: getattr(zygote, name) for name in names}
            self.current.link.send(about, zygote.sock.fileno())

    # -- the way of one -----------------------------------------------------------------------------------------

    def _spawn(self) -> Daemon | None:
        environ = self._environ | {"SIDECAR_DEATHS": str(self._deaths)}
        try:
            found = daemon.start(self._settings.daemon_module, self._settings.path, environ, self._fds)
        except OSError as error:
            say(f"cannot start a daemon: {error.strerror}")
            return None
        crash and crash("keeper.spawned")
        self.book[found.pid] = found
        return found

    def _start(self) -> None:
        self.current = self._spawn()
        if self.current is None:
            now = time.monotonic()
            self._start_at = now + max(1.0, self._restarts.died(now, 0.0))

    def loaded(self, one: Daemon) -> None:
        """Note that its code and configuration are fine: it may follow, and new attempts get new code too."""
        if one.stage != LOADING:
            return
        one.stage = LOADED
        if one is self._successor and self.current is not None:
            self._zygotes.renew()
            self.current.leave(time.monotonic())
        self.go()

    def go(self) -> None:
        """Let the one that waits serve, when it can be shown the truth about every zygote."""
        one = self.current
        if one is None or one.stage != LOADED or self._zygotes.mourned:
            return
        crash and crash("keeper.go")
        one.stage = SERVING
        one.hear(time.monotonic())
        for zygote in self._zygotes.living():
            self.show(zygote)
        self.tell({"do": "go"})
        for word in ("drain", "now")[: self._stops]:
            self.tell({"do": word})

    def ready(self, one: Daemon) -> None:
        """Note that it serves."""
        one.stage, one.ready_at = READY, time.monotonic()
        self._notifier.ready()

    def beaten(self, one: Daemon) -> None:
        """Note that its loop turns."""
        self._notifier.beat()
        if time.monotonic() - one.ready_at >= _WELL:
            self._restarts.proven()
            self._deaths = 0

    # -- the end of one -----------------------------------------------------------------------------------------

    def ended(self, one: Daemon, status: int) -> None:
        """Note that one was reaped, which `book` holds no more."""
        one.link.close()
        if one is self._successor:
            self._successor = None
            self._reload_failed(f"the new daemon ended ({ending(status)})")
        elif one is self.current:
            self.current = None
            if os.waitstatus_to_exitcode(status) == UNUSABLE and self._successor is None:
                self.over = self.hopeless = True
                return
            left = one.leaving and (status == 0 or one.stage < SERVING)
            drained = self._stops > 0 and status == 0 and one.stage >= SERVING and not one.leaving
            self._replace(0.0 if left or drained else self._count(one, status), drained)

    def _replace(self, pause: float, drained: bool) -> None:
        if self._successor is not None:
            self.current, self._successor = self._successor, None
            self.go()
        elif self._stops and (drained or self._rescued or self._stops > 1):
            self.over = True
        else:
            self._rescued = self._stops > 0
            self._start_at = time.monotonic() + pause

    def _count(self, one: Daemon, status: int) -> float:
        now = time.monotonic()
        # SIGKILL from outside (an administrator, a lack of memory) is no sign of a datagram that kills its reader: it
        # must not bring one under suspicion that a daemon happened to hold.
        self._deaths += bool(one.killed) or not os.WIFSIGNALED(status) or os.WTERMSIG(status) != signal.SIGKILL
        pause = self._restarts.died(now, now - one.started)
        if self._restarts.worth_saying(now):
            why = one.killed or ending(status)
            again = f", {self._restarts.row} in a row, the next one starts in {pause:.1f} s" if pause else ""
            say(f"the daemon ended ({why}){again}")
            self._notifier.status(f"the daemon ended ({why}){again}")
        return pause

    # -- what is asked of us ------------------------------------------------------------------------------------

    @property
    def reloading(self) -> bool:
        """Whether a successor is on its way."""
        return self._successor is not None

    def reload(self) -> None:
        """Start the next one beside the one that serves; a reload that is under way starts again."""
        if self._stops:
            return
        if self.current is None:
            self._start_at = -inf  # it may be this reload that mends what kept it from starting
            return
        self._notifier.reloading()
        self._drop_successor()
        self._successor = self._spawn()
        if self._successor is None:
            self._reload_failed("there is no process for the new daemon")

    def _reload_failed(self, why: str) -> None:
        goes_on = self.current is not None and not self.current.leaving
        say(f"reload failed: {why}, {'the old one goes on' if goes_on else 'another one follows'}")
        self._notifier.ready()
        self.tell({"do": "reload_failed", "reason": why})

    def _drop_successor(self) -> None:
        if self._successor is not None:
            self._successor.kill("not needed any more")
            self._successor = None

    def stop(self, times: int) -> None:
        """Stop: the first time when all is done, the second time now, the third time without asking."""
        self._stops = times
        if self.current is None:
            self._replace(0.0, drained=False)  # somebody has to take in what the sockets hold
        elif not self.current.leaving:
            self._drop_successor()
        if self.current is not None and (times > 2 or (times == 2 and self.current.stage < SERVING)):
            self.current.kill("told to stop at once")
        self.tell({"do": "drain" if times == 1 else "now"})

    def dump(self) -> None:
        """Have the one that serves tell what it does."""
        if self.current is not None and self.current.stage == READY:
            os.kill(self.current.pid, signal.SIGQUIT)


def ending(status: int) -> str:
    """Say in words how a process ended."""
    if os.WIFSIGNALED(status):
        return f"killed by {signal.Signals(os.WTERMSIG(status)).name}"
    return f"exit status {os.WEXITSTATUS(status)}"
