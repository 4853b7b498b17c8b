"""The stream, blocking: ask the daemon and get its answer, within a deadline, across its restarts.

A connection per thread, and none taken over a fork. A daemon that went away in the middle is asked again where asking
twice does no harm; `wait` and `follow`, which last, look for it until their deadline.
"""

from __future__ import annotations

import errno
import os
import socket
from threading import local
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from ..errors import SidecarError, Unavailable
from ..places import CONTROL
from . import where
from .exchange import LASTING, NOTICE, REPEATABLE, Exchange, is_answer, result_of

if TYPE_CHECKING:
    from collections.abc import Callable

    Notice = Callable[[str, list[Any]], None]

PATIENCE = 60.0  # seconds to look for a daemon that was there, when the caller named no deadline
_CHUNK = 64 * 1024  # more would be memory mapped and given back each time: 15 µs
_PAUSE = 0.005  # seconds until a full backlog is tried again
LOOK = 0.1  # seconds until a daemon that went away is looked for again


class Lost(Exception):
    """The connection ended before the answer; whether the request was done is not known."""


class Control:
    """The way to one daemon's control socket. Safe across threads and forks.

    `path` is that of the socket; None looks where `serve` puts it.
    """

    def __init__(self, path: str | None = None, runtime_dir: str | None = None) -> None:
        self._path = path
        self._runtime_dir = runtime_dir
        self._thread = local()

    def request(
        self, method: str, params: list[Any] | bytes, timeout: float | None = None, on_notice: Notice | None = None
    ) -> Any:
        """Return the result of one verb; `timeout` in seconds, None for ever. `on_notice(method, params)`, if given,
        hears what comes before the reply (after a restart of the daemon it may hear some of it again).

        Raises what the reply names, Unavailable when there is no daemon or no answer in time, NotAllowed.
        """
        ends = None if timeout is None else monotonic() + timeout
        try:
            return self._ask(self._line(ends), method, params, ends, on_notice)
        except Lost as lost:
            self.close()
            if method not in REPEATABLE:
                raise Unavailable(f"cannot {method}: the daemon went away ({lost}), look before asking again") from None
        return self._again(method, params, ends, on_notice)

    def close(self) -> None:
        """Close this thread's connection; the next request opens another."""
        line = self._thread.__dict__.pop("line", None)
        if line is not None:
            line.close()

    def _again(self, method: str, params: list[Any] | bytes, ends: float | None, on_notice: Notice | None) -> Any:
        while True:
            line = self._found_again(method, ends)
            try:
                return self._ask(line, method, remaining(method, params, ends, monotonic()), ends, on_notice)
            except Lost as lost:
                self.close()
                if method not in LASTING or (ends is not None and monotonic() + LOOK > ends):
                    raise Unavailable(f"cannot {method}: the daemon went away again ({lost})") from None
                sleep(LOOK)

    def _found_again(self, method: str, ends: float | None) -> Line:
        until = monotonic() + PATIENCE if ends is None else ends
        while True:
            try:
                return self._line(until)
            except Unavailable:
                if method not in LASTING or monotonic() + LOOK > until:
                    raise
                sleep(LOOK)

    def _line(self, ends: float | None) -> Line:
        line: Line | None = self._thread.__dict__.get("line")
        if line is not None and line.pid != os.getpid():
            line.close()  # the parent's: its own descriptor is not touched by this
            line = None
        if line is None:
            path = self._path or where.socket_path(CONTROL, self._runtime_dir)
            line = self._thread.line = Line(connect(path, ends))
        return line

    def _ask(
        self, line: Line, method: str, params: list[Any] | bytes, ends: float | None, on_notice: Notice | None
    ) -> Any:
        number, data = line.exchange.ask(method, params)
        try:
            line.send(data, method, ends)
            message = line.receive(number, method, ends, on_notice)
        except Lost:
            raise
        except SidecarError as error:
            if method in ("follow", "run") or not isinstance(error, Late):
                self.close()
            raise
        except BaseException:  # an interrupt, or what on_notice raised: how far the stream was read is not known
            self.close()
            raise
        if message[1] is None:
            self.close()
        return result_of(message)


class Late(Unavailable):
    """No answer in time; the connection itself is sound, the answer will be passed over when it comes."""


class Line:
    """One connection and what has been said on it."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self.exchange = Exchange()
        self.pid = os.getpid()
        self._come: list[list[Any]] = []  # messages that came together with an earlier one

    def close(self) -> None:
        """Close this process's end."""
        self._socket.close()

    __del__ = close  # a thread that ended

    def send(self, data: bytes, method: str, ends: float | None) -> None:
        """Write a whole request. Raises Lost, and Unavailable when it did not get through in time."""
        self._socket.settimeout(left(ends))
        try:
            self._socket.sendall(data)
        except (TimeoutError, BlockingIOError):
            raise Unavailable(f"cannot {method}: the daemon did not read the request in time") from None
        except (BrokenPipeError, ConnectionResetError) as error:
            if not self._has_last_words():
                raise Lost(error.strerror) from None

    def _has_last_words(self) -> bool:
        """Tell whether the daemon answered before it hung up: a request that is too large is refused unread."""
        try:
            self._socket.settimeout(0)
            return bool(self._socket.recv(1, socket.MSG_PEEK))
        except OSError:
            return False

    def receive(self, number: int, method: str, ends: float | None, on_notice: Notice | None) -> list[Any]:
        """Return the reply to request `number`; pass over the answers to others. Raises Lost and Late."""
        while True:
            while self._come:
                message = self._come.pop(0)
                if is_answer(message, number):
                    return message
                if message[0] == NOTICE and on_notice is not None:
                    on_notice(message[1], message[2])
            self._come += self.exchange.feed(self._read(method, ends))

    def _read(self, method: str, ends: float | None) -> bytes:
        self._socket.settimeout(left(ends))
        try:
            data = self._socket.recv(_CHUNK)
        except (TimeoutError, BlockingIOError):
            raise Late(f"cannot {method}: no answer from the daemon in time") from None
        except OSError as error:
            raise Lost(error.strerror) from None
        if not data:
            raise Lost("end of stream")
        return data


def left(ends: float | None) -> float | None:
    """Return the seconds until `ends`, never negative; None for ever."""
    return None if ends is None else max(0.0, ends - monotonic())


def remaining(method: str, params: list[Any] | bytes, ends: float | None, now: float) -> list[Any] | bytes:
    """Return the params for asking again: a `wait` waits only for what is left of its time."""
    if method == "wait" and ends is not None and isinstance(params, list) and params[1] is not None:
        return [params[0], max(0.0, min(params[1], ends - now))]
    return params


def connect(path: str, ends: float | None) -> socket.socket:
    """Return a connected socket; a full backlog is tried again until `ends`. Raises Unavailable or NotAllowed."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        while not try_connect(made, path):
            if ends is not None and monotonic() + _PAUSE > ends:
                raise Unavailable(f"cannot reach sidecar: {path} takes no connection in time, the daemon is busy")
            sleep(_PAUSE)
    except BaseException:
        made.close()
        raise
    return made


def try_connect(made: socket.socket, path: str) -> bool:
    """Connect without waiting; False when the backlog is full. Raises Unavailable or NotAllowed."""
    made.setblocking(False)  # a blocking one would sit in a full backlog beyond any deadline
    try:
        made.connect(path)
    except BlockingIOError:
        return False
    except PermissionError:
        raise where.not_allowed(path) from None
    except OSError as error:
        if error.errno == errno.EISCONN:
            return True
        raise Unavailable(f"cannot reach sidecar: {path}: {error.strerror}, is `sidecar serve` running?") from None
    return True
