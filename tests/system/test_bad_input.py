"""Bad input against a real daemon: a coded answer to whoever can receive it, and nobody else notices."""

from __future__ import annotations

import array
import os
import random
import select
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.client import JobFailed, Options, connect
from tests.daemon_process import Daemon
from tests.rawclient import Ended, RawClient, Refused, hand_off, job_of, new_id, pack, send_datagram
from tests.waiting import eventually

NAN = float("nan")


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


# what is wrong with a job -> the word that the answer must hold
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown key": ({"tiemout": 3}, "tiemout"),
    "no target": ({"call": None}, "target"),
    "two targets": ({"argv": ["true"]}, "target"),
    "a target that is no function": ({"call": "no colon"}, "call"),
    "an argv that is a shell line": ({"call": None, "argv": "rm -rf /tmp/x"}, "argv"),
    "an empty argv": ({"call": None, "argv": []}, "argv"),
    "a NUL in an argv": ({"call": None, "argv": ["a\0b"]}, "argv"),
    "a timeout that is not a number": ({"timeout": "3"}, "timeout"),
    "a NaN timeout": ({"timeout": NAN}, "timeout"),
    "an infinite timeout": ({"timeout": float("inf")}, "timeout"),
    "a negative timeout": ({"timeout": -1}, "timeout"),
    "a boolean timeout": ({"timeout": True}, "timeout"),
    "a huge timeout": ({"timeout": 2**63}, "timeout"),
    "a priority out of range": ({"priority": 101}, "priority"),
    "a priority with a fraction": ({"priority": 1.5}, "priority"),
    "a queue with a slash": ({"queue": "../x"}, "queue"),
    "an environment that is a list": ({"env": ["A=1"]}, "env"),
    "an environment name with =": ({"env": {"A=B": "1"}}, "env"),
    "a relative folder": ({"cwd": "tmp"}, "cwd"),
    "invalid UTF-8 where text is needed": ({"cwd": "/\udcff"}, "UTF-8"),
    "delay and run_at": ({"delay": 1, "run_at": 1.0}, "delay"),
    "a negative retries": ({"retries": -1}, "retries"),
    "a backoff of texts": ({"backoff": ["soon"]}, "backoff"),
    "an option of a later version": ({"unique": "k"}, "unique"),
    "a runtime that is no map": ({"runtime": pack([1])}, "runtime"),
    "a runtime without interpreter": ({"runtime": pack({"kind": "python"})}, "interpreter"),
    "a runtime with an unknown field": ({"runtime": pack({"interpreter": "/x", "colour": 1})}, "colour"),
    "a runtime that is not msgpack": ({"runtime": b"\xc1"}, "runtime"),
}


def job_with(change: dict[str, Any]) -> dict[str, Any]:
    job = {**job_of("time:time"), **change}
    return {key: value for key, value in job.items() if value is not None}


@pytest.fixture
def client(shared_daemon: Daemon) -> Options:
    return connect(str(shared_daemon.runtime))


@pytest.fixture
def raw(shared_daemon: Daemon) -> Iterator[RawClient]:
    with shared_daemon.client() as client:
        yield client


@pytest.fixture(autouse=True)
def daemon_untouched(shared_daemon: Daemon) -> Iterator[None]:
    """Every test here: the same daemon serves before and after, and runs a job."""
    before = shared_daemon.pids()["daemon"]
    yield
    assert shared_daemon.pids()["daemon"] == before
    assert connect(str(shared_daemon.runtime)).submit("operator:add", 1, 2).result(timeout=20) == 3


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_job_is_refused_on_the_stream_naming_what_is_wrong(raw: RawClient, name: str) -> None:
    change, word = WRONG[name]
    with pytest.raises(Refused) as caught:
        raw.call("submit", job_with(change))
    assert caught.value.code == "bad_request" and word in str(caught.value)
    assert raw.call("ping")["allowed"], "the connection goes on"


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_job_by_datagram_is_done_rejected_with_the_reason(
    shared_daemon: Daemon, raw: RawClient, name: str
) -> None:
    change, word = WRONG[name]
    job = job_with(change)
    hand_off(shared_daemon.handoff, job)
    status = raw.call("wait", job["id"], 10)
    assert (status["state"], status["outcome"]) == ("done", "rejected")
    assert word in status["reason"]


