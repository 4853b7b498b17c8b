"""Negative controls: each promise of test_attempts.py, broken, is seen to be broken by the same look."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.waiting import eventually

from .process import ROOT, ZygoteProcess, result
from .test_attempts import J, alive

Break = Callable[[str], ZygoteProcess]


@pytest.fixture
def zygote_with() -> Iterator[Break]:
    started: list[ZygoteProcess] = []

    def start(broken: str) -> ZygoteProcess:
        started.append(ZygoteProcess({"path": [ROOT]}, broken))
        return started[-1]

    yield start
    for process in started:
        if process.lifeline >= 0 and process.channel.sock.fileno() >= 0:
            process.stop()


def end(pid: int) -> None:
    """End what a broken zygote left behind: the pid was written by a process of this very test."""
    os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("broken", ["no_sweep", "no_subreaper"])
def test_without_the_sweep_or_the_subreaper_an_escaped_process_lives(
    zygote_with: Break, tmp_path: Path, broken: str
) -> None:
    zygote_with(broken).run(call=J + "escape", args=[str(tmp_path / "pid"), False])
    pid = int((tmp_path / "pid").read_text())
    assert alive(pid)
    end(pid)


def test_without_closing_a_job_sees_the_zygotes_descriptors(zygote_with: Break) -> None:
    assert result(zygote_with("no_closing").run(call=J + "surroundings"))["fds"] != [0, 1, 2, 3]


def test_without_the_death_signal_an_attempt_outlives_its_zygote(zygote_with: Break, tmp_path: Path) -> None:
    process = zygote_with("no_death_signal")
    process.start(argv=["sh", "-c", f"echo $$ > {tmp_path}/pid; exec sleep 600"])
    eventually(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip(), 10)
    process.kill()
    pid = int((tmp_path / "pid").read_text())
    assert alive(pid)
    end(pid)


def test_without_holding_an_ending_is_told_once(zygote_with: Break) -> None:
    process = zygote_with("no_holding")
    number = process.start(call=J + "add", args=[1])
    process.ending(number)
    process.tell("hello", 8, {}, {"result": 2**20, "output": 65536})
    process.wait_for("hello")
    process.tell("tail", [0, 0], 1)
    process.wait_for("tail", 1)
    assert [message for message in process.said if message[0] == "exited"] == []


def test_without_the_last_resort_a_stubborn_job_lives(zygote_with: Break) -> None:
    process = zygote_with("no_last_resort")
    number = process.start(call=J + "ignore_sigterm", timeout=0.2, grace=0.1)
    with pytest.raises(AssertionError, match="did not say"):
        process.ending(number, seconds=1.5)


def test_without_trimming_a_flood_is_kept(zygote_with: Break) -> None:
    assert len(zygote_with("no_trimming").run(call=J + "flood", args=[2**20])["tail"]) > 64 * 1024
