"""The datagram socket: one send, no answer, the kernel holds the message whether a daemon is alive or not.

Connected, because an unconnected sender always polls writable. Shared by all threads: a datagram is one system call.
A forked child opens its own (`forget`), so that a worker which changed its user is judged as who it is.
`send` is the kernel's own method on the socket: nothing of ours stands between a submit and the system call. Whoever
gets an error from it asks `push`, which knows what every error means.

It uses `_socket`, the C half of `socket`: the other half costs 6 ms at import and adds nothing here.
"""

from __future__ import annotations

import errno
from _socket import AF_UNIX, MSG_NOSIGNAL, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_NONBLOCK, socket

from ..errors import Unavailable
from ..places import HANDOFF
from . import where

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

TAKEN, FULL, OVERSIZE = "taken", "full", "oversize"

_BUSY = frozenset((errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS, errno.ENOMEM))


class Connected(socket):
    """A socket that closes itself when the last thread that sends on it has let go of it.

    Closing it while another thread is inside `send` would let that thread write to whatever gets the number next.
    """

    def __del__(self) -> None:
        self.close()


class Handoff:
    """The way to one daemon's datagram socket; opened by the first message, again when the daemon was replaced."""

    __slots__ = ("_runtime_dir", "_socket", "send")

    def __init__(self, runtime_dir: str | None) -> None:
        self._runtime_dir = runtime_dir
        self.forget()

    def forget(self) -> None:
        """Let go of the socket; the next message opens another."""
        self._socket: Connected | None = None
        self.send: Callable[[bytes, int], int] = _nothing_open

    def connected(self) -> Connected:
        """Return a new socket connected to the daemon. Raises Unavailable or NotAllowed, OSError for the unusual."""
        path = where.socket_path(HANDOFF, self._runtime_dir)
        made = Connected(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC)
        try:
            made.connect(path)
        except PermissionError:
            raise where.not_allowed(path) from None
        return made

    def push(self, message: bytes) -> str:
        """Send without waiting: TAKEN, FULL (no room now), or OVERSIZE (never by datagram).

        Raises Unavailable when nobody is there, even after opening the socket anew once.
        """
        problem = self._try(message)
        if isinstance(problem, OSError):
            self.forget()
            problem = self._try(message)
        if isinstance(problem, OSError):
            self.forget()
            raise Unavailable(
                f"cannot reach sidecar: {problem.strerror or problem} on its socket, is `sidecar serve` running?"
            )
        return problem

    def _try(self, message: bytes) -> str | OSError:
        made = self._socket  # held here: another thread may let go of it meanwhile
        try:
            if made is None:
                made = self._socket = self.connected()
                self.send = made.send
            made.send(message, MSG_NOSIGNAL)
        except OSError as error:
            return self._meaning(error)
        return TAKEN

    def _meaning(self, error: OSError) -> str | OSError:
        if error.errno in _BUSY:
            return FULL
        if error.errno == errno.EMSGSIZE:
            return OVERSIZE
        if error.errno in (errno.EACCES, errno.EPERM):
            self.forget()
            raise where.not_allowed(where.socket_path(HANDOFF, self._runtime_dir)) from None
        return error

    def wait_writable(self, seconds: float) -> bool:
        """Wait until there may be room, or something changed; False when there was none in time."""
        from select import POLLOUT, poll

        made = self._socket
        if made is None:
            return True
        poller = poll()
        poller.register(made.fileno(), POLLOUT)
        return bool(poller.poll(max(0.0, seconds) * 1000))


def _nothing_open(message: bytes, flags: int) -> int:
    raise OSError(errno.ENOTCONN, "not open yet")
