"""Who goes next: on a real store, with zygotes that come and go, against what a look at every job would choose."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sidecar.daemon.dispatcher import Dispatcher
from sidecar.job import Job
from sidecar.rows import Lane
from sidecar.store import Store

RUNTIMES = [b"", b"one", b"two"]


class Counting(Store):
    """A store that counts how often a lane is looked at."""

    looks = 0

    def peek_lane(self, lane: int, most: int, now: float) -> list[tuple[int, int, int]]:
        self.looks += 1
        return super().peek_lane(lane, most, now)


class Zygotes:
    """Zygotes by key, of which those are there that the test lets be."""

    def __init__(self) -> None:
        self.there = {"": True, "one": True, "two": True}
        self.asked: set[int] = set()
        self.alone: set[int] = set()

    def key_of(self, lane: Lane) -> str:
        return lane.runtime.decode()

    def pick(self, lane: Lane) -> Any:
        return SimpleNamespace(key=self.key_of(lane), generation=1) if self.there[self.key_of(lane)] else None

    def pick_alone(self, lane: Lane, seq: int) -> Any:
        self.asked.add(seq)
        return SimpleNamespace(key=f"{seq}", generation=2) if seq in self.alone else None


class House:
    """A dispatcher with `free` slots, and what has been claimed so far."""

    def __init__(self, store: Counting) -> None:
        self.store = store
        self.attempts = SimpleNamespace(free=1)
        self.zygotes = Zygotes()
        warming = SimpleNamespace(concerns=lambda key: False)
        writer = SimpleNamespace(wake=lambda: None)
        self.dispatcher = Dispatcher(None, writer, self.attempts, self.zygotes, warming, None, None)  # type: ignore[arg-type]
        self.dispatcher.recover(store)
        self.count = 0

    def insert(self, *jobs: tuple[str, bytes, int]) -> None:
        """Insert jobs, each of a queue, a runtime and a priority."""
        now, made = time.time(), []
        for queue, runtime, priority in jobs:
            self.count += 1
            made.append(Job(self.count.to_bytes(16, "big"), 0, queue, priority, now, None, runtime, b"\x80"))
        with self.store.transaction():
            self.dispatcher.inserted(self.store.insert(made, now, now + 9), now + 9)

    def claim(self, free: int = 1) -> list[int]:
        """Return the seqs that are claimed with so many slots free."""
        self.attempts.free = free
        with self.store.transaction():
            return [start.claim.seq for start in self.dispatcher.claim(self.store)]

    def queued(self) -> dict[int, tuple[int, str, str]]:
        """Return priority, queue and key of each job that could be claimed now; what runs alone goes before all."""
        rows = self.store._db.execute(
            "SELECT seq, priority, queue, runtime, crashes FROM job JOIN lane ON lane.id = lane WHERE state = 'queued'"
        )
        return {
            seq: (99, "alone", f"{seq}") if crashes else (priority, queue, runtime.decode())
            for seq, priority, queue, runtime, crashes in rows
            if (seq in self.zygotes.alone if crashes else self.zygotes.there[runtime.decode()])
        }

    def crash(self, seq: int) -> None:
        """Queue a claimed job again, which may have taken its zygote down."""
        with self.store.transaction():
            lane, _ = self.store.give_back(seq, 1) or (0, False)
            self.store._db.execute("UPDATE job SET crashes = 1 WHERE seq = ?", (seq,))
        self.dispatcher.given_back(lane)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    store = Counting(str(tmp_path))
    yield House(store)
    store.close()


async def test_a_claim_costs_the_same_whatever_the_number_of_queues(house: House) -> None:
    house.insert(*((f"customer-{n}", b"", 0) for n in range(3000)))
    assert house.claim(4) == [1, 2, 3, 4]
    house.store.looks = 0
    for number in range(5, 105):
        assert house.claim() == [number]
    assert house.store.looks <= 110


async def test_lanes_whose_zygote_is_not_there_are_looked_at_when_it_comes(house: House) -> None:
    house.zygotes.there["one"] = False
    house.insert(*((f"customer-{n}", b"one", 50) for n in range(100)), ("default", b"", 0), ("default", b"", 0))
    house.store.looks = 0
    assert house.claim() == [101]
    assert house.claim() == [102]
    assert house.claim() == [] and house.store.looks <= 3
    house.zygotes.there["one"] = True
    assert house.claim(3) == [1, 2, 3]


async def test_within_a_priority_lanes_take_turns_and_a_flood_loses_none_to_itself(house: House) -> None:
    house.insert(*[("flood", b"", 0)] * 10, *[("other", b"", 0)] * 3)
    claimed = []
    for _ in range(6):
        house.insert(("flood", b"", 0))  # what is inserted all the while neither gains nor loses its lane a turn
        claimed += house.claim()
    assert claimed == [1, 11, 2, 12, 3, 13]


async def test_a_higher_priority_goes_first_in_whichever_lane_it_is(house: House) -> None:
    house.insert(("a", b"", 0), ("b", b"", 0), ("a", b"", 7), ("c", b"", -3), ("b", b"", 9))
    assert house.claim(3) == [5, 3, 2]
    house.insert(("c", b"", 8))
    assert house.claim(3) == [6, 1, 4]


async def test_a_job_that_must_run_alone_holds_up_nobody_in_its_lane(house: House) -> None:
    house.insert(*[("default", b"", 0)] * 4)
    assert house.claim() == [1]
    house.crash(1)
    assert house.claim() == [2]  # while the zygote for the first is made
    assert house.claim(2) == [3, 4]
    assert house.claim(2) == []
    house.zygotes.alone.add(1)
    assert house.claim(2) == [1]


async def test_a_job_that_must_run_alone_costs_its_lane_no_turn(house: House) -> None:
    house.insert(*[("a", b"", 0)] * 3, ("a", b"", 5))
    assert house.claim() == [4]
    house.crash(4)
    house.insert(*[("flood", b"", 0)] * 9)
    assert [house.claim() for _ in range(4)] == [[5], [1], [6], [2]]
    house.zygotes.alone.add(4)
    assert house.claim() == [4]


async def test_a_job_that_must_run_alone_and_is_cancelled_is_forgotten(house: House) -> None:
    house.insert(("a", b"", 0))
    assert house.claim() == [1]
    house.crash(1)
    assert house.claim() == [] and house.dispatcher._waiting
    with house.store.transaction():
        house.store.cancel(1, 1.0, 2.0)
    house.zygotes.alone.add(1)
    assert house.claim() == [] and not house.dispatcher._waiting


async def test_a_rolled_back_claim_is_made_again(house: House) -> None:
    house.insert(("a", b"", 0), ("b", b"", 0))
    house.attempts.free = 2
    with pytest.raises(ZeroDivisionError), house.store.transaction():
        assert len(house.dispatcher.claim(house.store)) == 2
        raise ZeroDivisionError
    house.dispatcher.reconsider()
    assert house.claim(2) == [1, 2]


async def test_a_lane_of_a_rolled_back_insert_is_forgotten(house: House) -> None:
    """The next insert's lane gets its number, and must not get its name and runtime too."""
    house.attempts.free = 1
    with pytest.raises(ZeroDivisionError), house.store.transaction():
        job = Job(bytes(16), 0, "lost", 0, 1.0, None, b"one", b"\x80")
        house.dispatcher.inserted(house.store.insert([job], 1.0, 9.0), 9.0)
        assert len(house.dispatcher.claim(house.store)) == 1
        raise ZeroDivisionError
    house.dispatcher.reconsider()
    assert house.claim() == []
    house.insert(("new", b"two", 0))
    with house.store.transaction():
        (start,) = house.dispatcher.claim(house.store)
    assert (start.lane.queue, start.lane.runtime) == ("new", b"two")


