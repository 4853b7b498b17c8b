"""The daemon's side of its zygotes: which there are, which one a lane's jobs belong to, and why one cannot start.

A zygote is known by its generation, a number the keeper never gives twice, and serves one key: "default" for what needs
no runtime, else a digest of user and runtime record. The newest generation of a key takes new attempts; older ones
finish theirs and are retired. A runtime whose zygote cannot start keeps its jobs waiting, with the reason, and is tried
again with growing pauses: a deploy in progress must not burn a backlog.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import trio

from ..descriptor import parse_runtime
from ..job import Ending
from ..rows import Lane
from .unfit import Unfit
from .zygote import ALONE, WARM, Events, Zygote

if TYPE_CHECKING:
    from .warming import Warming

log = logging.getLogger("sidecar")

PROTOCOL = 2
DEFAULT = "default"
START = 60.0  # seconds for an interpreter to come up
IDLE = 600.0  # seconds until a zygote of a runtime ends for want of work
_TOO_OLD = "the sidecar in its interpreter cannot warm modules"


class Zygotes:
    """All zygotes, by generation and by key."""

    def __init__(self, keeper: Callable[[dict[str, Any]], None], events: Events, limits: dict[str, int]) -> None:
        self.warming: Warming  # set by the daemon: the two know each other
        self._tell_keeper = keeper
        self._events = events
        self._limits = limits
        self._by_generation: dict[int, Zygote] = {}
        self._newest: dict[str, Zygote] = {}
        self._wanted: set[str] = set()  # keys asked for and not here yet
        self._unfit = Unfit()
        self._runtimes: dict[str, bytes] = {DEFAULT: b""}
        self._keys: dict[tuple[int, bytes], str] = {}  # by user and runtime
        self._nonce = int.from_bytes(os.urandom(7))  # answers to the daemon before us may still be on their way
        self.idle = trio.Event()  # set when there may be something to retire
        self._fresh: dict[str, str] = {}  # why a PHP runtime has no template, by key
        self._told: dict[str, Callable[..., None]] = {
            "hello": self._told_hello, "unfit": self._told_unfit, "exited": self._told_exited,
            "stale": self._told_stale, "template": self._told_template, "output": self._told_output,
            "tail": self._told_tail,
        }  # fmt: skip

    def key_of(self, lane: Lane) -> str:
        """Return the key of the zygotes that run this lane's jobs."""
        if not lane.runtime:
            return DEFAULT
        key = self._keys.get((lane.uid, lane.runtime))
        if key is None:
            key = self._keys[lane.uid, lane.runtime] = hashlib.sha256(b"%d:" % lane.uid + lane.runtime).hexdigest()[:32]
            self._runtimes[key] = lane.runtime
        return key

    def get(self, generation: int) -> Zygote | None:
        """Return a living zygote."""
        return self._by_generation.get(generation)

    def all(self) -> list[Zygote]:
        """Return every living zygote."""
        return list(self._by_generation.values())

    def pick(self, lane: Lane) -> Zygote | None:
        """Return the zygote for this lane's next attempt; None asks for one, and `ready` is told when it is there."""
        return self._pick(self.key_of(lane))

    def pick_alone(self, lane: Lane, seq: int) -> Zygote | None:
        """Return a zygote for one attempt of a job that went down with its last one.

        It may be the job that took the zygote down: next time it can take nobody with it.
        """
        key = f"{self.key_of(lane)}{ALONE}{seq}"
        self._runtimes[key] = lane.runtime
        return self._pick(key)

    def get_warm(self, key: str, module: str) -> Zygote | None:
        """Return the newest warm zygote of a runtime's module, whether it can take attempts by now or not."""
        zygote = self._newest.get(key + WARM + module)
        return None if zygote is None or zygote.old else zygote

    def all_warm(self) -> list[Zygote]:
        """Return all warm zygotes that take new attempts, or will."""
        return [zygote for zygote in self._newest.values() if zygote.module and not zygote.old]

    def want_warm(self, key: str, module: str) -> None:
        """Have a warm zygote made; `warming` hears what came of it."""
        name = key + WARM + module
        self._runtimes[name] = self._runtimes[key]
        self._want(name)

    def coming_warm(self) -> set[tuple[str, str]]:
        """Return runtime and module of the warm zygotes that were asked for, and cannot take attempts yet."""
        parts = [key.partition(WARM) for key in self._wanted]
        return {(key, module) for key, _, module in parts if module}

    def replace(self, zygote: Zygote) -> None:
        """Let a zygote take no new attempts; it ends when those that it has are over."""
        zygote.old = True
        self.idle.set()

    def _pick(self, key: str) -> Zygote | None:
        zygote = self._newest.get(key)
        if zygote is not None and not zygote.old:
            return zygote if zygote.ready else None
        self._want(key)
        return None

    def waiting(self, lane: Lane) -> str | None:
        """Return why this lane's jobs cannot start, None when nothing is wrong."""
        return self._unfit.why(self.key_of(lane))

    def _want(self, key: str) -> None:
        if key in self._wanted or key == DEFAULT or self._unfit.rests(key):
            return
        self._wanted.add(key)
        record = self._record(key)
        is_python = record.get("kind") != "php"  # else: a zygote in our own Python, whose children become PHP
        interpreter, path = record.get("interpreter") if is_python else None, record.get("path", [])
        if interpreter in (None, sys.executable):
            path = path + [entry for entry in sys.path if entry.startswith("/")]
        self._tell_keeper({"want": "zygote", "key": key, "interpreter": interpreter, "path": path})

    # -- what the keeper tells ------------------------------------------------------------------------------------

    def add(self, zygote: Zygote, old: bool) -> None:
        """Take over a zygote that the keeper started, now or for an earlier daemon; old: for no new attempts."""
        key = zygote.key
        if zygote.module and zygote.runtime in self._runtimes:  # an earlier daemon had it made
            self._runtimes[key] = self._runtimes[zygote.runtime]
        zygote.old = old or key not in self._runtimes
        self._by_generation[zygote.generation] = zygote
        newest = self._newest.get(key)
        if newest is None or newest.generation < zygote.generation:
            self._newest[key] = zygote
            if newest is not None:
                newest.old = True
                self.idle.set()
        record = self._record(key)
        if zygote.module:
            record = {**record, "warm": zygote.module}
        zygote.send(["hello", self._nonce, record, self._limits])

    def refused(self, key: str, reason: str) -> None:
        """Note that the keeper could not start it."""
        self._wanted.discard(key)
        runtime, _, module = key.partition(WARM)
        if module:
            return self.warming.failed(runtime, module, reason)
        if self._unfit.note(key, reason):
            log.warning("cannot start a zygote: %s", reason)
        self._events.changed()

    def dead(self, generation: int) -> None:
        """Note that it died, and nothing of it lives; what it had said before counts."""
        zygote = self._by_generation.pop(generation, None)
        if zygote is None:
            return
        while messages := zygote.channel.receive()[0]:
            self._hear(zygote, messages)
        self._forget(zygote)
        zygote.scope.cancel()
        zygote.channel.close()
        zygote.answer_nobody()
        if not zygote.ready and zygote.key in self._wanted:
            self.refused(zygote.key, "its zygote ended before it was ready, see the daemon's log")
        elif zygote.module and zygote.ready:
            self.warming.failed(zygote.runtime, zygote.module, "its warm zygote died under its jobs")
        self._wanted.discard(zygote.key)
        self._events.died(generation)

    def _record(self, key: str) -> dict[str, Any]:
        """Return the runtime record of a key; empty for the default one, and when there is none."""
        runtime = self._runtimes.get(key)
        return parse_runtime(runtime) if runtime else {}

    def _forget(self, zygote: Zygote) -> None:
        if self._newest.get(zygote.key) is zygote:
            del self._newest[zygote.key]
        if zygote.alone or zygote.module:
            self._runtimes.pop(zygote.key, None)

    def next_try(self) -> float:
        """Return the next instant (trio's clock) at which an unfit runtime may be tried again."""
        return self._unfit.next_try(self._wanted)

    def flush(self) -> None:
        """Send what was posted."""
        for zygote in self._by_generation.values():
            if zygote.channel.pending:
                zygote.flush()

    def began(self, zygote: Zygote) -> None:
        """Note that it has an attempt more."""
        zygote.attempts += 1

    def ended(self, zygote: Zygote) -> None:
        """Note that it has one less."""
        zygote.attempts -= 1
        zygote.idle_since = trio.current_time()
        if zygote.old:
            self.idle.set()

    def retire_idle(self, now: float) -> float:
        """End zygotes that are old or long idle; return when to look again (trio's clock)."""
        again = math.inf
        for zygote in self.all():
            if zygote.attempts or not zygote.ready or (self._is_needed(zygote) and not zygote.old):
                continue
            end = zygote.idle_since if zygote.old else zygote.idle_since + IDLE
            if end <= now:
                self._retire(zygote)
            else:
                again = min(again, end)
        return again

    def _is_needed(self, zygote: Zygote) -> bool:
        """Tell whether it stays when it is idle: jobs of warm zygotes go to their cold one at any time."""
        return zygote.key == DEFAULT or any(warm.runtime == zygote.key for warm in self.all_warm())

    def _retire(self, zygote: Zygote) -> None:
        del self._by_generation[zygote.generation]
        self._forget(zygote)
        self._tell_keeper({"want": "retire", "generation": zygote.generation})
        if zygote.module:
            self.idle.set()  # its cold one may go by now
        zygote.scope.cancel()
        zygote.channel.close()

    # -- what a zygote tells --------------------------------------------------------------------------------------

    async def attend(self, zygote: Zygote) -> None:
        """Listen to one zygote until it is dead or retired."""
        with zygote.scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(zygote.push)
                nursery.start_soon(self._end_if_never_ready, zygote)
                while True:
                    await trio.lowlevel.wait_readable(zygote.channel.sock)
                    if zygote.scope.cancel_called:  # its channel was closed while we were about to run
                        return
                    if not self.listen_once(zygote):
                        return nursery.cancel_scope.cancel()

    async def _end_if_never_ready(self, zygote: Zygote) -> None:
        """Have one ended whose interpreter hangs before it says anything; its jobs get a reason to wait."""
        patience = self.warming.patience(zygote.runtime, zygote.module) if zygote.module else START
        await trio.sleep(patience)
        if not zygote.ready:
            what = "its import" if zygote.module else "its interpreter"
            self.refused(zygote.key, f"{what} has not come up within {patience:g} s")
            self._tell_keeper({"want": "kill", "generation": zygote.generation})

    def listen_once(self, zygote: Zygote) -> bool:
        """Take what it said; False when it is gone."""
        messages, open_ = zygote.channel.receive()
        self._hear(zygote, messages)
        return open_ and not zygote.scope.cancel_called

    def _hear(self, zygote: Zygote, messages: list[list[Any]]) -> None:
        for name, *rest in messages:
            if not zygote.strange:
                self._told[name](zygote, *rest)
        if messages:
            self._events.heard()

    def _told_hello(self, zygote: Zygote, nonce: int, about: dict[str, Any]) -> None:
        if nonce != self._nonce:
            return
        if about["protocol"] != PROTOCOL:
            zygote.strange = True
            self._told_unfit(zygote, f"has a sidecar with zygote protocol {about['protocol']}, this one has {PROTOCOL}")
            if not about["attempts"]:  # so that it is tried anew, with growing pauses, until it was mended
                self._retire(zygote)
                self._tell_keeper({"want": "kill", "generation": zygote.generation})
            return
        cold = about.get("cold", _TOO_OLD if zygote.module else None)
        if cold is not None:
            self.refused(zygote.key, cold)
            self._retire(zygote)  # and end it: its import may have left threads that go on, and processes
            return self._tell_keeper({"want": "kill", "generation": zygote.generation})
        zygote.ready = True
        zygote.idle_since = trio.current_time()
        self._wanted.discard(zygote.key)
        self._unfit.mended(zygote.key)
        if zygote.old:
            self.idle.set()
        elif zygote.module:
            self.warming.ready(zygote)
        self._events.present(zygote.generation, {(seq, number) for seq, number in about["attempts"]})
        self._events.changed()

    def _told_unfit(self, zygote: Zygote, reason: str) -> None:
        record = self._record(zygote.key)
        interpreter = record["interpreter"] if record and record.get("kind") != "php" else sys.executable
        self.refused(zygote.key, f"{interpreter} {reason}; to mend it: {interpreter} -m pip install sidecar-jobs")

    def _told_exited(self, zygote: Zygote, *fields: Any) -> None:
        if len(fields) != len(Ending._fields):  # said to the daemon before us, in another protocol
            return None
        ending = Ending(*fields)
        if ending.reason == "unborn":
            if not zygote.ready:  # said to the daemon before us: it is said again after the hello
                return None
            # The same attempt will be told to start again, and the zygote starts none whose ending it holds.
            zygote.send(["recorded", ending.seq, ending.number])
            return self._events.unborn((ending.seq, ending.number), ending.tail.decode())
        self._events.exited(ending, zygote.generation)

    def _told_stale(self, zygote: Zygote, seq: int, number: int) -> None:
        if zygote.ready:  # else said to the daemon before us: its hello will show that it has no such attempt
            if zygote.module:
                self.warming.changed(zygote)
            self.replace(zygote)
            self._events.stale((seq, number))

    def _told_template(self, zygote: Zygote, reason: str | None) -> None:
        if reason is None:
            self._fresh.pop(zygote.key, None)
        elif self._fresh.get(zygote.key) != reason:
            self._fresh[zygote.key] = reason
            whose = self._record(zygote.key).get("bootstrap", "a runtime without bootstrap")
            log.warning("a fresh php for each job of %s: %s", whose, reason)

    def why_fresh(self, key: str) -> str | None:
        """Return why each job of a PHP runtime loads its application anew; None when none does, or it is no PHP."""
        reason = self._fresh.get(key)
        return None if reason is None else f"each job starts a php and loads the application: {reason}"

    def _told_output(self, zygote: Zygote, key: list[int], data: bytes, place: int) -> None:
        self._events.wrote((key[0], key[1]), data, place)

    def _told_tail(self, zygote: Zygote, ticket: int, tail: bytes | None, dropped: int) -> None:
        zygote.answer(ticket, None if tail is None else (tail, dropped))
