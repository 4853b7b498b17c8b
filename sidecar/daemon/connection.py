"""One client on the control socket: bytes to requests, replies to bytes.

Reads what is there up to a budget (fairness), cuts it into frames, and hands all submits of one reading to the writer
as one change. Every other request gets a task of its own, so that a `wait` holds up nobody; replies may come out of
order. The first frame that is no message is answered once, then the connection is closed. Here is one of the daemon's
two broad excepts: a bug in a verb costs that one request.

What one client can cost is bounded. Who does not read its replies is not read from, and gets no new ones. A message
over 64 KiB waits for its share of the memory before more of it is read. Who neither ends a message that it began nor
reads what it was answered, for `limits.patience`, is let go.
"""

from __future__ import annotations

import logging
import math
import socket
import struct
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import trio

from .. import wire
from ..config import Limits
from ..crashpoints import crash
from ..descriptor import show_id
from ..errors import BadFrame, BadRequest, Internal, NotAllowed, SidecarError, TooLarge
from ..job import Job
from ..protocol import RequestError, parse_request, refused, replied
from .budget import Budget
from .outgoing import SMALL, UNREAD, Outgoing

if TYPE_CHECKING:
    from .handlers import Handlers

log = logging.getLogger("sidecar")

_CREDENTIALS = struct.Struct("3i")
_READ = 64 * 1024  # more would be memory mapped and given back each time: 15 µs
_SMALL = 64 * 1024  # bytes of a message that needs no share
_REQUESTS = 1024  # of one client, under way
_AT_ONCE = 64  # requests taken before looking at the limits again
_STORING = 256 * 1024  # bytes of one client that wait for their commit before more is read
_BRIEF, _QUEUED = 1, 64  # requests of one client, but for those that last, worked on at once (an answer may be large)
_LASTING = ("wait", "follow", "run")
_LAST_WORDS = 5.0  # seconds


class Submit(NamedTuple):
    """A job that waits for its commit, who asked for it, what he is to be told then, and the bytes it came in."""

    number: int
    job: Job
    ack: str
    size: int


