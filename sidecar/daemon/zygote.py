"""One zygote as the daemon sees it: its channel, what its key says of it, and the events that it may tell.

key     "default"               for what needs no runtime
        <digest>                of user and runtime record
        <digest>.<seq>          for one attempt of a job that went down with its zygote
        <digest>+<module>       warm: it has imported the module
"""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Callable
from typing import Any

import trio

from ..job import Ending
from ..zygote.channel import Channel

WARM = "+"  # in the key of a warm zygote, before its module
ALONE = "."  # in the key of a zygote for one job

Tail = tuple[bytes, int]  # the end of what an attempt has written, and how many bytes were dropped before it
Key = tuple[int, int]  # of an attempt: the job's number in the store, the number of the attempt


class Events:
    """What zygotes tell; the attempts' book implements it."""

    def exited(self, ending: Ending, generation: int | None) -> None: ...
    def stale(self, key: Key) -> None: ...
    def unborn(self, key: Key, why: str) -> None: ...
    def wrote(self, key: Key, data: bytes, place: int) -> None: ...
    def present(self, generation: int, keys: set[Key]) -> None: ...
    def died(self, generation: int) -> None: ...
    def changed(self) -> None: ...
    def heard(self) -> None: ...


class Zygote:
    """One zygote: its channel, and what it said about itself."""

    def __init__(self, generation: int, key: str, pid: int, sock: socket.socket) -> None:
        self.generation = generation
        self.key = key
        self.pid = pid
        self.channel = Channel(sock)
        self.ready = False  # it has answered our hello
        self.strange = False  # it speaks another protocol: nothing more that it says is understood
        self.runtime, _, self.module = key.partition(WARM)  # module "": it is a cold one
        self.alone = ALONE in self.runtime
        self.old = False
        self.attempts = 0
        self.idle_since = -math.inf
        self.stuck = trio.Event()
        self._tickets: dict[int, Callable[[Tail | None], None]] = {}
        self._ticket = int.from_bytes(os.urandom(7))  # answers to the daemon before us may still be on their way
        self.scope = trio.CancelScope()

    def post(self, message: list[Any]) -> None:
        """Say something with the next flush: what a commit brings goes out as one packet."""
        self.channel.send(message)

    def send(self, message: list[Any]) -> None:
        """Say something now; what the socket does not take follows when it does."""
        self.channel.send(message)
        self.flush()

    def flush(self) -> None:
        """Write what is queued."""
        try:
            if not self.channel.flush():
                self.stuck.set()
        except (BrokenPipeError, ConnectionResetError, ConnectionRefusedError):
            pass  # it has died; the keeper will say so, and then its attempts are interrupted

    async def push(self) -> None:
        """Write what the socket did not take, whenever it does."""
        while True:
            await self.stuck.wait()
            self.stuck = trio.Event()
            await trio.lowlevel.wait_writable(self.channel.sock)
            self.flush()

    async def tail(self, key: Key) -> Tail | None:
        """Return what a running attempt has written so far and how much was dropped; None when it is not there."""
        self._ticket += 1
        answered = trio.Event()
        box: list[Tail | None] = []

        def answer(tail: Tail | None) -> None:
            box.append(tail)
            answered.set()

        self._tickets[self._ticket] = answer
        self.send(["tail", list(key), self._ticket])
        await answered.wait()
        return box[0]

    def answer(self, ticket: int, tail: Tail | None) -> None:
        """Pass on what it says to a question; one that nobody asks any more is none."""
        asked = self._tickets.pop(ticket, None)
        if asked is not None:
            asked(tail)

    def answer_nobody(self) -> None:
        """Tell all who asked that there is no answer: it is dead."""
        for ticket in list(self._tickets):
            self.answer(ticket, None)
