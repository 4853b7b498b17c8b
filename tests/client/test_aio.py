"""The async client: the same promises under asyncio and under trio, from one table of behaviours."""

from __future__ import annotations

import asyncio
import concurrent.futures
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
import trio

from sidecar import wire
from sidecar.client import JobFailed, NotFound, Unavailable, aio, ids
from sidecar.client.adapters import Asyncio, Trio, running

from . import jobs
from .stub import HANG_UP, SILENT, Stub, spooled

Run = Callable[[Callable[[], Awaitable[Any]]], Any]


def _asyncio_run(function: Callable[[], Any]) -> Any:
    return asyncio.run(function())


@pytest.fixture(params=[_asyncio_run, trio.run], ids=["asyncio", "trio"])
def run(request: pytest.FixtureRequest) -> Run:
    """Give a function that runs an async one under the library of this case."""
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(autouse=True)
def _no_connections_from_another_test() -> None:
    aio.lines._idle.clear()


DONE = {"state": "done", "outcome": "succeeded", "id": "x", "attempts": []}
RESULT = {**DONE, "result": wire.pack([42]), "result_error": None, "error": None, "status": 0, "signal": None}


def test_a_job_is_sent_and_its_result_awaited(stub: Stub, run: Run) -> None:
    stub.on_request = lambda method, params: RESULT if method == "result" else DONE

    async def main() -> Any:
        handle = await aio.options(queue="mail").submit(jobs.add, 1, other=2)
        assert handle.ack == "sent"
        assert (await handle.wait(5)).state == "done"
        assert await handle.done() and not await handle.running() and not await handle.cancelled()
        assert await handle.exception(5) is None
        return handle.id, await handle.result(timeout=5)

    id, value = run(main)
    assert value == [42]
    job = stub.job()
    assert job["id"] == ids.parse(id)
    assert (job["args"], job["kwargs"], job["queue"]) == ([1], {"other": 2}, "mail")
    assert stub.connections == 1  # kept from one question to the next


def test_the_modules_own_functions(stub: Stub, run: Run) -> None:
    async def main() -> None:
        assert (await aio.submit("a:b", 1)).ack == "sent"
        prepared = aio.prepare("a:c")
        assert prepared.ack is None
        with pytest.raises(NotFound, match=r"call handle.send\(\) first"):
            await prepared.status()
        await prepared.send()
        await prepared.send()
        assert (await aio.connect(str(stub.folder)).options(timeout=3).submit("a:d")).ack == "sent"

    run(main)
    assert [stub.job()["call"] for _ in range(3)] == ["a:b", "a:c", "a:d"]


def test_stored_is_a_reply_on_the_stream(stub: Stub, run: Run) -> None:
    stub.on_request = lambda method, params: {"ack": "stored"}

    async def main() -> str | None:
        return (await aio.options(ack="stored").submit("a:b", "x" * 3_000_000)).ack

    assert run(main) == "stored"
    assert stub.asked[0][1][1] == "stored"


def test_a_full_queue_is_awaited_and_others_go_on_meanwhile(stub: Stub, run: Run) -> None:
    went_on = threading.Event()
    stub.fill()

    def drain() -> None:
        went_on.wait(10)
        while stub.message() == b"":
            pass

    thread = threading.Thread(target=drain)
    thread.start()

    async def both_asyncio() -> list[str | None]:
        tasks = [asyncio.ensure_future(submit()) for _ in range(3)]
        await asyncio.sleep(0)
        went_on.set()
        return [await one for one in tasks]

    async def both_trio() -> list[str | None]:
        acks: list[str | None] = []

        async def one() -> None:
            acks.append(await submit())

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(one)
            await trio.lowlevel.checkpoint()
            went_on.set()
        return acks

    async def submit() -> str | None:
        return (await aio.options(deadline=20).submit("a:b")).ack

    assert run(both_trio if run is trio.run else both_asyncio) == ["sent"] * 3
    thread.join(10)
    assert not stub.asked


def test_a_queue_that_stays_full_falls_back_to_the_stream(stub: Stub, run: Run) -> None:
    stub.on_request = lambda method, params: {"ack": "stored"}
    stub.fill()

    async def main() -> str | None:
        return (await aio.options(deadline=0.2).submit("a:b")).ack

    assert run(main) == "stored"


