"""A store that no daemon can open: who runs us learns it at once, and what was handed off is kept for the next."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
from pathlib import Path

import pytest

from sidecar.client import connect
from sidecar.errors import SidecarError
from tests.daemon_process import Daemon
from tests.waiting import eventually

from . import jobs
from .checks import lines


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


def test_a_hand_off_of_the_last_moment_is_kept_or_refused(daemon: Daemon) -> None:
    """Senders that wait for room in the socket get it when it is emptied: it must be closed to them by then."""
    client = connect(str(daemon.runtime)).options(deadline=5)
    assert client.submit("operator:add", 1, 2).result(timeout=20) == 3
    client.submit("time:sleep", 60)  # so that the end takes a moment
    store, pid = daemon.state / "jobs.sqlite", daemon.pids()["daemon"]
    os.kill(pid, signal.SIGSTOP)
    Path(f"{store}-wal").unlink()
    store.write_bytes(b"somebody's letters " * 1000)
    handed: list[tuple[str, str]] = []
    ended = threading.Event()

    def flood() -> None:
        while not ended.is_set():
            try:
                handle = client.submit("operator:add", 2, 2)
            except SidecarError:
                continue
            handed.append((handle.id, str(handle.ack)))

    clients = [threading.Thread(target=flood) for _ in range(3)]
    for each in clients:
        each.start()
    os.kill(pid, signal.SIGKILL)
    assert daemon.wait(20) == 1
    ended.set()
    for each in clients:
        each.join()
    assert not Path(daemon.handoff).exists()
    saved = {spooled.read_bytes() for spooled in Path(daemon.spool, "new").iterdir()}
    lost = [id for id, _ in handed if not any(bytes.fromhex(id.replace("-", "")) in data for data in saved)]
    assert not lost and {ack for _, ack in handed} >= {"sent"}


def test_a_reload_that_finds_one_leaves_the_old_daemon_and_its_jobs(daemon: Daemon, tmp_path: Path) -> None:
    running = connect(str(daemon.runtime)).submit(jobs.count_until, str(tmp_path / "writing"), str(tmp_path / "go"))
    eventually(lambda: lines(tmp_path / "writing"), 20)
    before, store = daemon.pids()["daemon"], daemon.state / "jobs.sqlite"
    with open(store, "r+b") as file:  # as a release would do that has another version
        file.seek(60)
        file.write((99).to_bytes(4, "big"))
    daemon.signal(signal.SIGHUP)
    eventually(lambda: "reload failed" in daemon.log(), 20)
    assert "version 99, this sidecar reads 1" in daemon.log()
    assert daemon.pids()["daemon"] == before
    (tmp_path / "go").touch()
    running.result(timeout=20)
    assert running.status().interruptions == 0


@pytest.mark.parametrize("version", [0, 1])
def test_another_programs_database_is_left_to_it(daemon: Daemon, version: int) -> None:
    daemon.stop()
    store = daemon.state / "jobs.sqlite"
    store.unlink()
    with sqlite3.connect(store) as db:
        db.executescript(
            f"CREATE TABLE letters (text); INSERT INTO letters VALUES ('x'); PRAGMA user_version={version}"
        )
    db.close()
    with pytest.raises(AssertionError, match="is not ready"):
        daemon.start()
    assert "begin without jobs" in daemon.log()
    with sqlite3.connect(store) as db:
        assert [name for (name,) in db.execute("SELECT name FROM sqlite_master")] == ["letters"]
    db.close()


def test_files_that_are_taken_away_end_it_before_an_ack_is_a_lie(daemon: Daemon) -> None:
    client = connect(str(daemon.runtime)).options(ack="synced", deadline=20, on_unavailable="raise")
    kept = client.options(delay=1e6).submit("operator:add", 1, 2)
    aside = daemon.folder / "aside"
    aside.mkdir()
    for file in daemon.state.glob("jobs.sqlite*"):
        file.rename(aside / file.name)
    with pytest.raises(SidecarError, match=r"the sync failed|cannot reach"):
        client.submit("operator:add", 2, 2)
    assert daemon.wait(20) == 1
    assert "was taken away while it was in use; put it back, with its -wal" in daemon.log()
    for file in aside.iterdir():
        file.rename(daemon.state / file.name)
    daemon.start()
    assert kept.status().state == "scheduled"


def test_a_store_that_only_stored_is_looked_after_too(daemon: Daemon) -> None:
    (daemon.state / "jobs.sqlite").unlink()
    assert daemon.wait(20) == 1
    assert "was taken away while it was in use" in daemon.log()


def test_a_folder_in_the_place_of_the_store_ends_it(daemon: Daemon) -> None:
    daemon.stop()
    store = daemon.state / "jobs.sqlite"
    store.unlink()
    store.mkdir()
    with pytest.raises(AssertionError, match="is not ready"):
        daemon.start()
    assert "Is a directory, look at what it is and whose" in daemon.log()
