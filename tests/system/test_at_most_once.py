"""at_most_once, with a real daemon: what was once started is never started again, whoever dies in between."""

from __future__ import annotations

import os
import random
import signal
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from sidecar.client import Handle, Options, connect
from tests.conftest import StartDaemon
from tests.daemon_process import Daemon
from tests.faults import Faults
from tests.waiting import eventually

from . import jobs
from .checks import lines


@pytest.fixture
def faults(tmp_path: Path) -> Faults:
    return Faults(tmp_path)


@pytest.fixture
def daemon(start_daemon: StartDaemon, faults: Faults) -> Daemon:
    started = start_daemon(config="drain = 0.2\n", env=faults.env)
    client = connect(str(started.runtime))
    assert client.options(ack="stored").submit(jobs.square, str(faults.folder / "warm"), 1).result(20) == 1
    return started


@pytest.fixture
def once(daemon: Daemon) -> Options:
    return connect(str(daemon.runtime)).options(at_most_once=True, grace=0.2, ack="stored", deadline=10)


def zygotes(daemon: Daemon) -> list[int]:
    return [zygote["pid"] for zygote in daemon.pids()["zygotes"]]


def test_it_runs_as_any_other_and_a_failure_is_not_tried_again(once: Options, tmp_path: Path) -> None:
    assert once.submit(jobs.square, str(tmp_path / "ran"), 7).result(20) == 49
    assert once.submit(jobs.fail_until, str(tmp_path / "tries"), 2).wait(20).outcome == "failed"
    assert once.options(timeout=0.2).submit(jobs.stubborn, str(tmp_path / "pid")).wait(20).outcome == "timed_out"
    assert [len(lines(tmp_path / name)) for name in ("ran", "tries", "pid")] == [1, 1, 1]


def test_it_is_not_started_before_its_start_is_on_the_disk(
    daemon: Daemon, once: Options, faults: Faults, tmp_path: Path
) -> None:
    faults.on("stall-sync")
    handle = once.submit(jobs.square, str(tmp_path / "ran"), 3)
    other = connect(str(daemon.runtime)).submit(jobs.square, str(tmp_path / "other"), 4)
    assert other.result(20) == 16  # any other starts at once
    assert handle.running() and not lines(tmp_path / "ran")
    faults.off("stall-sync")
    assert handle.result(20) == 9
    assert lines(tmp_path / "ran") == ["3"]


def test_the_death_of_its_zygote_loses_it(daemon: Daemon, once: Options, tmp_path: Path) -> None:
    handle = once.submit(jobs.wait_for_file, str(tmp_path / "started"), str(tmp_path / "go"))
    again = connect(str(daemon.runtime)).submit(jobs.wait_for_file, str(tmp_path / "other"), str(tmp_path / "go"))
    eventually(lambda: lines(tmp_path / "started") and lines(tmp_path / "other"), 20)
    for pid in zygotes(daemon):
        os.kill(pid, signal.SIGKILL)
    (tmp_path / "go").touch()
    status = handle.wait(20)
    assert (status.outcome, len(status.attempts)) == ("lost", 1)
    assert "at_most_once forbids a second start" in str(status.reason)
    assert again.result(20) == "went on"  # without the option it runs again
    assert (len(lines(tmp_path / "started")), len(lines(tmp_path / "other"))) == (1, 2)


def test_the_death_of_everything_loses_it(daemon: Daemon, once: Options, tmp_path: Path) -> None:
    handle = once.submit(jobs.wait_for_file, str(tmp_path / "started"), str(tmp_path / "go"))
    eventually(lambda: lines(tmp_path / "started"), 20)
    daemon.kill()
    eventually(lambda: not daemon.family(), 10)
    (tmp_path / "go").touch()
    daemon.start()
    assert handle.wait(20).outcome == "lost"
    assert len(lines(tmp_path / "started")) == 1


def test_a_shutdown_that_it_outlasts_loses_it(daemon: Daemon, once: Options, tmp_path: Path) -> None:
    handle = once.submit(jobs.wait_for_file, str(tmp_path / "started"), str(tmp_path / "go"))
    eventually(lambda: lines(tmp_path / "started"), 20)
    assert daemon.stop() == 0
    (tmp_path / "go").touch()
    daemon.start()
    status = handle.wait(20)
    assert status.outcome == "lost" and "was ended by a shutdown" in str(status.reason)
    assert len(lines(tmp_path / "started")) == 1


