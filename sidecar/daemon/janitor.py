"""What is done now and then: finished jobs are forgotten, idle zygotes retired. Sleeps end at a computed instant."""

from __future__ import annotations

import math
import time

import trio

from ..config import Config
from ..errors import NoSpace
from ..store import Store
from .writer import Writer
from .zygotes import Zygotes

_CHUNK_PAUSE = 0.05  # seconds between two chunks, so that intake goes on
_LOOK = 60.0  # seconds: the least between two looks, so that a stream of endings is purged in chunks


class Janitor:
    """Keeps the store and the machine small."""

    def __init__(self, config: Config, writer: Writer, zygotes: Zygotes) -> None:
        self._config = config
        self._writer = writer
        self._zygotes = zygotes

    async def purge(self) -> None:
        """Delete finished jobs by age, and the oldest when the store is over its size."""
        while True:
            try:
                while await self._writer.commit(self._purge_chunk):
                    await trio.sleep(_CHUNK_PAUSE)
            except NoSpace:  # deleting takes room as well; it is not worth the ballast
                await trio.sleep(_LOOK)
                continue
            await trio.sleep(await self._until_next())

    def _purge_chunk(self, store: Store) -> int:
        aged = store.purge(time.time())
        if aged:
            return aged
        return store.purge(None) if store.bytes() > self._config.retention.bytes else 0

    async def _until_next(self) -> float:
        forget = await self._writer.read(lambda store: store.next_forget())
        due = math.inf if forget is None else forget - time.time()
        return min(max(due, _LOOK), 3600.0)

    async def retire(self) -> None:
        """End zygotes that have nothing to do any more."""
        while True:
            self._zygotes.idle = trio.Event()
            again = self._zygotes.retire_idle(trio.current_time())
            with trio.move_on_after(max(0.0, again - trio.current_time())):
                await self._zygotes.idle.wait()
