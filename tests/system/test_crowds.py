"""Clients that are many, silent, slow, or stop in the middle; and no descriptors left. Nobody else notices."""

from __future__ import annotations

import resource
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sidecar.client import connect
from tests.mutant import Mutant
from tests.rawclient import Ended, RawClient, frame, hand_off, job_of, pack, spool
from tests.waiting import eventually

from .conftest import StartMutant

MIB = 1024 * 1024
SPIN = 0.3  # of a CPU: a loop that spins takes all that it gets, one that does not next to nothing
Start = Callable[..., Mutant]


@pytest.fixture
def start(start_mutant: StartMutant) -> Start:
    return lambda config="", **more: start_mutant(config=config, **more)


@pytest.fixture
def many_files() -> Iterator[None]:
    """Let this process open as many files as its tests have clients."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4096 if hard == resource.RLIM_INFINITY else min(4096, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def rss(pid: int) -> int:
    """Return the bytes of a process that are in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def cpu(pid: int) -> float:
    """Return the seconds of CPU that a process has used, all its threads, by the scheduler's own clock."""
    return sum(int(file.read_text().split()[0]) for file in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def share_of_cpu(pid: int, seconds: float = 1.0) -> float:
    """Return the share of one CPU that a process uses over some seconds."""
    before, began = cpu(pid), time.monotonic()
    time.sleep(seconds)
    return (cpu(pid) - before) / (time.monotonic() - began)


def works(daemon: Mutant) -> None:
    """A job goes in by each door, and runs."""
    client = connect(str(daemon.runtime))
    assert client.submit("operator:add", 1, 2).result(timeout=30) == 3
    assert client.options(ack="stored", deadline=10).submit("operator:add", 2, 2).result(timeout=30) == 4


def is_closed(client: RawClient) -> bool:
    """Say whether the daemon has closed the connection. Reads nothing: that would make room."""
    poll = select.poll()
    poll.register(client.sock, select.POLLRDHUP)
    return bool(poll.poll(0))


_opened: list[RawClient] = []


@pytest.fixture(autouse=True)
def leave_none_open() -> Iterator[None]:
    """Close what a failed test left open: the next one would have descriptors that select() cannot take."""
    yield
    leave(_opened)
    _opened.clear()


def crowd(daemon: Mutant, count: int) -> list[RawClient]:
    for _ in range(count):
        _opened.append(RawClient(daemon.control, 30))
    return _opened[-count:]


def leave(clients: list[RawClient]) -> None:
    for client in clients:
        client.close()


# -- many ---------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("many_files")
def test_a_thousand_silent_clients_and_more_cost_little_and_keep_nobody_out(start: Start) -> None:
    daemon = start()
    works(daemon)
    pid = daemon.pids()["daemon"]
    before = rss(pid)
    silent = crowd(daemon, 1200)
    works(daemon)
    assert rss(pid) - before < 64 * MIB
    eventually(lambda: share_of_cpu(pid, 0.5) < 0.05, 10)  # once the last of them are seen off; then it is nothing
    assert 200 <= sum(map(is_closed, silent)) <= 220, "those that came first made room"
    leave(silent)
    works(daemon)


def test_an_idle_client_makes_room_and_one_that_waits_does_not(start: Start, tmp_path: Path) -> None:
    daemon = start("limits.connections = 10\n")
    job = job_of(["sh", "-c", f"while [ ! -e {tmp_path}/go ]; do sleep 0.01; done"])
    with daemon.client() as client:
        client.call("submit", job)
    waiting = crowd(daemon, 9)
    numbers = [client.ask("wait", job["id"], 60) for client in waiting]
    for client in waiting:
        client.call("ping")  # so that it is known that its wait has begun
    (idle,) = crowd(daemon, 1)
    idle.call("ping")
    assert daemon.call("ping")["allowed"]
    eventually(lambda: is_closed(idle))
    last = RawClient(daemon.control)
    number = last.ask("wait", job["id"], 60)
    last.call("ping")
    with daemon.client() as refused:
        assert refused.receive()[2]["code"] == "unavailable"
    (tmp_path / "go").touch()
    assert [client.answer(n)["outcome"] for client, n in zip(waiting, numbers, strict=True)] == ["succeeded"] * 9
    assert last.answer(number)["outcome"] == "succeeded"
    leave([*waiting, idle, last])


def test_the_limit_of_open_files_is_reckoned_with(start: Start) -> None:
    config = "limits.connections = 1000000000\n"
    daemon = start(config)
    soft = int(Path(f"/proc/{daemon.pids()['daemon']}/limits").read_text().partition("Max open files")[2].split()[0])
    assert f"taking {soft - 64} clients at once only: the limit of open files is {soft}" in daemon.log()


# -- no descriptors -----------------------------------------------------------------------------------------------


def fill_up(daemon: Mutant, job: dict[str, object]) -> list[RawClient]:
    """Connect clients that wait, until there is no descriptor left for another; the last ones stay in the backlog."""
    waiting: list[RawClient] = []
    while "cannot accept a client: Too many open files" not in daemon.log():
        assert len(waiting) < 100
        waiting.append(RawClient(daemon.control, 30))
        waiting[-1].ask("wait", job["id"], 60)
        waiting[-1].ask("ping")  # its answer: it is served, and not idle
        eventually(lambda: has_come(waiting[-1]) or "cannot accept a client" in daemon.log(), 20)
    for client in crowd(daemon, 10):
        client.ask("wait", job["id"], 60)
        waiting.append(client)
    return waiting


def has_come(client: RawClient) -> bool:
    """Say whether there is something to read."""
    return bool(select.select([client.sock], [], [], 0)[0])


def long_job(daemon: Mutant, go: Path) -> dict[str, object]:
    job = job_of(["sh", "-c", f"while [ ! -e {go} ]; do sleep 0.01; done"])
    with daemon.client() as client:
        client.call("submit", job)
    return job


def test_without_a_descriptor_for_another_client_nothing_spins_and_the_others_are_served(
    start: Start, tmp_path: Path
) -> None:
    daemon = start(daemon="few_files")
    works(daemon)
    pid = daemon.pids()["daemon"]
    early = RawClient(daemon.control)
    early.call("ping")
    job = long_job(daemon, tmp_path / "go")
    early_wait = early.ask("wait", job["id"], 60)
    waiting = fill_up(daemon, job)
    assert share_of_cpu(pid) < SPIN
    assert early.call("ping")["allowed"]
    by_datagram = job_of("operator:add", 1, 2)
    hand_off(daemon.handoff, by_datagram)
    assert early.call("wait", by_datagram["id"], 30)["outcome"] == "succeeded"
    assert daemon.log().count("cannot accept a client") <= 3, "said, and not in each round"
    spooled = job_of("operator:add", 1, 2)
    spool(daemon.spool, spooled)
    leave(waiting[:30])
    with RawClient(daemon.control, 10) as late:
        assert late.call("ping")["allowed"]
        assert late.call("wait", spooled["id"], 30)["outcome"] == "succeeded", "not put aside for that"
    (tmp_path / "go").touch()
    assert early.answer(early_wait)["outcome"] == "succeeded"
    leave([early, *waiting])
    works(daemon)


def test_accepting_again_at_once_would_spin(start: Start, tmp_path: Path) -> None:
    daemon = start(daemon="naive")
    pid = daemon.pids()["daemon"]
    waiting = fill_up(daemon, long_job(daemon, tmp_path / "go"))
    assert share_of_cpu(pid) > SPIN
    (tmp_path / "go").touch()
    leave(waiting)


def test_a_zygote_without_descriptors_runs_what_it_can_and_the_rest_later(start: Start) -> None:
    daemon = start(slots=30, zygote="few_files_zygote")
    client = connect(str(daemon.runtime))
    handles = [client.options(deadline=10).submit(["sleep", "0.3"]) for _ in range(40)]
    assert [handle.wait(timeout=60).outcome for handle in handles] == ["succeeded"] * 40
    assert "cannot fork an attempt: [Errno 24] Too many open files" in daemon.log()
    assert daemon.log().count("cannot fork an attempt") <= 3
    assert [len(handle.status().attempts) for handle in handles] == [1] * 40, "what was not born is no attempt"


# -- half messages ------------------------------------------------------------------------------------------------

HALF = "limits.memory = 16777216\nlimits.patience = 1\n"


def begin(client: RawClient, size: int, missing: int = 1) -> None:
    """Send all of a message but its end, as far as the daemon reads it."""
    client.sock.setblocking(False)
    data = memoryview(struct.pack(">I", size) + bytes(size - missing))
    try:
        while data:
            data = data[client.sock.send(data) :]
    except (BlockingIOError, BrokenPipeError, ConnectionResetError):  # not read, or given up already
        pass
    client.sock.settimeout(30)


def test_half_messages_cost_bounded_memory_and_are_given_up(start: Start) -> None:
    daemon = start(HALF)
    works(daemon)
    pid = daemon.pids()["daemon"]
    before = rss(pid)
    half = crowd(daemon, 20)
    for _ in range(3):
        for client in half:
            begin(client, 8 * MIB - 4)
    works(daemon)
    assert rss(pid) - before < 64 * MIB
    assert share_of_cpu(pid, 0.5) < 0.1
    large = job_of("builtins:len", b"x" * (6 * MIB))
    with RawClient(daemon.control, 120) as client:
        began = time.monotonic()
        assert client.call("submit", large)["ack"] == "stored"
    told = set()
    for client in half[:2]:
        with pytest.raises(Ended):
            while True:
                told.add(client.receive()[2]["code"])
    assert told == {"bad_frame"}
    assert time.monotonic() - began < 120
    leave(half)
    works(daemon)


def test_a_message_that_drips_is_given_up_too(start: Start) -> None:
    daemon = start("limits.patience = 0.5\n")
    client = RawClient(daemon.control, 30)
    data = frame([0, 1, "ping", []])
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        for at in range(len(data)):
            client.send(data[at : at + 1])
            time.sleep(0.1)  # the drip itself: not a wait for anything
        raise AssertionError(f"it was served: {client.receive()}")
    client.close()


# -- who does not read --------------------------------------------------------------------------------------------


def with_a_large_result(daemon: Mutant) -> bytes:
    handle = connect(str(daemon.runtime)).submit("builtins:bytes", 1_000_000)
    assert handle.wait(timeout=30).outcome == "succeeded"
    return pack(handle.id)


def do_not_read(daemon: Mutant, clients: list[RawClient], id: bytes, each: int) -> None:
    """Ask for a megabyte, often, and read nothing."""
    question = b"".join(
        struct.pack(">I", len(body)) + body
        for body in (b"\x94\x00" + pack(number) + b"\xa6result\x91" + id for number in range(each))
    )
    for client in clients:
        client.sock.settimeout(0.05)
        try:
            client.sock.sendall(question)
        except TimeoutError:
            pass


def test_clients_that_do_not_read_cost_bounded_memory_and_are_let_go(start: Start) -> None:
    daemon = start("limits.memory = 16777216\nlimits.patience = 2\n")
    id = with_a_large_result(daemon)
    pid = daemon.pids()["daemon"]
    before = rss(pid)
    slow = crowd(daemon, 60)
    do_not_read(daemon, slow, id, 1000)
    works(daemon)
    assert rss(pid) - before < 128 * MIB, "60 clients, who asked for 60 GB"
    assert share_of_cpu(pid, 0.5) < SPIN
    eventually(lambda: all(map(is_closed, slow)), 60)
    leave(slow)
    works(daemon)


def test_without_the_limits_one_such_client_costs_more_than_all_of_them(start: Start) -> None:
    daemon = start("limits.memory = 1000000000000\n", daemon="generous")
    id = with_a_large_result(daemon)
    pid = daemon.pids()["daemon"]
    before = rss(pid)
    slow = crowd(daemon, 1)
    do_not_read(daemon, slow, id, 200)
    eventually(lambda: rss(pid) - before > 128 * MIB, 20)
    leave(slow)


def test_a_client_that_reads_slowly_gets_everything(start: Start) -> None:
    daemon = start("limits.patience = 2\n")
    id = with_a_large_result(daemon)
    with RawClient(daemon.control, 30) as client:
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        do_not_read(daemon, [client], id, 40)
        client.sock.settimeout(30)
        assert len([client.receive() for _ in range(40)]) == 40


def test_many_large_messages_at_once_all_get_their_turn(start: Start) -> None:
    """More than fits into the memory there is for them: they wait for each other, and nobody for ever."""
    daemon = start(HALF)
    senders = crowd(daemon, 8)
    jobs = [job_of("builtins:len", b"x" * (5 * MIB)) for _ in senders]
    frames = [memoryview(frame([0, 1, "submit", [job]])) for job in jobs]
    for client in senders:
        client.sock.setblocking(False)
    ends = time.monotonic() + 60
    while any(frames):
        assert time.monotonic() < ends
        for at, client in enumerate(senders):
            try:
                frames[at] = frames[at][client.sock.send(frames[at]) :]
            except BlockingIOError:
                continue
    for client in senders:
        client.sock.settimeout(30)
        assert client.receive()[3]["ack"] == "stored"
    leave(senders)


def test_who_pipelines_thousands_of_submits_lets_others_in_between(start: Start) -> None:
    daemon, count = start(), 20_000
    due = time.time() + 1e6
    flood = b"".join(frame([0, number, "submit", [job_of("os:getpid", run_at=due)]]) for number in range(count))
    with daemon.client(60) as flooder, daemon.client(60) as other:
        sender = threading.Thread(target=flooder.sock.sendall, args=(flood,))
        reader = threading.Thread(target=drain, args=(flooder.sock, count))
        sender.start()
        reader.start()
        answers = 0
        while reader.is_alive():
            other.call("ping")
            answers += 1
        sender.join()
    assert answers > count / 64 / 4  # a turn for each 64 of them; without it ten for all


def drain(sock: socket.socket, count: int) -> None:
    """Read so many replies."""
    rest = b""
    while count:
        rest += sock.recv(1 << 20)
        at = 0
        while len(rest) - at >= 4 and len(rest) - at - 4 >= (size := int.from_bytes(rest[at : at + 4])):
            at += 4 + size
            count -= 1
        rest = rest[at:]
