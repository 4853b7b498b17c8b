"""The daemon's line to its keeper: JSON objects in SOCK_SEQPACKET packets, zygotes' sockets by SCM_RIGHTS.

The keeper is the trusted side. What it can say stands in `listen`; what we say is `tell`, which never waits: the keeper
reads always, and what it cannot take now is sent with the next beat.
"""

from __future__ import annotations

import json
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

import trio

_BEATS = 6  # in the time after which the keeper takes a silent daemon for one that hangs, and kills it
_PACKET = 64 * 1024


class Keeper:
    """The daemon's end."""

    def __init__(self, sock: socket.socket, heartbeat: float) -> None:
        sock.setblocking(False)
        self._pause = heartbeat / _BEATS
        self._sock = sock
        self._unsent: deque[bytes] = deque()

    def tell(self, message: dict[str, Any]) -> None:
        """Say something; never waits."""
        self._unsent.append(json.dumps(message).encode())
        try:
            while self._unsent:
                self._sock.send(self._unsent[0])
                self._unsent.popleft()
        except BlockingIOError:
            pass
        except OSError:
            self._unsent.clear()  # it is gone; the lifeline says so

    async def beat(self) -> None:
        """Say every few seconds that the loop turns."""
        while True:
            self.tell({"did": "beat"})
            await trio.sleep(self._pause)

    async def hear(self) -> tuple[dict[str, Any], int | None] | None:
        """Wait for the next message and the descriptor that came with it; None when the keeper is gone."""
        while True:
            await trio.lowlevel.wait_readable(self._sock)
            try:
                data, fds, _, _ = socket.recv_fds(self._sock, _PACKET, 1)
            except BlockingIOError:
                continue
            except ConnectionResetError:
                return None
            return (json.loads(data), fds[0] if fds else None) if data else None

    async def listen(self, orders: dict[str, Callable[..., None]]) -> None:
        """Carry out what it says until it is gone; `orders` maps what to do to who does it."""
        while (heard := await self.hear()) is not None:
            message, fd = heard
            order = orders[message.pop("do")]
            order(**message) if fd is None else order(**message, fd=fd)
