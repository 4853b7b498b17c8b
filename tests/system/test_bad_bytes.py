"""Bytes that are no message, on every door of a real daemon: a coded answer where somebody can get it, else a count."""

from __future__ import annotations

import array
import os
import shutil
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest

from tests.daemon_process import Daemon
from tests.rawclient import Ended, RawClient, frame, hand_off, job_of, new_id, pack, send_datagram
from tests.waiting import eventually


def nested(levels: int) -> bytes:
    """Return so many arrays in each other."""
    return b"\x91" * (levels - 1) + b"\x90"


def submit(packed_job: bytes, head: bytes = b"\x94\x00\x01") -> bytes:
    """Return a message with a job in it that no packer would make."""
    return head + b"\xa6submit\x91" + packed_job


ID = b"\xa2id\xc4\x10"

# a job's bytes -> the word that the refusal must hold; all of them are no message, whoever sends them
JOBS: dict[str, tuple[bytes, str]] = {
    "33 levels deep": (nested(31), "32 levels"),
    "a key twice": (b"\x82\xa4argv\x90\xa4argv\x90", "same key twice"),
    "an extension type": (b"\x81\xa4argv" + msgpack.packb(msgpack.ExtType(5, b"x")), "extension type 5"),
    "a timestamp": (b"\x81\xa5delay" + msgpack.packb(msgpack.Timestamp(1, 0)), "extension type -1"),
    "a key that is a number": (b"\x81\x01\x02", "key"),
    "a map that announces more than there is": (b"\xdf\xff\xff\xff\xff", ""),
    "a text that announces more than there is": (b"\xdb\xff\xff\xff\xff", ""),
    "a byte that msgpack does not know": (b"\xc1", ""),
    "half a float": (b"\xcb\x00", ""),
    "something after the end": (b"\x80\xc0", ""),
}

# whole messages on the stream that are msgpack and no request -> code of the answer
REQUESTS: dict[str, tuple[object, str]] = {
    "a map": ({"submit": 1}, "bad_frame"),
    "a number": (7, "bad_frame"),
    "nothing in an array": ([], "bad_frame"),
    "a request cut short": ([0, 1, "ping"], "bad_frame"),
    "a reply": ([1, 1, None, None], "bad_frame"),
    "a request number that is none": ([0, "one", "ping", []], "bad_frame"),
    "a request number that is negative": ([0, -1, "ping", []], "bad_frame"),
    "a verb that is a number": ([0, 1, 5, []], "bad_request"),
    "a verb that is unknown": ([0, 1, "destroy", []], "bad_request"),
    "a verb that is no UTF-8": ([0, 1, "p\udcffng", []], "bad_request"),
    "params that are a map": ([0, 1, "ping", {"a": 1}], "bad_request"),
    "a job that is a text": ([0, 1, "submit", ["job"]], "bad_request"),
}


@pytest.fixture(autouse=True)
def others_untouched(shared_daemon: Daemon) -> Iterator[None]:
    """Each test: another client has a wait under way all the time, and the daemon is the same in the end."""
    before = shared_daemon.pids()["daemon"]
    job = job_of(["sleep", "60"])
    with shared_daemon.client() as other:
        other.call("submit", job)
        number = other.ask("wait", job["id"], 60)
        yield
        assert other.call("ping")["pids"]["daemon"] == before
        other.call("cancel", job["id"])
        assert other.answer(number)["outcome"] == "cancelled"


def told(client: RawClient, data: bytes) -> list[Any]:
    """Send a frame of these bytes and return the answer."""
    client.send(struct.pack(">I", len(data)) + data)
    return client.receive()


def is_at_its_end(client: RawClient) -> bool:
    with pytest.raises(Ended):
        client.receive()
    return True


@pytest.mark.parametrize("name", JOBS)
def test_what_is_no_message_is_answered_once_and_the_connection_closed(shared_daemon: Daemon, name: str) -> None:
    data, word = JOBS[name]
    with shared_daemon.client() as client:
        answer = told(client, submit(data))
        assert (answer[:2], answer[2]["code"]) == ([1, None], "bad_frame")
        assert word in answer[2]["message"]
        assert is_at_its_end(client)


@pytest.mark.parametrize("name", JOBS)
def test_by_datagram_it_is_counted_and_the_next_one_runs(shared_daemon: Daemon, name: str) -> None:
    before = shared_daemon.call("stats")["counters"]["unreadable"]
    send_datagram(shared_daemon.handoff, submit(JOBS[name][0], b"\x93\x02"))
    job = job_of("time:time")
    hand_off(shared_daemon.handoff, job)
    assert shared_daemon.call("wait", job["id"], 20)["outcome"] == "succeeded"
    assert shared_daemon.call("stats")["counters"]["unreadable"] == before + 1


