"""The daemon is replaced under load, by a reload, by SIGKILL, or because it hangs: whoever looks sees nothing of it.

The load is real: processes that submit with both acks, a job that writes all the while, one whose deadline falls into
it, clients with open connections and a pipeline of submits that is cut. At the end, sets: acknowledged = run =
recorded, each once, no attempt interrupted.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from sidecar.client import Handle, connect
from tests.mutant import Mutant
from tests.rawclient import Ended, RawClient, job_of, show_id
from tests.waiting import eventually

from . import jobs
from .checks import lines
from .conftest import StartMutant
from .test_deaths import ids_of, submit_from_processes

HEARTBEAT = 3.0
EACH = 120


@pytest.fixture
def start(start_mutant: StartMutant) -> Callable[..., Mutant]:
    return lambda daemon="": start_mutant(daemon=daemon, heartbeat=HEARTBEAT)


def replace(daemon: Mutant, way: str) -> None:
    """Have the daemon replaced, and return when another one serves."""
    before = daemon.pids()["daemon"]
    if way == "reload":
        daemon.signal(signal.SIGHUP)
    else:
        os.kill(before, signal.SIGKILL if way == "kill" else signal.SIGSTOP)
    eventually(lambda: daemon.pids()["daemon"] != before, 60)


def ask_again(daemon: Mutant, method: str, *params: object) -> object:
    """Ask on new connections until one of them answers, as every client does with what may be repeated."""
    while True:
        try:
            with RawClient(daemon.control, 60) as client:
                return client.call(method, *params)
        except (Ended, ConnectionError):
            assert daemon.running


class Report(NamedTuple):
    """What came of it, as sets of numbers."""

    submitted: Counter[int]
    run: Counter[int]
    results: Counter[int]
    interruptions: int


def under_load(daemon: Mutant, way: str, tmp_path: Path) -> Report:
    client = connect(str(daemon.runtime))
    writer = client.submit(jobs.count_until, str(tmp_path / "writing"), str(tmp_path / "go"))
    eventually(lambda: lines(tmp_path / "writing"), 20)
    late = client.options(timeout=2.0, grace=0.3, retries=0).submit(jobs.stubborn, str(tmp_path / "stubborn"))
    eventually(lambda: lines(tmp_path / "stubborn"), 20)
    silent, waiting, cut = (RawClient(daemon.control, 60) for _ in range(3))
    number = waiting.ask("wait", writer.id, 60)
    submitters = [
        *submit_from_processes(daemon, tmp_path / "ran", 2, EACH, "sent"),
        *submit_from_processes(daemon, tmp_path / "ran-stored", 2, EACH, "stored"),
    ]
    eventually(lambda: len(lines(tmp_path / "ran")) >= 20, 60)
    pipeline = [job_of(["sh", "-c", f"echo {n} >> {tmp_path}/ran-cut"]) for n in range(50)]
    for job in pipeline:
        cut.ask("submit", job)
    for share in (1, 2, 3):
        replace(daemon, way)
        eventually(lambda share=share: len(lines(tmp_path / "ran")) >= share * EACH // 2, 120)  # type: ignore[misc]
    for closed in (silent, waiting, cut):
        with pytest.raises((Ended, ConnectionError)):  # told by the end of the connection
            while True:
                closed.receive()
    waiting_again = RawClient(daemon.control, 60)
    number = waiting_again.ask("wait", writer.id, 60)
    for job in pipeline:
        ask_again(daemon, "submit", job)  # whether it was done is not known: the same id, and it is done once
    ids = ids_of(submitters)
    results = [Handle(id, door=client.door).result(timeout=120) for id in ids]
    handles = [
        *(Handle(id, door=client.door) for id in ids),
        *(Handle(show_id(j["id"]), door=client.door) for j in pipeline),
    ]
    interruptions = sum(handle.wait(timeout=60).interruptions for handle in handles)
    check_deadline(late)
    (tmp_path / "go").touch()
    assert waiting_again.answer(number)["outcome"] == "succeeded"
    check_output(writer)
    assert sorted(map(int, lines(tmp_path / "ran-cut"))) == list(range(50))
    for one in (silent, waiting, cut, waiting_again):
        one.close()
    run = Counter(map(int, lines(tmp_path / "ran"))) + Counter(map(int, lines(tmp_path / "ran-stored")))
    return Report(Counter([*range(2 * EACH)] * 2), run, Counter(results), interruptions + writer.status().interruptions)


def check_deadline(late: Handle) -> None:
    """It was ended at its deadline, by its zygote, whoever was the daemon then."""
    status = late.wait(timeout=60)
    (attempt,) = status.attempts
    assert status.outcome == "timed_out"
    assert 2.2 < attempt.ended.timestamp() - attempt.started.timestamp() < 10


def check_output(writer: Handle) -> None:
    """Every line is there, none twice, up to the tail's length."""
    result = writer.result(timeout=60)
    written = [int(line) for line in writer.output().split()]
    assert written[-1] == result - 1
    assert written == list(range(written[0], result))


@pytest.mark.parametrize("way", ["reload", "kill", "hang"])
def test_nobody_notices_that_the_daemon_is_replaced_under_load(
    start: Callable[..., Mutant], tmp_path: Path, way: str
) -> None:
    daemon = start()
    sockets = [os.stat(path).st_ino for path in (daemon.handoff, daemon.control)]
    report = under_load(daemon, way, tmp_path)
    assert report.run == report.submitted
    assert report.results == Counter(n * n for n in report.submitted.elements())
    assert report.interruptions == 0
    assert [os.stat(path).st_ino for path in (daemon.handoff, daemon.control)] == sockets
    assert daemon.log().count("silent for too long") == (3 if way == "hang" else 0)


def test_a_daemon_that_forgets_its_zygotes_would_be_noticed(start: Callable[..., Mutant], tmp_path: Path) -> None:
    daemon = start("forgetful")
    client = connect(str(daemon.runtime))
    writer = client.submit(jobs.count_until, str(tmp_path / "writing"), str(tmp_path / "go"))
    eventually(lambda: lines(tmp_path / "writing"), 20)
    replace(daemon, "kill")
    eventually(lambda: writer.status().interruptions == 1, 20)
    (tmp_path / "go").touch()


@pytest.mark.parametrize("mutant", ["dying", "hasty"])
def test_a_daemon_that_dies_before_its_commit_loses_nothing_unless_it_had_received(
    start: Callable[..., Mutant], tmp_path: Path, mutant: str
) -> None:
    daemon = start(mutant)
    ids = ids_of(submit_from_processes(daemon, tmp_path / "ran", 2, 100, "sent"))
    eventually(lambda: (daemon.folder / "death-4").exists(), 60)
    found = {job["id"] for job in ask_again(daemon, "list", {"limit": 1000})}  # type: ignore[attr-defined]
    assert found <= set(ids)
    if mutant == "dying":
        client = connect(str(daemon.runtime))
        assert len([Handle(id, door=client.door).result(timeout=60) for id in ids]) == 200
        assert Counter(map(int, lines(tmp_path / "ran"))) == Counter(range(200))
    else:
        assert len(set(ids) - found) >= 5, "one a death at least"
