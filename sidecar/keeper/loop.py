"""The loop: one wait, then whatever happened. No polling; who lives is in the two books, what is wanted in `stops`.

    a packet from a daemon   did_…: what it did    want_…: what it needs
    a signal                 SIGTERM, SIGINT: stop    SIGHUP: reload    SIGQUIT: passed on    SIGCHLD: a child ended
    an instant               a pause before a restart is over, a daemon was silent for too long

The end: the daemon drains and exits; then the lifeline closes, and the zygotes end what they have and themselves.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable
from math import inf

from .. import __version__
from ..crashpoints import crash
from ..places import SPOOL
from . import ground
from .daemon import Daemon
from .daemons import Daemons, ending
from .notify import Notifier, announce, say
from .settings import Settings
from .sockets import Sockets
from .tick import Tick
from .zygotes import Zygotes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LAST = 5.0  # seconds for the zygotes to end their attempts once the lifeline is closed


class Keeper:
    """All that the keeper knows, and a small function for each thing that can happen."""

    def __init__(
        self,
        settings: Settings,
        environ: dict[str, str],
        sockets: Sockets,
        runtime_lock: int,
        life: int,
        notifier: Notifier,
    ) -> None:
        lifeline, self._held = os.pipe()
        self._sockets = sockets
        self._runtime, self._runtime_lock = settings.runtime_dir, runtime_lock
        self._state = settings.state_dir
        self._bound_at = -inf  # since then daemons have the sockets that we have
        self._cannot_bind = ""
        self._notifier = notifier
        self._spool = f"{settings.state_dir}/{SPOOL}"
        ground.link_spool(settings.state_dir, settings.runtime_dir)
        self._zygotes = Zygotes(settings.zygote_module, settings.path, environ, {"lifeline": lifeline, "life": life})
        self._fds = {"lifeline": lifeline, **self._ears(), "life": life}
        self._tick = Tick(settings.tick)
        told = environ | {"SIDECAR_TICK": self._tick.term}
        self._daemons = Daemons(settings, told, self._fds, self._zygotes, notifier)
        self._stops = 0  # how often we were asked to
        self._finishing = False  # the last daemon is gone, the rest follows
        self._kill_at = inf
        self._announced = self._tick.is_one  # cron mails what is on stdout
        self._wakeup = _catch_signals()
        crash and crash("keeper.bound")

    # -- waiting ------------------------------------------------------------------------------------------------

    def run(self) -> int:
        """Run until told to stop and all has ended; returns the exit status."""
        while not (self._finishing and not (self._daemons.book or self._zygotes.book or self._zygotes.mourned)):
            self._fire_alarms()
            for fd, _ in self._waiting().poll(self._until_alarm()):
                self._on_event(fd)
            if self._daemons.over and not self._finishing:
                self._finish()
        self._tick.report(self._spool)
        return int(self._daemons.hopeless)

    def _waiting(self) -> select.poll:
        """Return what to wait for. Made anew each time: there is little of it, and it is seldom."""
        waiting = select.poll()
        for one in self._daemons.book.values():
            if one.link.open:
                waiting.register(one.link.sock, one.link.events())
        waiting.register(self._wakeup, select.POLLIN)
        return waiting

    def _on_event(self, fd: int) -> None:
        if fd == self._wakeup:
            for number in os.read(fd, 4096):
                _REACTIONS[number](self)
        for one in list(self._daemons.book.values()):
            if one.link.open and one.link.sock.fileno() == fd:
                self._on_packets(one)

    def _alarms(self) -> list[tuple[float, Callable[[], object]]]:
        return [
            *self._daemons.alarms(),
            (inf if self._finishing else self._zygotes.default_at(), self._start_default),
            (self._kill_at, self._kill_zygotes),
            (inf if self._stops else self._tick.ends, self.stop),
        ]

    def _until_alarm(self) -> int | None:
        at = min(at for at, _ in self._alarms())
        return None if at == inf else int(max(0.0, at - time.monotonic()) * 1000) + 1  # rounded up: else it would spin

    def _fire_alarms(self) -> None:
        for at, action in self._alarms():
            if at <= time.monotonic():
                action()

    # -- what a daemon says -------------------------------------------------------------------------------------

    def _on_packets(self, one: Daemon) -> None:
        """Write what waits, take what is there. What we do not know is passed over: a reload may bring newer code."""
        one.link.flush()
        for message in one.link.receive():
            one.hear(time.monotonic())
            try:
                action = _WORDS.get((message.get("did"), message.get("want")))
                if action is not None:
                    action(self, one, message)
            except (TypeError, KeyError, ValueError, OSError) as error:
                say(f"cannot follow the daemon's message {str(message)[:200]}: {error!r}")

    def did_loaded(self, one: Daemon, message: dict[str, Any]) -> None:
        """Its code and configuration are fine; it waits for our go."""
        self._daemons.loaded(one)

    def did_ready(self, one: Daemon, message: dict[str, Any]) -> None:
        """It serves."""
        self._daemons.ready(one)
        if self._sockets.old and one.started > self._bound_at:
            self._tell_saved(self._sockets.close_old(self._spool))
        if not self._announced:
            announce(f"sidecar {__version__} is ready: {self._sockets.names()}")
            self._announced = True

    def did_beat(self, one: Daemon, message: dict[str, Any]) -> None:
        """Its loop turns; a moment to look around as well, so that an idle keeper need not wake for that."""
        self._daemons.beaten(one)
        if not self._stops:
            self._look_for_sockets()

    def did_idle(self, one: Daemon, message: dict[str, Any]) -> None:
        """A tick has nothing left to do now."""
        if not self._stops:
            self.stop()

    def did_ticked(self, one: Daemon, message: dict[str, Any]) -> None:
        """What came of a tick, so far or in all."""
        self._tick.hear(message)

    def want_zygote(self, one: Daemon, message: dict[str, Any]) -> None:
        """It has a job whose runtime has no zygote."""
        key, interpreter = message["key"], message["interpreter"]
        try:
            zygote = self._zygotes.start(key, interpreter, message["path"])
        except OSError as error:
            reason = f"cannot run {interpreter or 'our own interpreter'!r}: {error.strerror}"
            one.link.send({"do": "refused", "key": key, "reason": reason})
        else:
            self._daemons.show(zygote)

    def want_retire(self, one: Daemon, message: dict[str, Any]) -> None:
        """A zygote has nothing to do any more."""
        zygote = self._zygotes.get(message["generation"])
        if zygote is not None:
            zygote.retire()

    def want_kill(self, one: Daemon, message: dict[str, Any]) -> None:
        """A zygote does not keep its deadlines."""
        zygote = self._zygotes.get(message["generation"])
        if zygote is not None:
            zygote.kill()

    def want_reload(self, one: Daemon, message: dict[str, Any]) -> None:
        """Somebody asked the daemon for what SIGHUP does."""
        self._daemons.reload()

    # -- our own sockets ----------------------------------------------------------------------------------------

    def _ears(self) -> dict[str, int]:
        return {"handoff": self._sockets.handoff.fileno(), "control": self._sockets.control.fileno()}

    def _look_for_sockets(self) -> None:
        """Bind them again when somebody has taken their files away, and have a daemon follow that reads them."""
        if self._sockets.lost():
            try:
                self._bind_again()
            except (ground.CannotServe, OSError) as error:
                if str(error) != self._cannot_bind:
                    say(f"the sockets were taken away: {error}")
                self._cannot_bind = str(error)
                return
            self._cannot_bind = ""
            say(f"the sockets were taken away, they are there again: {self._sockets.names()}")
        if self._sockets.old and not self._daemons.reloading:
            self._daemons.reload()

    def _bind_again(self) -> None:
        ground.runtime_folder(self._runtime)
        if not ground.is_still(self._runtime_lock, self._runtime):
            lock = ground.runtime_lock(self._runtime)
            os.close(self._runtime_lock)
            self._runtime_lock = lock
        ground.link_spool(self._state, self._runtime)
        self._sockets.bind_again()
        self._fds.update(self._ears())
        self._bound_at = time.monotonic()

    # -- children end -------------------------------------------------------------------------------------------

    def on_child(self) -> None:
        """Reap every child that has ended, ours and strangers; let a stopped zygote go on, deadlines depend on it."""
        for pid, status in iter(_wait_any, None):
            if os.WIFSTOPPED(status):
                if pid in self._zygotes.book:
                    os.kill(pid, signal.SIGCONT)
            elif pid in self._daemons.book:
                crash and crash("keeper.daemon_reaped")
                self._on_packets(self._daemons.book[pid])  # its last words
                self._daemons.ended(self._daemons.book.pop(pid), status)
            elif pid in self._zygotes.book:
                crash and crash("keeper.zygote_reaped")
                self._zygotes.ended(self._zygotes.book.pop(pid), ending(status), self._finishing)
            else:
                self._zygotes.forget(pid)
        self._sweep()

    def _sweep(self) -> None:
        """Go on ending what dead zygotes left, and report those of which nothing is left."""
        for generation in self._zygotes.sweep(set(self._daemons.book)):
            crash and crash("keeper.swept")
            self._daemons.tell({"do": "dead", "generation": generation})
        self._daemons.go()

    def _start_default(self) -> None:
        zygote = self._zygotes.start_default()
        if zygote is not None:
            self._daemons.show(zygote)

    # -- what people ask ----------------------------------------------------------------------------------------

    def reload(self) -> None:
        """Bring new code and new configuration to the daemon and to new attempts."""
        self._daemons.reload()

    def dump(self) -> None:
        """Have the daemon tell what it does."""
        self._daemons.dump()

    def stop(self) -> None:
        """Stop: the first time when all is done, the second time now, the third time without asking."""
        self._stops += 1
        if self._stops == 1:
            self._notifier.stopping()
            self._sockets.close_handoff()
        if self._finishing:
            self._kill_at = -inf
        else:
            self._daemons.stop(self._stops)

    def _finish(self) -> None:
        """End what is left; the loop goes on until it has."""
        self._finishing = True
        if not self._stops:
            self._sockets.close_handoff()
        self._kill_at = -inf if self._stops > 2 else time.monotonic() + _LAST
        self._sockets.close_control()
        self._tell_saved(self._sockets.rescue(self._spool, self._daemons.hopeless))
        os.close(self._held)

    def _tell_saved(self, found: tuple[int, int]) -> None:
        saved, lost = found
        if saved or lost:
            say(f"hand-offs that no daemon had taken in: {saved} are in the spool now, {lost} are lost")

    def _kill_zygotes(self) -> None:
        """End those that did not heed the lifeline."""
        self._kill_at = inf
        for zygote in self._zygotes.book.values():
            zygote.kill()


_WORDS: dict[tuple[object, object], Callable[[Keeper, Daemon, dict[str, Any]], None]] = {
    ("loaded", None): Keeper.did_loaded,
    ("ready", None): Keeper.did_ready,
    ("beat", None): Keeper.did_beat,
    ("idle", None): Keeper.did_idle,
    ("ticked", None): Keeper.did_ticked,
    (None, "zygote"): Keeper.want_zygote,
    (None, "retire"): Keeper.want_retire,
    (None, "kill"): Keeper.want_kill,
    (None, "reload"): Keeper.want_reload,
}

_REACTIONS: dict[int, Callable[[Keeper], None]] = {
    signal.SIGTERM: Keeper.stop,
    signal.SIGINT: Keeper.stop,
    signal.SIGHUP: Keeper.reload,
    signal.SIGQUIT: Keeper.dump,
    signal.SIGCHLD: Keeper.on_child,
}


def _wait_any() -> tuple[int, int] | None:
    try:
        pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
    except ChildProcessError:
        return None
    return (pid, status) if pid else None


def _catch_signals() -> int:
    """Have each signal's number written to a pipe, and return the end to read."""
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in _REACTIONS:
        if number != signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN:  # a shell's background job
            signal.signal(number, lambda number, frame: None)
    return reading
