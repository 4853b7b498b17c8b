"""Who goes next: fills free slots inside the writer's transaction, and wakes what has come due.

Lanes (user, queue, runtime) are the unit: a lane whose zygote is not there is set aside, and costs nothing until it is.
Among the lanes that can start, higher priority goes first; within a priority they take turns (turns.py), so that a
flood in one lane does not starve another; within a lane, earlier first. A claim looks at the lanes that it serves.

A job that went down with a zygote runs alone in the next one. It is set aside until that one is there, and takes
neither its lane's turn nor a slot meanwhile; then it goes before all others.
"""

from __future__ import annotations

import math
import time
from collections import deque
from typing import Any, NamedTuple

import trio

from .. import wire
from ..config import Config
from ..crashpoints import crash
from ..descriptor import read_body, show_id
from ..job import Claim, State
from ..rows import Lane
from ..store import Store
from .attempts import Attempts, Recorded
from .syncer import Syncer
from .turns import UNKNOWN, Turns
from .warming import Warming
from .watch import Watch
from .writer import Writer
from .zygote import Zygote
from .zygotes import Zygotes

_CLOCK_CHECK = 30.0  # seconds: the longest sleep towards a time of day, since that clock may be set meanwhile


class Start(NamedTuple):
    """A claim and the zygote it goes to."""

    claim: Claim
    lane: Lane
    zygote: Zygote


Heads = deque[tuple[int, int]]  # priority and seq of a lane's first jobs


