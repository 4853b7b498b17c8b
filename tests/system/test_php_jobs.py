"""PHP jobs, submitted by a Python application: real daemon, real PHP."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sidecar.client import Handle, JobFailed, Options, connect
from tests.conftest import StartDaemon
from tests.daemon_process import Daemon
from tests.php.runtime import PHP, WORKER, needs_php, record
from tests.waiting import eventually

from .checks import lines
from .conftest import StartMutant

pytestmark = needs_php


@pytest.fixture
def client(shared_daemon: Daemon) -> Options:
    return connect(str(shared_daemon.runtime)).options(runtime=record())


def test_a_python_application_submits_a_php_job_and_has_its_result(client: Options) -> None:
    handle = client.submit("Jobs\\Mail::send", 42, to="you")
    assert handle.result(timeout=20) == "42 to you"
    status = handle.status()
    assert (status.target, status.outcome, len(status.attempts)) == ("Jobs\\Mail::send", "succeeded", 1)


def test_jobs_hand_off_from_one_language_to_the_other_and_back(client: Options, shared_daemon: Daemon) -> None:
    handle = client.submit("Jobs\\ask_python", str(shared_daemon.runtime), sys.executable, 12)
    squared, id = handle.result(timeout=30)
    assert squared == 144
    assert Handle(id, door=client.door).status().target == "builtins:pow"


@pytest.mark.parametrize(
    ("call", "args", "outcome", "status", "kind"),
    [
        ("leave_with", [0], "succeeded", 0, None),
        ("leave_with", ["gone"], "succeeded", 0, None),
        ("leave_with", [3], "failed", 3, "ExitStatus"),
        ("raise", ["no such order"], "failed", 1, "DomainException"),
        ("exhaust_memory", [], "failed", 255, "FatalError"),
        ("trigger_fatal", [], "failed", 255, "FatalError"),
        ("fail_late", [], "failed", 255, "ExitStatus"),
    ],
)
def test_each_way_to_end_has_its_outcome(
    client: Options, call: str, args: list[Any], outcome: str, status: int, kind: str | None
) -> None:
    handle = client.submit(f"Jobs\\{call}", *args)
    ended = handle.wait(timeout=20)
    assert (ended.outcome, ended.attempts[0].status) == (outcome, status)
    assert (ended.error or {}).get("type") == kind
    if kind is None:
        assert handle.result(timeout=1) is None


def test_a_throwable_is_raised_as_a_failed_job(client: Options) -> None:
    with pytest.raises(JobFailed) as caught:
        client.submit("Jobs\\raise", "no such order").result(timeout=20)
    assert (caught.value.type, caught.value.message) == ("DomainException", "no such order")
    assert "functions.php" in caught.value.traceback


def test_what_cannot_be_packed_does_not_undo_the_work(client: Options) -> None:
    ended = client.submit("Jobs\\return_object").wait(timeout=20)
    assert ended.outcome == "succeeded" and "DateTimeImmutable" in (ended.result_error or "")


def test_output_is_kept(client: Options) -> None:
    handle = client.submit("Jobs\\write", "words;")
    handle.wait(timeout=20)
    assert handle.output() == b"words;!"


@pytest.mark.parametrize("call", ["spin", "nap"])
def test_a_job_that_does_not_end_is_timed_out(client: Options, call: str) -> None:
    assert client.options(timeout=0.5).submit(f"Jobs\\{call}").wait(timeout=20).outcome == "timed_out"


def test_a_running_job_is_cancelled(client: Options) -> None:
    handle = client.submit("Jobs\\nap")
    eventually(lambda: handle.status().state == "running", 20)
    handle.cancel()
    assert handle.wait(timeout=20).outcome == "cancelled"


def test_it_is_tried_again_and_its_class_hears_of_the_last_failure_alone(client: Options, tmp_path: Path) -> None:
    handle = client.options(retries=2, backoff=[0.01]).submit("Jobs\\Told::work", str(tmp_path / "told"))
    ended = handle.wait(timeout=20)
    assert (ended.outcome, ended.failures, len(ended.attempts)) == ("failed", 3, 3)
    assert lines(tmp_path / "told") == ["worked, attempt 3"]


def fail_after_an_interruption(daemon: Daemon, tmp_path: Path) -> list[str]:
    """Interrupt the first attempt of a job with one retry; return the attempts of whose failure its class heard."""
    options = connect(str(daemon.runtime)).options(runtime=record(), retries=1, backoff=[0.01], ack="stored", grace=0.2)
    handle = options.submit("Jobs\\Hanging::work", str(tmp_path))
    eventually(lambda: (tmp_path / "ran").exists(), 20)
    daemon.stop(now=True)
    daemon.start()
    ended = handle.wait(timeout=20)
    assert (ended.outcome, ended.failures, ended.interruptions) == ("failed", 2, 1)
    return lines(tmp_path / "failed")


def test_an_interruption_is_no_failure_in_the_eyes_of_its_class(start_daemon: StartDaemon, tmp_path: Path) -> None:
    assert fail_after_an_interruption(start_daemon(), tmp_path) == ["3"]


def test_a_daemon_that_counts_attempts_tells_a_class_too_early(start_mutant: StartMutant, tmp_path: Path) -> None:
    """Negative control: why the daemon tells how often a job has failed."""
    assert fail_after_an_interruption(start_mutant("counts_attempts"), tmp_path) == ["2", "3"]


def test_a_job_waits_for_a_php_that_is_not_there_and_runs_when_it_is(client: Options, tmp_path: Path) -> None:
    php = tmp_path / "php"
    handle = client.options(runtime=record() | {"interpreter": str(php)}, ack="stored").submit("strlen", "abc")
    assert f"{php} is not there; install that PHP" in eventually(lambda: handle.status().waiting, 20)
    assert (handle.status().state, len(handle.status().attempts)) == ("queued", 0)
    php.symlink_to(PHP)
    assert handle.result(timeout=30) == 3
    assert len(handle.status().attempts) == 1


def test_a_job_waits_for_a_worker_that_a_deploy_has_taken_away(client: Options, tmp_path: Path) -> None:
    worker = tmp_path / "worker"
    worker.symlink_to(WORKER)
    deployed = client.options(runtime=record() | {"worker": str(worker)}, ack="stored")
    assert deployed.submit("strlen", "abc").result(timeout=20) == 3
    worker.unlink()
    handle = deployed.submit("strlen", "abcd")
    assert f"{worker} is not there; finish the deploy" in eventually(lambda: handle.status().waiting, 20)
    worker.symlink_to(WORKER)
    assert handle.result(timeout=30) == 4
    assert len(handle.status().attempts) == 1


@pytest.mark.parametrize(
    ("how", "error", "told"),
    [
        ("give up", ("Sidecar\\GiveUp", "no such address"), "told: no such address"),
        ("give up for a cause", ("RangeException", "the cause"), "told: the cause"),
    ],
)
def test_a_job_that_gives_up_is_not_tried_again(
    how: str, error: tuple[str, str], told: str, client: Options, tmp_path: Path
) -> None:
    handle = client.options(retries=4, backoff=[0.0]).submit("Jobs\\Retrying::fail", f"{tmp_path}/tries", how)
    ended = handle.wait(timeout=20)
    assert (ended.outcome, len(ended.attempts)) == ("failed", 1)
    assert ended.error is not None
    assert (ended.error["type"], ended.error["message"]) == error
    assert handle.output() == told.encode()


def test_a_job_that_does_not_give_up_is(client: Options, tmp_path: Path) -> None:
    handle = client.options(retries=4, backoff=[0.0]).submit("Jobs\\Retrying::fail", f"{tmp_path}/tries", "as any")
    assert len(handle.wait(timeout=30).attempts) == 5


@pytest.mark.parametrize(("how", "kind"), [("again", "Sidecar\\TryAgain"), ("again for a cause", "RangeException")])
def test_a_job_may_say_when_it_is_tried_again(how: str, kind: str, client: Options, tmp_path: Path) -> None:
    sooner = client.options(retries=2, backoff=[3600.0]).submit("Jobs\\Retrying::fail", f"{tmp_path}/a", how, 0.01)
    later = client.options(retries=2, backoff=[0.0]).submit("Jobs\\Retrying::fail", f"{tmp_path}/b", how, 3600)
    ended = sooner.wait(timeout=30)  # in spite of the hour that its submitter thought of
    assert (ended.outcome, len(ended.attempts), (ended.error or {})["type"]) == ("failed", 3, kind)
    waiting = eventually(lambda: status if (status := later.status()).state == "scheduled" else None)
    assert abs(waiting.due - waiting.attempts[0].ended - timedelta(hours=1)) < timedelta(milliseconds=1)
    later.cancel()
