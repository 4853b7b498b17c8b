"""A peer for the client's tests: the two real sockets in a folder, answered by a function that the test gives.

It knows the wire and no jobs. `on_request(method, params)` returns a result, raises one of our errors (an error reply),
or returns SILENT (no reply), HANG_UP (the connection ends), or a LATE value (sent only with the next reply).
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from sidecar import descriptor, protocol, wire
from sidecar.errors import SidecarError
from sidecar.protocol import parse_handoff

SILENT, HANG_UP = object(), object()
PATIENCE = 10.0  # seconds until a test that waits for something has failed


class Late(NamedTuple):
    """A reply that comes only together with the next one, after it was given up."""

    value: Any


class Notices(NamedTuple):
    """Notices that come before the reply."""

    notices: list[list[Any]]
    value: Any


class Stub:
    """A daemon of which only the sockets are real."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[tuple[str, list[Any]]] = []
        self.connections = 0
        self.on_request: Callable[[str, list[Any]], Any] = lambda method, params: {}
        self._late: list[bytes] = []
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._control: socket.socket | None = None
        self.handoff: socket.socket | None = None

    def open_handoff(self) -> None:
        """Bind the datagram socket, in place of one that may be there."""
        path = self.folder / "handoff.sock"
        path.unlink(missing_ok=True)
        self.handoff = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.handoff.bind(str(path))
        self.handoff.settimeout(PATIENCE)

    def close_handoff(self) -> None:
        """Go away without removing the path, as a killed keeper does."""
        assert self.handoff is not None
        self.handoff.close()

    def open_control(self) -> None:
        """Bind the stream and answer in threads."""
        path = self.folder / "control.sock"
        path.unlink(missing_ok=True)
        self._control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._control.bind(str(path))
        self._control.listen(64)
        self._start(self._accept, self._control)

    def close_control(self) -> None:
        """End the listener and all connections."""
        if self._control is not None:
            self._shut(self._control)
        for connection in self._open:
            self._shut(connection)
        for thread in self._threads:
            thread.join(PATIENCE)
        self._open.clear()

    def close(self) -> None:
        """End everything."""
        self.close_control()
        if self.handoff is not None:
            self.handoff.close()

    def message(self) -> bytes:
        """Wait for the next datagram."""
        assert self.handoff is not None
        return self.handoff.recv(1 << 20)

    def job(self) -> dict[str, Any]:
        """Wait for the next datagram and return its job, checked as the daemon checks it, its documents opened."""
        return opened(parse_handoff(wire.unpack(self.message())))

    def fill(self) -> int:
        """Fill the datagram queue and return how many it took."""
        count = 0
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as filler:
            filler.connect(str(self.folder / "handoff.sock"))
            filler.setblocking(False)
            while True:
                try:
                    filler.send(b"")
                except BlockingIOError:
                    return count
                count += 1

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        framer = wire.Framer(1 << 26)
        with connection:
            while True:
                try:
                    data = connection.recv(1 << 20)
                except OSError:
                    return
                if not data or not all(self._reply(connection, body) for body in framer.feed(data)):
                    return

    def _reply(self, connection: socket.socket, body: bytes) -> bool:
        number, method, params = protocol.parse_request(wire.unpack(body))
        self.asked.append((method, params))
        try:
            result = self.on_request(method, params)
        except SidecarError as error:
            connection.sendall(wire.frame(protocol.refused(number, error)))
            return True
        if result is HANG_UP:
            return False
        if isinstance(result, Late):
            self._late.append(wire.frame(protocol.replied(number, result.value)))
        elif isinstance(result, Notices):
            frames = [wire.frame(protocol.noticed("output", notice)) for notice in result.notices]
            connection.sendall(b"".join(frames) + wire.frame(protocol.replied(number, result.value)))
        elif result is not SILENT:
            connection.sendall(b"".join(self._late) + wire.frame(protocol.replied(number, result)))
            self._late.clear()
        return True

    def _start(self, function: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=function, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    @staticmethod
    def _shut(sock: socket.socket) -> None:
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        sock.close()


def opened(job: Any) -> dict[str, Any]:
    """Return a job with its packed documents unpacked, after the daemon's own check of it."""
    descriptor.parse_job(job, 0, 0.0)
    documents = {name: wire.unpack(job[name]) for name in ("args", "kwargs", "runtime") if name in job}
    return {**job, **documents}


def spooled(folder: Path) -> list[dict[str, Any]]:
    """Return the jobs in the spool of a runtime folder."""
    files = sorted((folder / "spool" / "new").iterdir())
    return [opened(parse_handoff(wire.unpack(file.read_bytes()))) for file in files]