class Dispatcher:
    """Keeps in memory only which lanes may have queued jobs, and the next instant at which something is due."""

    def __init__(
        self,
        config: Config,
        writer: Writer,
        attempts: Attempts,
        zygotes: Zygotes,
        warming: Warming,
        watch: Watch,
        syncer: Syncer,
    ) -> None:
        self._config = config
        self._writer = writer
        self._syncer = syncer
        self._attempts = attempts
        self._zygotes = zygotes
        self._warming = warming
        self._watch = watch
        self._lanes: dict[int, Lane] = {}
        self._anew = True  # the store knows better than what follows
        self._turns = Turns()
        self._held: dict[str, dict[int, int]] = {}  # lanes and their ranks, by the zygote's key that they wait for
        self._alone: dict[int, int] = {}  # lanes of jobs that wait for a zygote of their own, by seq
        self._instant = math.inf
        self._sooner = trio.Event()
        self.draining = False

    # -- what may be waiting --------------------------------------------------------------------------------------

    def recover(self, store: Store) -> None:
        """Begin from what the store holds."""
        for number in store.lanes():
            self._lane(store, number)
        self._instant = store.next_instant() or math.inf

    def reconsider(self) -> None:
        """Have the next claim ask the store which lanes have queued jobs: a transaction was rolled back.

        What it had brought is forgotten, lanes too: their numbers come again for others.
        """
        self._anew = True
        self._lanes.clear()
        self._turns = Turns()
        self._held.clear()
        self._alone.clear()

    def inserted(self, lanes: dict[int, int], instant: float) -> None:
        """Note what an insert brought: lanes with queued jobs, and the next time of day that matters."""
        self._turns.note_all(lanes.items())
        self.set_alarm(instant)

    def forget_lanes(self, lanes: list[int]) -> None:
        """Forget lanes that are no more; their numbers may come again for others."""
        for number in lanes:
            self._lanes.pop(number, None)
            self._turns.remove(number)
            for held in self._held.values():
                held.pop(number, None)
        self._held = {key: held for key, held in self._held.items() if held}

    def set_alarm(self, instant: float) -> None:
        """Wake at `instant` (Unix seconds) if that is sooner than what is known."""
        if instant < self._instant:
            self._instant = instant
            self._sooner.set()

    def freed(self, recorded: Recorded | None) -> None:
        """A slot or a zygote has come free: look again in the next transaction."""
        if recorded is None:
            self._sooner.set()
        elif recorded.state is State.QUEUED:
            self._turns.note(recorded.lane)
        elif recorded.state is State.SCHEDULED:
            self._instant = -math.inf  # the alarm asks the store when it is
            self._sooner.set()
        if self._waiting:
            self._writer.wake()

    def given_back(self, lane: int | None) -> None:
        """A claim was undone; its lane, when it has a queued job by that."""
        if lane is not None:
            self._turns.note(lane)
            self._instant = -math.inf  # it may have expired while it was claimed
        self.freed(None)

    @property
    def _waiting(self) -> bool:
        return bool(self._anew or self._turns or self._held or self._alone)

    def can_start(self, lane: int) -> bool:
        """Say whether nothing is known to be wrong with the runtime of a lane."""
        known = self._lanes.get(lane)
        return known is None or self._zygotes.waiting(known) is None

    # -- claims ---------------------------------------------------------------------------------------------------

    def has_room(self) -> bool:
        """Say whether a claim could find a slot."""
        return self._attempts.free > 0

    def claim(self, store: Store) -> list[Start]:
        """Fill the free slots; called inside every transaction."""
        free = 0 if self.draining else self._attempts.free
        if free <= 0 or not self._waiting:
            return []
        if self._anew:
            self._anew = False
            self._turns.note_all((number, UNKNOWN) for number in store.waiting_lanes())
        now = time.time()
        self._release()
        starts = self._claim_alone(store, free, now)
        seen: dict[int, Heads] = {}
        while self._turns and len(starts) < free:
            number, rank = self._turns.pop()
            lane = self._lane(store, number)
            zygote = self._zygotes.pick(lane)
            if zygote is None:
                held = self._held.setdefault(self._zygotes.key_of(lane), {})
                held[number] = max(rank, held.get(number, rank))
                continue
            if number not in seen:
                seen[number] = self._look(store, lane, free, now)
            heads = seen[number]
            if heads and heads[0][0] == rank:
                starts.append(self._claim(store, lane, zygote, heads.popleft()[1], now))
            if heads or len(starts) == free:
                self._turns.put(number, heads[0][0] if heads else rank)
        return starts + self._claim_alone(store, free - len(starts), now)

    def _look(self, store: Store, lane: Lane, most: int, now: float) -> Heads:
        """Return a lane's first jobs, `most` if there are as many; those that must run alone are set aside."""
        aside = sum(number == lane.id for number in self._alone.values())
        while True:
            rows = store.peek_lane(lane.id, most + aside, now)
            heads = deque((priority, seq) for priority, seq, crashes in rows if not crashes)
            for _, seq, crashes in rows:
                if crashes and seq not in self._alone:
                    self._alone[seq] = lane.id
                    self._zygotes.pick_alone(lane, seq)  # asks for it
            if len(heads) >= most or len(rows) < most + aside:
                return heads
            aside = len(rows) - len(heads)

    def _claim_alone(self, store: Store, free: int, now: float) -> list[Start]:
        """Claim those that were set aside and have their zygote now."""
        starts: list[Start] = []
        for seq, number in list(self._alone.items()):
            if len(starts) == free:
                break
            if not store.is_queued(seq):  # cancelled
                del self._alone[seq]
                continue
            lane = self._lane(store, number)
            zygote = self._zygotes.pick_alone(lane, seq)
            if zygote is not None:
                del self._alone[seq]
                starts.append(self._claim(store, lane, zygote, seq, now))
        return starts

    def _release(self) -> None:
        """Let those lanes take their turns again whose zygote has come; asks for the others' again."""
        for key, lanes in list(self._held.items()):
            if self._zygotes.pick(self._lanes[next(iter(lanes))]) is not None:
                del self._held[key]
                self._turns.note_all(lanes.items())

    def _claim(self, store: Store, lane: Lane, zygote: Zygote, seq: int, now: float) -> Start:
        if self._warming.concerns(zygote.key):
            zygote = self._warming.pick(zygote, read_body(store.body(seq)))
        return Start(store.claim(seq, zygote.generation, now), lane, zygote)

    def imported(self, lane: int, call: str, seconds: float) -> None:
        """Note that a job of this lane had to import its module, and how long that took."""
        known = self._lanes.get(lane)
        if known is not None and known.runtime:
            self._warming.learn(self._zygotes.key_of(known), call, seconds)

    def _lane(self, store: Store, number: int) -> Lane:
        lane = self._lanes.get(number)
        if lane is None:
            lane = self._lanes[number] = store.get_lane(number)
            self._zygotes.key_of(lane)  # so that a zygote of an earlier daemon's is known by its runtime
        return lane

    def start(self, starts: list[Start]) -> None:
        """Hand committed claims to their zygotes; those that must not begin twice when that is on the disk."""
        starts and crash and crash("claim.committed")
        careful: list[tuple[Start, list[Any]]] = []
        for start in starts:
            claim, lane, zygote = start
            key = (claim.seq, claim.number)
            options = read_body(claim.body)
            order = self._order(claim, lane, options)
            self._attempts.enter(key, claim.id, zygote.generation, order[0], order[1])
            zygote.old = zygote.old or zygote.alone  # it was started for this attempt
            if options.get("at_most_once"):
                self._attempts.untold[key] = start
                careful.append((start, ["start", *key, *order]))
            else:
                self._tell(start, ["start", *key, *order])
        self._zygotes.flush()
        starts and crash and crash("claim.told")
        if careful:
            self._syncer.put(lambda: self._start_synced(careful), lambda error: None)

    def _start_synced(self, careful: list[tuple[Start, list[Any]]]) -> None:
        """Start what no power cut can make us start again; what was given back meanwhile is passed over."""
        crash and crash("claim.synced")
        for start, order in careful:
            key = (start.claim.seq, start.claim.number)
            if self._attempts.untold.get(key) is start:  # it may be a later claim's, which is not synced yet
                del self._attempts.untold[key]
                self._tell(start, order)
        self._zygotes.flush()

    def _tell(self, start: Start, order: list[Any]) -> None:
        self._attempts.counters["started"] += 1
        start.zygote.post(order)
        if self._watch.followed(start.claim.id):
            start.zygote.post(["follow", [start.claim.seq, start.claim.number]])

    def _order(self, claim: Claim, lane: Lane, options: dict[str, Any]) -> tuple[float, float, bytes, str, str, str]:
        """Return what the zygote needs to know (timeout, grace) and what it hands on unopened."""
        timeout, grace = options.get("timeout", self._config.timeout), options.get("grace", self._config.grace)
        body = claim.body
        if claim.failures and options:  # so that the attempt may know whether it is the last: attempts are more
            body = wire.pack({**options, "failures": claim.failures})
        return timeout, grace, body, show_id(claim.id), lane.queue, f"{time.time() + timeout:.3f}"

    # -- time -----------------------------------------------------------------------------------------------------

    async def watch_the_clock(self) -> None:
        """Queue what has come due, end what has not started in time, retry runtimes that could not start."""
        while True:
            with trio.move_on_after(self._until_alarm()):
                await self._sooner.wait()
            self._sooner = trio.Event()
            if self._instant <= time.time():
                await self._ring()
            if self._waiting:  # for a zygote that could not start, or the end of a pause
                self._writer.wake()

    def _until_alarm(self) -> float:
        due = max(0.0, self._instant - time.time())
        if due != math.inf:
            due = min(due, _CLOCK_CHECK)
        return min(due, self._until_retry()) if self._waiting else due

    def _until_retry(self) -> float:
        now = trio.current_time()
        later = [instant - now for instant in (self._zygotes.next_try(), self._attempts.pause_until) if instant > now]
        return min(later, default=math.inf)

    async def _ring(self) -> None:
        now = time.time()
        forget = now + self._config.retention.others
        self._instant = math.inf

        def ring(store: Store) -> tuple[list[bytes], float | None]:
            self._turns.note_all(store.wake(now).items())  # before this transaction's claims
            return store.expire(now, forget), store.next_instant()

        expired, instant = await self._writer.commit(ring, patient=True)
        for id in expired:
            self._watch.ended(id)
        if instant is not None:
            self.set_alarm(instant)
