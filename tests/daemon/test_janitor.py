"""The janitor: what may be forgotten goes, in chunks, by age and by size; nothing else does."""

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
    janitor = Janitor(Config(retention=retention), Direct(store), None)  # type: ignore[arg-type]
    with trio.move_on_after(30):
        await janitor.purge()


async def test_jobs_go_when_their_time_has_come(store: Store, autojump_clock: Any) -> None:
    put(store, [finished(number) for number in range(1200)], time.time() - 1)
    put(store, [finished(5000)], time.time() + 1000)
    put(store, [finished(6000)._replace(rejected=None)], 0)
    await purge(store, Retention())
    assert left(store) == {5000, 6000}


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
