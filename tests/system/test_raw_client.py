"""PROTOCOL.md is enough: a client made from it alone submits, waits, follows, cancels and spools at a live daemon."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from .. import rawclient
from ..daemon_process import Daemon
from ..rawclient import Refused, hand_off, job_of, show_id, unpack
from ..waiting import eventually


def finished(daemon: Daemon, job: dict[str, Any], seconds: float = 10.0) -> dict[str, Any]:
    """Wait for a job's end and return its status."""
    status: dict[str, Any] = daemon.call("wait", job["id"], seconds)
    assert status["state"] == "done", status
    return status


def test_a_stored_call_returns_its_result(shared_daemon: Daemon) -> None:
    job = job_of("operator:sub", 44, 2)
    with shared_daemon.client() as client:
        submitted = client.call("submit", job)
        assert (submitted["id"], submitted["ack"]) == (show_id(job["id"]), "stored")
        assert client.call("wait", job["id"], 10)["outcome"] == "succeeded"
        result = client.call("result", job["id"])
    assert unpack(result["result"]) == 42
    assert (result["status"], result["signal"], result["error"]) == (0, None, None)


def test_a_call_handed_off_by_datagram_can_be_waited_for_at_once(shared_daemon: Daemon) -> None:
    for number in range(20):  # the status must not overtake the datagram
        job = job_of("operator:neg", number)
        hand_off(shared_daemon.handoff, job)
        assert finished(shared_daemon, job)["outcome"] == "succeeded"
        assert unpack(shared_daemon.call("result", job["id"])["result"]) == -number


def test_a_command_has_its_stdin_environment_and_folder_and_keeps_its_output(shared_daemon: Daemon) -> None:
    job = job_of(
        ["sh", "-c", 'cat; echo "$GREETING $PWD" >&2; exit 7'], stdin=b"in\xff\n", cwd="/", env={"GREETING": "hi"}
    )
    shared_daemon.call("submit", job)
    status = finished(shared_daemon, job)
    assert (status["outcome"], status["attempts"][0]["status"]) == ("failed", 7)
    assert shared_daemon.call("logs", job["id"])["output"] == b"in\xff\nhi /\n"


def test_an_exception_is_told_with_type_message_and_traceback(shared_daemon: Daemon) -> None:
    job = job_of("json:loads", "{")
    shared_daemon.call("submit", job)
    error = finished(shared_daemon, job)["error"]
    assert error["type"] == "json.decoder.JSONDecodeError"
    assert error["message"].startswith("Expecting property name")
    assert error["traceback"].startswith("Traceback")
    assert "in raw_decode" in error["traceback"]


def test_the_same_id_twice_is_one_job(shared_daemon: Daemon, tmp_path: Path) -> None:
    job = job_of(["sh", "-c", f"echo once >> {tmp_path}/ran"])
    for _ in range(3):
        assert shared_daemon.call("submit", job)["id"] == show_id(job["id"])
        hand_off(shared_daemon.handoff, job)
    finished(shared_daemon, job)
    again = job_of("os:getpid")
    hand_off(shared_daemon.handoff, again)
    finished(shared_daemon, again)  # what was handed off before it has been taken in too
    assert (tmp_path / "ran").read_text() == "once\n"
    assert len(shared_daemon.call("status", job["id"])["attempts"]) == 1


def test_a_running_job_is_cancelled_with_its_tree(shared_daemon: Daemon) -> None:
    job = job_of(["sh", "-c", "echo $$; sleep 300 & sleep 300"])
    shared_daemon.call("submit", job)
    eventually(lambda: b"\n" in shared_daemon.call("logs", job["id"])["output"], what="the job is running")
    pid = int(shared_daemon.call("logs", job["id"])["output"])
    shared_daemon.call("cancel", job["id"])
    assert finished(shared_daemon, job)["outcome"] == "cancelled"
    assert not os.path.exists(f"/proc/{pid}")


def test_a_job_that_waits_is_cancelled_at_once(shared_daemon: Daemon) -> None:
    job = job_of("os:getpid", delay=3600)
    shared_daemon.call("submit", job)
    assert shared_daemon.call("status", job["id"])["state"] == "scheduled"
    status = shared_daemon.call("cancel", job["id"])
    assert (status["state"], status["outcome"], status["attempts"]) == ("done", "cancelled", [])


def test_a_wait_ends_with_its_time_and_others_are_answered_meanwhile(shared_daemon: Daemon) -> None:
    job = job_of("os:getpid", delay=3600)
    with shared_daemon.client() as client:
        client.call("submit", job)
        began = time.monotonic()
        wait = client.ask("wait", job["id"], 0.3)
        assert client.call("ping")["protocol"] == 1
        assert time.monotonic() - began < 0.3, "ping waited for the wait"
        assert client.answer(wait)["state"] == "scheduled"
        assert 0.3 <= time.monotonic() - began < 5
        client.call("cancel", job["id"])


def test_requests_may_be_sent_without_waiting(shared_daemon: Daemon) -> None:
    jobs = [job_of("operator:neg", number) for number in range(50)]
    with shared_daemon.client() as client:
        before = client.call("stats")["counters"]["stream"]
        submits = [client.ask("submit", job) for job in jobs]
        waits = [client.ask("wait", job["id"], 20) for job in jobs]
        results = [client.ask("result", job["id"]) for job in jobs if client.answer(waits.pop(0))["state"] == "done"]
        assert [client.answer(number)["id"] for number in submits] == [show_id(job["id"]) for job in jobs]
        assert [unpack(client.answer(number)["result"]) for number in results] == [-number for number in range(50)]
        assert client.call("stats")["counters"]["stream"] >= before + 50


