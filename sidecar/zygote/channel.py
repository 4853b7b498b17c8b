"""Messages between daemon and zygote: one SOCK_SEQPACKET pair, many msgpack messages a packet.

Both ends are non-blocking: a stopped daemon must not stop a zygote. What does not fit into the socket waits here in
order; only what its sender called droppable is thrown away instead. A message over 64 KiB travels alone, as a memory
file: the packet then is empty of messages and carries the fd. The peers trust each other's framing, not their content.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from typing import Any

import msgpack

from . import kernel

PACKET = 64 * 1024
_IN_A_FILE = b"\xc0"  # nil: no message is nil
_ANCILLARY = socket.CMSG_SPACE(4)


def _unpack(data: bytes) -> list[Any]:
    return msgpack.unpackb(  # type: ignore[no-any-return]
        data, raw=False, unicode_errors="surrogateescape", strict_map_key=False
    )


class Channel:
    """One end of the pair. `send` queues, `flush` writes what fits, `receive` takes all that is there."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self._batch: list[bytes] = []
        self._size = 0
        self._waiting: deque[tuple[bytes, int | None]] = deque()  # packets, and the fd that goes along
        self._packer = msgpack.Packer(use_bin_type=True, unicode_errors="surrogateescape")

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

    def _close_batch(self) -> None:
        if self._batch:
            self._waiting.append((b"".join(self._batch), None))
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

    def receive(self, most: int = 64) -> tuple[list[list[Any]], bool]:
        """Take up to `most` packets. Returns their messages, and False as second when the peer is gone for good."""
        messages: list[list[Any]] = []
        for _ in range(most):
            try:
                data, fds, _, _ = socket.recv_fds(self.sock, PACKET + 1024, 1)
            except BlockingIOError:
                break
            except ConnectionResetError:
                return messages, False
            if not data:
                return messages, False
            messages += self._messages(data, fds)
        return messages, True

    def _messages(self, data: bytes, fds: list[int]) -> list[list[Any]]:
        if data == _IN_A_FILE:
            with open(fds[0], "rb") as file:
                return [_unpack(file.read())]
        if data[:1] == b"\xc1":  # never valid msgpack: a zygote that could not even import us says why
            return [["unfit", data[1:].decode("utf-8", "replace")]]
        unpacker = msgpack.Unpacker(raw=False, unicode_errors="surrogateescape", strict_map_key=False)
        unpacker.feed(data)
        return list(unpacker)

    def close(self) -> None:
        """Close the socket and forget what waits."""
        for _, fd in self._waiting:
            if fd is not None:
                os.close(fd)
        self._waiting.clear()
        self.sock.close()