def test_as_deep_as_allowed_is_a_message(shared_daemon: Daemon) -> None:
    with shared_daemon.client() as client:
        assert told(client, submit(nested(30)))[2]["code"] == "bad_request"
        assert client.call("ping")["allowed"]


@pytest.mark.parametrize("name", REQUESTS)
def test_a_message_that_is_no_request_is_answered_with_its_code(shared_daemon: Daemon, name: str) -> None:
    message, code = REQUESTS[name]
    with shared_daemon.client() as client:
        assert told(client, pack(message))[2]["code"] == code
        assert is_at_its_end(client) if code == "bad_frame" else client.call("ping")["allowed"]


@pytest.mark.parametrize(
    "data", [b"", b"\x00\x00\x00", b"\x00\x00\x00\x00"], ids=["nothing", "half a length", "length 0"]
)
def test_hardly_anything_on_the_stream_harms_nobody(shared_daemon: Daemon, data: bytes) -> None:
    with shared_daemon.client() as client:
        client.send(data)
        client.end()
        if data:
            assert client.receive()[2]["code"] == "bad_frame"
        assert is_at_its_end(client)


def test_one_byte_over_the_limit_is_refused_and_the_limit_itself_is_not(shared_daemon: Daemon) -> None:
    limit = 8 * 1024 * 1024
    with shared_daemon.client() as client:
        client.send(struct.pack(">I", limit + 1))
        assert client.receive()[2]["code"] == "too_large"
        assert is_at_its_end(client)
    job = job_of("builtins:len", b"")
    room = limit - len(pack([0, 1, "submit", [job]]))
    job = {**job, "args": pack([b"x" * (room - 8)])}
    data = frame([0, 1, "submit", [job]])
    assert limit - 32 < len(data) - 4 <= limit
    with RawClient(shared_daemon.control, 60) as client:
        client.send(data)
        assert client.receive()[3]["ack"] == "stored"


def test_descriptors_on_the_stream_stay_with_nobody(shared_daemon: Daemon) -> None:
    pid = shared_daemon.pids()["daemon"]
    with shared_daemon.client() as client:
        client.call("ping")
        before = len(os.listdir(f"/proc/{pid}/fd"))
        reading, writing = os.pipe()
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [reading, writing]))]
        try:
            client.sock.sendmsg([frame([0, 9, "ping", []])], rights)
        except PermissionError:  # a kernel with SO_PASSRIGHTS refuses it at the sender
            client.send(frame([0, 9, "ping", []]))
        assert client.answer(9)["allowed"]
        os.close(reading)
        os.close(writing)
        eventually(lambda: len(os.listdir(f"/proc/{pid}/fd")) <= before)


def files(folder: Path, job: dict[str, Any]) -> dict[str, Path]:
    """Make what does not belong into a spool, and is not to be followed, waited for, read whole or deleted."""
    folder.mkdir()
    message = pack([2, "submit", [job]])
    for name, data in {"junk": b"\xc1", "cut": message[:-1], "empty": b"", "twice": message}.items():
        (folder / name).write_bytes(data)
    os.link(folder / "twice", folder / "its-other-name")
    with open(folder / "huge", "wb") as file:
        file.truncate(8 * 1024 * 1024 + 1)
    (folder / "folder").mkdir()
    os.symlink("/etc/hostname", folder / "link")
    os.mkfifo(folder / "fifo")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(folder / "socket"))
    made = {name: folder / name for name in os.listdir(folder) if name != "its-other-name"}
    if os.geteuid() == 0:
        (folder / "strangers").write_bytes(message)
        os.chown(folder / "strangers", 12345, 12345)
        made["strangers"] = folder / "strangers"
    return made


def test_what_does_not_belong_into_the_spool_is_put_aside(daemon: Daemon) -> None:
    job = {"id": new_id(), "argv": ["true"]}
    made = files(daemon.folder / "made", job)
    for name, path in made.items():
        os.rename(path, Path(daemon.spool, "new", name))
    aside = Path(daemon.spool, "corrupt")
    eventually(lambda: {each.name.partition(".")[0] for each in aside.iterdir()} == set(made), 20)
    assert os.listdir(Path(daemon.spool, "new")) == []
    assert daemon.call("stats")["states"]["done"] == 0
    shutil.rmtree(daemon.folder / "made")
