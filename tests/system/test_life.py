"""The life of a job against a real daemon: delays, priorities, retries, cancels, expiry, results."""

from __future__ import annotations

import concurrent.futures
import datetime
import sys
import time
import venv
from pathlib import Path

import pytest

from sidecar.client import JobFailed, NotFound, Options, TryAgain, connect
from tests.daemon_process import Daemon
from tests.rawclient import job_of
from tests.waiting import eventually

from . import jobs
from .checks import alive, lines


@pytest.fixture
def client(shared_daemon: Daemon) -> Options:
    return connect(str(shared_daemon.runtime))


def test_a_job_returns_its_result(client: Options, tmp_path: Path) -> None:
    handle = client.submit(jobs.square, str(tmp_path / "ran"), 7)
    assert (handle.ack, handle.result(timeout=20)) == ("sent", 49)
    status = handle.status()
    assert (status.state, status.outcome, len(status.attempts)) == ("done", "succeeded", 1)
    assert status.attempts[0].max_rss > 0 and status.finished >= status.started >= status.submitted
    assert lines(tmp_path / "ran") == ["7"]


def test_a_job_that_raises_keeps_type_message_and_trace(client: Options, tmp_path: Path) -> None:
    handle = client.submit(jobs.fail_until, str(tmp_path / "ran"), 2)
    with pytest.raises(JobFailed) as caught:
        handle.result(timeout=20)
    assert (caught.value.outcome, caught.value.type, caught.value.message) == ("failed", "ValueError", "try 1")
    assert "fail_until" in caught.value.traceback


def test_a_command_runs_in_its_folder_and_its_status_counts(client: Options, tmp_path: Path) -> None:
    handle = client.options(cwd=str(tmp_path)).submit(["sh", "-c", "pwd; exit 4"])
    status = handle.wait(timeout=20)
    assert (status.outcome, status.attempts[0].status) == ("failed", 4)
    assert handle.output() == f"{tmp_path}\n".encode()


def test_a_delayed_job_waits_for_its_time(client: Options, tmp_path: Path) -> None:
    before = time.time()
    handle = client.options(delay=0.5).submit(jobs.square, str(tmp_path / "ran"), 1)
    eventually(lambda: handle.status().state == "scheduled", 5)
    assert handle.wait(timeout=20).started.timestamp() >= before + 0.5


def test_a_job_can_be_due_at_an_instant(client: Options, tmp_path: Path) -> None:
    due = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=0.3)
    status = client.options(run_at=due).submit(jobs.square, str(tmp_path / "ran"), 1).wait(timeout=20)
    assert status.started >= due


def test_a_job_that_did_not_start_in_time_is_expired(client: Options, tmp_path: Path) -> None:
    handle = client.options(delay=60, expires=0.2).submit(jobs.square, str(tmp_path / "ran"), 1)
    assert handle.wait(timeout=20).outcome == "expired"
    assert lines(tmp_path / "ran") == []


def test_a_job_that_came_too_late_is_expired_at_once(shared_daemon: Daemon) -> None:
    job = job_of("operator:add", 1, 2) | {"expires": time.time() - 1.0}
    shared_daemon.call("submit", job)
    assert shared_daemon.call("wait", job["id"], 20)["outcome"] == "expired"


def test_a_failed_job_is_tried_again_and_each_attempt_is_kept(client: Options, tmp_path: Path) -> None:
    handle = client.options(retries=3, backoff=[0.05, 0.1]).submit(jobs.fail_until, str(tmp_path / "ran"), 3)
    assert handle.result(timeout=20) == 3
    status = handle.status()
    assert [attempt.number for attempt in status.attempts] == [1, 2, 3]
    assert (status.failures, status.interruptions) == (2, 0)
    first, second, third = (float(line) for line in lines(tmp_path / "ran"))
    assert second - first >= 0.05 and third - second >= 0.1


def test_a_job_without_tries_left_has_failed(client: Options, tmp_path: Path) -> None:
    handle = client.options(retries=1, backoff=[0.0]).submit(jobs.fail_until, str(tmp_path / "ran"), 9)
    status = handle.wait(timeout=20)
    assert (status.outcome, len(status.attempts)) == ("failed", 2)


