"""The janitor: what may be forgotten goes, in chunks, by age and by size, empty lanes too; nothing else does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from sidecar.config import Config, Retention
from sidecar.daemon.janitor import Janitor
from sidecar.job import Job
from sidecar.store import Store


class Direct:
    """A writer that commits at once."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def commit(self, change: Callable[[Store], Any]) -> Any:
        with self.store.transaction():
            return change(self.store)

    async def read(self, query: Callable[[Store], Any]) -> Any:
        return query(self.store)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(str(tmp_path))
    yield opened
    opened.close()


def finished(number: int, size: int = 10) -> Job:
    return Job(number.to_bytes(16, "big"), 0, "default", 0, 1.0, None, None, bytes(size), rejected="for the test")


def put(store: Store, jobs: list[Job], forget: float) -> None:
    with store.transaction():
        store.insert(jobs, time.time(), forget)


def left(store: Store) -> set[int]:
    return {int.from_bytes(job.id, "big") for job in store.list_jobs(None, None, None, None, 5000)}


async def purge(store: Store, retention: Retention) -> None:
    """Let the janitor work until it sleeps."""
    janitor = Janitor(Config(retention=retention), Direct(store), None, None)  # type: ignore[arg-type]
    with trio.move_on_after(30):
        await janitor.purge()


async def test_jobs_go_when_their_time_has_come(store: Store, autojump_clock: Any) -> None:
    put(store, [finished(number) for number in range(1200)], time.time() - 1)
    put(store, [finished(5000)], time.time() + 1000)
    put(store, [finished(6000)._replace(rejected=None)], 0)
    await purge(store, Retention())
    assert left(store) == {5000, 6000}


async def test_what_ends_later_goes_within_a_minute_of_its_time(store: Store, autojump_clock: Any) -> None:
    """Also in a store in which nothing had ended when it was opened."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Janitor(Config(), Direct(store), None, None).purge)  # type: ignore[arg-type]
        await trio.sleep(1)
        put(store, [finished(1)], time.time() - 1)
        await trio.sleep(61)
        assert not left(store)
        nursery.cancel_scope.cancel()


async def test_the_oldest_go_first_when_the_store_is_too_large(store: Store, autojump_clock: Any) -> None:
    for number in range(40):
        put(store, [finished(number * 100 + n, 4000) for n in range(100)], time.time() + 1000 + number)
    size = store.bytes()
    await purge(store, Retention(bytes=size // 2))
    assert store.bytes() <= size // 2
    assert min(left(store)) > 1000 and 3999 in left(store)


async def test_a_store_within_its_bounds_is_left_alone(store: Store, autojump_clock: Any) -> None:
    put(store, [finished(number) for number in range(10)], time.time() + 1000)
    await purge(store, Retention())
    assert len(left(store)) == 10


class Forgetful:
    """A dispatcher that is told which lanes are no more."""

    def __init__(self) -> None:
        self.forgotten: set[int] = set()

    def forget_lanes(self, lanes: list[int]) -> None:
        self.forgotten.update(lanes)


def queued(number: int, queue: str) -> Job:
    return finished(number)._replace(queue=queue, rejected=None)


class Busy(Direct):
    """A writer in whose store the last job goes and another comes in after each look, under the same number."""

    async def read(self, query: Callable[[Store], Any]) -> Any:
        found = await super().read(query)
        self.store._db.execute("DELETE FROM job WHERE seq = (SELECT max(seq) FROM job)")
        put(self.store, [queued(90_000 + len(self.store.lanes()), f"late-{len(self.store.lanes())}")], 0)
        return found


async def test_lanes_without_jobs_go_and_those_with_jobs_stay(store: Store, autojump_clock: Any) -> None:
    put(store, [finished(n)._replace(queue=f"q{n}") for n in range(12_000)], time.time() - 1)
    put(store, [queued(20_000 + n, f"q{n}") for n in range(5, 15_000, 1000)], 0)
    with store.transaction():
        while store.purge(time.time()):
            pass
    dispatcher = Forgetful()
    janitor = Janitor(Config(), Busy(store), dispatcher, None)  # type: ignore[arg-type]
    with trio.move_on_after(3700):
        await janitor.forget_lanes()
    names = {store.get_lane(number).queue for number in store.lanes()}
    kept = {store.get_lane(job.lane).queue for job in store.list_jobs(None, None, None, None, 100)}
    assert {f"q{n}" for n in range(5, 14_000, 1000)} <= kept <= names and len(names) < 30
    assert any(name.startswith("late-") for name in kept)
    assert len(dispatcher.forgotten) >= 12_000 - 12 and not dispatcher.forgotten & set(store.lanes())
    with store.transaction():
        again = store.lane(0, "q0", b"")
    assert store.get_lane(again).queue == "q0"


async def test_a_few_lanes_are_left_alone(store: Store, autojump_clock: Any) -> None:
    put(store, [finished(n)._replace(queue=f"q{n}") for n in range(100)], time.time() - 1)
    with store.transaction():
        store.purge(time.time())
    with trio.move_on_after(10_000):
        await Janitor(Config(), Direct(store), Forgetful(), None).forget_lanes()  # type: ignore[arg-type]
    assert len(store.lanes()) == 100
