"""How much is taken in and stored: datagrams at the socket's own queue depth, and submits pipelined on one stream."""

from __future__ import annotations

import os
import socket
import sqlite3
import tempfile
import threading
import time

import msgpack

from ..daemon_process import Daemon
from ..rawclient import RawClient
from .handoff import each
from .table import Row, percentile, timed

_COUNT = 30_000
_BATCH = 100


def intake(daemon: Daemon) -> list[Row]:
    """Measure both doors; nothing is run, and at the end every job is looked for in the counters."""
    bare = _bare_inserts()
    return [_datagrams(daemon, bare), _pipelined(daemon, bare)]


def _jobs() -> list[dict[str, object]]:
    """Make jobs that are due in a few years; ids grow as those of a client do."""
    start, due = time.time_ns() // 1_000_000, time.time() + 1e8
    return [
        {"id": (start + number).to_bytes(6) + b"\x70\x00\x80" + os.urandom(7), "call": "time:time", "run_at": due}
        for number in range(_COUNT)
    ]


def _datagrams(daemon: Daemon, bare: float) -> Row:
    messages = [msgpack.packb([2, "submit", [job]]) for job in _jobs()]
    before = daemon.call("stats")["counters"]["datagrams"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect(daemon.handoff)
        start = time.perf_counter()
        for message in messages:
            sock.send(message)
    while daemon.call("stats")["counters"]["datagrams"] - before < _COUNT:
        pass
    rate = _COUNT / (time.perf_counter() - start)
    with open("/proc/sys/net/unix/max_dgram_qlen") as file:
        depth = file.read().strip()
    return Row(
        f"datagrams taken in and stored, queue of {depth}", "jobs/s", rate, None,
        f"bare SQLite inserts, {_BATCH} a commit", bare, "≥ 100,000",
    )  # fmt: skip


def _frames() -> bytes:
    frames = bytearray()
    for number, job in enumerate(_jobs()):
        body = msgpack.packb([0, number, "submit", [job]])
        frames += len(body).to_bytes(4) + body
    return bytes(frames)


def _pipelined(daemon: Daemon, bare: float) -> Row:
    frames = _frames()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.connect(daemon.control)
        replies = threading.Thread(target=_read_replies, args=(sock, _COUNT))
        start = time.perf_counter()
        replies.start()
        sock.sendall(frames)
        replies.join()
    rate = _COUNT / (time.perf_counter() - start)
    return Row(
        "pipelined submits stored, one stream", "jobs/s", rate, None,
        f"bare SQLite inserts, {_BATCH} a commit", bare, "≥ 100,000",
    )  # fmt: skip


def beside_a_flood(daemon: Daemon) -> Row:
    """Measure a question on one connection while another has thousands of submits on their way."""
    frames = _frames()
    with RawClient(daemon.control, 60) as asking, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        alone = each(300, lambda: asking.call("ping"), 1, lambda: time.sleep(0.001))
        sock.connect(daemon.control)
        replies = threading.Thread(target=_read_replies, args=(sock, _COUNT))
        flood = threading.Thread(target=sock.sendall, args=(frames,))
        replies.start()
        flood.start()
        times = []
        while replies.is_alive():
            times += each(1, lambda: asking.call("ping"), 1, lambda: time.sleep(0.001))
        flood.join()
    return timed(
        "ping beside a flood of pipelined submits", "ms", times, 1e3,
        peer="ping alone", peer_p50=percentile(alone, 0.5) * 1e3, goal="",
    )  # fmt: skip


def _read_replies(sock: socket.socket, count: int) -> None:
    rest = b""
    while count:
        data = sock.recv(1 << 20)
        assert data, "the daemon closed the connection"
        rest += data
        at = 0
        while len(rest) - at >= 4 and len(rest) - at - 4 >= (size := int.from_bytes(rest[at : at + 4])):
            at += 4 + size
            count -= 1
        rest = rest[at:]


def _bare_inserts() -> float:
    """Return the rows a second that a bare table with two indexes takes."""
    rows = [(number.to_bytes(16), 1e8 + number, bytes(100)) for number in range(_COUNT)]
    with tempfile.TemporaryDirectory(prefix="sc-") as folder:
        db = sqlite3.connect(f"{folder}/rows", isolation_level=None)
        db.executescript(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
            "CREATE TABLE row (seq INTEGER PRIMARY KEY, id BLOB UNIQUE, due REAL, body BLOB);"
            "CREATE INDEX due ON row (due)"
        )
        start = time.perf_counter()
        for at in range(0, _COUNT, _BATCH):
            db.execute("BEGIN")
            db.executemany("INSERT INTO row (id, due, body) VALUES (?, ?, ?)", rows[at : at + _BATCH])
            db.execute("COMMIT")
        rate = _COUNT / (time.perf_counter() - start)
        db.close()
    return rate
