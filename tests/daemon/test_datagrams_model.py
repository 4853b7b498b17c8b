"""Peek, commit, consume as a model: many lives of a daemon on one socket, each of which may end at any system call.

The socket and the readers are real, and so are parser and quarantine; the store is a dict. Senders give, at random,
good jobs, empty datagrams, too large ones, garbage, some with descriptors, and now and then one that kills the parser.
They send between any two system calls of the reader. At the end every job is in the store or, if a daemon died of it,
on file; and the calls that it took are counted, so that a reader that spins fails too.
"""

from __future__ import annotations

import array
import os
import random
import socket
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import trio

from sidecar import wire
from sidecar.config import Config
from sidecar.daemon import datagrams
from sidecar.daemon.datagrams import Batch, Datagrams
from sidecar.daemon.intake import Intake
from sidecar.daemon.quarantine import Quarantine
from tests.rawclient import new_id, pack

LARGEST = 2048  # instead of 256 KiB, so that datagrams over it are cheap
MARKER = b"kills-the-parser"


class Killed(Exception):
    """SIGKILL from outside: no sign of a bad datagram."""


class Poisoned(Exception):
    """The parser died."""


class Tapped(socket.socket):
    """The reader's socket: every call is counted, and may be the last."""

    calls = 0
    die_in = -1  # calls until death; negative: never
    between: Any = None

    def _tap(self) -> None:
        self.calls += 1
        self.die_in -= 1
        if self.die_in == 0:
            raise Killed
        if self.between is not None:
            self.between()

    def recvmsg_into(self, *args: Any) -> Any:
        self._tap()  # before the call, which is after whatever was done last
        return super().recvmsg_into(*args)

    def recv_into(self, *args: Any) -> Any:
        self._tap()
        return super().recv_into(*args)


class DictIntake(Intake):
    """The real intake, but for its store, and with two more moments to die in."""

    def __init__(self, stored: dict[bytes, int], quarantine: Quarantine, sock: Tapped) -> None:
        nobody: Any = None
        super().__init__(Config(), nobody, nobody, nobody, nobody, quarantine)
        self._quiet_until = float("inf")
        self._stored = stored
        self._sock = sock

    async def store(self, jobs: list[Any]) -> None:
        self._sock._tap()
        for job in jobs:
            self._stored[job.id] = self._stored.get(job.id, 0) + 1
        self._sock._tap()


