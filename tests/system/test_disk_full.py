"""A full disk, a real one: nobody is told what is not so, outcomes are kept, and all goes on when there is room."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.client import Handle, Options, connect, spool
from sidecar.errors import NoSpace
from tests.daemon_process import Daemon
from tests.disks import MIB, Disk, may_mount, mounted, run_in_namespace
from tests.rawclient import Ended, Refused, new_id, pack, send_datagram
from tests.waiting import eventually

from . import jobs
from .checks import lines

HERE = may_mount()
on_a_disk = pytest.mark.skipif(not HERE, reason="may not mount here: the last test does it elsewhere")

SIZE, RESERVE, BALLAST = 48 * MIB, 4 * MIB, 2 * MIB
CONFIG = f"slots = 4\n[space]\nreserve = {RESERVE}\nballast = {BALLAST}\n"
NO_BALLAST = CONFIG.replace(str(BALLAST), "1")


class Place:
    """A daemon whose state folder is a disk of its own."""

    def __init__(self, daemon: Daemon, disk: Disk) -> None:
        self.daemon = daemon
        self.disk = disk
        self.client: Options = connect(str(daemon.runtime)).options(ack="stored", deadline=10, on_unavailable="raise")
        self.ballast = daemon.state / "ballast"

    def accepts(self) -> bool:
        try:
            self.daemon.call("submit", {"id": new_id(), "argv": ["true"], "delay": 1e6})
        except Refused as refused:
            assert refused.code == "no_space"
            return False
        return True

    def ping(self) -> dict[str, Any]:
        found: dict[str, Any] = self.daemon.call("ping")["store"]
        return found


@pytest.fixture
def config() -> str:
    return CONFIG


@pytest.fixture
def place(config: str) -> Iterator[Place]:
    daemon = Daemon(config=config, slots=None)
    with mounted(daemon.state, SIZE) as disk:
        try:
            place = Place(daemon.start(), disk)
            if config == CONFIG:
                eventually(lambda: place.ping()["ballast"])
            yield place
        finally:
            daemon.close()
    daemon.folder.rmdir()  # which could not be removed with a disk in it


def message_of(id: bytes) -> bytes:
    """Make a hand-off as datagrams and spool files carry it."""
    return pack([2, "submit", [{"id": id, "argv": ["true"]}]])


def running(place: Place, folder: Path, count: int) -> list[Handle]:
    """Start jobs that wait for the file `go` and then return something large."""
    handles = [
        place.client.submit(jobs.wait_and_return, str(folder / "started"), str(folder / "go"), 200_000)
        for _ in range(count)
    ]
    eventually(lambda: len(lines(folder / "started")) == count, 20)
    return handles


@on_a_disk
def test_under_the_reserve_new_jobs_are_refused_and_accepted_again_within_a_second(place: Place) -> None:
    assert place.accepts() and place.ping()["accepts"]
    before = place.daemon.pids()["daemon"]
    place.disk.fill(leave=RESERVE - MIB)
    eventually(lambda: not place.accepts())
    with pytest.raises(NoSpace, match="are for the outcomes of what was taken"):
        place.client.submit(["true"])
    assert place.ping()["accepts"] is False
    stored = place.daemon.call("stats")["states"]
    assert not place.accepts()
    assert place.daemon.call("stats")["states"] == stored
    place.disk.clear()
    began = time.monotonic()
    eventually(place.accepts)
    assert time.monotonic() - began < 1.0
    assert place.daemon.pids()["daemon"] == before
    assert "refusing new jobs" in place.daemon.log() and "taking new jobs again" in place.daemon.log()


@on_a_disk
def test_datagrams_and_spool_files_wait_where_they_are_and_are_taken_in(place: Place, tmp_path: Path) -> None:
    place.disk.fill(leave=RESERVE - MIB)
    eventually(lambda: not place.accepts())
    sent = [new_id() for _ in range(3)]
    for id in sent:
        send_datagram(place.daemon.handoff, message_of(id))
    spooled = new_id()
    draft = Path(place.daemon.spool, "tmp", "x")
    draft.write_bytes(message_of(spooled))
    draft.rename(Path(place.daemon.spool, "new", spooled.hex()))
    with pytest.raises(Refused, match="wait to be stored"):
        place.daemon.call("status", sent[0])
    place.disk.clear()
    began = time.monotonic()
    eventually(place.accepts)
    for id in (*sent, spooled):
        assert place.daemon.call("wait", id, 10)["outcome"] == "succeeded"
    assert time.monotonic() - began < 3.0
    assert not list(Path(place.daemon.spool, "new").iterdir())


@on_a_disk
def test_with_nothing_left_outcomes_are_recorded_and_nothing_new_starts(place: Place, tmp_path: Path) -> None:
    handles = running(place, tmp_path, 4)
    queued = place.client.submit(jobs.square, str(tmp_path / "later"), 3)
    soon = place.client.options(delay=1.0).submit(["true"])  # an alarm that goes off on the full disk
    before = place.daemon.pids()["daemon"]
    place.disk.fill()
    assert place.disk.free == 0 and place.ballast.exists()
    (tmp_path / "go").touch()
    for handle in handles:
        assert handle.result(20) == b"x" * 200_000
    assert not place.ballast.exists()
    eventually(lambda: soon.status().state == "queued")
    status = queued.status()
    assert (status.state, lines(tmp_path / "later")) == ("queued", [])
    assert "the disk is full" in str(status.waiting)
    place.disk.clear()
    assert queued.result(20) == 9
    assert soon.wait(20).outcome == "succeeded"
    eventually(lambda: place.ping()["ballast"] and place.ballast.stat().st_blocks * 512 >= BALLAST)
    assert place.daemon.pids()["daemon"] == before


@on_a_disk
@pytest.mark.parametrize("config", [NO_BALLAST])
def test_without_ballast_an_outcome_waits_for_room(place: Place, tmp_path: Path) -> None:
    """The control of the test before: it is the ballast that does it."""
    handles = running(place, tmp_path, 4)
    place.disk.fill()
    (tmp_path / "go").touch()
    eventually(lambda: "the disk is full" in place.daemon.log())
    with pytest.raises(TimeoutError):
        for handle in handles:
            handle.wait(1.0)
    place.disk.clear()
    for handle in handles:
        assert handle.result(20) == b"x" * 200_000


@on_a_disk
@pytest.mark.parametrize("config", [CONFIG, NO_BALLAST], ids=["ballast", "no ballast"])
def test_a_daemon_killed_on_a_full_disk_comes_up_by_the_ballast(place: Place, tmp_path: Path, config: str) -> None:
    handles = running(place, tmp_path, 4)
    for number in range(200):  # so that the log holds what the file has no room for
        place.client.options(delay=1e6).submit("os:getpid", b"x" * 5000, number)
    place.disk.fill()
    before = place.daemon.pids()["daemon"]
    os.kill(before, signal.SIGKILL)
    if config == CONFIG:
        eventually(lambda: _other_daemon(place, before), 20)
        assert "giving up the ballast" in place.daemon.log()
    else:  # the control: it waits for room, and says so to whoever asks
        eventually(lambda: "cannot open store" in place.daemon.log(), 20)
        with place.daemon.client() as client:
            assert client.receive()[2]["code"] == "no_space"
        with pytest.raises(NoSpace, match="the disk is full"):
            place.client.submit(["true"])
        assert place.client.options(ack="sent").submit("os:getpid").ack == "sent"
        assert "the daemon ended (exit" not in place.daemon.log()
    place.disk.clear()
    eventually(lambda: _other_daemon(place, before), 20)
    (tmp_path / "go").touch()
    assert [len(handle.result(20)) for handle in handles] == [200_000] * 4
    assert place.daemon.call("stats")["states"]["scheduled"] == 200


def _other_daemon(place: Place, before: int) -> bool:
    try:
        with place.daemon.client(timeout=0.3) as client:
            return bool(client.call("ping")["pids"]["daemon"] != before)
    except (Ended, Refused, OSError):  # also when nobody answers in time
        return False


@on_a_disk
def test_full_and_empty_again_and_again_loses_nothing(place: Place) -> None:
    accepted, refused = [], 0
    for _ in range(8):
        place.disk.fill()
        for _ in range(5):
            try:
                accepted.append(place.client.submit(["true"]))
            except NoSpace:
                refused += 1
        place.disk.clear()
        accepted.append(_until_accepted(place))
    assert refused and len(accepted) >= 8
    assert {handle.wait(20).outcome for handle in accepted} == {"succeeded"}


def _until_accepted(place: Place) -> Handle:
    ends = time.monotonic() + 1.0
    while True:
        try:
            return place.client.submit(["true"])
        except NoSpace:
            assert time.monotonic() < ends, "intake has not resumed within a second"
            time.sleep(0.02)


@on_a_disk
def test_the_clients_spool_refuses_too_and_leaves_no_half_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mounted(tmp_path / "run", 8 * MIB) as disk:
        client = connect(str(disk.folder)).options(on_unavailable="spool")
        for name in ("tmp", "new"):
            (disk.folder / "spool" / name).mkdir(parents=True)
        assert client.submit("os:getpid").ack == "spooled"
        whole = list((disk.folder / "spool" / "new").iterdir())
        disk.fill(leave=MIB // 2)  # under a tenth
        with pytest.raises(NoSpace, match="free some space"):
            client.submit("os:getpid")
        monkeypatch.setattr(spool, "room", lambda folder: (1 << 60, 0))  # as if another had filled it after the look
        with pytest.raises(NoSpace, match="free some space"):
            client.submit("os:getpid", b"x" * MIB)
        assert list((disk.folder / "spool" / "tmp").iterdir()) == []
        assert list((disk.folder / "spool" / "new").iterdir()) == whole


def test_where_we_may_not_mount_all_of_this_is_done_in_a_namespace_of_our_own() -> None:
    if not HERE:
        run_in_namespace(__file__)
