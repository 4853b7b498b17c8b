"""The control socket: accepts clients and gives each a task."""

from __future__ import annotations

import errno
import logging
import socket

import trio

from ..errors import Unavailable
from ..protocol import refused
from .connection import Connection
from .handlers import Handlers

log = logging.getLogger("sidecar")

_OUT_OF = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_PAUSE = 0.1  # seconds before accepting again when the system is out of something: a tight loop would eat a CPU


class Listener:
    """Accepts up to `most` clients at once; who comes then is told so."""

    def __init__(self, sock: socket.socket, handlers: Handlers, most: int, limit: int) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._handlers = handlers
        self._most = most
        self._limit = limit
        self.connections = 0

    async def run(self) -> None:
        """Accept until cancelled."""
        async with trio.open_nursery() as clients:
            while True:
                await trio.lowlevel.wait_readable(self._sock)
                try:
                    for _ in range(64):
                        self._welcome(self._sock.accept()[0], clients)
                except BlockingIOError:
                    continue
                except OSError as error:
                    if error.errno not in _OUT_OF:
                        raise
                    log.error("cannot accept a client: %s", error.strerror)
                    await trio.sleep(_PAUSE)

    def _welcome(self, sock: socket.socket, clients: trio.Nursery) -> None:
        connection = Connection(sock, self._handlers, self._limit)
        if self.connections >= self._most:
            connection.send(refused(None, Unavailable(f"cannot serve: {self._most} clients are connected already")))
            sock.close()
            return
        self.connections += 1
        clients.start_soon(self._serve, connection)

    async def _serve(self, connection: Connection) -> None:
        try:
            await connection.run()
        except Exception:  # one of the daemon's two: what one client brings about must not end the others
            log.exception("a connection of user %d ended by a bug", connection.uid)
        finally:
            self.connections -= 1
