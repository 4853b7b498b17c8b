"""Puts commits on the disk for those who asked for that: one sync at a time, shared by all who wait.

    put ──► waiting ──the sync begins──► in it ──it has ended──► told
               ▲ who comes while one runs waits for the next: the one that runs may have begun before his commit

A sync is one fdatasync of the log, in a thread; commits and intake go on meanwhile. Whoever is put here was committed
before, so the log holds him or, after a checkpoint, the database does, which SQLite synced before it reused the log.
When a sync fails nobody who waits is told anything but that, and the daemon ends: what the kernel could not write
it may call clean from then on, so that a second sync would succeed and prove nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from typing import NamedTuple

import trio

from ..errors import Internal, SidecarError


class Waiter(NamedTuple):
    """Who waits for a sync, and how he is told."""

    done: Callable[[], None]
    failed: Callable[[SidecarError], None]


class Syncer:
    """Runs `sync` (blocking; raises a SidecarError when the disk did not take it) whenever somebody waits for it.

    One thread for as long as we run, told by a queue and answering through trio's: a `to_thread` for each sync took as
    long again as the sync itself (158 µs beside 160).
    """

    def __init__(self, sync: Callable[[], None]) -> None:
        self._sync = sync
        self._waiting: list[Waiter] = []
        self._served: list[Waiter] = []  # by the sync that runs
        self._orders: SimpleQueue[bool] = SimpleQueue()  # True: sync once; False: end
        self._closing = False
        self.syncs = 0

    def put(self, done: Callable[[], None], failed: Callable[[SidecarError], None]) -> None:
        """Have `done` called when everything that is committed by now is on the disk, or `failed` with the error."""
        self._waiting.append(Waiter(done, failed))
        if not self._served:
            self._begin()

    def close(self) -> None:
        """Sync for those who wait, then let `run` return."""
        self._closing = True
        if not self._served:
            self._orders.put(False)

    async def run(self) -> None:
        """Sync until closed. Raises what a sync raised: the daemon ends, the next one recovers."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._end_the_thread)
                await trio.to_thread.run_sync(self._obey, trio.lowlevel.current_trio_token())
                nursery.cancel_scope.cancel()
        except BaseException:
            for waiter in self._served + self._waiting:
                waiter.failed(Internal("cannot say that it is on the disk: the sync failed, or the daemon ends"))
            raise

    async def _end_the_thread(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            self._orders.put(False)

    def _obey(self, token: trio.lowlevel.TrioToken) -> None:
        while self._orders.get():
            self._sync()
            token.run_sync_soon(self._synced)

    def _begin(self) -> None:
        self._served, self._waiting = self._waiting, []
        self._orders.put(True)

    def _synced(self) -> None:
        self.syncs += 1
        served, self._served = self._served, []
        for waiter in served:
            waiter.done()
        if self._waiting:
            self._begin()
        elif self._closing:
            self._orders.put(False)
