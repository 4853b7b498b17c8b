"""A hand-off that kills the daemon's parser: two die of it together with others, one alone, then it is put by."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.mutant import Mutant
from tests.rawclient import hand_off, job_of, pack, send_datagram
from tests.waiting import eventually

from .conftest import StartMutant
from .mutants.poison import DEADLY, ENDLESS

Start = Callable[..., Mutant]


@pytest.fixture
def start(start_mutant: StartMutant) -> Start:
    return lambda daemon="poison", **settings: start_mutant(daemon=daemon, **settings)


def kept(daemon: Mutant) -> list[bytes]:
    """Return what is in the quarantine."""
    folder = daemon.state / "quarantine"
    return [file.read_bytes() for file in sorted(folder.iterdir())] if folder.exists() else []


def outcome(daemon: Mutant, id: bytes) -> str:
    with daemon.client(30) as client:
        return str(client.call("wait", id, 30)["outcome"])


def deaths(daemon: Mutant) -> int:
    return daemon.log().count("the daemon ended (")


def test_a_datagram_that_kills_the_parser_is_put_by_and_the_others_run(start: Start) -> None:
    daemon = start()
    before, after = [job_of("time:time") for _ in range(3)], [job_of("time:time") for _ in range(3)]
    for job in before:
        hand_off(daemon.handoff, job)
    send_datagram(daemon.handoff, b"\x93\x02" + DEADLY)
    for job in after:
        hand_off(daemon.handoff, job)
    eventually(lambda: "is not looked at again" in daemon.log(), 30)
    assert [outcome(daemon, job["id"]) for job in before + after] == ["succeeded"] * 6
    assert kept(daemon) == [b"\x93\x02" + DEADLY]
    assert "daemons have died in a row: taking hand-offs one by one" in daemon.log()
    assert deaths(daemon) == 3, "the first two may be chance; the third had it alone, on file"


def test_two_that_kill_cost_one_daemon_more(start: Start) -> None:
    daemon = start()
    poisons = [b"\x93\x02" + DEADLY + b"1", b"\x93\x02" + DEADLY + b"2"]
    for poison in poisons:
        send_datagram(daemon.handoff, poison)
    job = job_of("time:time")
    hand_off(daemon.handoff, job)
    eventually(lambda: daemon.log().count("is not looked at again") == 2, 30)
    assert outcome(daemon, job["id"]) == "succeeded"
    assert sorted(kept(daemon)) == poisons
    assert deaths(daemon) == 4


def test_a_datagram_that_hangs_the_parser_is_put_by_too(start: Start) -> None:
    daemon = start(heartbeat=1.0)
    send_datagram(daemon.handoff, b"\x93\x02" + ENDLESS)
    job = job_of("time:time")
    hand_off(daemon.handoff, job)
    eventually(lambda: "is not looked at again" in daemon.log(), 60)
    assert outcome(daemon, job["id"]) == "succeeded"
    assert daemon.log().count("silent for too long") == 3


def test_a_spool_file_that_kills_the_parser_is_put_by_too(start: Start) -> None:
    daemon = start()
    job = job_of("time:time")
    for name, data in (("a", b"\x93\x02" + DEADLY), ("b", pack([2, "submit", [job]]))):
        Path(daemon.spool, "tmp", name).write_bytes(data)
        os.rename(Path(daemon.spool, "tmp", name), Path(daemon.spool, "new", name))
    eventually(lambda: "is not looked at again" in daemon.log(), 30)
    assert outcome(daemon, job["id"]) == "succeeded"
    assert kept(daemon) == [b"\x93\x02" + DEADLY]
    eventually(lambda: os.listdir(Path(daemon.spool, "new")) == [])


def test_what_is_put_by_can_be_handed_off_again(start: Start) -> None:
    daemon = start()
    job = job_of("time:time", env={"WORD": os.fsdecode(DEADLY)})
    hand_off(daemon.handoff, job)
    eventually(lambda: "is not looked at again" in daemon.log(), 30)
    daemon.stop()
    (file,) = (daemon.state / "quarantine").iterdir()
    os.rename(file, Path(daemon.spool, "new", "again"))
    daemon.mend().start()
    assert outcome(daemon, job["id"]) == "succeeded"


def test_without_the_quarantine_it_would_kill_every_next_daemon(start: Start) -> None:
    daemon = start("without_quarantine")
    send_datagram(daemon.handoff, b"\x93\x02" + DEADLY)
    eventually(lambda: "6 in a row" in daemon.log(), 30)
    assert kept(daemon) == []


def test_a_healthy_daemon_puts_nothing_on_file(start: Start) -> None:
    daemon = start()
    job = job_of("time:time")
    hand_off(daemon.handoff, job)
    assert outcome(daemon, job["id"]) == "succeeded"
    assert not (daemon.state / "quarantine").exists()
