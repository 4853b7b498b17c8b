"""What an ack costs that survives something, beside a bare database and beside Redis, on the same disk.

Turns of a hundred, ours and theirs, so that a busy moment of the machine meets both. The redis-server is one of our
own, on a Unix socket in a folder that goes with it; where there is none, or no redis-py, the row says so.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sidecar.client import options

from ..waiting import eventually
from .jobs import noop
from .table import Row, percentile, timed

_TURNS, _EACH = 15, 100
_SIZE = 300  # bytes of a hand-off
_SAVED = {
    "memory only": ("--appendonly", "no"),
    "appendfsync always": ("--appendonly", "yes", "--appendfsync", "always"),
}

Action = Callable[[], object]


def acks() -> list[Row]:
    """Measure `stored` and `synced`, each beside what is to be beaten."""
    rows = [_beside_redis("stored", "memory only")]
    with _bare_database() as commit:
        rows.append(_row("synced", "bare SQLite commit + fdatasync", commit, ""))
    return [*rows, _beside_redis("synced", "appendfsync always")]


def _beside_redis(ack: str, saved: str) -> Row:
    with ExitStack() as stack:
        missing = [what for what, there in (("redis-server", shutil.which("redis-server")),
                                            ("redis-py", find_spec("redis"))) if not there]  # fmt: skip
        if missing:
            return _row(ack, f"no {' and no '.join(missing)} here ({saved})", None, "≤ 1.0 of it")
        push = stack.enter_context(_redis(saved))
        return _row(ack, f"redis-py, {saved}", push, "≤ 1.0 of it")


def _row(ack: str, peer: str, theirs: Action | None, goal: str) -> Row:
    keep = options(ack=ack, deadline=10, run_at=time.time() + 1e6)

    def ours() -> object:
        return keep.submit(noop, 42)

    for action in (ours, theirs):
        if action is not None:
            _turn(action)  # opens connections, warms caches
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(_TURNS):
        times[0].extend(_turn(ours))
        times[1].extend(_turn(theirs) if theirs else [])
    limit = percentile(times[1], 0.5) * 1e6 if theirs else None
    return timed(f"submit(f, 42), {ack}", "µs", times[0], 1e6, peer=peer, peer_p50=limit, goal=goal)


def _turn(action: Action) -> list[float]:
    clock, times = time.perf_counter, []
    for _ in range(_EACH):
        before = clock()
        action()
        times.append(clock() - before)
    return times


@contextmanager
def _bare_database() -> Iterator[Action]:
    """Give what commits a row of a hand-off's size and syncs the log: the least that `synced` can cost."""
    with tempfile.TemporaryDirectory(prefix="sc-", dir="/tmp") as folder:
        db = sqlite3.connect(f"{folder}/rows", isolation_level=None)
        db.executescript(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA wal_autocheckpoint=0;"
            " CREATE TABLE row (id BLOB UNIQUE, body BLOB)"
        )
        with open(f"{folder}/rows-wal", "rb") as log:

            def commit() -> None:
                db.execute("INSERT INTO row VALUES (?, ?)", (os.urandom(16), bytes(_SIZE)))
                os.fdatasync(log.fileno())

            yield commit
        db.close()


@contextmanager
def _redis(saved: str) -> Iterator[Action]:
    """Run a redis-server and give what pushes a hand-off's size to it."""
    import redis

    with tempfile.TemporaryDirectory(prefix="sc-", dir="/tmp") as folder:
        path = f"{folder}/redis.sock"
        words = ["--port", "0", "--unixsocket", path, "--dir", folder, "--save", "", *_SAVED[saved]]
        server = subprocess.Popen(["redis-server", *words], stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        try:
            eventually(lambda: Path(path).is_socket() or server.poll() is not None)
            client: Any = redis.Redis(unix_socket_path=path)
            eventually(lambda: _is_up(client))
            yield lambda: client.lpush("queue", bytes(_SIZE))
            client.close()
        finally:
            server.terminate()
            server.wait(10)


def _is_up(client: Any) -> bool:
    import redis

    try:
        return bool(client.ping())
    except redis.exceptions.ConnectionError:
        return False
