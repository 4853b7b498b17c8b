"""The ack `synced`, with a real daemon on a disk that is slow or fails when it is told to."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
import trio

from sidecar.client import Handle, aio, connect
from sidecar.errors import SidecarError
from tests.conftest import StartDaemon
from tests.daemon_process import Daemon
from tests.faults import Faults
from tests.rawclient import Ended, RawClient, Refused, new_id
from tests.waiting import eventually


@pytest.fixture
def faults(tmp_path: Path) -> Faults:
    return Faults(tmp_path)


@pytest.fixture
def daemon(start_daemon: StartDaemon, faults: Faults) -> Daemon:
    started = start_daemon(env=faults.env)
    submit(started)  # writes the log's head, which SQLite syncs by itself
    return started


def job(id: bytes | None = None) -> dict[str, object]:
    return {"id": id or new_id(), "argv": ["true"], "delay": 1e6}


def submit(daemon: Daemon, ack: str = "stored", id: bytes | None = None) -> str:
    return str(daemon.call("submit", job(id), ack)["ack"])


def unanswered(client: RawClient, number: int) -> bool:
    """Say that a request has no answer, after one that was asked later has had its own."""
    client.call("ping")
    return number not in client._came


def test_each_client_gets_the_ack_it_asked_for(daemon: Daemon, faults: Faults) -> None:
    client = connect(str(daemon.runtime)).options(delay=1e6)
    before = faults.syncs
    assert client.options(ack="stored").submit(["true"]).ack == "stored"
    assert faults.syncs == before
    assert client.options(ack="synced", deadline=10).submit(["true"]).ack == "synced"
    assert faults.syncs == before + 1
    path = str(daemon.runtime)

    async def asynchronously() -> str | None:
        return (await aio.connect(path).options(ack="synced", deadline=10).submit(["true"])).ack

    assert trio.run(asynchronously) == "synced"
    assert faults.syncs == before + 2


def test_nobody_hears_synced_before_the_sync_and_commits_go_on_meanwhile(daemon: Daemon, faults: Faults) -> None:
    faults.on("stall-sync")
    with daemon.client() as client:
        number = client.ask("submit", job(), "synced")
        for _ in range(50):
            assert submit(daemon) == "stored"
        assert unanswered(client, number)
        faults.off("stall-sync")
        assert client.answer(number)["ack"] == "synced"


def test_all_who_wait_while_a_sync_runs_share_the_next(daemon: Daemon, faults: Faults) -> None:
    before = faults.syncs
    faults.on("stall-sync")
    with daemon.client() as first, daemon.client() as others:
        number = first.ask("submit", job(), "synced")
        assert unanswered(first, number)
        numbers = [others.ask("submit", job(), "synced") for _ in range(100)]
        assert all(unanswered(others, each) for each in numbers)
        faults.off("stall-sync")
        assert first.answer(number)["ack"] == "synced"
        assert {others.answer(each)["ack"] for each in numbers} == {"synced"}
    assert before + 2 <= faults.syncs <= before + 3  # the first may have come in two readings of the log's thread


def test_a_job_that_was_stored_before_is_not_called_synced_without_a_sync(daemon: Daemon, faults: Faults) -> None:
    id = new_id()
    assert submit(daemon, "stored", id) == "stored"
    faults.on("stall-sync")
    with daemon.client() as client:
        number = client.ask("submit", job(id), "synced")
        assert unanswered(client, number)
        faults.off("stall-sync")
        assert client.answer(number)["ack"] == "synced"
    assert daemon.call("stats")["states"]["scheduled"] == 2


@pytest.mark.parametrize("rule", ["fail-sync", "fail-log"])
def test_a_disk_that_fails_is_an_error_for_all_and_a_daemon_that_recovers(
    daemon: Daemon, faults: Faults, rule: str
) -> None:
    kept = new_id()
    assert submit(daemon, "synced", kept) == "synced"
    old = daemon.pids()["daemon"]
    ids = [new_id() for _ in range(10)]
    with daemon.client() as client:
        faults.on(rule)
        numbers = client.ask_each("submit", [(job(id), "synced") for id in ids])  # before it can have died of the first
        answers = []
        for number in numbers:
            try:
                answers.append(client.answer(number)["ack"])
            except Refused as refused:
                answers.append(refused.code)
            except Ended:
                answers.append("ended")
    assert set(answers) <= {"internal", "ended"} and "internal" in answers
    eventually(lambda: "the daemon ended (exit status 1)" in daemon.log())
    if rule == "fail-sync":  # no daemon answers anybody meanwhile: opening syncs
        eventually(lambda: "cannot open store" in daemon.log())
    faults.off(rule)
    eventually(lambda: answers_again(daemon, old), 30)
    assert daemon.call("status", kept)["state"] == "scheduled"
    for id in ids:
        assert submit(daemon, "synced", id) == "synced"
    assert daemon.call("stats")["states"]["scheduled"] == 2 + len(ids)


def answers_again(daemon: Daemon, old: int) -> bool:
    try:
        return bool(daemon.call("ping")["pids"]["daemon"] != old)
    except (Ended, OSError):
        return False


def test_no_daemon_serves_while_opening_cannot_checkpoint(daemon: Daemon, faults: Faults) -> None:
    old = daemon.pids()["daemon"]
    faults.on("fail-file")

    os.kill(old, signal.SIGKILL)
    eventually(lambda: daemon.log().count("cannot open store") >= 2)
    with pytest.raises((Ended, TimeoutError, OSError)), daemon.client(timeout=0.5) as client:
        client.call("ping")
    faults.off("fail-file")
    eventually(lambda: answers_again(daemon, old), 30)
    assert daemon.call("stats")["states"]["scheduled"] == 1


def test_a_client_of_a_daemon_whose_disk_failed_repeats_safely(daemon: Daemon, faults: Faults) -> None:
    client = connect(str(daemon.runtime)).options(delay=1e6, ack="synced", deadline=20, on_unavailable="raise")
    handle = client.prepare(["true"])
    faults.on("fail-sync")
    with pytest.raises(SidecarError) as raised:
        handle.send()
    assert raised.value.code in ("internal", "unavailable")
    assert handle.ack is None
    faults.off("fail-sync")
    ends = time.monotonic() + 30
    while handle.ack is None and time.monotonic() < ends:
        try:
            handle.send()
        except SidecarError:
            time.sleep(0.05)  # the keeper's pause
    assert handle.ack == "synced"
    assert Handle(handle.id, door=client.door).status().state == "scheduled"
