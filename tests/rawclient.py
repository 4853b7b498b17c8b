"""A client made from clients/PROTOCOL.md alone: a raw socket and msgpack, nothing of sidecar's own code.

It is the proof that the document is enough, and the tests' way to say what a well-behaved client never would. Where it
is easier to read than the document, the document is to be mended.
"""

from __future__ import annotations

import os
import socket
import struct
import time
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

import msgpack

REQUEST, REPLY, NOTICE = 0, 1, 2


class Refused(Exception):
    """The error of a reply."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class Ended(Exception):
    """The daemon closed the connection."""


def new_id() -> bytes:
    """Make a UUID, version 7: 48 bits of milliseconds, the rest random but for version and variant."""
    made = bytearray(int(time.time() * 1000).to_bytes(6, "big") + os.urandom(10))
    made[6] = 0x70 | made[6] & 0x0F
    made[8] = 0x80 | made[8] & 0x3F
    return bytes(made)


def show_id(id: bytes) -> str:
    """Return the id's text, as replies have it."""
    return str(uuid.UUID(bytes=id))


def pack(value: object) -> bytes:
    """Pack one msgpack value; texts may carry bytes that are no UTF-8."""
    return msgpack.packb(value, use_bin_type=True, unicode_errors="surrogateescape")  # type: ignore[no-any-return]


def unpack(data: bytes) -> Any:
    """Unpack one msgpack value."""
    return msgpack.unpackb(data, raw=False, strict_map_key=False, unicode_errors="surrogateescape")


def frame(message: object) -> bytes:
    """Make a frame of the stream."""
    body = pack(message)
    return struct.pack(">I", len(body)) + body


def job_of(target: str | list[str], *args: object, **options: object) -> dict[str, Any]:
    """Make a job map: a text is a call with `args`, a list an argv."""
    job: dict[str, Any] = {"id": new_id()}
    if isinstance(target, list):
        job["argv"] = target
    else:
        job["call"] = target
        job["args"] = pack(list(args))
    job.update(options)
    return job


def hand_off(path: str, job: dict[str, Any]) -> None:
    """Give one job away by datagram; nobody answers."""
    send_datagram(path, pack([NOTICE, "submit", [job]]))


def send_datagram(path: str, data: bytes, timeout: float = 10.0) -> None:
    """Send one datagram, waiting for room in the queue."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.settimeout(timeout)
        sock.connect(path)
        sock.send(data)


def spool(folder: str, job: dict[str, Any]) -> str:
    """Leave a job in the spool folder; returns the file's path."""
    name = job["id"].hex()
    draft, final = f"{folder}/tmp/{name}", f"{folder}/new/{name}"
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640), "wb") as file:
        file.write(pack([NOTICE, "submit", [job]]))
    os.rename(draft, final)
    return final


class RawClient:
    """One connection to control.sock. `timeout` (seconds) is of every single send and receive."""

    def __init__(self, path: str, timeout: float = 10.0) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(timeout)
        self.sock.connect(path)
        self.notices: list[tuple[str, list[Any]]] = []
        self._came: dict[int | None, list[Any]] = {}  # replies that came before they were asked for
        self._next = 0

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self.sock.close()

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.sock.sendall(data)

    def end(self) -> None:
        """Say that nothing more will be sent; replies can still be read."""
        self.sock.shutdown(socket.SHUT_WR)

    def ask(self, method: str, *params: object) -> int:
        """Send a request without waiting; returns its number."""
        return self.ask_each(method, [params])[0]

    def ask_each(self, method: str, asked: Iterable[Sequence[object]]) -> list[int]:
        """Send a request for each of several params, all in one write; returns their numbers."""
        numbers, frames = [], b""
        for params in asked:
            self._next += 1
            numbers.append(self._next)
            frames += frame([REQUEST, self._next, method, list(params)])
        self.send(frames)
        return numbers

    def answer(self, number: int | None) -> Any:
        """Return the result of request `number`, keeping other replies and notices. Raises Refused or Ended."""
        while number not in self._came:
            message = self.receive()
            if message[0] == NOTICE:
                self.notices.append((message[1], message[2]))
            else:
                self._came[message[1]] = message
        _, _, error, result = self._came.pop(number)
        if error is not None:
            raise Refused(error["code"], error["message"])
        return result

    def call(self, method: str, *params: object) -> Any:
        """Send a request and return its result. Raises Refused or Ended."""
        return self.answer(self.ask(method, *params))

    def receive(self) -> list[Any]:
        """Return the next message, whatever it is. Raises Ended."""
        (size,) = struct.unpack(">I", self._exactly(4))
        message = unpack(self._exactly(size))
        assert isinstance(message, list)
        return message

    def _exactly(self, size: int) -> bytes:
        got = bytearray()
        while len(got) < size:
            try:
                data = self.sock.recv(size - len(got))
            except ConnectionResetError:
                data = b""
            if not data:
                raise Ended(f"the daemon closed the connection, {len(got)} of {size} bytes had come")
            got += data
        return bytes(got)
