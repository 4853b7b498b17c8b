"""The datagram: to a daemon that is there, full, replaced, gone, or not ours to use."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from sidecar.client import Options, connect, where
from sidecar.client.handoff import FULL, OVERSIZE, TAKEN, Handoff
from sidecar.errors import NotAllowed, Unavailable

from .stub import Stub


@pytest.fixture
def handoff(folder: Path) -> Handoff:
    return Handoff(str(folder))


def test_a_message_arrives_as_it_is(stub: Stub, handoff: Handoff) -> None:
    assert handoff.push(b"one") == TAKEN
    assert handoff.push(b"two") == TAKEN
    assert [stub.message(), stub.message()] == [b"one", b"two"]


def test_a_full_queue_is_told_not_waited_for(stub: Stub, handoff: Handoff) -> None:
    stub.fill()
    assert handoff.push(b"more") == FULL


def test_waiting_for_room_ends_when_there_is_some(stub: Stub, handoff: Handoff) -> None:
    stub.fill()
    assert handoff.push(b"more") == FULL
    assert not handoff.wait_writable(0)
    while stub.message() == b"":
        if handoff.push(b"more") == TAKEN:
            break
    else:
        pytest.fail("no room came")


def test_a_message_over_the_sockets_buffer_is_told(stub: Stub, handoff: Handoff) -> None:
    assert handoff.push(b"x" * 10_000_000) == OVERSIZE


def test_a_replaced_daemon_is_found_again_at_once(stub: Stub, handoff: Handoff) -> None:
    handoff.push(b"one")
    stub.close_handoff()
    stub.open_handoff()
    assert handoff.push(b"two") == TAKEN
    assert stub.message() == b"two"


def test_a_daemon_that_was_away_for_a_while_is_found_again(stub: Stub, handoff: Handoff) -> None:
    handoff.push(b"one")
    stub.close_handoff()
    for _ in range(3):  # refused once, then not connected for ever
        with pytest.raises(Unavailable, match="is `sidecar serve` running"):
            handoff.push(b"lost")
    stub.open_handoff()
    assert handoff.push(b"two") == TAKEN
    assert stub.message() == b"two"


def test_a_socket_shut_down_by_its_keeper_means_nobody_is_there(stub: Stub, handoff: Handoff) -> None:
    import socket

    handoff.push(b"one")
    assert stub.handoff is not None
    (stub.folder / "handoff.sock").unlink()
    stub.handoff.shutdown(socket.SHUT_RD)
    with pytest.raises(Unavailable):
        handoff.push(b"two")


def test_no_socket_anywhere_names_the_places(handoff: Handoff, folder: Path) -> None:
    with pytest.raises(Unavailable, match=f"no handoff.sock in {folder}, is `sidecar serve` running"):
        handoff.push(b"x")


@pytest.mark.parametrize("mode", [0o600, 0o660])
def test_a_socket_one_may_not_use_names_the_group_and_is_not_spooled(
    stub: Stub, client: Options, spool: Path, mode: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.chmod(stub.folder / "handoff.sock", mode)
    os.chmod(stub.folder, mode | 0o111)

    def refuse(self: Any, message: bytes) -> Any:
        return self._meaning(PermissionError(13, "Permission denied"))

    monkeypatch.setattr(Handoff, "_try", refuse)  # root, who may run these tests, is never refused by the kernel
    wanted = (
        "join group .* and restart the web server after joining it"
        if mode == 0o660
        else "do it as its owner, or run a `sidecar serve` of your own"
    )
    with pytest.raises(NotAllowed, match=wanted):
        client.submit("a:b")
    assert not list((spool / "new").iterdir())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_the_kernels_refusal_is_not_allowed(stub: Stub) -> None:
    os.chmod(stub.folder, 0o755)
    os.chmod(stub.folder / "handoff.sock", 0o660)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups([])
            os.setresgid(65533, 65533, 65533)
            os.setresuid(65533, 65533, 65533)
            Handoff(str(stub.folder)).push(b"x")
        except NotAllowed:
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_forked_child_opens_a_socket_of_its_own(stub: Stub) -> None:
    client = connect(str(stub.folder))
    client.submit("a:b")
    stub.message()
    before = client.door.handoff._socket
    child = os.fork()
    if child == 0:
        status = 1
        try:
            forgotten = client.door.handoff._socket is None
            client.submit("a:c")
            status = 0 if forgotten else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert stub.job()["call"] == "a:c"
    assert client.door.handoff._socket is before
    client.submit("a:d")
    assert stub.job()["call"] == "a:d"


def test_threads_share_it_through_a_restart(stub: Stub, client: Options) -> None:
    taken: list[str] = []
    got: set[bytes] = set()
    stop = threading.Event()

    def drain() -> None:
        while not stop.is_set() or len(got) < len(taken):
            got.add(bytes.fromhex(stub.job()["id"].hex()))

    reader = threading.Thread(target=drain)
    reader.start()

    def work() -> None:
        for _ in range(200):
            client.door.handoff.forget()  # what a thread does that met an error
            taken.append(client.options(deadline=5, on_unavailable="raise").submit("a:b").id)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    client.submit("a:last")
    reader.join(10)
    assert not reader.is_alive()
    assert len(got) >= len(taken) == 800


def test_a_folder_in_tmp_that_is_somebody_elses_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uid = os.geteuid()
    monkeypatch.setattr(where.os, "lstat", lambda path: os.stat_result((0o40755, 0, 0, 1, uid + 1, 0, 0, 0, 0, 0)))
    assert not where.is_trusted(f"/tmp/sidecar-{uid}")
    monkeypatch.setattr(where.os, "lstat", lambda path: os.stat_result((0o40700, 0, 0, 1, uid, 0, 0, 0, 0, 0)))
    assert where.is_trusted(f"/tmp/sidecar-{uid}")
    monkeypatch.setattr(where.os, "lstat", lambda path: os.stat_result((0o120777, 0, 0, 1, uid, 0, 0, 0, 0, 0)))
    assert not where.is_trusted(f"/tmp/sidecar-{uid}")