def test_the_death_of_the_daemon_alone_does_not_touch_it(daemon: Daemon, once: Options, tmp_path: Path) -> None:
    handle = once.submit(jobs.wait_for_file, str(tmp_path / "started"), str(tmp_path / "go"))
    eventually(lambda: lines(tmp_path / "started"), 20)
    os.kill(daemon.pids()["daemon"], signal.SIGKILL)
    (tmp_path / "go").touch()
    assert handle.result(20) == "went on"
    assert len(lines(tmp_path / "started")) == 1


# -- between the commit of its start and the zygote's order: it has not begun, and everybody knows --------------------


def test_a_daemon_killed_before_it_told_the_zygote_leaves_it_to_the_next(
    daemon: Daemon, once: Options, faults: Faults, tmp_path: Path
) -> None:
    faults.on("stall-sync")
    handle = once.submit(jobs.square, str(tmp_path / "ran"), 5)
    eventually(handle.running)
    os.kill(daemon.pids()["daemon"], signal.SIGKILL)
    faults.off("stall-sync")
    assert handle.result(20) == 25
    assert lines(tmp_path / "ran") == ["5"]


def test_a_zygote_that_dies_before_it_was_told_has_not_started_it(
    daemon: Daemon, once: Options, faults: Faults, tmp_path: Path
) -> None:
    faults.on("stall-sync")
    handle = once.submit(jobs.square, str(tmp_path / "ran"), 6)
    eventually(handle.running)
    for pid in zygotes(daemon):
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: handle.status().state == "queued" or lines(tmp_path / "ran"))
    faults.off("stall-sync")
    assert handle.result(20) == 36
    assert lines(tmp_path / "ran") == ["6"]


def test_cancelled_before_the_zygote_was_told_it_never_starts(once: Options, faults: Faults, tmp_path: Path) -> None:
    faults.on("stall-sync")
    handle = once.submit(jobs.square, str(tmp_path / "ran"), 6)
    eventually(handle.running)
    assert handle.cancel()
    assert handle.wait(20).outcome == "cancelled"
    faults.off("stall-sync")
    assert once.submit(jobs.square, str(tmp_path / "next"), 2).result(20) == 4
    assert not lines(tmp_path / "ran")


def test_a_shutdown_before_the_zygote_was_told_leaves_it_for_the_next_start(
    daemon: Daemon, once: Options, faults: Faults, tmp_path: Path
) -> None:
    faults.on("stall-sync")
    handle = once.submit(jobs.square, str(tmp_path / "ran"), 8)
    eventually(handle.running)
    daemon.signal(signal.SIGTERM)
    eventually(lambda: "interrupting 1 jobs" in daemon.log())
    faults.off("stall-sync")
    assert daemon.wait() == 0
    assert not lines(tmp_path / "ran")
    daemon.start()
    assert handle.result(20) == 64
    assert (lines(tmp_path / "ran"), len(handle.status().attempts)) == (["8"], 1)


@pytest.mark.slow
def test_under_random_kills_none_starts_twice_and_each_ends(start_daemon: StartDaemon, tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    dice = random.Random(seed)
    daemon = start_daemon(slots=8)
    client = connect(str(daemon.runtime)).options(at_most_once=True, ack="stored", deadline=20, on_unavailable="raise")
    handles: list[Handle] = []
    for _ in range(8):
        began = len(handles)
        for _ in range(dice.randrange(20, 150)):
            handles.append(client.submit(jobs.square, str(tmp_path / "ran"), len(handles)))
        pids = daemon.pids()
        victims = [pids["daemon"]] if dice.random() < 0.6 else [zygote["pid"] for zygote in pids["zygotes"]]
        with suppress(ProcessLookupError):
            os.kill(dice.choice(victims), signal.SIGKILL)
        assert len(handles) > began
    outcomes = [handle.wait(60).outcome for handle in handles]
    starts = Counter(map(int, lines(tmp_path / "ran")))
    assert max(starts.values()) == 1, f"seed {seed}"
    assert set(outcomes) <= {"succeeded", "lost"}, f"seed {seed}"
    ran = [number for number, outcome in enumerate(outcomes) if outcome == "succeeded"]
    assert set(ran) <= starts.keys() and len(ran) > len(handles) // 2, f"seed {seed}: {Counter(outcomes)}"
