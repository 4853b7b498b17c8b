"""One client on the control socket: bytes to requests, replies to bytes.

Reads what is there up to a budget (fairness), cuts it into frames, and hands all submits of one reading to the writer
as one change. Every other request gets a task of its own, so that a `wait` holds up nobody; replies may come out of
order. A client that does not read its replies is not read from. The first frame that is no message is answered once,
then the connection is closed. Here is one of the daemon's two broad excepts: a bug in a verb costs that one request.
"""

from __future__ import annotations

import logging
import select
import socket
import struct
import time
from typing import TYPE_CHECKING, Any

import trio

from .. import wire
from ..errors import BadFrame, BadRequest, Internal, NotAllowed, SidecarError, TooLarge
from ..job import Job
from ..protocol import RequestError, parse_request, refused, replied, show_id

if TYPE_CHECKING:
    from .handlers import Handlers

log = logging.getLogger("sidecar")

_CREDENTIALS = struct.Struct("3i")
_READ = 256 * 1024
_UNREAD = 1024 * 1024  # bytes of replies that may wait for a client before it is no longer read from
_REQUESTS = 1024  # of one client, under way
_LAST_WORDS = 5.0  # seconds
_LOOK = 10.0  # seconds between two looks whether a client that is not read from is still there


class Connection:
    """One accepted socket and what is known of its peer."""

    def __init__(self, sock: socket.socket, handlers: Handlers, limit: int) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._handlers = handlers
        self._framer = wire.Framer(limit)
        self._out = bytearray()
        self._unsent = trio.Event()
        self._sent = trio.Event()
        self._busy = 0
        self._calm = trio.Event()
        _, self.uid, _ = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))

    async def run(self) -> None:
        """Serve until the client goes, or says something that is no message."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send)
                await self._receive(nursery)
                if not self._gone():
                    await self._finish()
                nursery.cancel_scope.cancel()
        except* BrokenPipeError:
            pass  # what it submitted is stored all the same
        finally:
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()

    def _gone(self) -> bool:
        """Say whether the client has closed, rather than only ended its sending: then nobody reads replies."""
        poll = select.poll()
        poll.register(self._sock, 0)
        return bool(poll.poll(0))

    async def _finish(self) -> None:
        """Answer what is under way; a client that then does not read gets a few seconds."""
        while self._busy:
            await self._next_answer()
        with trio.move_on_after(_LAST_WORDS):
            while self._out:
                await self._next_sent()

    # -- out ------------------------------------------------------------------------------------------------------

    def send(self, message: object) -> None:
        """Queue a message for the client; most often the socket takes it at once."""
        self._out += wire.frame(message)
        self._try_to_send()
        if self._out:
            self._unsent.set()

    def notify(self, message: object) -> None:
        """Send a notice, or drop it when the client does not keep up."""
        if len(self._out) < _UNREAD:
            self.send(message)

    def _try_to_send(self) -> None:
        try:
            while self._out:
                del self._out[: self._sock.send(self._out)]
        except BlockingIOError:
            return
        except OSError:
            self._out.clear()  # gone; the reader sees it too
        self._sent.set()

    async def _send(self) -> None:
        while True:
            await self._unsent.wait()
            self._unsent = trio.Event()
            while self._out:
                await trio.lowlevel.wait_writable(self._sock)
                self._try_to_send()

    async def _next_sent(self) -> None:
        self._sent = trio.Event()
        await self._unless_gone(self._sent)

    async def _next_answer(self) -> None:
        self._calm = trio.Event()
        await self._unless_gone(self._calm)

    async def _unless_gone(self, event: trio.Event) -> None:
        """Wait, while the socket is not read from; so that its end is seen all the same, look now and then."""
        while not event.is_set():
            with trio.move_on_after(_LOOK):
                await event.wait()
            if self._gone():
                raise BrokenPipeError

    # -- in -------------------------------------------------------------------------------------------------------

    async def _receive(self, nursery: trio.Nursery) -> None:
        while True:
            await self._wait_for_room()
            await trio.lowlevel.wait_readable(self._sock)
            try:
                data = self._sock.recv(_READ)
            except BlockingIOError:
                continue
            except ConnectionResetError:  # it closed without reading what we had said
                return
            if not data:
                if self._framer.pending:
                    self._refuse(BadFrame("cannot read message: the connection ended in the middle of a frame"))
                return
            try:
                while frames := self._framer.feed(data):
                    self._take(frames, nursery)
                    data = b""
            except (BadFrame, TooLarge) as error:
                return self._refuse(error)

    def _refuse(self, error: SidecarError) -> None:
        self.send(refused(None, error))

    async def _wait_for_room(self) -> None:
        while len(self._out) >= _UNREAD:
            await self._next_sent()
        while self._busy >= _REQUESTS:
            await self._next_answer()

    def _take(self, frames: list[bytes], nursery: trio.Nursery) -> None:
        submits: list[tuple[int, Job, str]] = []
        try:
            for frame in frames:
                number, method = 0, ""
                params: list[Any] = []
                try:
                    number, method, params = parse_request(wire.unpack(frame))
                    if method == "submit":
                        submits.append((number, *self._handlers.submitted(params, self.uid, time.time())))
                        continue
                except RequestError as error:
                    self.send(refused(error.number, error))
                except (BadRequest, NotAllowed) as error:
                    self.send(refused(number, error))
                else:
                    self._busy += 1
                    nursery.start_soon(self._answer, number, method, params)
        finally:
            if submits:
                self._store(submits)

    def _store(self, submits: list[tuple[int, Job, str]]) -> None:
        """Have jobs committed, those who want that synced too, and answer each with what is true by then."""
        self._busy += len(submits)
        stored = [submit for submit in submits if submit[2] == "stored"]
        synced = [submit for submit in submits if submit[2] == "synced"]

        def committed(_: object) -> None:
            self._submitted(stored)
            if synced:  # also one that was stored long ago: whether it was ever synced nobody knows
                self._handlers.syncer.put(lambda: self._submitted(synced), lambda error: self._failed(synced, error))

        self._handlers.intake.put([job for _, job, _ in submits], committed, lambda error: self._failed(submits, error))

    def _submitted(self, submits: list[tuple[int, Job, str]]) -> None:
        for number, job, ack in submits:
            self._out += wire.frame(replied(number, {"id": show_id(job.id), "ack": ack}))
        self._try_to_send()
        if self._out:
            self._unsent.set()
        self._busy -= len(submits)
        self._calm.set()

    def _failed(self, submits: list[tuple[int, Job, str]], error: SidecarError) -> None:
        for number, _, _ in submits:
            self.send(refused(number, error))
        self._busy -= len(submits)
        self._calm.set()

    async def _answer(self, number: int, method: str, params: list[Any]) -> None:
        try:
            self.send(replied(number, await self._handlers.call(method, params, self)))
        except SidecarError as error:
            self.send(refused(number, error))
        except Exception as error:
            log.exception("cannot %s", method)
            self.send(refused(number, Internal(f"cannot {method}: {type(error).__name__}, see the daemon's log")))
        finally:
            self._busy -= 1
            self._calm.set()