@pytest.mark.parametrize(
    "message",
    [
        pytest.param([2, "submit", [deep(40)]], id="nested too deep"),
        pytest.param([2, "destroy", [{}]], id="an unknown verb"),
        pytest.param([2, "submit", [{"id": "no"}]], id="an id that is none"),
        pytest.param([2, "submit", [job_of("time:time"), 1]], id="two jobs"),
        pytest.param({"submit": 1}, id="a map"),
    ],
)
def test_a_datagram_without_a_readable_id_is_counted(shared_daemon: Daemon, message: object) -> None:
    before = shared_daemon.call("stats")["counters"]["unreadable"]
    send_datagram(shared_daemon.handoff, pack(message))
    eventually(lambda: shared_daemon.call("stats")["counters"]["unreadable"] == before + 1)


def test_an_empty_datagram_is_dropped_and_the_next_one_is_not(shared_daemon: Daemon, raw: RawClient) -> None:
    for _ in range(3):
        send_datagram(shared_daemon.handoff, b"")
        job = job_of("time:time")
        hand_off(shared_daemon.handoff, job)
        send_datagram(shared_daemon.handoff, b"")
        assert raw.call("wait", job["id"], 10)["outcome"] == "succeeded"


def test_an_oversize_datagram_is_dropped_and_the_next_one_is_not(shared_daemon: Daemon, raw: RawClient) -> None:
    if os.geteuid() != 0:
        pytest.fail("needs root for SO_SNDBUFFORCE: only so a datagram gets over the usual 208 KiB")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, 32, 4 * 1024 * 1024)  # SO_SNDBUFFORCE
        sock.connect(shared_daemon.handoff)
        sock.send(pack([2, "submit", [job_with({"args": [b"x" * 1_000_000]})]]))
    job = job_of("time:time")
    hand_off(shared_daemon.handoff, job)
    assert raw.call("wait", job["id"], 10)["outcome"] == "succeeded"


def test_a_datagram_with_descriptors_costs_the_daemon_nothing(shared_daemon: Daemon, raw: RawClient) -> None:
    pid = shared_daemon.pids()["daemon"]
    before = len(os.listdir(f"/proc/{pid}/fd"))
    reading, writing = os.pipe()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect(shared_daemon.handoff)
        for _ in range(5):
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [reading] * 4))]
            try:
                sock.sendmsg([pack([2, "submit", [job_of("time:time")]])], rights)
            except PermissionError:  # a kernel with SO_PASSRIGHTS refuses it at the sender
                pass
    os.close(reading)
    os.close(writing)
    job = job_of("time:time")
    hand_off(shared_daemon.handoff, job)
    raw.call("wait", job["id"], 10)
    eventually(lambda: len(os.listdir(f"/proc/{pid}/fd")) <= before, 5)


def test_random_bytes_on_either_socket_harm_nobody(shared_daemon: Daemon) -> None:
    dice = random.Random(20261121)
    for _ in range(300):
        send_datagram(shared_daemon.handoff, dice.randbytes(dice.randrange(1, 400)))
    for _ in range(100):
        with RawClient(shared_daemon.control) as client:
            client.send(dice.randbytes(dice.randrange(1, 400)))
            client.end()
            with pytest.raises((Ended, ConnectionError, Refused)):
                while True:
                    answer = client.receive()
                    assert answer[0] == 1 and answer[2]["code"] in ("bad_frame", "too_large")


def test_a_giant_is_refused_from_its_length_alone(shared_daemon: Daemon) -> None:
    with RawClient(shared_daemon.control) as client:
        client.send(struct.pack(">I", 2**32 - 1))
        answer = client.receive()
        assert answer[2]["code"] == "too_large"