class Connection:
    """One accepted socket and what is known of its peer."""

    def __init__(
        self, sock: socket.socket, handlers: Handlers, limits: Limits, budget: Budget, owes: Callable[[], None]
    ) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._handlers = handlers
        self._framer = wire.Framer(limits.job)
        self._patience = limits.patience
        self._budget = budget
        self._share = 0  # of the budget
        self._storing = 0  # bytes of submits
        self._ends = math.inf  # trio's clock: when the message that was begun must be there
        self._brief = trio.Semaphore(_BRIEF)
        self._queued = 0  # brief requests under way
        self._scope = trio.CancelScope()
        self._begun = False  # it was looked whether it has something to say
        self.spoke = False
        self.heard = trio.current_time()
        self._out = Outgoing(sock, limits.patience, owes)
        self._busy = 0
        self._calm = trio.Event()
        _, self.uid, _ = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))

    async def run(self) -> None:
        """Serve until the client goes, or says something that is no message."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._out.push)
                    await self._receive(nursery)
                    if not self._out.gone():
                        await self._finish()
                    nursery.cancel_scope.cancel()
        except* BrokenPipeError:
            pass  # what it submitted is stored all the same
        finally:
            self._out.clear()
            self._give_back()
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()

    def close(self) -> None:
        """Have the connection end, without a word: its client asks again on a new one."""
        self._scope.cancel()
        self._out.clear()

    @property
    def idle(self) -> bool:
        """Whether nothing is under way, in either direction."""
        return self._begun and not (self._busy or self._out or self._framer.pending)

    @property
    def unread(self) -> int:
        """Bytes of replies that wait for the client to read them."""
        return len(self._out)

    async def _finish(self) -> None:
        """Answer what is under way; a client that then does not read gets a few seconds."""
        while self._busy:
            await self._next_answer()
        with trio.move_on_after(_LAST_WORDS):
            await self._out.below(1)

    def send(self, message: object) -> None:
        """Queue a message for the client; most often the socket takes it at once."""
        if self._scope.cancel_called:
            return
        self._out.send(message)

    def notify(self, message: object) -> None:
        """Send a notice, or drop it when the client does not keep up."""
        if len(self._out) < UNREAD:
            self.send(message)

    async def _next_answer(self) -> None:
        if self._calm.is_set():
            self._calm = trio.Event()
        await self._out.unless_gone(self._calm)

    async def _receive(self, nursery: trio.Nursery) -> None:
        while True:
            await self._wait_for_room()
            if self._framer.pending:
                if not await self._wait_for_the_rest():
                    return self._refuse(
                        BadFrame(f"cannot read message: it was begun, and not ended within {self._patience:g} s")
                    )
            elif self._begun:
                await trio.lowlevel.wait_readable(self._sock)
            self._begun = True
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
            self.heard, self.spoke = trio.current_time(), True
            try:
                while frames := self._framer.feed(data):
                    data, self._ends = b"", math.inf
                    for at in range(0, len(frames), _AT_ONCE):
                        self._take(frames[at : at + _AT_ONCE], nursery)
                        await self._wait_for_room()
                        if len(frames) >= _AT_ONCE:  # a commit most often takes no turn of the loop
                            await trio.lowlevel.checkpoint()
                    if not self._storing:
                        self._give_back()
            except (BadFrame, TooLarge) as error:
                return self._refuse(error)

    async def _wait_for_the_rest(self) -> bool:
        """Wait for more of a message that was begun, once there is memory for all of it; False when it is too late."""
        if min(self._framer.needed, self._budget.most) > max(_SMALL, self._share):
            self._give_back()
            self._share = await self._budget.take(self._framer.needed)
            self._ends = math.inf
        self._ends = min(self._ends, trio.current_time() + self._patience)
        with trio.move_on_at(self._ends):
            await trio.lowlevel.wait_readable(self._sock)
            return True
        return False

    def _give_back(self) -> None:
        if self._share:
            self._budget.give(self._share)
            self._share = 0

    def _refuse(self, error: SidecarError) -> None:
        self.send(refused(None, error))

    async def _wait_for_room(self) -> None:
        await self._out.below(UNREAD)
        while self._full():
            await self._next_answer()

    def _full(self) -> bool:
        storing = self._storing >= (1 if self._share else _STORING)
        return storing or self._queued >= _QUEUED or self._busy >= _REQUESTS

    def _take(self, frames: list[bytes], nursery: trio.Nursery) -> None:
        submits: list[Submit] = []
        try:
            for frame in frames:
                number, method = 0, ""
                params: list[Any] = []
                try:
                    number, method, params = parse_request(wire.unpack(frame))
                    if method == "submit":
                        job, ack = self._handlers.submitted(params, self.uid, time.time())
                        submits.append(Submit(number, job, ack, len(frame)))
                        continue
                except RequestError as error:
                    self.send(refused(error.number, error))
                except (BadRequest, NotAllowed) as error:
                    self.send(refused(number, error))
                else:
                    self._busy += 1
                    self._queued += method not in _LASTING
                    nursery.start_soon(self._answer, number, method, params)
        finally:
            if submits:
                self._store(submits)

    def _store(self, submits: list[Submit]) -> None:
        """Have jobs committed, those who want that synced too, and answer each with what is true by then."""
        crash and crash("intake.read")
        self._busy += len(submits)
        self._storing += sum(submit.size for submit in submits)
        stored = [submit for submit in submits if submit.ack == "stored"]
        synced = [submit for submit in submits if submit.ack == "synced"]

        def committed(_: object) -> None:
            self._submitted(stored)
            if synced:  # also one that was stored long ago: whether it was ever synced nobody knows
                self._handlers.syncer.put(lambda: self._submitted(synced), lambda error: self._failed(synced, error))

        self._handlers.intake.put(
            [submit.job for submit in submits], committed, lambda error: self._failed(submits, error)
        )

    def _submitted(self, submits: list[Submit]) -> None:
        for number, job, ack, _ in submits:
            self._out.add(replied(number, {"id": show_id(job.id), "ack": ack}))
        self._out.flush()
        submits and crash and crash("ack.sent")
        self._answered(submits)

    def _failed(self, submits: list[Submit], error: SidecarError) -> None:
        for submit in submits:
            self.send(refused(submit.number, error))
        self._answered(submits)

    def _answered(self, submits: list[Submit]) -> None:
        self._busy -= len(submits)
        self._storing -= sum(submit.size for submit in submits)
        if not self._storing:
            self._give_back()
        self._calm.set()

    async def _answer(self, number: int, method: str, params: list[Any]) -> None:
        try:
            if method in _LASTING:
                self.send(replied(number, await self._handlers.call(method, params, self)))
                return
            async with self._brief:
                await self._out.below(SMALL)
                if self._scope.cancel_called:
                    return
                self.send(replied(number, await self._handlers.call(method, params, self)))
        except BrokenPipeError:  # the client has gone
            raise
        except SidecarError as error:
            self.send(refused(number, error))
        except Exception as error:
            log.exception("cannot %s", method)
            self.send(refused(number, Internal(f"cannot {method}: {type(error).__name__}, see the daemon's log")))
        finally:
            self._busy -= 1
            self._queued -= method not in _LASTING
            self._calm.set()
