"""What a hand-off costs the web request, seen by the client."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

from sidecar.client import connect, options, submit

from ..daemon_process import Daemon
from ..waiting import eventually
from .jobs import noop
from .table import Row, percentile, timed

_COUNT = 20_000
_STORED = 3_000


def each(
    count: int, action: Callable[[], object], pause_every: int = 0, pause: Callable[[], None] | None = None
) -> list[float]:
    """Time every single call of `action`."""
    clock, times = time.perf_counter, []
    for number in range(count):
        before = clock()
        action()
        times.append(clock() - before)
        if pause is not None and number % pause_every == pause_every - 1:
            pause()
    return times


def bare_datagram() -> list[float]:
    """Send what a hand-off sends on a bare socket pair: the limit of the machine from Python."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    data = bytes(300)

    def drain() -> None:
        for _ in range(8):
            theirs.recv(512)

    return each(_COUNT // 4, lambda: ours.send(data), 8, drain)


def _now_and_then(action: Callable[[], object], count: int) -> list[float]:
    """Time an action once a millisecond, as a busy site would call it: between two of them the caches are others'."""
    return each(count, action, 1, lambda: time.sleep(0.001))


def sent(daemon: Daemon) -> Row:
    """Measure the whole submit(f, 42) in a warm process; the daemon takes in and stores meanwhile."""
    limit = percentile(bare_datagram(), 0.5) * 1e6
    warm = each(200, lambda: submit(noop, 42))
    assert warm

    later = options(run_at=time.time() + 1e6)  # taken in and stored, not run: what is measured is the hand-off
    first = later.submit(noop, 42)
    times = each(_COUNT // 4, lambda: later.submit(noop, 42), 8, lambda: daemon.call("status", first.id))
    return timed("submit(f, 42), sent", "µs", times, 1e6, peer="bare send of 300 bytes", peer_p50=limit, goal="≤ 5")


def sent_beside_work(daemon: Daemon) -> Row:
    """Measure the same while the daemon is busy: half of what it can run is handed off by another process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)

    def bare() -> None:
        ours.send(bytes(300))
        theirs.recv(512)

    later = options(run_at=time.time() + 1e6)
    later.submit(noop, 42)
    command = [sys.executable, "-c", _WORK, str(_WORK_RATE)]
    with subprocess.Popen(command, env=os.environ | daemon.variables, stdin=subprocess.PIPE) as work:
        before = daemon.call("stats")["counters"]["ended"]
        eventually(lambda: daemon.call("stats")["counters"]["ended"] > before + 50)
        limit = percentile(_now_and_then(bare, _BESIDE // 4), 0.5) * 1e6
        times = _now_and_then(lambda: later.submit(noop, 42), _BESIDE)
        work.communicate()
    return timed(
        f"the same, once a ms, beside {_WORK_RATE} jobs/s", "µs", times, 1e6,
        peer="bare send + recv, once a ms, beside them", peer_p50=limit, goal="p99 ≤ 60",
    )  # fmt: skip


_WORK_RATE = 400  # jobs a second
_WORK = """
import select, sys
from sidecar.client import submit
while not select.select([0], [], [], 1 / int(sys.argv[1]))[0]:
    submit("time:time")
"""
_BESIDE = 4_000


def first(daemon: Daemon) -> Row:
    """Measure the first hand-off of a forked process: look for the socket, connect, send."""
    way = connect(str(daemon.runtime)).options(run_at=time.time() + 1e6)

    def fresh() -> None:
        way.door.forget()  # what a fork does to it
        way.submit(noop, 42)

    each(50, fresh, 8, lambda: daemon.call("ping"))
    bare = percentile(each(2_000, lambda: _bare_open(daemon.handoff)), 0.5) * 1e6
    times = each(2_000, fresh, 8, lambda: daemon.call("ping"))
    return timed(
        "the same with no socket open yet", "µs", times, 1e6,
        peer="bare socket, connect, close", peer_p50=bare, goal="≤ 15",
    )  # fmt: skip


def _bare_open(path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect(path)


def stored(daemon: Daemon) -> Row:
    """Measure submit with ack="stored": a round trip and a commit."""
    keep = options(ack="stored", run_at=time.time() + 1e6)
    keep.submit(noop, 42)
    bare = percentile(_bare_insert(), 0.5) * 1e6
    times = each(_STORED, lambda: keep.submit(noop, 42))
    return timed(
        "submit(f, 42), stored", "µs", times, 1e6,
        peer="bare round trip + SQLite insert", peer_p50=bare, goal="≤ 150",
    )  # fmt: skip


def _bare_insert() -> list[float]:
    """Time a round trip to a process that commits a row of the same size: no trio, no protocol, one index."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with tempfile.TemporaryDirectory(prefix="sc-") as folder:
        if os.fork() == 0:
            ours.close()
            db = sqlite3.connect(f"{folder}/rows", isolation_level=None)
            db.executescript(
                "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; CREATE TABLE row (id BLOB UNIQUE, body BLOB)"
            )
            while data := theirs.recv(512):
                db.execute("INSERT INTO row VALUES (?, ?)", (os.urandom(16), data))
                theirs.sendall(data[:50])
            os._exit(0)
        return _round_trips(ours, theirs)


def _round_trips(ours: socket.socket, theirs: socket.socket) -> list[float]:
    theirs.close()

    def trip() -> None:
        ours.sendall(bytes(300))
        ours.recv(512)

    times = each(3000, trip)
    ours.close()
    os.wait()
    return times


def import_time() -> Row:
    """Measure what `import sidecar.client` adds to `import msgpack`, bytecode cached."""
    alone = _imports("msgpack")
    both = _imports("msgpack, sidecar.client")
    extra = (percentile(both, 0.5) - percentile(alone, 0.5)) * 1e3
    return Row(
        "import sidecar.client, over import msgpack",
        "ms",
        extra,
        None,
        "import msgpack",
        percentile(alone, 0.5) * 1e3,
        "≤ 15",
    )


def _imports(what: str) -> list[float]:
    code = f"import time; t = time.perf_counter(); import {what}; print(time.perf_counter() - t)"
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    runs = [
        subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, check=True) for _ in range(12)
    ]
    return [float(run.stdout) for run in runs[2:]]