def test_a_frame_that_is_cut_is_answered(shared_daemon: Daemon) -> None:
    with RawClient(shared_daemon.control) as client:
        client.send(struct.pack(">I", 100) + b"\x93")
        client.end()
        assert client.receive()[2]["code"] == "bad_frame"


def test_what_came_before_a_bad_frame_is_stored_and_answered(shared_daemon: Daemon) -> None:
    from tests.rawclient import frame

    job = job_of("time:time")
    with RawClient(shared_daemon.control) as client:
        client.send(frame([0, 7, "submit", [job]]) + struct.pack(">I", 1) + b"\xc1")
        answers = {answer[1]: answer for answer in (client.receive(), client.receive())}
    assert answers[7][3]["ack"] == "stored"
    assert answers[None][2]["code"] == "bad_frame"


def test_a_client_that_goes_without_reading_its_answers_is_forgotten(shared_daemon: Daemon) -> None:
    """Closing a socket that holds unread bytes resets the connection: the daemon's next read fails."""
    for _ in range(20):
        with RawClient(shared_daemon.control) as client:
            for _ in range(5):
                client.ask("ping")
            select.select([client.sock], [], [], 10)


def test_a_wrong_request_is_answered_and_the_connection_goes_on(raw: RawClient) -> None:
    wrong: list[tuple[str, list[object]]] = [
        ("destroy", []),
        ("status", []),
        ("status", ["xyz"]),
        ("status", [1.5]),
        ("wait", [new_id(), -1]),
        ("wait", [new_id(), NAN]),
        ("list", [{"colour": 1}]),
        ("list", [{"limit": 10**9}]),
        ("list", [{"state": "asleep"}]),
        ("submit", [job_of("time:time"), "durable"]),
        ("submit", []),
        ("ping", [1]),
    ]
    for method, params in wrong:
        with pytest.raises(Refused) as caught:
            raw.call(method, *params)
        assert caught.value.code == "bad_request", (method, params)


RUN: dict[str, tuple[Callable[[Options, Path], Any], str]] = {
    "a function that is not there": (lambda c, p: c.submit("time:nothing"), "AttributeError"),
    "a module that is not there": (lambda c, p: c.submit("no_such_module:f"), "ModuleNotFoundError"),
    "a module that raises": (lambda c, p: c.submit("tests.zygote.raises_on_import:f"), "RuntimeError"),
    "a command that is not there": (lambda c, p: c.submit(["/no/such/command"]), "CommandNotFound"),
    "a command without the x bit": (lambda c, p: c.submit([str(p / "plain")]), "CommandError"),
    "a folder that is not there": (lambda c, p: c.options(cwd="/no/such").submit(["true"]), "FolderError"),
}


@pytest.mark.parametrize("name", RUN)
def test_what_cannot_run_has_failed_and_says_why(client: Options, tmp_path: Path, name: str) -> None:
    (tmp_path / "plain").write_text("#!/bin/sh\n")
    submit, kind = RUN[name]
    with pytest.raises(JobFailed) as caught:
        submit(client, tmp_path).result(timeout=20)
    assert (caught.value.outcome, caught.value.type) == ("failed", kind)


def test_a_spool_file_that_is_no_hand_off_is_put_aside(shared_daemon: Daemon, tmp_path: Path) -> None:
    spool = Path(shared_daemon.spool)
    secret = tmp_path / "secret"
    secret.write_text("secret")
    (spool / "tmp" / "junk").write_bytes(b"\xc1junk")
    os.rename(spool / "tmp" / "junk", spool / "new" / "junk")
    os.symlink(secret, spool / "tmp" / "link")
    os.rename(spool / "tmp" / "link", spool / "new" / "link")
    os.mkfifo(spool / "tmp" / "fifo")
    os.rename(spool / "tmp" / "fifo", spool / "new" / "fifo")
    put_aside = eventually(lambda: len(names := os.listdir(spool / "corrupt")) >= 3 and names)
    assert {name.partition(".")[0] for name in put_aside} == {"junk", "link", "fifo"}
    assert os.listdir(spool / "new") == []
    assert secret.read_text() == "secret"
