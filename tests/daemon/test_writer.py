"""The writer: what waits is committed together, told after the commit, and nothing is told that is not so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from sidecar.daemon.writer import Writer
from sidecar.errors import Internal, NoSpace, SidecarError
from sidecar.job import Job
from sidecar.store import Store, StoreError


class NoClaims:
    """A dispatcher with nothing to claim, which notes when it is asked and told."""

    def __init__(self) -> None:
        self.asked = self.told = self.reconsidered = 0

    def claim(self, store: Store) -> list[Any]:
        self.asked += 1
        return []

    def start(self, claims: list[Any]) -> None:
        self.told += 1

    def has_room(self) -> bool:
        return True

    def reconsider(self) -> None:
        self.reconsidered += 1


def job(number: int) -> Job:
    return Job(number.to_bytes(16, "big"), 0, "default", 0, 1.0, None, None, b"\x80")


@pytest.fixture
def store(tmp_path: Path):  # type: ignore[no-untyped-def]
    opened = Store(str(tmp_path))
    yield opened
    opened.close()


async def run_to_end(writer: Writer, claims: NoClaims) -> None:
    with trio.fail_after(10):
        writer.close()
        await writer.run(claims)


async def test_changes_that_wait_are_one_commit_and_told_after_it(store: Store) -> None:
    writer, claims = Writer(store), NoClaims()
    seen: list[tuple[int, bool]] = []
    for number in range(5):
        writer.put(
            lambda store, number=number: store.insert([job(number)], 1.0, 2.0),  # type: ignore[misc]
            lambda _, number=number: seen.append((number, store._db.in_transaction)),  # type: ignore[misc]
        )
    await run_to_end(writer, claims)
    assert (writer.commits, claims.asked, claims.told) == (1, 1, 1)
    assert seen == [(number, False) for number in range(5)]


async def test_what_arrives_while_a_commit_runs_is_in_the_next(store: Store) -> None:
    writer = Writer(store)
    writer.put(lambda store: None, lambda _: writer.put(lambda store: None))
    await run_to_end(writer, NoClaims())
    assert writer.commits == 2


async def test_a_full_disk_refuses_who_waits_and_keeps_what_must_not_be_lost(store: Store, autojump_clock: Any) -> None:
    writer, claims = Writer(store), NoClaims()
    told: list[object] = []
    full = [True]

    def may_be_full(store: Store) -> None:
        if full.pop() if full else False:
            raise NoSpace("full")

    writer.put(lambda store: "intake", told.append, told.append)
    writer.put(lambda store: "ending", lambda result: told.append(result))
    writer.put(may_be_full, None, lambda error: None)
    await run_to_end(writer, claims)
    assert isinstance(told[0], NoSpace) and told[1:] == ["ending"]
    assert claims.reconsidered == 1


async def test_claims_that_a_full_disk_undid_are_made_again_though_nothing_else_comes(
    store: Store, autojump_clock: Any
) -> None:
    class FullOnce(NoClaims):
        def claim(self, store: Store) -> list[Any]:
            super().claim(store)
            if self.asked == 1:
                raise NoSpace("full")
            return []

    writer, claims = Writer(store), FullOnce()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.run, claims)
        with pytest.raises(NoSpace):
            await writer.commit(lambda store: "intake")
        await trio.sleep(5)
        assert claims.asked == 2
        nursery.cancel_scope.cancel()


async def test_a_store_that_fails_answers_with_an_error_and_ends_the_daemon(store: Store) -> None:
    writer = Writer(store)
    told: list[object] = []

    def broken(store: Store) -> None:
        raise StoreError("EIO")

    writer.put(lambda store: "never true", told.append, told.append)
    writer.put(broken, told.append, told.append)
    with pytest.raises(StoreError):
        await run_to_end(writer, NoClaims())
    assert [type(answer) for answer in told] == [Internal, Internal]


async def test_commit_returns_the_result_or_raises(store: Store, autojump_clock: Any) -> None:
    writer = Writer(store)

    def full(store: Store) -> None:
        raise NoSpace("full")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.run, NoClaims())
        assert await writer.commit(lambda store: 42) == 42
        with pytest.raises(SidecarError):
            await writer.commit(full)
        writer.close()


async def test_a_reader_waits_for_a_checkpoint_and_the_loop_does_not(store: Store, monkeypatch: Any) -> None:
    writer, started = Writer(store), trio.Event()
    token = trio.lowlevel.current_trio_token()
    go = __import__("threading").Event()

    def slow() -> None:
        token.run_sync_soon(started.set)
        go.wait(10)

    due = [True]
    monkeypatch.setattr(store, "checkpoint", slow)
    monkeypatch.setattr(store, "checkpoint_due", lambda: due.pop() if due else False)
    order: list[str] = []

    async def read() -> None:
        await writer.read(lambda store: order.append("read"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.run, NoClaims())
        writer.put(lambda store: None)
        await started.wait()
        nursery.start_soon(read)
        writer.put(lambda store: None, lambda _: order.append("written"))
        await trio.testing.wait_all_tasks_blocked()
        order.append("loop")
        go.set()
        writer.close()
    assert order[0] == "loop" and set(order) == {"loop", "read", "written"}


async def test_a_change_is_committed_there_and_then_while_the_store_is_free(store: Store) -> None:
    writer = Writer(store)
    told: list[object] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.run, NoClaims())
        await trio.testing.wait_all_tasks_blocked()
        writer.queue(lambda store: "queued", told.append)
        assert told == []
        writer.put(lambda store: "put", told.append)
        assert told == ["queued", "put"] and writer.commits == 1, "together, and before put returned"
        writer.close()


async def test_a_change_waits_for_the_task_while_the_store_is_in_use(store: Store) -> None:
    writer = Writer(store)
    told: list[object] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.run, NoClaims())
        await trio.testing.wait_all_tasks_blocked()
        async with writer._gate:
            writer.put(lambda store: "later", told.append)
            assert told == []
        await trio.testing.wait_all_tasks_blocked()
        assert told == ["later"]
        writer.close()


async def test_a_store_that_fails_in_a_commit_there_and_then_ends_the_daemon_too(store: Store) -> None:
    writer = Writer(store)
    told: list[object] = []

    def broken(store: Store) -> None:
        raise StoreError("EIO")

    with pytest.raises((StoreError, ExceptionGroup)) as caught:  # trio 0.22 wraps a single one only when told to
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer.run, NoClaims())
            await trio.testing.wait_all_tasks_blocked()
            writer.put(broken, told.append, told.append)
            writer.put(lambda store: "never true", told.append, told.append)
    assert isinstance(caught.value, StoreError) or caught.value.subgroup(StoreError) is not None
    assert [type(answer) for answer in told] == [Internal, Internal]


async def test_a_full_disk_met_there_and_then_is_tried_again(store: Store, autojump_clock: Any) -> None:
    writer = Writer(store)
    told: list[object] = []
    full = [True]

    def may_be_full(store: Store) -> str:
        if full:
            full.clear()
            raise NoSpace("full")
        return "ending"

    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.run, NoClaims())
        await trio.testing.wait_all_tasks_blocked()
        writer.put(may_be_full, told.append)
        assert told == []
        await trio.sleep(1)
        assert told == ["ending"]
        writer.close()


async def test_when_a_checkpoint_fails_those_hear_it_too_who_came_while_it_ran(store: Store, monkeypatch: Any) -> None:
    writer, started = Writer(store), trio.Event()
    token = trio.lowlevel.current_trio_token()
    go = __import__("threading").Event()
    told: list[object] = []

    def failing() -> None:
        token.run_sync_soon(started.set)
        go.wait(10)
        raise StoreError("EIO")

    monkeypatch.setattr(store, "checkpoint", failing)
    monkeypatch.setattr(store, "checkpoint_due", lambda: True)

    async def run() -> None:
        with pytest.raises(StoreError):
            await writer.run(NoClaims())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        writer.put(lambda store: "committed before", told.append, told.append)
        await started.wait()
        writer.put(lambda store: "never true", told.append, told.append)
        go.set()
    assert told[0] == "committed before" and isinstance(told[1], Internal)
