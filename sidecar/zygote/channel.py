"""Messages between daemon and zygote: one SOCK_SEQPACKET pair, each packet a msgpack array of messages.

Both ends are non-blocking: a stopped daemon must not stop a zygote. What does not fit into the socket waits here in
order; only what its sender called droppable is thrown away instead. A message over 64 KiB travels alone, as a memory
file: the packet then is empty of messages and carries the fd. The peers trust each other's framing, not their content.
"""

from __future__ import annotations

import os
import socket
import sys
from collections import deque
from typing import Any

import msgpack

from . import kernel

PACKET = 64 * 1024
_IN_A_FILE = b"\xc0"  # nil instead of an array
_ROOM = PACKET + 1024
_ANCILLARY = socket.CMSG_SPACE(4)


def _unpack(data: bytes | memoryview) -> list[Any]:
    return msgpack.unpackb(  # type: ignore[no-any-return]
        data, raw=False, unicode_errors="surrogateescape", strict_map_key=False
    )


def _array(parts: list[bytes]) -> bytes:
    return b"\xdd" + len(parts).to_bytes(4, "big") + b"".join(parts)


class Channel:
    """One end of the pair. `send` queues, `flush` writes what fits, `receive` takes all that is there."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self._batch: list[bytes] = []
        self._size = 0
        self._waiting: deque[tuple[bytes, int | None]] = deque()  # packets, and the fd that goes along
        self._packer = msgpack.Packer(use_bin_type=True, unicode_errors="surrogateescape")
        self._buffer = bytearray(_ROOM)
        self._view = memoryview(self._buffer)

    def send(self, message: list[Any], droppable: bool = False) -> None:
        """Queue one message. A droppable one is forgotten when the peer does not keep up."""
        if droppable and self._waiting:
            return
        data = self._packer.pack(message)
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
            self._waiting.append((_array(self._batch), None))
            self._batch, self._size = [], 0

    def flush(self) -> bool:
        """Write what the socket takes; True when nothing is left. Raises OSError when the peer is gone."""
        self._close_batch()
        while self._waiting:
            packet, fd = self._waiting[0]
            try:
                if fd is None:
                    self.sock.send(packet)
                else:
                    socket.send_fds(self.sock, [packet], [fd])
            except BlockingIOError:
                return False
            self._waiting.popleft()
            if fd is not None:
                os.close(fd)
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
        return self._messages(self._view[:size], ancillary), True

    def _messages(self, data: memoryview, ancillary: list[tuple[int, int, bytes]]) -> list[list[Any]]:
        if data == _IN_A_FILE:
            with open(int.from_bytes(ancillary[0][2][:4], sys.byteorder), "rb") as file:
                return [_unpack(file.read())]
        if data[0] == 0xC1:  # never valid msgpack: a zygote that could not even import us says why
            return [["unfit", bytes(data[1:]).decode("utf-8", "replace")]]
        return _unpack(data)

    def close(self) -> None:
        """Close the socket and forget what waits."""
        for _, fd in self._waiting:
            if fd is not None:
                os.close(fd)
        self._waiting.clear()
        self.sock.close()
