"""Until the store is open. A full disk may keep it closed: then we wait for room, as a daemon that lives and says so.

Who asks is told why and goes; hand-offs wait in the kernel and in the spool, which are safe there. Dying of it instead
would leave clients in the backlog until their patience ends, and bring what waits under suspicion (quarantine.py).
"""

from __future__ import annotations

import logging
import os
import socket
from contextlib import suppress
from typing import Any

import trio

from .. import wire
from ..errors import NoSpace
from ..protocol import refused
from ..store import Store
from .keeper import Keeper
from .space import Space

log = logging.getLogger("sidecar")

_TRY = 0.5  # seconds between two tries: nobody tells when room comes back
_PAUSE = 0.1  # seconds before accepting again when the system is out of descriptors


class Opening:
    """One store's opening, and the keeper's orders meanwhile."""

    def __init__(self, folder: str, space: Space, keeper: Keeper, control: socket.socket) -> None:
        self._folder = folder
        self._space = space
        self._keeper = keeper
        self._control = control
        self._store: Store | None = None
        self._zygotes: dict[int, dict[str, Any]] = {}
        self._told_to_end = False

    async def open(self, inherited: list[dict[str, Any]]) -> Store | None:
        """Open the store, however long there is no room; None when we are told to end before.

        `inherited` are the keeper's words on its zygotes; what it says of them meanwhile is added.
        """
        try:
            return self._open()
        except NoSpace as error:
            log.error("%s; refusing whoever asks until then", error)
            self._zygotes = {order["generation"]: order for order in inherited}
            await self._wait(error)
            inherited[:] = self._zygotes.values()
        if self._store is not None and self._told_to_end:  # both in one turn of trio's loop
            self._store.close()
            return None
        if self._store is not None:
            log.info("there is room for the store again")
        return self._store

    def _open(self) -> Store:
        """Open it. A full disk costs the ballast, for what is in the log has to go into the file first."""
        try:
            return Store(self._folder)
        except NoSpace:
            if not self._space.give_up():
                raise
            return Store(self._folder)

    async def _wait(self, error: NoSpace) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._listen, nursery.cancel_scope)
            nursery.start_soon(self._keeper.beat)
            nursery.start_soon(self._refuse, error)
            while self._store is None:
                await trio.sleep(_TRY)
                with suppress(NoSpace):
                    self._store = Store(self._folder)
            nursery.cancel_scope.cancel()

    async def _listen(self, scope: trio.CancelScope) -> None:
        """Note what becomes of zygotes; anything about our end ends us, there is nothing to finish."""

        def end() -> None:
            self._told_to_end = True
            scope.cancel()

        await self._keeper.listen(
            {
                "zygote": self._note,
                "dead": self._forget,
                "refused": lambda key, reason: None,
                "reload_failed": lambda reason: None,
                "leave": end,
                "drain": end,
                "now": end,
            }
        )
        end()  # the keeper is gone

    def _note(self, **order: Any) -> None:
        self._zygotes[order["generation"]] = order

    def _forget(self, generation: int) -> None:
        order = self._zygotes.pop(generation, None)
        if order is not None:
            os.close(order["fd"])

    async def _refuse(self, error: NoSpace) -> None:
        answer = wire.frame(refused(None, error))
        self._control.setblocking(False)
        while True:
            await trio.lowlevel.wait_readable(self._control)
            try:
                client, _ = self._control.accept()
            except BlockingIOError:
                continue
            except OSError:
                await trio.sleep(_PAUSE)
                continue
            with client, suppress(OSError):
                client.setblocking(False)
                client.send(answer)
