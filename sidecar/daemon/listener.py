"""The control socket: accepts clients and gives each a task, within bounds that all clients share.

There are at most `limits.connections` of them, and never more than there are descriptors, for where those end accepting
ends too. When all places are taken, the client that has been idle for longest makes room: it loses nothing, it opens a
new connection when it has something to say. So a thousand silent ones keep nobody out. And when the answers that nobody
reads are over `limits.memory`, whoever owes most goes.
"""

from __future__ import annotations

import errno
import logging
import resource
import socket

import trio

from ..config import Limits
from ..errors import Unavailable
from ..protocol import refused
from .budget import Budget
from .connection import Connection
from .handlers import Handlers

log = logging.getLogger("sidecar")

_OUT_OF = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_PAUSE = 0.1  # seconds before accepting again when the system is out of something: a tight loop would eat a CPU
_LOG_PAUSE = 10.0  # seconds between two lines about that
_OTHERS = 64  # descriptors for whatever is no client


class Listener:
    """Accepts clients; who comes when there is no room is told so."""

    def __init__(self, sock: socket.socket, handlers: Handlers, limits: Limits) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._handlers = handlers
        self._limits = limits
        self._most = _within_descriptors(limits.connections)
        self._budget = Budget(limits.memory)
        self._quiet_until = 0.0
        self.connections: set[Connection] = set()

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
                    self._say(f"cannot accept a client: {error.strerror}")
                    self._make_room()
                    await trio.sleep(_PAUSE)

    def _say(self, text: str) -> None:
        if trio.current_time() >= self._quiet_until:
            self._quiet_until = trio.current_time() + _LOG_PAUSE
            log.error("%s", text)

    def _welcome(self, sock: socket.socket, clients: trio.Nursery) -> None:
        connection = Connection(sock, self._handlers, self._limits, self._budget, self._owes)
        if len(self.connections) >= self._most and not self._make_room():
            connection.send(refused(None, Unavailable(f"cannot serve: {self._most} clients are connected already")))
            sock.close()
            return
        self.connections.add(connection)
        clients.start_soon(self._serve, connection)

    def _make_room(self) -> bool:
        """Close the connection that has been idle for longest, first of all one that never said anything."""
        idle = [connection for connection in self.connections if connection.idle]
        if not idle:
            return False
        chosen = min(idle, key=lambda connection: (connection.spoke, connection.heard))
        self.connections.discard(chosen)
        chosen.close()
        return True

    def _owes(self) -> None:
        """Look at what clients have not read; called by one that has much of it."""
        if sum(connection.unread for connection in self.connections) > self._limits.memory:
            worst = max(self.connections, key=lambda connection: connection.unread)
            self._say(f"closing a connection of user {worst.uid}: it does not read {worst.unread} bytes of answers")
            self.connections.discard(worst)
            worst.close()

    async def _serve(self, connection: Connection) -> None:
        try:
            await connection.run()
        except Exception:  # one of the daemon's two: what one client brings about must not end the others
            log.exception("a connection of user %d ended by a bug", connection.uid)
        finally:
            self.connections.discard(connection)


def _within_descriptors(most: int) -> int:
    """Return how many clients there may be; our own limit of descriptors is raised for that as far as it goes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < most + _OTHERS:
        soft = most + _OTHERS if hard == resource.RLIM_INFINITY else min(most + _OTHERS, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft < most + _OTHERS:
        most = max(1, soft - _OTHERS)
        log.warning("taking %d clients at once only: the limit of open files is %d", most, soft)
    return most
