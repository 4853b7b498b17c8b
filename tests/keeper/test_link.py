"""The line to a daemon that does not read: what is said waits, in order, and the keeper does not."""

from __future__ import annotations

import json
import os
import select
import socket
from collections.abc import Iterator

import pytest

from sidecar.keeper.link import Link


@pytest.fixture
def link() -> Iterator[Link]:
    found = Link()
    yield found
    found.close()
    found.theirs.close()


def fill(link: Link) -> int:
    """Send until something waits; return how many messages that were."""
    count = 0
    while not link.events() & select.POLLOUT:
        link.send({"number": count})
        count += 1
    return count


def take(link: Link) -> list[int]:
    """Read what there is as the daemon does; return the numbers."""
    link.theirs.setblocking(False)
    found = []
    while True:
        try:
            found.append(json.loads(link.theirs.recv(9999))["number"])
        except BlockingIOError:
            return found


def test_what_does_not_fit_waits_in_order(link: Link) -> None:
    count = fill(link)
    link.send({"number": count})
    numbers = take(link)
    while link.events() & select.POLLOUT:
        link.flush()
        numbers += take(link)
    assert numbers == list(range(count + 1))


def test_a_descriptor_that_waits_may_be_closed_by_its_owner(link: Link) -> None:
    fill(link)
    reading, writing = os.pipe()
    link.send({"number": -1}, reading)
    os.close(reading)
    take(link)
    link.flush()
    while True:
        data, fds, _, _ = socket.recv_fds(link.theirs, 9999, 1)
        if json.loads(data)["number"] == -1:
            break
    os.write(writing, b"x")
    assert os.read(fds[0], 1) == b"x"
    os.close(fds[0])
    os.close(writing)


def test_nothing_that_waited_stays_open_after_the_end(link: Link) -> None:
    fill(link)
    reading, writing = os.pipe()
    link.send({"number": -1}, writing)
    os.close(writing)
    link.close()
    assert os.read(reading, 1) == b""  # no writer is left
    os.close(reading)


def test_a_dead_daemon_is_no_error_here(link: Link) -> None:
    fill(link)
    link.theirs.close()
    link.flush()
    link.send({"number": 0})
    assert link.receive() == []
    assert not link.open


def test_what_is_no_object_counts_as_an_empty_one(link: Link) -> None:
    for packet in (b"{", b"[]", b"\xff", b'{"did": "beat"}'):
        link.theirs.send(packet)
    assert link.receive() == [{}, {}, {}, {"did": "beat"}]
