"""The clock of day is set an hour on, or back, while jobs run: no deadline comes early or late; times of day follow."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.client import connect
from tests.mutant import Mutant
from tests.waiting import eventually

from . import jobs
from .checks import lines
from .conftest import StartMutant

HOUR = 3600.0
Start = Callable[..., Mutant]


@pytest.fixture
def start(start_mutant: StartMutant) -> Start:
    return lambda zygote="clock_zygote": start_mutant(daemon="clock_daemon", zygote=zygote)


def set_clock(daemon: Mutant, by: float) -> None:
    """Have time.time() say so much more, in daemon and zygotes."""
    (daemon.folder / "offset.new").write_text(str(by))
    os.rename(daemon.folder / "offset.new", daemon.folder / "offset")


@pytest.mark.parametrize("by", [HOUR, -HOUR])
def test_a_deadline_is_kept_when_the_clock_is_set(start: Start, tmp_path: Path, by: float) -> None:
    daemon = start()
    client = connect(str(daemon.runtime))
    other = client.options(timeout=60).submit(jobs.wait_for_file, str(tmp_path / "started"), str(tmp_path / "go"))
    eventually(lambda: lines(tmp_path / "started"), 20)
    began = time.monotonic()
    handle = client.options(timeout=2, grace=0.2).submit(jobs.stubborn, str(tmp_path / "pid"))
    eventually(lambda: lines(tmp_path / "pid"), 20)
    set_clock(daemon, by)
    assert handle.wait(timeout=60).outcome == "timed_out"
    assert 2.2 <= time.monotonic() - began < 10
    later = client.submit(jobs.square, str(tmp_path / "ran"), 3)
    assert later.result(timeout=30) == 9
    (tmp_path / "go").touch()
    assert other.result(timeout=30) == "went on"
    daemon.restart()
    assert [one.status().outcome for one in (handle, later, other)] == ["timed_out", "succeeded", "succeeded"]
    assert "Traceback" not in daemon.log()


def test_deadlines_by_the_clock_of_day_would_come_early(start: Start, tmp_path: Path) -> None:
    daemon = start("wall_clock_zygote")
    client = connect(str(daemon.runtime))
    handle = client.options(timeout=60, grace=0.2).submit(jobs.wait_for_file, str(tmp_path / "started"), "/nowhere")
    eventually(lambda: lines(tmp_path / "started"), 20)
    set_clock(daemon, HOUR)
    client.submit("operator:add", 1, 2).result(timeout=30)  # something that has the zygote look at the clock
    assert handle.wait(timeout=20).outcome == "timed_out"


def test_a_time_of_day_comes_when_the_clock_says_so(start: Start, tmp_path: Path) -> None:
    daemon = start()
    client = connect(str(daemon.runtime))
    handle = client.options(delay=HOUR / 2, ack="stored").submit(jobs.square, str(tmp_path / "ran"), 4)
    assert handle.status().state == "scheduled"
    set_clock(daemon, HOUR)
    assert handle.result(timeout=30) == 16


def test_a_job_that_has_no_delay_runs_after_the_clock_was_set_back(start: Start, tmp_path: Path) -> None:
    daemon = start()
    client = connect(str(daemon.runtime))
    assert client.submit(jobs.square, str(tmp_path / "ran"), 2).result(timeout=30) == 4
    set_clock(daemon, -HOUR)
    handles = [client.submit(jobs.square, str(tmp_path / "ran"), n) for n in range(20)]
    assert [handle.result(timeout=30) for handle in handles] == [n * n for n in range(20)]


def test_what_waits_for_a_slot_runs_after_the_clock_was_set_back(start: Start, tmp_path: Path) -> None:
    daemon = start()
    client = connect(str(daemon.runtime))
    holders = [
        client.submit(jobs.wait_for_file, str(tmp_path / f"started-{n}"), str(tmp_path / "go")) for n in range(4)
    ]
    eventually(lambda: all(lines(tmp_path / f"started-{n}") for n in range(4)), 20)
    queued = [client.options(ack="stored").submit(jobs.square, str(tmp_path / "ran"), n) for n in range(8)]
    set_clock(daemon, -HOUR)
    (tmp_path / "go").touch()
    assert [handle.result(timeout=30) for handle in (*holders, *queued)] == ["went on"] * 4 + [n * n for n in range(8)]
