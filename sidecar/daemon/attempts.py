"""The book of attempts under way, and what happens when one ends: decide, record, tell.

An attempt needs no task of its own: its zygote owns process, deadline and output, so all that is left here is an entry
in a book between the claim's commit and the commit of its ending. The entry is the slot.
"""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Callable
from typing import NamedTuple

import trio

from .. import wire
from ..config import Config
from ..crashpoints import crash
from ..descriptor import read_body
from ..job import Ending, Event, Outcome, State
from ..policy import conclude, why_lost
from ..protocol import parse_report
from ..rows import Conclusion, Running
from ..store import Store
from .watch import Watch
from .writer import Writer
from .zygote import Events, Key, Zygote
from .zygotes import Zygotes

log = logging.getLogger("sidecar")

_UNBORN_PAUSE = 0.1  # seconds without claims after the kernel refused a fork
_LOG_PAUSE = 10.0  # seconds between two lines about that
MARGIN = 30.0  # seconds beyond deadline and grace until a zygote that has not told an ending is looked at


class Entry(NamedTuple):
    """One attempt under way."""

    key: Key
    id: bytes
    generation: int
    grace: float  # seconds between the two signals
    overdue: float  # trio's clock: when its ending should long have been told


class Recorded(NamedTuple):
    """What the store says of an ending that was recorded."""

    id: bytes
    lane: int
    state: State
    outcome: Outcome | None


