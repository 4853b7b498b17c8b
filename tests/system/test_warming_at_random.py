"""Warm zygotes under edits and SIGKILLs at random: each job is done, and none by code older than at its submit.

More modules than there are places, some asked for often, some seldom. The seed is printed with a failure: the same seed
makes the same steps, not the same timing.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from sidecar.client import Handle, connect
from sidecar.daemon.warming import MOST
from tests.daemon_process import Daemon
from tests.mutant import Mutant

from .checks import write_whole

SECONDS = 5.0
MODULES = MOST + 3
GOOD_FOR = 0.1  # seconds after an edit from which on no job may miss it; a look is good for 0.05
SOURCE = """
import time
began = time.monotonic()
while time.monotonic() - began < 0.012: pass
import os, {part}
PID = os.getpid()
def run(): return [{part}.VERSION, PID == os.getpid()]
"""

pytestmark = pytest.mark.slow


class Asked(NamedTuple):
    """A job, and the oldest version that it may run."""

    module: int
    version: int
    handle: Handle


class Application:
    """Modules that each import a part of their own, which is edited."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.versions = [0] * MODULES
        self.edited = [0.0] * MODULES
        for number in range(MODULES):
            (folder / f"app{number}.py").write_text(SOURCE.format(part=f"part{number}"))
            self._write(number)

    def _write(self, number: int) -> None:
        version = self.versions[number]
        text = f"VERSION = {version}  {'#' * version}"  # Python goes by size and whole second itself
        write_whole(self.folder / f"part{number}.py", text)

    def edit(self, number: int) -> None:
        """Write the next version, unless the last one is so young that a job may still miss it."""
        if time.monotonic() - self.edited[number] > GOOD_FOR:
            self.versions[number] += 1
            self._write(number)
            self.edited[number] = time.monotonic()

    def oldest(self, number: int) -> int:
        """Return the oldest version that a job which is submitted now may run."""
        return self.versions[number] - (time.monotonic() - self.edited[number] < GOOD_FOR)


def kill(daemon: Daemon, chance: random.Random) -> None:
    """SIGKILL a warm zygote, or the daemon."""
    pids = daemon.pids()
    warm = [each["pid"] for each in pids["zygotes"] if "+" in each["key"]]
    try:
        os.kill(chance.choice([*warm, *warm, pids["daemon"]]), signal.SIGKILL)
    except ProcessLookupError:  # it ended by itself meanwhile
        pass


def run(daemon: Daemon, folder: Path, chance: random.Random, kills: bool) -> list[Asked]:
    """Submit, edit and kill for a while; returns what was asked for."""
    application, asked = Application(folder), []
    runtime = {"kind": "python", "interpreter": sys.executable, "path": [str(folder)], "cwd": str(folder)}
    client = connect(str(daemon.runtime)).options(runtime=runtime, timeout=60, ack="stored", deadline=20)
    ends = time.monotonic() + SECONDS
    while time.monotonic() < ends:
        number, dice = min(int(chance.expovariate(0.4)), MODULES - 1), chance.random()
        if dice < 0.9:
            oldest = application.oldest(number)
            asked.append(Asked(number, oldest, client.submit(f"app{number}:run")))
        elif dice < 0.98 or not kills:
            application.edit(number)
        else:
            kill(daemon, chance)
        time.sleep(chance.random() * 0.02)
    return asked


@pytest.fixture
def start() -> Iterator[Callable[[str], Daemon]]:
    started: list[Daemon] = []

    def start(zygote: str) -> Daemon:
        started.append(Mutant({"zygote_module": zygote}))
        return started[-1].start()

    yield start
    for one in started:
        one.close()


def test_each_job_is_done_and_none_by_code_older_than_at_its_submit(daemon: Daemon, tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    asked = run(daemon, tmp_path, random.Random(seed), kills=True)
    results = [each.handle.result(timeout=120) for each in asked]
    stale = [(each, found) for each, found in zip(asked, results, strict=True) if found[0] < each.version]
    assert not stale, f"seed {seed}"
    assert {cold for _, cold in results} == {True, False}, f"seed {seed}: both ways were taken"
    assert "Traceback" not in daemon.log()


def test_with_zygotes_that_do_not_look_it_is_seen(start: Callable[[str], Daemon], tmp_path: Path) -> None:
    """Negative control."""
    asked = run(start("tests.system.mutants.blind_zygote"), tmp_path, random.Random(1), kills=False)
    assert any(each.handle.result(timeout=120)[0] < each.version for each in asked)