class World:
    """Senders, lives and what came of it."""

    def __init__(self, folder: Path, kind: type[Datagrams], seed: int) -> None:
        self.dice = random.Random(seed)
        self.kind = kind
        self.folder = folder
        self.reading = Tapped(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.reading.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.reading.bind(str(folder / "s"))
        self.sending = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sending.connect(str(folder / "s"))
        self.sending.setblocking(False)
        self.pipe = os.pipe()
        self.sent: Counter[str] = Counter()
        self.good: set[bytes] = set()
        self.poison: set[bytes] = set()
        self.stored: dict[bytes, int] = {}
        self.deaths = self.lives = self.killed = 0

    def close(self) -> None:
        self.reading.close()
        self.sending.close()
        for fd in self.pipe:
            os.close(fd)

    # -- senders --------------------------------------------------------------------------------------------------

    def send_one(self) -> bool:
        """Send something; False when the queue is full."""
        roll = self.dice.random()
        id = new_id()
        data = pack([2, "submit", [{"id": id, "argv": ["true"]}]])
        kind = "good"
        if roll < 0.12:
            kind, data = "empty", b""
        elif roll < 0.15:
            kind, data = "oversize", data + bytes(self.dice.randrange(LARGEST, 4 * LARGEST))
        elif roll < 0.20:
            kind, data = "garbage", self.dice.randbytes(self.dice.randrange(1, 40))
        elif roll < 0.201:
            kind, data = "poison", MARKER + id
        rights = []
        if self.dice.random() < 0.01:  # not more: each of them costs the reader a turn in a thread
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", self.pipe))]
        try:
            self.sending.sendmsg([data], rights)
        except BlockingIOError:
            return False
        self.sent[kind] += 1
        if kind == "good":
            self.good.add(id)
        if kind == "poison":
            self.poison.add(data)
        return True

    def sometimes(self) -> None:
        if self.dice.random() < 0.05:
            self.send_one()

    # -- readers --------------------------------------------------------------------------------------------------

    async def live(self, mortal: bool) -> None:
        """Let one daemon read until the socket is empty or it dies, and tell the next one what the keeper would."""
        self.lives += 1
        self.reading.die_in = self.dice.randrange(1, 40) if mortal and self.dice.random() < 0.3 else -1
        quarantine = Quarantine(str(self.folder / "quarantine"), self.deaths)
        reader = self.kind(self.reading, DictIntake(self.stored, quarantine, self.reading))
        try:
            with trio.fail_after(30):  # it must never wait for what it has peeked
                await reader.take_all()
        except Killed:
            self.killed += 1
        except Poisoned:
            self.deaths += 1
        else:
            quarantine.close()
            self.deaths = 0

    async def run(self, count: int) -> None:
        self.reading.between = self.sometimes
        while self.sent.total() < count:
            while self.dice.random() > 0.05 and self.send_one():
                pass
            await self.live(mortal=True)
        self.reading.between = None
        for _ in range(100):
            await self.live(mortal=False)

    def lost(self) -> set[bytes]:
        """Return the good jobs that are neither stored nor on file."""
        folder = self.folder / "quarantine"
        on_file = {file.read_bytes() for file in folder.iterdir()} if folder.exists() else set()
        return {id for id in self.good - self.stored.keys() if not any(id in data for data in on_file)}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    real = wire.unpack

    def unpack(data: bytes | memoryview) -> Any:
        if bytes(data[: len(MARKER)]) == MARKER:
            raise Poisoned
        return real(data)

    monkeypatch.setattr(datagrams, "_LARGEST", LARGEST)
    monkeypatch.setattr(wire, "unpack", unpack)
    made: list[World] = []

    def make(kind: type[Datagrams] = Datagrams, seed: int = 20261121) -> World:
        made.append(World(tmp_path, kind, seed))
        return made[-1]

    yield make
    for one in made:
        one.close()


async def test_of_a_hundred_thousand_datagrams_and_thousands_of_deaths_nothing_is_lost(world: Any) -> None:
    here = world()
    await here.run(100_000)
    told = f"{dict(here.sent)}, {here.lives} lives, {here.killed} killed, {here.reading.calls} calls"
    assert here.lost() == set(), told
    assert here.killed > 1000 and min(here.sent.values()) > 50, told
    put_by = {file.read_bytes() for file in (here.folder / "quarantine").iterdir()}
    assert here.poison <= put_by, "what kills the parser is on file, and out of the way"
    with pytest.raises(BlockingIOError):
        here.reading.recv(1)
    again = sum(here.stored.values()) - len(here.stored)
    assert again < 40 * here.lives, "only what was peeked and not consumed is stored again"
    assert here.reading.calls < 3 * here.sent.total() + 2 * again + 20 * here.lives, f"it spins: {told}"


class CountingMessages(Datagrams):
    """The negative control: it counts the datagrams that it peeked, and receives as many."""

    def _peek(self) -> Batch:
        jobs, size, count = [], 0, 0
        while count < 256:
            try:
                length, ancillary, _, _ = self._sock.recvmsg_into(
                    [self._buffer], datagrams._ANCILLARY, socket.MSG_PEEK | socket.MSG_TRUNC
                )
            except BlockingIOError:
                break
            count += 1
            if length:
                data = self._view[: min(length, LARGEST)]
                job = self._intake.read_handoff(data, datagrams._sender(ancillary), "datagrams")
                jobs += [job] if job is not None else []
            size += 1
        return Batch(jobs, len(jobs), size, False)

    async def _consume(self, batch: Batch) -> None:
        for _ in range(batch.size):
            try:
                self._receive_one()
            except BlockingIOError:
                return


class Hasty(Datagrams):
    """The other one: it receives what it peeked before that is committed."""

    async def _store(self, jobs: list[Any]) -> None:
        pass

    async def _consume(self, batch: Batch) -> None:
        await super()._consume(batch)
        await super()._store(batch.jobs)


@pytest.mark.parametrize("kind", [CountingMessages, Hasty])
async def test_counting_messages_or_receiving_before_the_commit_would_lose(world: Any, kind: type[Datagrams]) -> None:
    here = world(kind)
    await here.run(10_000)
    assert len(here.lost()) > 10


async def test_run_wakes_up_once_for_each_burst_and_never_spins(world: Any) -> None:
    """`take_all` in the loop that waits: as many rounds as bursts, none while nothing comes."""
    here = world()
    begun = ended = 0

    class Counting(Datagrams):
        async def take_all(self) -> bool:
            nonlocal begun, ended
            begun += 1
            more = await super().take_all()
            ended += 1
            return more

    stored: dict[bytes, int] = {}
    reader = Counting(here.reading, DictIntake(stored, Quarantine(str(here.folder / "q"), 0), here.reading))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader.run)
        while not ended:
            await trio.sleep(0)
        for number in range(200):
            before = ended
            kind = number % 4
            data = pack([2, "submit", [{"id": new_id(), "argv": ["true"]}]])
            here.sending.send((data, b"", data + bytes(2 * LARGEST), b"\xc1")[kind])
            with trio.fail_after(10):
                while ended == before:
                    await trio.sleep(0)
            for _ in range(20):  # turns of trio's loop in which nothing comes
                await trio.sleep(0)
        nursery.cancel_scope.cancel()
    assert begun == 201
    assert len(stored) == 50
