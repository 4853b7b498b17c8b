"""The stream: answers to the right questions, across timeouts, threads, forks and restarts."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from sidecar.client.control import Control
from sidecar.errors import BadFrame, NotFound, TooLarge, Unavailable

from .stub import HANG_UP, SILENT, Late, Notices, Stub


@pytest.fixture
def control(stub: Stub) -> Control:
    return Control(str(stub.folder / "control.sock"))


def test_a_request_returns_its_result(stub: Stub, control: Control) -> None:
    stub.on_request = lambda method, params: {"said": [method, params]}
    assert control.request("ping", [1, "x"], timeout=5) == {"said": ["ping", [1, "x"]]}
    assert control.request("stats", []) == {"said": ["stats", []]}
    assert stub.connections == 1


def test_an_error_is_raised_as_what_it_is_and_the_connection_goes_on(stub: Stub, control: Control) -> None:
    def on_request(method: str, params: list[Any]) -> Any:
        raise NotFound("no such job")

    stub.on_request = on_request
    for _ in range(2):
        with pytest.raises(NotFound, match="no such job"):
            control.request("status", [b"x" * 16], timeout=5)
    assert stub.connections == 1


def test_nobody_there_is_unavailable_at_once(folder: Path) -> None:
    with pytest.raises(Unavailable, match=r"no control.sock in .*is `sidecar serve` running"):
        Control().request("ping", [])
    with pytest.raises(Unavailable, match="is `sidecar serve` running"):
        Control(str(folder / "control.sock")).request("wait", [b"x" * 16, None])


def test_no_answer_in_time_is_unavailable(stub: Stub, control: Control) -> None:
    stub.on_request = lambda method, params: SILENT
    began = monotonic()
    with pytest.raises(Unavailable, match="no answer from the daemon in time"):
        control.request("ping", [], timeout=0.05)
    assert monotonic() - began < 5


def test_a_late_answer_is_never_taken_for_the_next_one(stub: Stub, control: Control) -> None:
    answers = iter([Late("first"), "second"])
    stub.on_request = lambda method, params: next(answers)
    with pytest.raises(Unavailable):
        control.request("ping", [], timeout=0.05)
    assert control.request("ping", [], timeout=5) == "second"
    assert stub.connections == 1  # the same connection: the number told them apart


def test_control_without_numbers_the_late_answer_would_be_taken(
    stub: Stub, control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidecar.client.control.is_answer", lambda message, number: message[0] == 1)
    answers = iter([Late("first"), "second"])
    stub.on_request = lambda method, params: next(answers)
    with pytest.raises(Unavailable):
        control.request("ping", [], timeout=0.05)
    assert control.request("ping", [], timeout=5) == "first"


def test_a_daemon_that_went_away_is_asked_again(stub: Stub, control: Control) -> None:
    control.request("ping", [], timeout=5)
    stub.close_control()
    stub.open_control()
    stub.on_request = lambda method, params: "new"
    assert control.request("ping", [], timeout=5) == "new"


def test_what_must_not_be_said_twice_is_not(stub: Stub, control: Control) -> None:
    stub.on_request = lambda method, params: HANG_UP
    with pytest.raises(Unavailable, match="look before asking again"):
        control.request("reload", [], timeout=5)
    assert len(stub.asked) == 1
    with pytest.raises(Unavailable, match="went away again"):
        control.request("ping", [], timeout=5)
    assert len(stub.asked) == 3  # once more, then enough


def test_a_wait_goes_on_with_the_next_daemon_for_what_is_left_of_its_time(stub: Stub, control: Control) -> None:
    answers = iter([HANG_UP, HANG_UP, {"state": "done"}])
    stub.on_request = lambda method, params: next(answers)
    assert control.request("wait", [b"x" * 16, 20.0], timeout=20) == {"state": "done"}
    waits = [params[1] for _, params in stub.asked]
    assert waits[0] == 20 and waits[2] < waits[1] <= 20


def test_a_wait_looks_for_the_daemon_until_its_deadline(stub: Stub, control: Control) -> None:
    def go_away(method: str, params: list[Any]) -> Any:
        (stub.folder / "control.sock").unlink()
        return HANG_UP

    stub.on_request = go_away
    began = monotonic()
    with pytest.raises(Unavailable):
        control.request("wait", [b"x" * 16, 0.4], timeout=0.4)
    assert 0.2 < monotonic() - began < 5


def test_notices_come_before_the_reply(stub: Stub, control: Control) -> None:
    stub.on_request = lambda method, params: Notices([["id", 1, b"a"], ["id", 1, b"b"]], {"state": "done"})
    heard: list[Any] = []
    found = control.request("follow", [b"x" * 16], 5, lambda method, params: heard.append((method, params[2])))
    assert found == {"state": "done"}
    assert heard == [("output", b"a"), ("output", b"b")]
    assert control.request("follow", [b"x" * 16], 5) == {"state": "done"}  # or nobody listens


def test_each_thread_has_its_connection(stub: Stub, control: Control) -> None:
    barrier = threading.Barrier(3)

    def on_request(method: str, params: list[Any]) -> Any:
        barrier.wait(10)  # only three at once get through
        return params[0]

    stub.on_request = on_request
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda number=number: found.append(control.request("ping", [number], 10)))
        for number in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [0, 1, 2]
    assert stub.connections == 3


def test_a_forked_child_has_its_own_connection(stub: Stub, control: Control) -> None:
    stub.on_request = lambda method, params: params[0]
    assert control.request("ping", ["parent"], 5) == "parent"
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if control.request("ping", ["child"], 5) == "child" else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert control.request("ping", ["parent"], 5) == "parent"
    assert stub.connections == 2


def test_a_full_backlog_is_tried_again_within_the_deadline(folder: Path) -> None:
    path = str(folder / "control.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path)
        listener.listen(0)
        fillers = []
        while True:
            filler = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            filler.setblocking(False)
            fillers.append(filler)
            try:
                filler.connect(path)
            except BlockingIOError:
                break
        began = monotonic()
        with pytest.raises(Unavailable, match="takes no connection in time"):
            Control(path).request("ping", [], timeout=0.1)
        assert 0.05 < monotonic() - began < 5
        for filler in fillers:
            filler.close()


def test_a_refusal_before_the_whole_request_was_read_is_heard(folder: Path) -> None:
    from sidecar import protocol, wire

    path = str(folder / "control.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path)
        listener.listen()

        def refuse() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4)
                connection.sendall(wire.frame(protocol.refused(None, TooLarge("the limit is 5"))))

        thread = threading.Thread(target=refuse)
        thread.start()
        with pytest.raises(TooLarge, match="the limit is 5"):
            Control(path).request("submit", [{"args": b"x" * 20_000_000}], timeout=10)
        thread.join()


def test_what_is_no_answer_is_told_and_not_tried_again(folder: Path) -> None:
    path = str(folder / "control.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path)
        listener.listen()

        def babble() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(100)
                connection.sendall(b"\0\0\0\x01\x05")

        thread = threading.Thread(target=babble)
        thread.start()
        with pytest.raises(BadFrame, match="is this sidecar's socket"):
            Control(path).request("ping", [], timeout=10)
        thread.join()
