"""A zygote that hangs and keeps no deadline: the daemon has it ended, and its jobs run again, each alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.client import connect
from tests.mutant import Mutant
from tests.waiting import eventually

from . import jobs
from .checks import alive, lines
from .conftest import StartMutant

Start = Callable[..., Mutant]


@pytest.fixture
def start(start_mutant: StartMutant) -> Start:
    return start_mutant


def test_a_zygote_that_hangs_at_a_deadline_is_ended_and_its_jobs_run_again(start: Start, tmp_path: Path) -> None:
    daemon = start("impatient", "hanging_zygote")
    client = connect(str(daemon.runtime))
    innocent = client.submit(jobs.wait_for_file, str(tmp_path / "started"), str(tmp_path / "go"))
    eventually(lambda: lines(tmp_path / "started"), 20)
    late = client.options(timeout=0.3, grace=0.2).submit(jobs.stubborn, str(tmp_path / "pid"))
    status = late.wait(timeout=60)
    assert (status.outcome, [attempt.reason for attempt in status.attempts]) == ("timed_out", ["crash", "timeout"])
    assert not any(alive(int(pid)) for pid in lines(tmp_path / "pid"))
    assert "does not keep its deadlines and does not answer: ending it" in daemon.log()
    (tmp_path / "go").touch()
    assert innocent.result(timeout=20) == "went on"
    assert innocent.status().interruptions == 1


def test_a_job_in_a_hanging_zygote_that_is_cancelled_has_ended_soon(start: Start, tmp_path: Path) -> None:
    daemon = start("impatient", "hanging_zygote")
    client = connect(str(daemon.runtime))
    handle = client.options(timeout=3600, grace=0.2).submit(jobs.stubborn, str(tmp_path / "pid"))
    eventually(lambda: lines(tmp_path / "pid"), 20)
    handle.cancel()
    assert handle.wait(timeout=60).outcome == "cancelled"


def test_the_next_daemon_looks_after_it_as_well(start: Start, tmp_path: Path) -> None:
    daemon = start("impatient", "hanging_zygote")
    client = connect(str(daemon.runtime))
    handle = client.options(timeout=1.0, grace=0.2).submit(jobs.stubborn, str(tmp_path / "pid"))
    eventually(lambda: lines(tmp_path / "pid"), 20)
    os.kill(daemon.pids()["daemon"], signal.SIGKILL)
    assert [attempt.reason for attempt in handle.wait(timeout=60).attempts] == ["crash", "timeout"]


def test_without_looking_the_job_would_run_on(start: Start, tmp_path: Path) -> None:
    daemon = start("credulous", "hanging_zygote")
    client = connect(str(daemon.runtime))
    handle = client.options(timeout=0.3, grace=0.2).submit(jobs.stubborn, str(tmp_path / "pid"))
    eventually(lambda: daemon.log().count("does not end: nothing can kill") >= 3, 20)
    assert handle.status().state == "running"
    (hung,) = [zygote["pid"] for zygote in daemon.pids()["zygotes"] if zygote["key"] != "default"]
    os.kill(hung, signal.SIGKILL)


TRACER = """
import ctypes, os, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
if libc.ptrace(0x4206, int(sys.argv[1]), None, 0x100000) < 0:  # PTRACE_SEIZE, and end what is traced with the tracer
    sys.exit(os.strerror(ctypes.get_errno()))
print("traced", flush=True)
sys.stdin.read()
"""


def test_a_zygote_is_not_ended_for_a_process_that_somebody_else_holds(start: Start, tmp_path: Path) -> None:
    """Who traces a process keeps its zombie as long as he likes: the zygote answers, its other jobs go on."""
    daemon = start("impatient")
    client = connect(str(daemon.runtime))
    innocent = client.submit(jobs.wait_for_file, str(tmp_path / "started"), str(tmp_path / "go"))
    held = client.options(timeout=1.0, grace=0.2).submit(jobs.stubborn, str(tmp_path / "pid"))
    eventually(lambda: lines(tmp_path / "started") and lines(tmp_path / "pid"), 20)
    (pid,) = lines(tmp_path / "pid")
    tracer = subprocess.Popen([sys.executable, "-c", TRACER, pid], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert tracer.stdout is not None and tracer.stdout.readline() == b"traced\n"
        eventually(lambda: daemon.log().count("does not end: nothing can kill") >= 2, 20)
    finally:
        tracer.communicate()
    assert held.wait(timeout=20).outcome == "timed_out"
    (tmp_path / "go").touch()
    assert innocent.result(timeout=20) == "went on"
    assert innocent.status().interruptions == 0