async def test_a_number_of_a_forgotten_lane_is_another_lanes_later(house: House) -> None:
    house.zygotes.there["one"] = False
    house.insert(("held", b"one", 0), ("gone", b"", 0))
    house.store._db.execute("DELETE FROM job")
    house.claim()
    with house.store.transaction():
        house.dispatcher.forget_lanes(house.store.drop_lanes(set()))
    house.insert(("new", b"", 0), ("newer", b"", 0))
    house.zygotes.there["one"] = True
    house.dispatcher.freed(None)
    with house.store.transaction():
        house.attempts.free = 2
        assert [start.lane.queue for start in house.dispatcher.claim(house.store)] == ["new", "newer"]


async def test_what_is_given_back_may_have_expired_meanwhile(house: House) -> None:
    house.insert(("a", b"", 0))
    assert house.claim() == [1]
    assert house.dispatcher._instant > 0
    house.crash(1)
    assert house.dispatcher._instant == -math.inf, "the clock looks at once"


@pytest.mark.parametrize("seed", range(20))
async def test_nothing_that_could_start_is_passed_over(house: House, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(150):
        dice = chance.random()
        if dice < 0.4:
            job = (chance.choice("abc"), chance.choice(RUNTIMES), chance.choice([0, 0, 0, 5]))
            house.insert(*[job] * chance.randrange(1, 5))
        elif dice < 0.55:
            key = chance.choice(list(house.zygotes.there))
            house.zygotes.there[key] = not house.zygotes.there[key]
            house.dispatcher.freed(None)
        else:
            before, free = house.queued(), chance.randrange(1, 5)
            claimed = house.claim(free)
            assert set(claimed) <= set(before) and len(set(claimed)) == len(claimed)
            check(before, claimed, free)
            if claimed and chance.random() < 0.3:
                house.crash(claimed[0])
                house.zygotes.alone.discard(claimed[0])
                house.zygotes.asked.discard(claimed[0])
            if chance.random() < 0.3:
                house.zygotes.alone |= house.zygotes.asked
                house.dispatcher.freed(None)


def check(before: dict[int, tuple[int, str, str]], claimed: list[int], free: int) -> None:
    """As many as there are slots, none of a lower priority before one of a higher, and a lane's in their order."""
    left = {seq: what for seq, what in before.items() if seq not in claimed}
    assert len(claimed) == min(free, len(before))
    priorities = [before[seq][0] for seq in claimed]
    assert priorities == sorted(priorities, reverse=True)
    for seq in claimed:
        assert not [other for other, what in left.items() if what[0] > before[seq][0]]
        assert not [other for other, what in left.items() if what == before[seq] and other < seq]