class Attempts(Events):
    """The book. `free` says how many slots are free; `changed` is called when one comes free."""

    def __init__(self, config: Config, writer: Writer, watch: Watch) -> None:
        self.config = config
        self.zygotes: Zygotes  # set by the daemon: the two know each other
        self.freed: Callable[[Recorded | None], None]  # the dispatcher's
        self.given_back: Callable[[int | None], None]  # the dispatcher's: of which lane
        self.imported: Callable[[int, str, float], None]  # the dispatcher's: in which lane, what, seconds
        self.entries: dict[Key, Entry] = {}
        self.counters = {"started": 0, "ended": 0, "retried": 0, "interrupted": 0}
        self._writer = writer
        self._watch = watch
        self._recording: set[Key] = set()
        self.untold: dict[Key, object] = {}  # claims whose zygote is not told yet: they are not on the disk
        self.pause_until = 0.0
        self._quiet_until = 0.0
        self.look_at = math.inf  # trio's clock: no attempt is overdue before
        self.look_sooner = trio.Event()
        self._empty = trio.Event()

    @property
    def free(self) -> int:
        """Return how many attempts may begin now."""
        if trio.current_time() < self.pause_until:
            return 0
        ending = self.entries.keys() & self._recording  # in this very transaction: their slots are free after it
        return self.config.slots - len(self.entries) + len(ending)

    def enter(self, key: Key, id: bytes, generation: int, timeout: float, grace: float) -> None:
        """Note an attempt that a zygote was, or is now, told to start."""
        self.expect(Entry(key, id, generation, grace, math.inf), timeout + grace)
        zygote = self.zygotes.get(generation)
        if zygote is not None:
            self.zygotes.began(zygote)

    def expect(self, entry: Entry, seconds: float) -> None:
        """Note within how many seconds its zygote should tell its ending, lest it is asked whether it lives."""
        overdue = trio.current_time() + seconds + MARGIN
        self.entries[entry.key] = entry._replace(overdue=overdue)
        if overdue < self.look_at:
            self.look_at = overdue
            self.look_sooner.set()

    def find(self, id: bytes) -> Entry | None:
        """Return the entry of a job that runs."""
        return next((entry for entry in self.entries.values() if entry.id == id), None)

    def zygote_of(self, entry: Entry) -> Zygote | None:
        """Return the zygote that runs an attempt, None when it is dead."""
        return self.zygotes.get(entry.generation)

    async def wait_until_empty(self) -> None:
        """Return when no attempt is under way and every ending is recorded."""
        while self.entries:
            self._empty = trio.Event()
            await self._empty.wait()

    def stop(self, entry: Entry, reason: str) -> None:
        """Have an attempt ended: SIGTERM, after the grace SIGKILL, by its zygote."""
        if entry.key in self.untold:
            return self._give_back(entry.key)
        zygote = self.zygote_of(entry)
        if zygote is not None:
            zygote.send(["stop", list(entry.key), reason])
            if entry.overdue > trio.current_time() + entry.grace + MARGIN:
                self.expect(entry, entry.grace)

    def kill(self, entry: Entry) -> None:
        """Have an attempt that was told to stop ended now."""
        zygote = self.zygote_of(entry)
        if zygote is not None:
            zygote.send(["kill", list(entry.key)])

    # -- what zygotes tell ----------------------------------------------------------------------------------------

    def exited(self, ending: Ending, generation: int | None) -> None:
        """Record an ending; the zygote that told it holds it until it hears that we have, over every daemon's death.

        `generation` None: nobody told it, its zygote is dead.
        """
        key = (ending.seq, ending.number)
        if key in self._recording:
            return
        crash and crash("record.heard")
        self._recording.add(key)
        self._writer.queue(
            lambda store: self._record(store, ending), lambda recorded: self._over(key, generation, recorded)
        )

    def heard(self) -> None:
        """Commit what a zygote has told, all of it together."""
        self._writer.flush()

    def unborn(self, key: Key, why: str) -> None:
        """Give back a claim whose process could not be made: the machine is out of something."""
        self.pause_until = trio.current_time() + _UNBORN_PAUSE
        if self.pause_until > self._quiet_until:
            self._quiet_until = self.pause_until + _LOG_PAUSE
            log.warning("cannot fork an attempt: %s; trying again each %g s", why, _UNBORN_PAUSE)
        self._give_back(key)

    def stale(self, key: Key) -> None:
        """Give back a claim that its zygote refused, since the code on disk is newer than its own."""
        self._give_back(key)

    def wrote(self, key: Key, data: bytes, place: int) -> None:
        """Pass output on to whoever follows."""
        entry = self.entries.get(key)
        if entry is not None:
            self._watch.wrote(entry.id, key[1], data, place)

    def present(self, generation: int, keys: set[Key]) -> None:
        """A zygote said what it has: what we believed it had, and it does not, was never started."""
        for entry in list(self.entries.values()):
            if entry.generation == generation and entry.key not in keys and entry.key not in self._recording:
                self._give_back(entry.key)

    def died(self, generation: int) -> None:
        """A zygote is dead: its attempts are interrupted, but for those it had not even heard of."""
        for entry in list(self.entries.values()):
            if entry.generation == generation:
                self._give_back(entry.key) if entry.key in self.untold else self.crashed(entry.key)

    def crashed(self, key: Key) -> None:
        """Record that an attempt went down with its zygote."""
        self.exited(Ending(*key, "crash", None, None, None, time.time(), 0.0, 0.0, 0, b"", b"", 0, 0), None)
        self._writer.flush()

    def changed(self) -> None:
        """A zygote can take attempts, or it is known when the next try to start one is due."""
        self.freed(None)

    # -- recording ------------------------------------------------------------------------------------------------

    def _record(self, store: Store, ending: Ending) -> Recorded | None:
        running = store.get_running(ending.seq, ending.number)
        if running is None:
            return None
        conclusion = self._conclude(running, ending)
        state, outcome = store.record(running, ending, conclusion)
        return Recorded(running.id, running.lane, state, outcome)

    def _conclude(self, running: Running, ending: Ending) -> Conclusion:
        report = parse_report(ending.report)
        options = read_body(running.body)
        before = (running.failures, running.interruptions, running.crashes)
        event, due, counts, error = conclude(
            ending, report, options, before, bool(running.cancel_wanted), random.random()
        )
        if "import" in report and "call" in options and not ("env" in options or "cwd" in options):
            self.imported(running.lane, options["call"], report["import"])
        retention = self.config.retention
        kept = retention.succeeded if event == "succeed" else retention.others
        return Conclusion(
            event=event,
            due=due,
            forget=ending.ended + kept,
            failures=counts[0],
            interruptions=counts[1],
            crashes=counts[2],
            reason=why_lost(ending, options, counts[2]) if event is Event.LOSE else None,
            result=None if error else report.get("result"),
            result_error=None if error else report.get("result_error"),
            error=wire.pack(error) if error else None,
        )

    def _over(self, key: Key, generation: int | None, recorded: Recorded | None) -> None:
        crash and crash("record.committed")
        self._recording.discard(key)
        self._leave(key)
        zygote = None if generation is None else self.zygotes.get(generation)
        if zygote is not None:
            zygote.post(["recorded", *key])
        if recorded is not None:
            self.counters["ended"] += 1
            if recorded.state is State.DONE:
                self._watch.ended(recorded.id)
            else:
                self.counters["retried" if recorded.state is State.SCHEDULED else "interrupted"] += 1
        self.freed(recorded)

    def _give_back(self, key: Key) -> None:
        entry = self._leave(key)
        if entry is None:
            return

        def give_back(store: Store) -> int | None:
            lane, cancel_wanted = store.give_back(*key) or (None, False)
            if cancel_wanted:
                now = time.time()
                store.cancel(key[0], now, now + self.config.retention.others)
                self._watch.ended(entry.id)
            return lane

        self._writer.put(give_back, self.given_back)

    def _leave(self, key: Key) -> Entry | None:
        self.untold.pop(key, None)
        entry = self.entries.pop(key, None)
        zygote = entry and self.zygotes.get(entry.generation)
        if zygote:
            self.zygotes.ended(zygote)
        if not self.entries:
            self._empty.set()
        return entry
