"""Messages between daemon and zygote: one SOCK_SEQPACKET pair, each packet a msgpack array of messages.

Both ends are non-blocking: a stopped daemon must not stop a zygote. What does not fit into the socket waits here in
order; only what its sender called droppable is thrown away instead. A message over 64 KiB travels alone, as a memory
file: the packet then is empty of messages and carries the fd. The peers trust each other's framing, not their content.
"""

from __future__ import annotations

from _socket import CMSG_SPACE, SCM_RIGHTS, SOL_SOCKET, socket
from collections import deque
from os import close
from struct import Struct
from sys import byteorder

import msgpack

from . import kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PACKET = 64 * 1024
_IN_A_FILE = b"\xc0"  # nil instead of an array
_ROOM = PACKET + 1024
_ANCILLARY = CMSG_SPACE(4)
_HEAD = Struct(">BI")  # of an array: 0xdd and how many messages there are

_unpack = msgpack.unpackb
pack = msgpack.Packer(use_bin_type=True, unicode_errors="surrogateescape").pack


class Channel:
    """One end of the pair. `send` queues, `flush` writes what fits, `receive` takes all that is there."""

    def __init__(self, sock: socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self._batch: list[bytes] = []
        self._size = 0
        self._waiting: deque[tuple[bytes, int | None]] = deque()  # packets, and the fd that goes along
        self._buffer = bytearray(_ROOM)
        self._view = memoryview(self._buffer)

    def send(self, message: list[Any], droppable: bool = False) -> None:
        """Queue one message. A droppable one is forgotten when the peer does not keep up."""
        if droppable and self._waiting:
            return
        data = pack(message)
        if len(data) > PACKET:
            self._close_batch()
            self._waiting.append((_IN_A_FILE, kernel.memory_file(data)))
            return
        if self._size + len(data) > PACKET:
            self._close_batch()
        self._batch.append(data)
        self._size += len(data)

    @property
    def pending(self) -> bool:
        """Whether something was queued since the last flush."""
        return bool(self._batch or self._waiting)

    def _close_batch(self) -> None:
        if self._batch:
            self._waiting.append((_HEAD.pack(0xDD, len(self._batch)) + b"".join(self._batch), None))
            self._batch.clear()
            self._size = 0

    def flush(self) -> bool:
        """Write what the socket takes; True when nothing is left. Raises OSError when the peer is gone."""
        if self._batch and not self._waiting:  # nearly always; then the queue is left untouched, and its pages
            try:
                self.sock.send(_HEAD.pack(0xDD, len(self._batch)) + b"".join(self._batch))
            except BlockingIOError:
                return False
            self._batch.clear()
            self._size = 0
            return True
        self._close_batch()
        while self._waiting:
            packet, fd = self._waiting[0]
            try:
                if fd is None:
                    self.sock.send(packet)
                else:
                    self.sock.sendmsg([packet], [(SOL_SOCKET, SCM_RIGHTS, fd.to_bytes(4, byteorder))])
            except BlockingIOError:
                return False
            self._waiting.popleft()
            if fd is not None:
                close(fd)
        return True

    def receive(self) -> tuple[list[list[Any]], bool]:
        """Take one packet, if there is one. Returns its messages, and False as second when the peer is gone for good.

        Readiness is told again while there is more: who waits for it comes back, and others get their turn.
        """
        try:
            size, ancillary, _, _ = self.sock.recvmsg_into([self._buffer], _ANCILLARY)
        except BlockingIOError:
            return [], True
        except ConnectionResetError:
            return [], False
        if not size:
            return [], False
        if ancillary:
            with open(int.from_bytes(ancillary[0][2][:4], byteorder), "rb") as file:
                return [_unpack(file.read(), strict_map_key=False, unicode_errors="surrogateescape")], True
        if self._buffer[0] == 0xC1:  # never valid msgpack: a zygote that could not even import us says why
            return [["unfit", self._buffer[1:size].decode("utf-8", "replace")]], True
        return _unpack(self._view[:size], strict_map_key=False, unicode_errors="surrogateescape"), True

    def close(self) -> None:
        """Close the socket and forget what waits."""
        for _, fd in self._waiting:
            if fd is not None:
                close(fd)
        self._waiting.clear()
        self.sock.close()
