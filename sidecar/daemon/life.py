"""The daemon from its first line to its last: what is opened in which order, and what ends before what.

The nurseries nest in the order in which things must die: ledger (the writer) > services (clients, zygotes, keeper)
> intake (the doors). There are three ways to end. *Leave*: a new daemon follows, or the keeper is gone; intake stops
where it is, attempts are left to their zygotes. *Drain*: what was handed off is taken in, attempts get `drain` seconds
to finish, then they are ended as interrupted. *Now*: the second signal, the same without the seconds.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
from typing import Any

import trio

from ..config import BadConfig, Config, load
from ..crashpoints import crash
from ..descriptor import read_body
from ..errors import UNUSABLE, SidecarError
from ..places import SPOOL
from ..store import Store, Unusable, check
from .attempts import Attempts
from .datagrams import Datagrams
from .dispatcher import Dispatcher
from .dump import dump_on_sigquit
from .handlers import Handlers
from .intake import Intake
from .janitor import Janitor
from .keeper import Keeper
from .listener import Listener
from .opening import Opening
from .overdue import Overdue
from .quarantine import Quarantine
from .space import Space
from .spool import Spool
from .syncer import Syncer
from .tick import Tick
from .warming import Warming
from .watch import Watch
from .writer import Writer
from .zygote import Zygote
from .zygotes import Zygotes

log = logging.getLogger("sidecar")

_LAST_MOMENT = 2.0  # seconds for storing what was handed off, when told to end now
_REPEAT_STOP = 1.0  # seconds: an attempt claimed as we began to end is told as well


def run() -> None:
    """Read the environment and the configuration, say so to the keeper, then serve."""
    logging.basicConfig(level=logging.INFO, format="sidecar: %(message)s", stream=sys.stderr)
    names = dict(zip(os.environ["LISTEN_FDNAMES"].split(":"), range(3, 1024), strict=False))
    for fd in names.values():
        os.set_inheritable(fd, False)
    slots = os.environ.get("SIDECAR_SLOTS")
    try:
        config = load(os.environ.get("SIDECAR_CONFIG") or None, int(slots) if slots else None)
    except BadConfig as error:
        sys.exit(f"sidecar: {error}")
    try:
        trio.run(Daemon(config, names).live, strict_exception_groups=True)
    except* SidecarError as errors:
        first = _first_of(errors)
        log.error("%s", first)
        sys.exit(UNUSABLE if isinstance(first, Unusable) else 1)


def _first_of(error: BaseException) -> BaseException:
    """Return what is inside the nurseries' wrappings."""
    return _first_of(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


class Daemon:
    """The rooms, and the ways to end."""

    def __init__(self, config: Config, names: dict[str, int]) -> None:
        self.config = config
        self.handoff = socket.socket(fileno=names["handoff"])
        self.control = socket.socket(fileno=names["control"])
        self.lifeline = names["lifeline"]
        self.keeper = Keeper(socket.socket(fileno=names["keeper"]), float(os.environ["SIDECAR_HEARTBEAT"]))
        self.intake_scope = trio.CancelScope()
        self.last_scope = trio.CancelScope()  # around what is handed off in the last moment
        self.attempts_scope = trio.CancelScope()
        self.leaving = False
        self.draining = False
        self.hurrying = False

    async def live(self) -> None:
        """Say that we are loaded, wait until it is our turn, serve, end.

        A store that is not for us ends us before: so the daemon that serves goes on, and its jobs with it.
        """
        folder = os.environ["SIDECAR_STATE_DIR"]
        check(folder)
        self.keeper.tell({"did": "loaded"})
        inherited: list[dict[str, Any]] = []
        while True:
            heard = await self.keeper.hear()
            if heard is None or heard[0]["do"] in ("leave", "drain", "now"):
                return
            message, fd = heard
            if message.pop("do") == "go":
                break
            inherited.append({**message, "fd": fd})
        self.space = Space(folder, self.config.space.reserve, self.config.space.ballast)
        store = await Opening(folder, self.space, self.keeper, self.control).open(inherited)
        if store is None:
            return
        try:
            self.open_rooms(store)
            await self.serve(store, inherited)
            self.quarantine.close()
            if self.tick and not self.leaving:
                self.tick.report(store)
        except* SidecarError:  # such as a disk that fails: not the fault of what was being taken in
            self.quarantine.close()
            raise
        finally:
            store.close()

    def open_rooms(self, store: Store) -> None:
        """Make every room, and let those know each other that do."""
        config, limits = self.config, self.config.limits
        self.writer = Writer(store, self.space)
        self.syncer = Syncer(store.sync)
        self.watch = Watch()
        self.attempts = Attempts(config, self.writer, self.watch)
        sizes = {"result": limits.result, "output": limits.output}
        self.zygotes = Zygotes(self.keeper.tell, self.attempts, sizes)
        self.warming = self.zygotes.warming = Warming(self.zygotes)
        self.dispatcher = Dispatcher(
            config, self.writer, self.attempts, self.zygotes, self.warming, self.watch, self.syncer
        )
        self.attempts.imported = self.dispatcher.imported
        self.attempts.zygotes = self.zygotes
        self.attempts.freed = self.dispatcher.freed
        self.attempts.given_back = self.dispatcher.given_back
        state = os.environ["SIDECAR_STATE_DIR"]
        self.quarantine = Quarantine(os.path.join(state, "quarantine"), int(os.environ.get("SIDECAR_DEATHS", "0")))
        self.intake = Intake(config, self.writer, self.dispatcher, self.watch, self.space, self.quarantine)
        self.datagrams = Datagrams(self.handoff, self.intake)
        self.spool = Spool(os.path.join(state, SPOOL), limits.job, self.intake)
        self.overdue = Overdue(self.attempts, self.keeper.tell)
        self.janitor = Janitor(config, self.writer, self.dispatcher, self.zygotes)
        term = os.environ.get("SIDECAR_TICK")
        self.tick = Tick(term, config, self.writer, self.dispatcher, self.keeper) if term else None
        if self.tick:
            for name in ("attempts", "intake", "spool", "datagrams"):
                setattr(self.tick, name, getattr(self, name))
        self.handlers = Handlers()
        for name in (
            "config",
            "writer",
            "watch",
            "attempts",
            "zygotes",
            "warming",
            "intake",
            "datagrams",
            "spool",
            "syncer",
            "space",
            "keeper",
        ):
            setattr(self.handlers, name, getattr(self, name))
        self.listener = Listener(self.control, self.handlers, limits)

    async def serve(self, store: Store, inherited: list[dict[str, Any]]) -> None:
        """Run until one of the three ends, each nursery inside those that must outlive it."""
        async with trio.open_nursery() as ledger:
            ledger.start_soon(self.keep_ledger)
            async with trio.open_nursery() as services:
                self.services = services
                self.recover(store, inherited)
                crash and crash("open.recovered")
                services.start_soon(self.keeper.listen, self.orders())
                services.start_soon(self.keeper.beat)
                services.start_soon(self.watch_lifeline)
                services.start_soon(dump_on_sigquit)
                services.start_soon(self.dispatcher.watch_the_clock)
                services.start_soon(self.space.keep, self.writer.wake)
                services.start_soon(self.janitor.purge)
                services.start_soon(self.janitor.look_after_the_store)
                services.start_soon(self.janitor.forget_lanes)
                services.start_soon(self.janitor.retire)
                services.start_soon(self.overdue.watch)
                services.start_soon(self.listener.run)
                self.keeper.tell({"did": "ready"})
                await self.take_in()
                if not self.leaving:
                    await self.wind_down()
                services.cancel_scope.cancel()
            self.writer.close()

    async def keep_ledger(self) -> None:
        """Commit and sync; what the last commits bring to be synced is synced before the end."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.syncer.run)
            await self.writer.run(self.tick or self.dispatcher)
            self.syncer.close()

    async def take_in(self) -> None:
        """Keep the doors open until it is time to end; when draining, take in what is there before they close."""
        with self.intake_scope:
            async with trio.open_nursery() as intake:
                intake.start_soon(self.datagrams.run)
                intake.start_soon(self.spool.run)
                if self.tick:
                    intake.start_soon(self.tick.run)
        if self.draining and not self.leaving:
            with self.last_scope:
                await self.datagrams.take_all()
            if self.last_scope.cancelled_caught:
                log.error("ending with hand-offs that could not be stored: they end with the socket")

    # -- beginning ------------------------------------------------------------------------------------------------

    def recover(self, store: Store, inherited: list[dict[str, Any]]) -> None:
        """Go on where the daemon before us was: its zygotes, its running jobs, its queue."""
        self.dispatcher.recover(store)
        for order in inherited:
            self.zygote(**order)
        for running in store.running():
            key = (running.seq, running.number)
            options = read_body(running.body)
            timeout, grace = options.get("timeout", self.config.timeout), options.get("grace", self.config.grace)
            self.attempts.enter(key, running.id, running.generation, timeout, grace)
            zygote = self.zygotes.get(running.generation)
            if zygote is None:
                self.attempts.crashed(key)
            elif running.cancel_wanted:
                zygote.send(["stop", list(key), "cancel"])

    # -- what the keeper orders -----------------------------------------------------------------------------------

    def orders(self) -> dict[str, Any]:
        """Return what the keeper may say, and who does it."""
        return {
            "zygote": self.zygote,
            "dead": lambda generation: self.zygotes.dead(generation),
            "refused": lambda key, reason: self.zygotes.refused(key, reason),
            "leave": self.leave,
            "drain": self.drain,
            "now": self.hurry,
            "reload_failed": self.reload_failed,
        }

    def zygote(self, generation: int, key: str, pid: int, old: bool, fd: int) -> None:
        """Take over a zygote."""
        zygote = Zygote(generation, key, pid, socket.socket(fileno=fd))
        self.zygotes.add(zygote, old)
        self.services.start_soon(self.zygotes.attend, zygote)

    def reload_failed(self, reason: str) -> None:
        """Note for whoever asks that we go on because the next daemon did not come to it."""
        self.handlers.reload_error = reason

    async def watch_lifeline(self) -> None:
        """Leave when the keeper is gone: its end of this pipe closes with it."""
        await trio.lowlevel.wait_readable(self.lifeline)
        self.leave()

    # -- ending ---------------------------------------------------------------------------------------------------

    def leave(self) -> None:
        """End at once; attempts go on in their zygotes for the daemon after us."""
        self.leaving = True
        self.intake_scope.cancel()
        self.last_scope.cancel()
        self.attempts_scope.cancel()

    def drain(self) -> None:
        """End in good order. The keeper has closed the hand-off for new senders."""
        self.draining = self.dispatcher.draining = True
        self.last_scope.deadline = trio.current_time() + self.config.drain  # the disk may stay full
        self.intake_scope.cancel()

    def hurry(self) -> None:
        """End what still runs now."""
        self.hurrying = True
        self.drain()
        self.last_scope.deadline = trio.current_time() + _LAST_MOMENT
        self.attempts_scope.cancel()

    async def wind_down(self) -> None:
        """Let attempts finish for `drain` seconds, then end them as interrupted; returns when all are recorded."""
        if self.attempts.entries:
            log.info(
                "ending: %d running jobs have %g s to finish, a second signal ends them now",
                len(self.attempts.entries),
                self.config.drain,
            )
        with self.attempts_scope:
            with trio.move_on_after(self.config.drain):
                await self.attempts.wait_until_empty()
        if self.leaving:
            return
        if self.attempts.entries and not self.leaving:
            log.info("ending: interrupting %d jobs, they run again after the next start", len(self.attempts.entries))
        while self.attempts.entries and not self.leaving:
            for entry in list(self.attempts.entries.values()):
                self.attempts.stop(entry, "shutdown")
                if self.hurrying:
                    self.attempts.kill(entry)
            with trio.move_on_after(_REPEAT_STOP):
                await self.attempts.wait_until_empty()