def test_nobody_there_goes_to_the_spool(folder: Path, spool: Path, run: Run) -> None:
    async def main() -> Any:
        return await aio.connect(str(folder)).submit("a:b", 7)

    handle = run(main)
    assert handle.ack == "spooled"
    [job] = spooled(folder)
    assert job["id"] == ids.parse(handle.id)


def test_no_answer_in_time_goes_to_the_spool(stub: Stub, spool: Path, run: Run) -> None:
    stub.on_request = lambda method, params: SILENT

    async def main() -> Any:
        return (await aio.options(ack="stored", deadline=0.1).submit("a:b")).ack

    assert run(main) == "spooled"


def test_policies_without_a_daemon(folder: Path, run: Run) -> None:
    async def main() -> None:
        here = aio.connect(str(folder))
        with pytest.raises(Unavailable):
            await here.options(on_unavailable="raise").submit("a:b")
        assert (await here.options(on_unavailable="drop").submit("a:b")).ack == "dropped"
        handle = await here.options(on_unavailable="inline").submit(jobs.double, 21)
        assert handle.ack == "inline"
        assert await handle.result() == 42

    run(main)


def test_a_failed_and_a_cancelled_job_raise(stub: Stub, run: Run) -> None:
    outcomes = iter(["failed", "cancelled"])

    def on_request(method: str, params: list[Any]) -> Any:
        return {**RESULT, "outcome": next(outcomes)} if method == "result" else DONE

    stub.on_request = on_request

    async def main() -> None:
        handle = aio.Handle(ids.show(ids.make()))
        with pytest.raises(JobFailed):
            await handle.result(5)
        with pytest.raises(concurrent.futures.CancelledError):
            await handle.result(5)

    run(main)


def test_a_wait_ends_in_time_and_is_a_timeout(stub: Stub, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aio, "MARGIN", 0.05)
    answers = iter([{**DONE, "state": "running"}, SILENT])
    stub.on_request = lambda method, params: next(answers)

    async def main() -> None:
        handle = aio.Handle(ids.show(ids.make()))
        for _ in range(2):
            with pytest.raises(TimeoutError):
                await handle.wait(0.05)

    run(main)


def test_a_wait_goes_on_with_the_next_daemon(stub: Stub, run: Run) -> None:
    answers = iter([HANG_UP, HANG_UP, DONE])
    stub.on_request = lambda method, params: next(answers)

    async def main() -> Any:
        return (await aio.Handle(ids.show(ids.make())).wait(20)).state

    assert run(main) == "done"
    assert len(stub.asked) == 3


def test_a_kept_connection_to_a_daemon_that_left_is_no_obstacle(stub: Stub, run: Run) -> None:
    stub.on_request = lambda method, params: DONE

    async def main() -> None:
        handle = aio.Handle(ids.show(ids.make()))
        await handle.status()
        stub.close_control()
        stub.open_control()
        assert await handle.cancel() is False

    run(main)


def test_a_cancelled_wait_ends_at_once_and_its_connection_with_it(stub: Stub, run: Run) -> None:
    asked = threading.Event()

    def on_request(method: str, params: list[Any]) -> Any:
        asked.set()
        return SILENT

    stub.on_request = on_request

    async def wait() -> None:
        await aio.Handle(ids.show(ids.make())).wait()

    async def main_asyncio() -> None:
        task = asyncio.ensure_future(wait())
        await asyncio.to_thread(asked.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def main_trio() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.to_thread.run_sync(asked.wait, 10)
            nursery.cancel_scope.cancel()

    began = monotonic()
    run(main_trio if run is trio.run else main_asyncio)
    assert monotonic() - began < 5
    assert aio.lines._idle == []


def test_outside_of_both_it_says_what_to_use() -> None:
    with pytest.raises(RuntimeError, match=r"use sidecar\.client without aio"):
        aio.submit("a:b").send(None)


async def test_under_trio_trio_is_found() -> None:
    assert isinstance(running(), Trio)


def test_under_asyncio_asyncio_is_found_although_trio_is_imported() -> None:
    async def main() -> object:
        return running()

    assert isinstance(asyncio.run(main()), Asyncio)


def test_asyncio_alone_never_imports_trio(stub: Stub) -> None:
    code = (
        f"import sys\nsys.path[:] = {sys.path!r}\n"
        "import asyncio\nfrom sidecar.client import aio\n"
        "print(asyncio.run(aio.submit('a:b')).ack, 'trio' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["sent", "False"]
