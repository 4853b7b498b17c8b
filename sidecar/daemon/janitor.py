"""What is done now and then: finished jobs and empty lanes are forgotten, idle zygotes retired."""

from __future__ import annotations

import time
from contextlib import suppress

import trio

from ..config import Config
from ..errors import NoSpace
from ..store import Store
from .dispatcher import Dispatcher
from .writer import Writer
from .zygotes import Zygotes

_STORE = 5.0  # seconds between two looks whether the store's files are in place
_CHUNK = 1000  # lanes
_CHUNK_PAUSE = 0.05  # seconds between two chunks, so that intake goes on
_LANES = 1000  # below that they cost nothing
_LANES_PAUSE = 3600.0  # seconds between two looks for empty lanes
_LOOK = 60.0  # seconds between two looks, which cost 0.1 ms: what is over age or size is so for no longer


class Janitor:
    """Keeps the store and the machine small."""

    def __init__(self, config: Config, writer: Writer, dispatcher: Dispatcher, zygotes: Zygotes) -> None:
        self._config = config
        self._writer = writer
        self._dispatcher = dispatcher
        self._zygotes = zygotes

    async def look_after_the_store(self) -> None:
        """Raise Unusable when somebody has taken the store's files away."""
        while True:
            await trio.sleep(_STORE)
            await self._writer.read(lambda store: store.check_in_place())

    async def purge(self) -> None:
        """Delete finished jobs by age, and the oldest when the store is over its size."""
        while True:
            try:
                while await self._writer.commit(self._purge_chunk):
                    await trio.sleep(_CHUNK_PAUSE)
            except NoSpace:  # deleting takes room as well; it is not worth the ballast
                await trio.sleep(_LOOK)
                continue
            await trio.sleep(_LOOK)

    def _purge_chunk(self, store: Store) -> int:
        aged = store.purge(time.time())
        if aged:
            return aged
        return store.purge(None) if store.bytes() > self._config.retention.bytes else 0

    async def forget_lanes(self) -> None:
        """Delete lanes that have no jobs any more: a queue for each customer, a runtime for each release."""
        pause = _LOOK
        while True:
            await trio.sleep(pause)
            pause = _LANES_PAUSE
            if len(lanes := await self._writer.read(lambda store: store.lanes())) > _LANES:
                with suppress(NoSpace):
                    await self._forget_all_but_used(lanes)

    async def _forget_all_but_used(self, lanes: list[int]) -> None:
        used: set[int] = set()
        beyond: int | None = 0
        while beyond is not None:
            found, beyond = await self._writer.read(lambda store, after=beyond: store.used_lanes(after))  # type: ignore[misc]
            used |= found
            await trio.sleep(_CHUNK_PAUSE)
        unused = [number for number in lanes if number not in used]
        for at in range(0, len(unused), _CHUNK):

            def forget(store: Store, some: list[int] = unused[at : at + _CHUNK]) -> None:
                """In the transaction, before its claims: a number may come again at once."""
                self._dispatcher.forget_lanes(store.drop_lanes(some))

            await self._writer.commit(forget)
            await trio.sleep(_CHUNK_PAUSE)

    async def retire(self) -> None:
        """End zygotes that have nothing to do any more."""
        while True:
            self._zygotes.idle = trio.Event()
            again = self._zygotes.retire_idle(trio.current_time())
            with trio.move_on_after(max(0.0, again - trio.current_time())):
                await self._zygotes.idle.wait()