@pytest.mark.parametrize(
    ("how", "kind", "message"),
    [
        ("give up", "sidecar.errors.GiveUp", "no such address"),
        ("give up for a cause", "LookupError", "the cause"),
    ],
)
def test_a_job_that_gives_up_is_not_tried_again(
    how: str, kind: str, message: str, client: Options, tmp_path: Path
) -> None:
    handle = client.options(retries=4, backoff=[0.0]).submit(jobs.fail_its_own_way, str(tmp_path / "ran"), how)
    status = handle.wait(timeout=20)
    assert (status.outcome, len(lines(tmp_path / "ran"))) == ("failed", 1)
    assert status.error is not None
    assert (status.error["type"], status.error["message"]) == (kind, message)
    assert message in status.error["traceback"]


@pytest.mark.parametrize(("how", "kind"), [("again", "sidecar.errors.TryAgain"), ("for a cause", "LookupError")])
def test_a_job_may_say_when_it_is_tried_again(how: str, kind: str, client: Options, tmp_path: Path) -> None:
    tried = client.options(retries=2)
    sooner = tried.options(backoff=[3600.0]).submit(jobs.fail_its_own_way, str(tmp_path / "a"), how, 0.01)
    later = tried.options(backoff=[0.0]).submit(jobs.fail_its_own_way, str(tmp_path / "b"), how, 3600)
    ended = sooner.wait(timeout=20)  # in spite of the hour that its submitter thought of
    assert (ended.outcome, len(ended.attempts), (ended.error or {})["type"]) == ("failed", 3, kind)
    waiting = eventually(lambda: status if (status := later.status()).state == "scheduled" else None)
    pause = waiting.due - waiting.attempts[0].ended - datetime.timedelta(hours=1)
    assert abs(pause) < datetime.timedelta(milliseconds=1)  # they are floats on their way
    later.cancel()


@pytest.mark.parametrize("seconds", [-1, 1e9, float("nan")])
def test_no_job_is_tried_again_at_no_time(seconds: float) -> None:
    with pytest.raises(ValueError, match="give 0 up to a year"):
        TryAgain(seconds)


def test_a_job_over_its_time_is_ended(client: Options, tmp_path: Path) -> None:
    handle = client.options(timeout=0.3, grace=0.2).submit(jobs.stubborn, str(tmp_path / "pid"))
    assert handle.wait(timeout=20).outcome == "timed_out"
    assert not alive(int(lines(tmp_path / "pid")[0]))


def test_a_waiting_job_is_cancelled_at_once(client: Options, tmp_path: Path) -> None:
    handle = client.options(delay=60).submit(jobs.square, str(tmp_path / "ran"), 1)
    assert handle.cancel()
    assert handle.cancelled()
    with pytest.raises(concurrent.futures.CancelledError):
        handle.result(timeout=5)


def test_a_running_job_is_cancelled_with_the_same_escalation(client: Options, tmp_path: Path) -> None:
    handle = client.options(grace=0.2).submit(jobs.stubborn, str(tmp_path / "pid"))
    eventually(lambda: lines(tmp_path / "pid"), 20)
    handle.cancel()
    assert handle.wait(timeout=20).outcome == "cancelled"
    assert not alive(int(lines(tmp_path / "pid")[0]))


def test_a_job_that_is_done_cannot_be_cancelled(client: Options, tmp_path: Path) -> None:
    handle = client.submit(jobs.square, str(tmp_path / "ran"), 1)
    handle.wait(timeout=20)
    assert not handle.cancel()
    assert handle.status().outcome == "succeeded"


def test_an_id_nobody_knows_is_not_found(client: Options) -> None:
    prepared = client.prepare(jobs.square, "/nowhere", 1)
    with pytest.raises(NotFound):
        prepared.status()


def test_a_status_never_overtakes_its_hand_off(client: Options) -> None:
    for _ in range(50):
        assert client.options(delay=60).submit("time:time").status().state == "scheduled"


def test_a_repeated_hand_off_is_one_job(shared_daemon: Daemon, client: Options, tmp_path: Path) -> None:
    prepared = client.prepare(jobs.square, str(tmp_path / "ran"), 3)
    prepared.send()
    prepared.result(timeout=20)
    prepared.ack = None
    prepared.send()
    job = client.options(ack="stored").prepare(jobs.square, str(tmp_path / "ran"), 4)
    job.send()
    job.wait(timeout=20)
    assert sorted(lines(tmp_path / "ran")) == ["3", "4"]


