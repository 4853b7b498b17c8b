"""The line between keeper and daemon: a SOCK_SEQPACKET pair, one JSON object a packet, perhaps with one descriptor.

JSON and not msgpack, because the keeper has the standard library only. Non-blocking on this end: a stopped daemon must
not stop the keeper, so what does not fit waits here in order. The daemon's end of the life is told by waitpid alone;
a broken line says nothing and is only not listened to any more.
"""

from __future__ import annotations

import json
import os
import select
import socket
from collections import deque

TYPE_CHECKING = False  # the name is known to type checkers; importing typing for it would cost memory
if TYPE_CHECKING:
    from typing import Any

_PACKET = 256 * 1024  # over what the kernel lets through in one packet


class Link:
    """The keeper's end; `theirs` is the other, for the process that is started with it."""

    def __init__(self) -> None:
        self.sock, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock.setblocking(False)
        self.open = True
        self._waiting: deque[tuple[bytes, int | None]] = deque()

    def events(self) -> int:
        """Return what to poll for."""
        return select.POLLIN | (select.POLLOUT if self._waiting else 0)

    def send(self, message: dict[str, Any], fd: int | None = None) -> None:
        """Send one message, now or when it fits. One that waits has a duplicate of its descriptor."""
        packet = json.dumps(message).encode()
        if self.open and (self._waiting or not self._write(packet, fd)):
            self._waiting.append((packet, None if fd is None else os.dup(fd)))

    def flush(self) -> None:
        """Write what fits of what waits."""
        while self._waiting and self._write(*self._waiting[0]):
            if self.open:
                self._close_fd(self._waiting.popleft())

    def _write(self, packet: bytes, fd: int | None) -> bool:
        """Return whether there is nothing left to do about this packet."""
        try:
            socket.send_fds(self.sock, [packet], [] if fd is None else [fd])
        except BlockingIOError:
            return False
        except OSError:  # it is dead or dying; waitpid will tell
            self.close()
        return True

    def receive(self) -> list[dict[str, Any]]:
        """Take every message that is there; what is no JSON object counts as an empty one."""
        messages = []
        while self.open:
            try:
                packet = self.sock.recv(_PACKET)
            except BlockingIOError:
                break
            except OSError:
                packet = b""
            if packet:
                messages.append(_parsed(packet))
            else:
                self.close()
        return messages

    def close(self) -> None:
        """Stop listening and forget what waits."""
        self.open = False
        self.sock.close()
        while self._waiting:
            self._close_fd(self._waiting.popleft())

    @staticmethod
    def _close_fd(waiting: tuple[bytes, int | None]) -> None:
        if waiting[1] is not None:
            os.close(waiting[1])


def _parsed(packet: bytes) -> dict[str, Any]:
    try:
        message = json.loads(packet)
    except ValueError:
        return {}
    return message if type(message) is dict else {}
