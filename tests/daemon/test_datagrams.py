"""Peek, commit, consume, against a real socket and with crashes at each step; the intake is a list."""

from __future__ import annotations

import array
import random
import socket
import struct
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import trio

from sidecar.daemon.datagrams import Datagrams
from sidecar.daemon.quarantine import Quarantine


class Crash(Exception):
    """The daemon dies here."""


class Record:
    """An intake that stores what it is given, and dies on demand before or after its commit."""

    quarantine = Quarantine("/nowhere", 0)

    def __init__(self) -> None:
        self.stored: list[bytes] = []
        self.refused = 0
        self.die_before = self.die_after = False

    def read_handoff(self, data: memoryview, uid: int | None, door: str) -> Any:
        assert uid is not None
        return bytes(data)

    def unreadable(self, why: str) -> None:
        self.refused += 1

    async def store(self, jobs: list[Any]) -> None:
        if self.die_before:
            raise Crash
        self.stored += jobs
        if self.die_after:
            raise Crash


@pytest.fixture
def sockets(tmp_path: Path) -> Any:
    reading = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    reading.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    reading.bind(str(tmp_path / "s"))
    sending = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sending.connect(str(tmp_path / "s"))
    sending.setblocking(False)
    yield reading, sending
    reading.close()
    sending.close()


def fill(sending: socket.socket, messages: list[bytes]) -> int:
    """Send as many as the queue takes."""
    for count, message in enumerate(messages):
        try:
            sending.send(message)
        except BlockingIOError:
            return count
    return len(messages)


async def take_all(reader: Datagrams) -> None:
    with trio.fail_after(10):  # it must never wait for what it has peeked
        await reader.take_all()


async def test_what_is_sent_is_stored_in_order_and_gone(sockets: Any) -> None:
    reading, sending = sockets
    record = Record()
    assert fill(sending, [b"one", b"two", b"three"]) == 3
    reader = Datagrams(reading, record)  # type: ignore[arg-type]
    await take_all(reader)
    assert record.stored == [b"one", b"two", b"three"]
    with pytest.raises(BlockingIOError):
        reading.recv(1)


@pytest.mark.parametrize("when", ["die_before", "die_after"])
async def test_a_reader_that_dies_around_its_commit_leaves_the_batch_to_the_next(sockets: Any, when: str) -> None:
    reading, sending = sockets
    first = Record()
    setattr(first, when, True)
    fill(sending, [b"one", b"two"])
    with pytest.raises(Crash):
        await take_all(Datagrams(reading, first))  # type: ignore[arg-type]
    second = Record()
    await take_all(Datagrams(reading, second))  # type: ignore[arg-type]
    assert second.stored == [b"one", b"two"]


async def test_empty_datagrams_are_dropped_wherever_they_stand(sockets: Any) -> None:
    reading, sending = sockets
    record = Record()
    for messages in ([b"", b"a"], [b"b", b"", b"c"], [b"d", b""], [b"", b"", b""], [b"e"]):
        fill(sending, messages)
        await take_all(Datagrams(reading, record))  # type: ignore[arg-type]
    assert record.stored == [b"a", b"b", b"c", b"d", b"e"]


async def test_a_truncated_datagram_is_refused_and_its_rest_is_no_message(sockets: Any) -> None:
    reading, sending = sockets
    sending.setsockopt(socket.SOL_SOCKET, 32, 4 * 1024 * 1024)  # SO_SNDBUFFORCE
    record = Record()
    reader = Datagrams(reading, record)  # type: ignore[arg-type]
    fill(sending, [b"before", b"x" * 1_000_000, b"after"])
    await take_all(reader)
    assert (record.refused, record.stored[0], record.stored[-1]) == (1, b"before", b"after")


async def test_a_lingering_socket_in_a_datagram_does_not_block_the_reader(sockets: Any) -> None:
    reading, sending = sockets
    listener = socket.create_server(("127.0.0.1", 0))
    far = socket.create_connection(listener.getsockname())
    near, _ = listener.accept()
    near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 3))
    near.setblocking(False)
    with pytest.raises(BlockingIOError):  # unread bytes: its last close lingers for 3 s
        while True:
            near.send(bytes(65536))
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [near.fileno()]))]
    sending.sendmsg([b"heavy"], rights)
    near.close()
    fill(sending, [b"after"])
    record = Record()
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await trio.sleep(0.01)
            ticks += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(tick)
        await take_all(Datagrams(reading, record))  # type: ignore[arg-type]
        nursery.cancel_scope.cancel()
    assert record.stored == [b"heavy", b"after"]
    assert ticks > 20, "the loop went on while the kernel closed what was attached"
    far.close()
    listener.close()


class Hasty(Datagrams):
    """The negative control: it receives what it peeked before that is committed."""

    def _peek(self) -> Any:
        batch = super()._peek()
        self._receive(batch.size)
        return batch._replace(size=0) if not batch.jobs else batch

    async def _consume(self, batch: Any) -> None:
        pass


async def storm(kind: type[Datagrams], reading: socket.socket, sending: socket.socket, rounds: int) -> Counter[bytes]:
    """Send rounds of good and empty datagrams, dying around commits at random; return what was sent and not stored."""
    dice = random.Random(7)
    sent: list[bytes] = []
    stored: set[bytes] = set()
    for number in range(rounds):
        batch = [b"" if dice.random() < 0.2 else b"%d-%d" % (number, n) for n in range(dice.randrange(1, 9))]
        sent += [message for message in batch[: fill(sending, batch)] if message]
        record = Record()
        record.die_before, record.die_after = dice.random() < 0.2, dice.random() < 0.2
        try:
            await take_all(kind(reading, record))  # type: ignore[arg-type]
        except Crash:
            pass
        stored.update(record.stored)
    record = Record()
    await take_all(kind(reading, record))  # type: ignore[arg-type]
    return Counter(sent) - Counter(stored | set(record.stored))


async def test_nothing_is_lost_in_a_storm_of_crashes_and_empty_datagrams(sockets: Any) -> None:
    assert await storm(Datagrams, *sockets, rounds=2000) == Counter()


async def test_receiving_before_the_commit_would_lose(sockets: Any) -> None:
    assert await storm(Hasty, *sockets, rounds=2000) != Counter()


async def test_a_round_that_was_cut_off_is_peeked_anew_by_the_same_reader(sockets: Any) -> None:
    """What a stop does to a batch whose commit waits for room on the disk."""
    reading, sending = sockets
    record = Record()
    reader = Datagrams(reading, record)  # type: ignore[arg-type]
    fill(sending, [b"one", b"two"])
    scope = trio.CancelScope()

    async def cut_off(jobs: list[Any]) -> None:
        scope.cancel()
        await trio.sleep_forever()

    record.store = cut_off  # type: ignore[method-assign]
    with scope:
        await reader.take_all()
    del record.store
    await take_all(reader)
    assert (record.stored, record.refused) == ([b"one", b"two"], 0)