def test_higher_priority_goes_first_then_time(start_daemon, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    daemon = start_daemon(slots=1)
    client = connect(str(daemon.runtime))
    holder = client.submit(jobs.wait_for_file, str(tmp_path / "started"), str(tmp_path / "go"))
    eventually(lambda: lines(tmp_path / "started"), 20)
    order = [(0, 1), (5, 2), (-5, 3), (5, 4), (0, 5)]
    handles = [
        client.options(priority=priority, ack="stored").submit(jobs.square, str(tmp_path / "ran"), number)
        for priority, number in order
    ]
    (tmp_path / "go").touch()
    holder.wait(timeout=20)
    for handle in handles:
        handle.wait(timeout=20)
    assert lines(tmp_path / "ran") == ["2", "4", "1", "5", "3"]


def test_queues_take_turns(start_daemon, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    daemon = start_daemon(slots=1)
    client = connect(str(daemon.runtime))
    client.submit(jobs.wait_for_file, str(tmp_path / "started"), str(tmp_path / "go"))
    eventually(lambda: lines(tmp_path / "started"), 20)
    flood = [
        client.options(queue="flood", ack="stored").submit(jobs.square, str(tmp_path / "ran"), number)
        for number in range(10)
    ]
    late = client.options(queue="late", ack="stored").submit(jobs.square, str(tmp_path / "ran"), 99)
    (tmp_path / "go").touch()
    for handle in (*flood, late):
        handle.wait(timeout=20)
    assert lines(tmp_path / "ran").index("99") <= 1


def test_an_ending_and_the_next_claim_are_one_commit(start_daemon, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    daemon = start_daemon(slots=1)
    client = connect(str(daemon.runtime))
    client.submit(jobs.wait_for_file, str(tmp_path / "started"), str(tmp_path / "go"))
    eventually(lambda: lines(tmp_path / "started"), 20)
    handles = [client.options(ack="stored").submit("time:time") for _ in range(20)]
    before = daemon.call("stats")["counters"]["commits"]
    (tmp_path / "go").touch()
    handles[-1].wait(timeout=20)
    assert 21 <= daemon.call("stats")["counters"]["commits"] - before <= 25


def test_stdin_and_environment_reach_the_job(client: Options) -> None:
    handle = client.options(stdin=b"in", env={"GREETING": "hello"}).submit(["sh", "-c", 'cat; echo " $GREETING"'])
    handle.wait(timeout=20)
    assert handle.output() == b"in hello\n"


def test_an_interpreter_without_sidecar_keeps_the_job_waiting_with_the_reason(client: Options, tmp_path: Path) -> None:
    venv.create(tmp_path / "bare")
    interpreter = str(tmp_path / "bare" / "bin" / "python")
    runtime = {"kind": "python", "interpreter": interpreter, "path": []}
    handle = client.options(runtime=runtime, ack="stored").submit("time:time")
    status = eventually(lambda: (found := handle.status()).waiting and found, 20)
    assert (status.state, len(status.attempts)) == ("queued", 0)
    assert "No module named" in status.waiting and f"{interpreter} -m pip install sidecar-jobs" in status.waiting
    assert handle.cancel()


def test_a_waiting_job_runs_as_soon_as_its_interpreter_is_mended(client: Options, tmp_path: Path) -> None:
    interpreter = tmp_path / "python"
    path = [entry for entry in sys.path if entry.startswith("/")]
    runtime = {"kind": "python", "interpreter": str(interpreter), "path": path}
    handle = client.options(runtime=runtime, ack="stored").submit("operator:add", 1, 2)
    eventually(lambda: handle.status().waiting, 20)
    interpreter.symlink_to(sys.executable)
    assert handle.result(timeout=30) == 3
    assert len(handle.status().attempts) == 1


def test_an_interpreter_that_is_not_there_keeps_the_job_waiting(client: Options) -> None:
    runtime = {"kind": "python", "interpreter": "/no/such/python", "path": []}
    handle = client.options(runtime=runtime, ack="stored").submit("time:time")
    assert "/no/such/python" in eventually(lambda: handle.status().waiting, 20)
    assert handle.cancel()
