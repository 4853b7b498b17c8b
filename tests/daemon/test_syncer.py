"""The syncer: one sync for all who wait, none for those who came too late for it, and nobody is told what is not so."""

from __future__ import annotations

import threading

import pytest
import trio
import trio.testing

from sidecar.daemon.syncer import Syncer
from sidecar.errors import Internal
from sidecar.store import StoreError


class Disk:
    """Counts syncs; `gate` holds each one up."""

    def __init__(self) -> None:
        self.began = self.ended = 0
        self.gate = threading.Semaphore(0)
        self.error: Exception | None = None

    def sync(self) -> None:
        self.began += 1
        assert self.gate.acquire(timeout=10)
        if self.error is not None:
            raise self.error
        self.ended += 1


async def begun(disk: Disk, count: int) -> None:
    with trio.fail_after(10):
        while disk.began < count:
            await trio.sleep(0.001)


async def test_who_comes_while_a_sync_runs_is_in_the_next_and_all_of_them_share_it() -> None:
    disk, told = Disk(), []
    syncer = Syncer(disk.sync)

    def put(name: str) -> None:
        syncer.put(lambda: told.append((name, disk.ended)), lambda error: told.append((name, error)))  # type: ignore[misc]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(syncer.run)
        put("a")
        await begun(disk, 1)
        for name in "bcd":  # their commits may be later than what the sync that runs has looked at
            put(name)
        await trio.testing.wait_all_tasks_blocked()
        assert told == []
        disk.gate.release()
        await begun(disk, 2)
        assert told == [("a", 1)]
        disk.gate.release()
        syncer.close()
    assert told == [("a", 1), ("b", 2), ("c", 2), ("d", 2)]
    assert (disk.began, syncer.syncs) == (2, 2)


async def test_when_a_sync_fails_all_who_wait_hear_an_error_and_there_is_no_second_try() -> None:
    disk, told = Disk(), []
    syncer = Syncer(disk.sync)
    disk.error = StoreError("cannot sync: EIO")
    with pytest.raises(BaseException) as raised:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(syncer.run)
            syncer.put(lambda: told.append("synced"), told.append)
            await begun(disk, 1)
            syncer.put(lambda: told.append("synced"), told.append)
            disk.gate.release()
            disk.gate.release()  # a second try would succeed
            disk.error = None if disk.ended else disk.error
    assert "EIO" in repr(raised.value) or any("EIO" in repr(e) for e in raised.value.exceptions)  # type: ignore[attr-defined]
    assert [type(each) for each in told] == [Internal, Internal]
    assert disk.began == 1


async def test_those_who_wait_when_the_daemon_ends_hear_what_is_true() -> None:
    disk, told = Disk(), []
    syncer = Syncer(disk.sync)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(syncer.run)
        syncer.put(lambda: told.append("synced"), told.append)
        await begun(disk, 1)
        syncer.put(lambda: told.append("synced"), told.append)
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await trio.testing.wait_all_tasks_blocked()
        disk.gate.release()
    assert told[0] == "synced" and isinstance(told[1], Internal)
    assert (disk.began, len(told)) == (1, 2)
