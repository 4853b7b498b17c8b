"""A tick's end: tells the keeper when nothing is left to do now, and in the end what was done.

Nothing is left when no attempt is under way, the spool and the socket are empty, and the store has no job that is
queued and can start, or comes due before the time is over. The store is asked, not the rooms that know parts of it: an
answer from between two of their steps would end a tick too early. It is asked again only after a commit, since nothing
else changes the answer, and none of this costs a `serve` anything: the tick stands between the writer and the
dispatcher.

What is handed off after the question is taken in by the drain that follows, and runs in the next tick.
"""

from __future__ import annotations

from typing import Any

import trio

from ..config import Config
from ..store import Store
from .attempts import Attempts
from .datagrams import Datagrams
from .dispatcher import Dispatcher
from .intake import Intake
from .keeper import Keeper
from .spool import Spool
from .writer import Writer


class Tick:
    """Watches the commits. `term` is from when to when, two instants as the keeper said them."""

    def __init__(self, term: str, config: Config, writer: Writer, dispatcher: Dispatcher, keeper: Keeper) -> None:
        self._since, self._ends = map(float, term.split())
        self._kept = min(config.retention.succeeded, config.retention.others)
        self._writer = writer
        self._dispatcher = dispatcher
        self._keeper = keeper
        self.attempts: Attempts
        self.intake: Intake
        self.spool: Spool
        self.datagrams: Datagrams
        self._told = 0
        self._moved = trio.Event()
        self.claim, self.has_room, self.reconsider = dispatcher.claim, dispatcher.has_room, dispatcher.reconsider

    def start(self, claims: list[Any]) -> None:
        """Pass on what was claimed; called after every commit."""
        self._dispatcher.start(claims)
        self._moved.set()
        if self.intake.counters["spool"] > self._told:
            self._keeper.tell({"did": "ticked", **self._taken()})

    def _taken(self) -> dict[str, int]:
        taken = self.intake.counters["spool"] - self._told
        self._told += taken
        return {"taken": taken}

    async def run(self) -> None:
        """Return when nothing is left to do now, and have the keeper know. To be cancelled before attempts drain."""
        while True:
            self._moved = trio.Event()
            await self.attempts.wait_until_empty()
            await self.spool.take_all()
            await self.datagrams.caught_up()
            if not await self._writer.read(self._has_work):
                return self._keeper.tell({"did": "idle"})
            await self._moved.wait()

    def _has_work(self, store: Store) -> bool:
        """Say whether something runs, comes due, or is queued and can start: what cannot would keep us for nothing."""
        return store.has_work(self._ends) or any(map(self._dispatcher.can_start, store.waiting_lanes()))

    def report(self, store: Store) -> None:
        """Tell what the store says of this tick, now that nothing changes it any more."""
        ended, left = store.ended(self._since, self._kept), store.left()
        self._keeper.tell({"did": "ticked", **self._taken(), "ended": ended, "left": left})
