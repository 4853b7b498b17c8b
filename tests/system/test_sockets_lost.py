"""Somebody removes the sockets, or their folder, under a daemon that serves: it is reached again, and nothing is lost.

Cleaners of /tmp do that, and people. Who is connected notices nothing; who comes anew finds the spool until there are
sockets again.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.client import Handle, connect
from tests.mutant import Mutant
from tests.rawclient import RawClient
from tests.waiting import eventually

from . import jobs
from .checks import lines
from .conftest import StartMutant
from .test_deaths import ids_of, submit_from_processes

EACH = 150


@pytest.fixture
def daemon(start_mutant: StartMutant) -> Mutant:
    return start_mutant(heartbeat=3.0)  # it looks with each beat, six times as often


def sockets(daemon: Mutant) -> list[int]:
    """Return the inodes of the two, none for one that is not there."""
    return [path.stat().st_ino for path in (Path(daemon.handoff), Path(daemon.control)) if path.exists()]


def unlink(daemon: Mutant) -> None:
    for path in (daemon.handoff, daemon.control):
        Path(path).unlink()


def remove_folder(daemon: Mutant) -> None:
    shutil.rmtree(daemon.runtime)


def replace(daemon: Mutant) -> None:
    Path(daemon.handoff).unlink()
    Path(daemon.handoff).touch()


@pytest.mark.parametrize("way", [unlink, remove_folder, replace])
def test_it_is_reached_again_and_a_running_job_notices_nothing(
    daemon: Mutant, tmp_path: Path, way: Callable[[Mutant], None]
) -> None:
    client, before = connect(str(daemon.runtime)), sockets(daemon)
    running = client.submit(jobs.count_until, str(tmp_path / "writing"), str(tmp_path / "go"))
    eventually(lambda: lines(tmp_path / "writing"), 20)
    way(daemon)
    connected = client.submit("operator:add", 1, 2)  # over the socket that has no file any more
    eventually(lambda: len(sockets(daemon)) == 2 and not set(before) & set(sockets(daemon)), 20)
    assert connected.result(timeout=20) == 3
    fresh = RawClient(daemon.control, 20)
    assert fresh.call("ping")["pids"]["keeper"] == daemon.pid
    fresh.close()
    assert client.options(ack="stored", deadline=10).submit("operator:add", 2, 2).result(timeout=20) == 4
    (tmp_path / "go").touch()
    running.result(timeout=20)
    assert running.status().interruptions == 0
    assert daemon.log().count("the sockets were taken away, they are there again") == 1
    assert "reload failed" not in daemon.log()


def test_under_load_nothing_is_lost(daemon: Mutant, tmp_path: Path) -> None:
    submitters = [
        *submit_from_processes(daemon, tmp_path / "ran", 2, EACH, "sent"),
        *submit_from_processes(daemon, tmp_path / "ran-stored", 2, EACH, "stored"),
    ]
    for share in (1, 2):
        eventually(lambda share=share: len(lines(tmp_path / "ran")) >= share * EACH // 3, 60)  # type: ignore[misc]
        before = sockets(daemon)
        unlink(daemon)
        eventually(lambda before=before: len(sockets(daemon)) == 2 and not set(before) & set(sockets(daemon)), 20)  # type: ignore[misc]
    client = connect(str(daemon.runtime))
    results = Counter(Handle(id, door=client.door).result(timeout=120) for id in ids_of(submitters))
    assert results == Counter(n * n for n in [*range(2 * EACH)] * 2)
    run = Counter(map(int, lines(tmp_path / "ran"))) + Counter(map(int, lines(tmp_path / "ran-stored")))
    assert run == Counter([*range(2 * EACH)] * 2)
