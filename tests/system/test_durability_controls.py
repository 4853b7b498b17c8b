"""Negative controls: each promise of synced, at_most_once and the full disk, broken, is seen to be broken."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sidecar.client import connect
from tests.daemon import broken
from tests.daemon.broken import Broken
from tests.disks import MIB, may_mount, mounted
from tests.faults import Faults
from tests.rawclient import new_id
from tests.waiting import eventually

from . import jobs
from .checks import lines
from .test_disk_full import CONFIG, RESERVE

Start = Callable[[Callable[[], None]], Broken]


@pytest.fixture
def faults(tmp_path: Path) -> Faults:
    return Faults(tmp_path)


@pytest.fixture
def start(faults: Faults) -> Iterator[Start]:
    started: list[Broken] = []

    def start(way: Callable[[], None]) -> Broken:
        started.append(Broken(way, env=faults.env))
        started[-1].start().call("submit", {"id": new_id(), "argv": ["true"], "delay": 1e6})
        return started[-1]

    yield start
    for one in started:
        one.close()


def synced(daemon: Broken) -> object:
    return daemon.call("submit", {"id": new_id(), "argv": ["true"], "delay": 1e6}, "synced")["ack"]


def test_an_ack_before_the_sync_is_seen(start: Start, faults: Faults, tmp_path: Path) -> None:
    daemon = start(broken.ack_before_sync)
    before = faults.syncs
    faults.on("stall-sync")
    assert synced(daemon) == "synced"
    once = connect(str(daemon.runtime)).options(at_most_once=True, ack="stored", deadline=10)
    assert once.submit(jobs.square, str(tmp_path / "ran"), 3).result(20) == 9
    assert faults.syncs == before
    faults.off("stall-sync")


def test_an_ack_after_a_failed_sync_is_seen(start: Start, faults: Faults) -> None:
    daemon = start(broken.deaf)
    before = daemon.pids()["daemon"]
    faults.on("fail-sync")
    assert synced(daemon) == "synced"
    assert daemon.pids()["daemon"] == before
    faults.off("fail-sync")


def test_a_second_start_is_seen(start: Start, tmp_path: Path) -> None:
    daemon = start(broken.forgetful)
    once = connect(str(daemon.runtime)).options(at_most_once=True, ack="stored", deadline=10)
    handle = once.submit(jobs.wait_for_file, str(tmp_path / "started"), str(tmp_path / "go"))
    eventually(lambda: lines(tmp_path / "started"), 20)
    for zygote in daemon.pids()["zygotes"]:
        os.kill(zygote["pid"], signal.SIGKILL)
    (tmp_path / "go").touch()
    assert handle.result(20) == "went on"
    assert len(lines(tmp_path / "started")) == 2


@pytest.mark.skipif(not may_mount(), reason="may not mount here")
def test_an_intake_that_does_not_look_is_seen() -> None:
    daemon = Broken(broken.no_reserve, CONFIG)
    with mounted(daemon.state, 48 * MIB) as disk:
        try:
            daemon.start()
            disk.fill(leave=RESERVE - MIB)
            eventually(lambda: not daemon.call("ping")["store"]["accepts"])
            assert daemon.call("submit", {"id": new_id(), "argv": ["true"], "delay": 1e6})["ack"] == "stored"
        finally:
            daemon.close()
    daemon.folder.rmdir()  # which could not be removed with a disk in it