def test_the_output_of_a_job_can_be_followed(shared_daemon: Daemon) -> None:
    job = job_of(["sh", "-c", "read go; for n in 1 2 3; do echo line $n; sleep 0.05; done"], stdin=b"go\n")
    with shared_daemon.client() as client:
        client.call("submit", job)
        status = client.call("follow", job["id"])
        assert (status["state"], status["outcome"]) == ("done", "succeeded")
        said = [params for verb, params in client.notices if verb == "output"]
    assert all(id == show_id(job["id"]) and number == 1 for id, number, _, _ in said)
    written = bytearray(b"\0" * 21)
    for _, _, data, place in said:
        written[place : place + len(data)] = data
    assert written.endswith(b"line 2\nline 3\n")


def test_an_id_may_be_shortened_while_it_is_unique(shared_daemon: Daemon) -> None:
    job = job_of("os:getpid")
    shared_daemon.call("submit", job)
    for short in (show_id(job["id"])[:35], show_id(job["id"]).replace("-", "")[:30], show_id(job["id"]).upper()):
        assert shared_daemon.call("status", short)["id"] == show_id(job["id"])


def test_a_spool_file_is_taken_in_once(shared_daemon: Daemon) -> None:
    job = job_of("operator:neg", 5)
    path = rawclient.spool(shared_daemon.spool, job)
    eventually(lambda: not os.path.exists(path), what="the spool file was taken")
    assert finished(shared_daemon, job)["outcome"] == "succeeded"


def test_the_spool_is_found_beside_the_sockets(shared_daemon: Daemon) -> None:
    job = job_of("operator:neg", 6)
    rawclient.spool(str(shared_daemon.runtime / "spool"), job)
    assert finished(shared_daemon, job)["outcome"] == "succeeded"


def test_jobs_are_listed_newest_first(shared_daemon: Daemon) -> None:
    jobs = [job_of("os:getpid", queue="listed") for _ in range(3)]
    for job in jobs:
        shared_daemon.call("submit", job)
    for job in jobs:
        finished(shared_daemon, job)
    listed = shared_daemon.call("list", {"queue": "listed", "state": "done", "limit": 2})
    assert [one["id"] for one in listed] == [show_id(job["id"]) for job in reversed(jobs)][:2]


def test_a_status_has_the_keys_of_the_document(shared_daemon: Daemon) -> None:
    job = job_of("os:getpid")
    shared_daemon.call("submit", job)
    status = finished(shared_daemon, job)
    assert set(status) == {
        "id", "state", "outcome", "queue", "priority", "target", "submitted", "due", "expires", "started", "finished",
        "attempts", "failures", "interruptions", "cancel_wanted", "waiting", "cold", "reason", "error",
        "result_error",
    }  # fmt: skip
    assert set(status["attempts"][0]) == {
        "number", "started", "ended", "reason", "status", "signal", "user", "system", "max_rss", "dropped",
        "survivors", "tree", "error",
    }  # fmt: skip


def test_a_ping_has_the_keys_of_the_document(shared_daemon: Daemon) -> None:
    pong = shared_daemon.call("ping")
    assert set(pong) == {
        "version", "protocol", "pids", "uptime", "tree", "store", "slots", "running", "user", "allowed", "reload_error",
    }  # fmt: skip
    assert set(pong["store"]) == {"path", "bytes", "free", "reserve", "accepts", "ballast"}
    assert (pong["user"], pong["allowed"]) == (os.getuid(), True)


def test_the_answer_to_a_submit_has_the_keys_of_the_document(shared_daemon: Daemon) -> None:
    job = job_of("os:getpid", delay=3600)
    assert shared_daemon.call("submit", job) == {"id": show_id(job["id"]), "ack": "stored"}
    shared_daemon.call("cancel", job["id"])
    assert shared_daemon.call("submit", job) == {"id": show_id(job["id"]), "ack": "stored"}


def test_a_reload_is_answered_and_the_daemon_is_another(daemon: Daemon) -> None:
    before = daemon.pids()
    assert daemon.call("reload") == {"reloading": True}
    eventually(lambda: _pids(daemon).get("daemon", before["daemon"]) != before["daemon"], 20, "another daemon answers")
    assert daemon.pids()["keeper"] == before["keeper"]


def _pids(daemon: Daemon) -> dict[str, Any]:
    try:
        return daemon.pids()
    except (rawclient.Ended, OSError):  # replaced in the middle of our question
        return {}


def test_what_is_refused_is_refused_with_a_code(shared_daemon: Daemon) -> None:
    """Negative control of this client: it does not take errors for results."""
    with shared_daemon.client() as client:
        with pytest.raises(Refused) as refused:
            client.call("submit", {"id": rawclient.new_id()})
        assert refused.value.code == "bad_request"
        with pytest.raises(Refused) as refused:
            client.call("status", rawclient.new_id())
        assert refused.value.code == "not_found"


def test_this_client_is_made_of_a_socket_and_msgpack_only() -> None:
    assert rawclient.__file__ is not None
    source = Path(rawclient.__file__).read_text()
    assert "import sidecar" not in source
    assert "from sidecar" not in source
