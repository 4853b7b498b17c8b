"""The stream for asyncio and trio: what `control` is for threads, with awaits.

A connection carries one request at a time and is kept for the next one only after a whole reply: whoever is cancelled
or out of time closes its own, so that an answer never meets a question it does not belong to. It belongs to no loop
while it lies idle, hence one list for all of them.
"""

from __future__ import annotations

import os
import socket
from time import monotonic
from typing import TYPE_CHECKING, Any

from ..errors import Unavailable
from ..places import CONTROL
from . import where
from .control import LOOK, PATIENCE, Late, Lost, remaining, try_connect
from .exchange import LASTING, REPEATABLE, Exchange, is_answer, result_of

if TYPE_CHECKING:
    from .adapters import Adapter

_IDLE = 8  # connections kept; a burst opens more and closes them again
_CHUNK = 64 * 1024  # more would be memory mapped and given back each time: 15 µs
_PAUSE = 0.005  # seconds until a full backlog is tried again


class Line:
    """One connection."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.pid = os.getpid()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._exchange = Exchange()

    def close(self) -> None:
        """Close this process's end."""
        self._socket.close()

    __del__ = close

    async def connect(self, adapter: Adapter, ends: float | None) -> None:
        """Connect; a full backlog is tried again until `ends`. Raises Unavailable or NotAllowed."""
        while not try_connect(self._socket, self.path):
            if ends is not None and monotonic() + _PAUSE > ends:
                raise Unavailable(f"cannot reach sidecar: {self.path} takes no connection in time, the daemon is busy")
            await adapter.sleep(_PAUSE)

    async def ask(self, adapter: Adapter, method: str, params: list[Any] | bytes, ends: float | None) -> list[Any]:
        """Return the reply to one request. Raises Lost and Late."""
        number, data = self._exchange.ask(method, params)
        await self._send(adapter, method, data, ends)
        while True:
            for message in self._exchange.feed(await self._read(adapter, method, ends)):
                if is_answer(message, number):
                    return message

    async def _send(self, adapter: Adapter, method: str, data: bytes, ends: float | None) -> None:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self._socket.send(rest) :]
            except BlockingIOError:
                if not await adapter.writable(self._socket.fileno(), ends):
                    raise Late(f"cannot {method}: the daemon did not read the request in time") from None
            except (BrokenPipeError, ConnectionResetError):
                return  # it may have answered before it hung up: reading tells

    async def _read(self, adapter: Adapter, method: str, ends: float | None) -> bytes:
        while True:
            try:
                data = self._socket.recv(_CHUNK)
            except BlockingIOError:
                if not await adapter.readable(self._socket.fileno(), ends):
                    raise Late(f"cannot {method}: no answer from the daemon in time") from None
                continue
            except OSError as error:
                raise Lost(error.strerror) from None
            if not data:
                raise Lost("end of stream")
            return data


_idle: list[Line] = []


async def request(
    adapter: Adapter, runtime_dir: str | None, method: str, params: list[Any] | bytes, timeout: float | None
) -> Any:
    """Return the result of one verb, as `Control.request` does: same errors, same patience."""
    ends = None if timeout is None else monotonic() + timeout
    line = await _open(adapter, where.socket_path(CONTROL, runtime_dir), ends)
    again = False
    while True:
        try:
            return await _ask(adapter, line, method, params, ends)
        except Lost as lost:
            _forget(line.path)
            last = again and (method not in LASTING or (ends is not None and monotonic() + LOOK > ends))
            if last or method not in REPEATABLE:
                raise Unavailable(f"cannot {method}: the daemon went away ({lost})") from None
        if again:
            await adapter.sleep(LOOK)
        again = True
        line = await _found_again(adapter, runtime_dir, method, ends)
        params = remaining(method, params, ends, monotonic())


async def _ask(adapter: Adapter, line: Line, method: str, params: list[Any] | bytes, ends: float | None) -> Any:
    try:
        message = await line.ask(adapter, method, params, ends)
    except BaseException:
        line.close()
        raise
    if message[1] is not None and len(_idle) < _IDLE:
        _idle.append(line)
    else:
        line.close()
    return result_of(message)


async def _open(adapter: Adapter, path: str, ends: float | None) -> Line:
    while _idle:
        try:
            line = _idle.pop()
        except IndexError:  # another thread's loop was faster
            break
        if line.path == path and line.pid == os.getpid():
            return line
    line = Line(path)
    await line.connect(adapter, ends)
    return line


async def _found_again(adapter: Adapter, runtime_dir: str | None, method: str, ends: float | None) -> Line:
    until = monotonic() + PATIENCE if ends is None else ends
    while True:
        try:
            return await _open(adapter, where.socket_path(CONTROL, runtime_dir), until)
        except Unavailable:
            if method not in LASTING or monotonic() + LOOK > until:
                raise
            await adapter.sleep(LOOK)


def _forget(path: str) -> None:
    """Drop what was kept to a daemon that is gone: the next one is not asked through its ruins."""
    _idle[:] = [line for line in _idle if line.path != path]
