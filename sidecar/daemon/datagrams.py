"""The hand-off socket: peek a batch, commit it, only then receive and drop it.

Killed in between, we (or the next daemon) find the batch in the kernel again, and the client-made ids make the second
insert a no-op. What is consumed is counted in bytes, never in messages: the kernel skips an empty datagram when peeking
with an offset, so counting messages would drop somebody else's (design 4.2 has the figures).

    begin     set the offset to 0
    peek      with SO_PEEK_OFF, MSG_PEEK | MSG_TRUNC: each peek goes on behind the last; add up the real lengths
    stop at   nothing more, the budget, a truncated datagram (its rest would be peeked as if it were another one), or
              one that lost descriptors (its receipt may block on a lingering socket, so it is received in a thread)
    commit    then receive until that many bytes are gone
    empty     readable but nothing to peek: the head is an empty datagram; receive it

An empty one may carry a descriptor as well, and a peek passes over it without a word. So where the kernel lets any
through (before 6.16, and what was sent before we forbade it), it is asked for the length of the head before each
receipt, and what is empty is received in a thread, too.

Never is readability waited for while anything peeked is unconsumed: the socket stays readable, that would spin.
"""

from __future__ import annotations

import fcntl
import select
import socket
import struct
import sys
import termios
from typing import NamedTuple

import trio

from ..crashpoints import crash
from ..errors import NoSpace
from ..job import Job
from .intake import Intake

SO_PEEK_OFF = 42
SO_PASSRIGHTS = 83
_CREDENTIALS = struct.Struct("3i")
_ANCILLARY = socket.CMSG_SPACE(_CREDENTIALS.size)  # exactly: with more room the kernel would hand us descriptors
_LARGEST = 256 * 1024  # over what a sender's default buffer lets through
_BATCH_MESSAGES = 256
_BATCH_BYTES = 1024 * 1024
_FULL_PAUSE = 0.5
_TRUNC, _CTRUNC = int(socket.MSG_TRUNC), int(socket.MSG_CTRUNC)  # with the enum's members `|` and `&` cost a µs each
_PEEK = int(socket.MSG_PEEK) | _TRUNC


class Batch(NamedTuple):
    """What one round of peeking found."""

    jobs: list[Job]
    datagrams: int
    size: int  # bytes to receive once it is stored
    with_descriptors: bool  # the last one may block its receiver


class Datagrams:
    """Reads the hand-off socket, one batch after the other."""

    def __init__(self, sock: socket.socket, intake: Intake) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._sock = sock
        self._intake = intake
        self._buffer = bytearray(_LARGEST)
        self._view = memoryview(self._buffer)
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN | select.POLLRDHUP)
        self._wary = True  # what is in the socket may carry descriptors
        self._round = trio.Event()  # set, and replaced, whenever everything that was there is stored

    async def run(self) -> None:
        """Take in datagrams until cancelled, or until the socket is shut down and empty."""
        while await self.take_all():
            self._intake.quarantine.ease("datagrams")
            self._round.set()
            self._round = trio.Event()
            await trio.lowlevel.wait_readable(self._sock)

    async def take_all(self) -> bool:
        """Take in what is there; returns when the socket is empty: False when nothing can come any more."""
        # The offset outlives the reader before us, and a round that was cancelled between its peek and its receipt.
        self._sock.setsockopt(socket.SOL_SOCKET, SO_PEEK_OFF, 0)
        taken = 0
        while True:
            if taken >= _BATCH_MESSAGES:  # short queues make short batches: a turn of trio's loop for each costs double
                taken = 0
                await trio.lowlevel.checkpoint()
            readable = self._readable()  # asked before the peek: what comes in between must not be taken for empty
            batch = self._peek()
            if batch.size:
                taken += batch.datagrams
                crash and crash("intake.peeked")
                await self._store(batch.jobs)
                crash and crash("intake.stored")
                await self._consume(batch)
                crash and crash("intake.consumed")
                self._intake.quarantine.acquit("datagrams")
            elif not readable or not await self._drop_empty():
                self._wary = _lets_descriptors_through(self._sock)
                return not self._shut_down()

    async def caught_up(self) -> None:
        """Return when everything that was in the socket at the call has been stored."""
        if self._readable():
            await self._round.wait()

    def _readable(self) -> bool:
        return bool(self._poll.poll(0))

    def _shut_down(self) -> bool:
        return any(events & select.POLLRDHUP for _, events in self._poll.poll(0))

    def _peek(self) -> Batch:
        jobs: list[Job] = []
        size = count = 0
        most = 1 if self._intake.quarantine.wary("datagrams") else _BATCH_MESSAGES
        while count < most and size < _BATCH_BYTES:
            try:
                length, ancillary, flags, _ = self._sock.recvmsg_into([self._buffer], _ANCILLARY, _PEEK)
            except BlockingIOError:
                break
            count += 1
            if length == 0:
                break  # an empty datagram, or the end of a socket that was shut down
            size += length
            if flags & _TRUNC:
                self._intake.unreadable(f"datagrams: {length} bytes are too many for a datagram, use the stream")
                return Batch(jobs, count, size, bool(flags & _CTRUNC))
            job = self._intake.read_handoff(self._view[:length], _sender(ancillary), "datagrams")
            if job is not None:
                jobs.append(job)
            if flags & _CTRUNC:
                return Batch(jobs, count, size, True)
        return Batch(jobs, count, size, False)

    async def _store(self, jobs: list[Job]) -> None:
        """Commit, however long the disk stays full: what is in the kernel is safe there, and its senders are told."""
        while jobs:
            try:
                return await self._intake.store(jobs)
            except NoSpace:
                await trio.sleep(_FULL_PAUSE)

    async def _consume(self, batch: Batch) -> None:
        if batch.with_descriptors:
            await trio.to_thread.run_sync(self._receive, batch.size)
        elif self._wary:
            await self._receive_warily(batch.size)
        else:
            self._receive(batch.size)

    def _receive(self, size: int) -> None:
        while size > 0:
            size -= self._receive_one()

    async def _receive_warily(self, size: int) -> None:
        while size > 0:
            if self._head() == 0:
                await trio.to_thread.run_sync(self._receive_one)
            else:
                size -= self._receive_one()

    def _receive_one(self) -> int:
        return self._sock.recv_into(self._buffer, 1, _TRUNC)

    def _head(self) -> int:
        """Return the length of the datagram at the head, which is what this asks of a datagram socket."""
        return int.from_bytes(fcntl.ioctl(self._sock, termios.FIONREAD, bytes(4)), sys.byteorder)

    async def _drop_empty(self) -> bool:
        return await trio.to_thread.run_sync(self._receive_empty) if self._wary else self._receive_empty()

    def _receive_empty(self) -> bool:
        """Receive the empty datagram at the head, which is why nothing could be peeked; False when there is none."""
        try:
            _, ancillary, _, _ = self._sock.recvmsg_into([self._buffer], _ANCILLARY)
        except BlockingIOError:
            return False
        if not ancillary:  # no sender: no datagram either
            return False
        self._intake.unreadable("datagrams: an empty one")
        return True


def _lets_descriptors_through(sock: socket.socket) -> bool:
    try:
        return bool(sock.getsockopt(socket.SOL_SOCKET, SO_PASSRIGHTS))
    except OSError:  # a kernel that does not know the option
        return True


def _sender(ancillary: list[tuple[int, int, bytes]]) -> int | None:
    """Return the uid that the kernel vouches for, None when it does not."""
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS and len(data) == _CREDENTIALS.size:
            uid: int = _CREDENTIALS.unpack(data)[1]
            return uid
    return None
