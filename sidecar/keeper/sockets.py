"""The two sockets clients talk to: taken from the service manager, or bound here. They outlive every daemon.

Nothing is read from them here. Our own are bound under a temporary name and renamed, so that a stale file is replaced
in one step and no client ever meets a socket that does not listen yet. Sockets from outside stay when we go.

A socket whose file somebody has removed can not get it back: new ones are bound, and the old ones stay open until no
daemon reads from them any more. What is left in them then goes into the spool.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress

from ..places import CONTROL, HANDOFF
from .ground import CannotServe
from .rescue import rescue

BACKLOG = 4096  # PHP's connect fails at once on a full one, whatever its timeout
_SO_PASSRIGHTS = 83
_LONGEST = 107  # bytes of a socket's path


class Sockets:
    """The pair: `handoff` takes datagrams, `control` takes connections."""

    def __init__(self, runtime: str, given: dict[int, socket.socket]) -> None:
        self._given = [sock.fileno() for sock in given.values()]
        self._paths = {HANDOFF: f"{runtime}/{HANDOFF}", CONTROL: f"{runtime}/{CONTROL}"}
        self._files: dict[str, tuple[int, int] | None] = {}  # of our own: device and inode, by path
        self.handoff = given.get(socket.SOCK_DGRAM) or self._bind(HANDOFF, socket.SOCK_DGRAM)
        self.control = given.get(socket.SOCK_STREAM) or self._bind(CONTROL, socket.SOCK_STREAM)
        self.old: list[socket.socket] = []  # without a file, and perhaps with somebody who is connected
        _accept_no_descriptors(self.handoff)
        _accept_no_descriptors(self.control)
        self.handoff.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)

    def _bind(self, name: str, kind: int) -> socket.socket:
        path = self._paths[name]
        sock = _bind(path, kind)
        self._files[path] = _identity(path)
        return sock

    def lost(self) -> bool:
        """Say whether somebody has taken a file of ours away, or put another in its place."""
        return any(_identity(path) != ours for path, ours in self._files.items())

    def bind_again(self) -> None:
        """Bind our own anew, all or none. The old ones stay open. Raises CannotServe."""
        fresh: dict[str, socket.socket] = {}
        try:
            for name, sock in ((HANDOFF, self.handoff), (CONTROL, self.control)):
                if sock.fileno() not in self._given:
                    fresh[name] = _bind(self._paths[name], sock.type)
        except CannotServe:
            for sock in fresh.values():
                sock.close()
            raise
        for name, sock in fresh.items():
            self._files[self._paths[name]] = _identity(self._paths[name])
            _accept_no_descriptors(sock)
        if HANDOFF in fresh:
            self.old.append(self.handoff)
            self.handoff = fresh[HANDOFF]
        if CONTROL in fresh:
            self.old.append(self.control)
            self.control = fresh[CONTROL]

    def close_old(self, spool: str) -> tuple[int, int]:
        """Close those that nobody reads any more; returns what `rescue` does of them."""
        saved = lost = 0
        for sock in self.old:
            if sock.type == socket.SOCK_DGRAM:
                some, others = rescue(sock, spool)
                saved, lost = saved + some, lost + others
            sock.close()
        self.old.clear()
        return saved, lost

    def names(self) -> str:
        """Return where clients find us, for people."""
        return f"{_name(self.handoff, self._paths[HANDOFF])} {_name(self.control, self._paths[CONTROL])}"

    def close_handoff(self) -> None:
        """Take no more datagrams: later and blocked senders get EPIPE, what was accepted stays to be read."""
        if self.handoff.fileno() not in self._given:
            _unlink(self._paths[HANDOFF])
            self.handoff.shutdown(socket.SHUT_RD)

    def rescue(self, spool: str, hopeless: bool) -> tuple[int, int]:
        """Save what is left in our own hand-off sockets; a service manager's goes on without us.

        But where no daemon can serve, it would start us a few times for what is in there, then close it.
        """
        saved, lost = self.close_old(spool)
        if self.handoff.fileno() in self._given and not hopeless:
            return saved, lost
        some, others = rescue(self.handoff, spool)
        return saved + some, lost + others

    def close_control(self) -> None:
        """Let no new client find us."""
        if self.control.fileno() not in self._given:
            _unlink(self._paths[CONTROL])


def given(environ: dict[str, str], pid: int) -> dict[int, socket.socket]:
    """Return the sockets a service manager passed (LISTEN_FDS), by type.

    By type and not by LISTEN_FDNAMES: all sockets of one systemd unit have the same name, unless each gets a unit.
    """
    if environ.get("LISTEN_PID") != str(pid):
        return {}
    found: dict[int, socket.socket] = {}
    for fd in range(3, 3 + int(environ.get("LISTEN_FDS", "0"))):
        os.set_inheritable(fd, False)
        try:
            sock = socket.socket(fileno=fd)
        except OSError:
            raise CannotServe(f"cannot serve: LISTEN_FDS says that fd {fd} is a socket, it is none") from None
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX or sock.type not in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            raise CannotServe(f"cannot serve: fd {fd} of LISTEN_FDS is no Unix datagram or stream socket")
        if sock.type in found:
            raise CannotServe(f"cannot serve: fd {fd} of LISTEN_FDS is a second socket of its type, one is enough")
        found[sock.type] = sock
    return found


def _bind(path: str, kind: int) -> socket.socket:
    if len(os.fsencode(path)) > _LONGEST:
        raise CannotServe(f"cannot bind {path!r}: longer than {_LONGEST} bytes, give a shorter --runtime-dir")
    fresh = f"{os.path.dirname(path)}/.{os.getpid()}"  # never longer than `path`
    _unlink(fresh)
    sock = socket.socket(socket.AF_UNIX, kind)
    sock.setblocking(False)
    if kind == socket.SOCK_DGRAM:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)  # before anyone can send: later is without a name
    try:
        sock.bind(fresh)
        os.chmod(fresh, 0o600)
        if kind == socket.SOCK_STREAM:
            sock.listen(BACKLOG)
        os.rename(fresh, path)
    except OSError as error:
        raise CannotServe(f"cannot bind {path!r}: {error.strerror}, give another --runtime-dir") from None
    return sock


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _accept_no_descriptors(sock: socket.socket) -> None:
    with suppress(OSError):  # a kernel before 6.16: the daemon is careful instead
        sock.setsockopt(socket.SOL_SOCKET, _SO_PASSRIGHTS, 0)


def _name(sock: socket.socket, ours: str) -> str:
    name = sock.getsockname()
    if isinstance(name, bytes):
        return "@" + os.fsdecode(name[1:])
    # After the rename the kernel still tells the name at bind; a service manager's socket has no other.
    return ours if os.path.basename(name).startswith(".") else str(name)


def _unlink(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)
