"""A store that no daemon can open: who runs us learns it at once, and what was handed off is kept for the next."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from sidecar.client import connect
from tests.daemon_process import Daemon


def test_serve_ends_with_a_sentence_and_touches_nothing(start_daemon) -> None:  # type: ignore[no-untyped-def]
    daemon: Daemon = start_daemon()
    client = connect(str(daemon.runtime))
    assert client.submit("operator:add", 1, 2).result(timeout=20) == 3
    store = daemon.state / "jobs.sqlite"
    pid = daemon.pids()["daemon"]
    os.kill(pid, signal.SIGSTOP)
    late = client.submit("operator:add", 2, 2)
    assert late.ack == "sent"
    Path(f"{store}-wal").unlink()
    store.write_bytes(b"somebody's letters " * 1000)
    os.kill(pid, signal.SIGKILL)
    assert daemon.wait(20) == 1
    assert daemon.log().count("file is not a database; put a backup in its place, or move it") == 1
    assert store.read_bytes() == b"somebody's letters " * 1000
    assert daemon.family() == []

    store.rename(daemon.folder / "letters")
    daemon.start()
    assert late.result(timeout=20) == 4, "it was saved into the spool"
