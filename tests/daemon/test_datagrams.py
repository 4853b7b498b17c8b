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

from sidecar.daemon import datagrams
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


LINGERING: dict[str, list[tuple[bytes, bool]]] = {  # the datagrams in order, and which ones carry the socket
    "a job": [(b"one", True), (b"two", False)],
    "a job among others": [(b"one", False), (b"two", True), (b"three", False)],
    "an empty one": [(b"", True), (b"one", False)],
    "an empty one among others": [(b"one", False), (b"", True), (b"two", False)],
    "an empty one at the end": [(b"one", False), (b"", True)],
    "two empty ones": [(b"", False), (b"one", False), (b"", True), (b"", True), (b"two", False)],
    "one that is truncated": [(b"one", False), (b"x" * 9000, True), (b"two", False)],
}


def lingering() -> tuple[socket.socket, list[socket.socket]]:
    """Return a socket whose last close takes 1 s, and what has to stay open for that."""
    listener = socket.create_server(("127.0.0.1", 0))
    far = socket.create_connection(listener.getsockname())
    near, _ = listener.accept()
    near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 1))
    near.setblocking(False)
    with pytest.raises(BlockingIOError):  # unread bytes: its last close lingers
        while True:
            near.send(bytes(65536))
    return near, [listener, far]


async def longest_stop(reader: Datagrams) -> float:
    """Take in everything; return for how long trio's loop stood still at most, in seconds."""
    longest = 0.0

    async def tick() -> None:
        nonlocal longest
        while True:
            before = trio.current_time()
            await trio.sleep(0.01)
            longest = max(longest, trio.current_time() - before)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(tick)
        await trio.sleep(0.02)
        await take_all(reader)
        await trio.sleep(0.02)
        nursery.cancel_scope.cancel()
    return longest


@pytest.mark.parametrize("name", LINGERING)
async def test_a_lingering_socket_in_a_datagram_does_not_block_the_loop(
    sockets: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(datagrams, "_LARGEST", 8192)
    reading, sending = sockets
    near, others = lingering()
    for data, heavy in LINGERING[name]:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [near.fileno()]))] if heavy else []
        sending.sendmsg([data], rights)
    near.close()
    record = Record()
    reader = Datagrams(reading, record)  # type: ignore[arg-type]
    assert await longest_stop(reader) < 0.8, "the kernel took 1 s to close what was attached"
    assert record.stored == [data for data, _ in LINGERING[name] if 0 < len(data) < 8192]
    for one in others:
        one.close()


class Careless(Datagrams):
    """The negative control: it receives whatever comes in the loop itself."""

    async def _consume(self, batch: Any) -> None:
        self._receive(batch.size)


async def test_receiving_it_in_the_loop_would_block(sockets: Any) -> None:
    reading, sending = sockets
    near, others = lingering()
    sending.sendmsg([b"one"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [near.fileno()]))])
    near.close()
    assert await longest_stop(Careless(reading, Record())) > 0.8  # type: ignore[arg-type]
    for one in others:
        one.close()


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
