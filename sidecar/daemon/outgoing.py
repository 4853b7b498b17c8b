"""What is said to one client: replies and notices on their way out, as fast as it reads them.

Most often the socket takes a message at once; what it does not take waits here and goes when the client reads on. A
client that reads nothing of it for `patience` seconds is let go.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable

import trio

from .. import wire

UNREAD = 1024 * 1024  # bytes that may wait for a client before it is no longer read from
SMALL = 64 * 1024  # bytes of unread replies that nobody looks at
_pack = wire.packer()  # keeps the room that it once needed, so for short messages alone
_LOOK = 10.0  # seconds between two looks whether a client that is not read from is still there


class Outgoing:
    """The bytes that wait for one client."""

    def __init__(self, sock: socket.socket, patience: float, owes: Callable[[], None]) -> None:
        """`owes` is called when much is unread."""
        self._sock = sock
        self._patience = patience
        self._owes = owes
        self._out = bytearray()
        self._unsent = trio.Event()
        self._sent = trio.Event()

    def __len__(self) -> int:
        """Return the bytes that the client has not read."""
        return len(self._out)

    def send(self, message: object) -> None:
        """Send a message, or have it wait."""
        self._out += wire.frame(message)
        self.flush()
        if len(self._out) > SMALL:
            self._owes()

    def add(self, message: object) -> None:
        """Have a short message wait until `flush`."""
        self._out += wire.frame(message, _pack)

    def flush(self) -> None:
        """Send what the socket takes."""
        try:
            while self._out:
                del self._out[: self._sock.send(self._out)]
        except BlockingIOError:
            self._unsent.set()
            return
        except OSError:
            self._out.clear()  # gone; the reader sees it too
        self._sent.set()

    def clear(self) -> None:
        """Forget what waits: nobody will read it."""
        self._out.clear()

    async def push(self) -> None:
        """Send what waits as the client reads, until cancelled. Raises BrokenPipeError when it does not."""
        while True:
            await self._unsent.wait()
            self._unsent = trio.Event()
            while self._out:
                with trio.move_on_after(self._patience) as patience:
                    await trio.lowlevel.wait_writable(self._sock)
                if patience.cancelled_caught:
                    raise BrokenPipeError
                self.flush()

    async def below(self, most: int) -> None:
        """Return when less than `most` bytes wait. Raises BrokenPipeError when the client is gone."""
        while len(self._out) >= most:
            if self._sent.is_set():
                self._sent = trio.Event()
            await self.unless_gone(self._sent)

    async def unless_gone(self, event: trio.Event) -> None:
        """Wait, while the socket is not read from; so that its end is seen all the same, look now and then."""
        while not event.is_set():
            with trio.move_on_after(_LOOK):
                await event.wait()
            if self.gone():
                raise BrokenPipeError

    def gone(self) -> bool:
        """Say whether the client has closed, rather than only ended its sending: then nobody reads replies."""
        poll = select.poll()
        poll.register(self._sock, 0)
        return bool(poll.poll(0))
