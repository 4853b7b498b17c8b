"""The files of our sockets are taken away: they are bound again, and what the old ones hold goes into the spool."""

from __future__ import annotations

import os
import shutil
import socket
import time

from ..waiting import eventually
from .conftest import MakeKeeper
from .process import Folders, daemon_pid
from .test_daemons import starts, wait_go

NAMES = ("handoff.sock", "control.sock")


def take_away(folders: Folders) -> None:
    for name in NAMES:
        (folders.runtime / name).unlink()


def there(folders: Folders) -> bool:
    return all((folders.runtime / name).exists() for name in NAMES)


def test_they_are_bound_again_and_a_new_daemon_listens(keeper: MakeKeeper, folders: Folders) -> None:
    one = keeper().serve()
    old = daemon_pid(folders)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(str(folders.runtime / "handoff.sock"))
        take_away(folders)
        sender.send(b"by the old one")  # which this daemon never reads
    eventually(lambda: there(folders))
    assert wait_go(folders, 2) != old
    assert one.ask() == {}
    spool = folders.state / "spool" / "new"
    eventually(lambda: list(spool.iterdir()))
    assert [file.read_bytes() for file in spool.iterdir()] == [b"by the old one"]
    lines = one.log().splitlines()
    assert lines[0].startswith("sidecar: the sockets were taken away, they are there again: ")
    assert lines[1:] == ["sidecar: hand-offs that no daemon had taken in: 1 are in the spool now, 0 are lost"]


def test_a_daemon_that_does_not_come_up_is_tried_again(keeper: MakeKeeper, folders: Folders) -> None:
    one = keeper().serve()
    folders.script("daemon", load="exit")
    take_away(folders)
    eventually(lambda: one.log().count("reload failed") >= 2)
    folders.script("daemon")
    wait_go(folders, 2)
    eventually(lambda: one.ask() == {})
    assert len(starts(folders)) >= 4


def test_while_they_cannot_be_bound_that_is_said_once(keeper: MakeKeeper, folders: Folders) -> None:
    one = keeper().serve()
    take_away(folders)
    (folders.runtime / "control.sock" / "in the way").mkdir(parents=True)
    eventually(lambda: "the sockets were taken away: cannot bind" in one.log())
    before = descriptors(one.pid)
    began = time.monotonic()
    eventually(lambda: time.monotonic() > began + 1.0)  # five beats
    assert one.log().count("\n") == 1
    assert descriptors(one.pid) == before
    shutil.rmtree(folders.runtime / "control.sock")
    wait_go(folders, 2)
    assert one.ask() == {}


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def test_without_looking_nobody_could_reach_it(keeper: MakeKeeper, folders: Folders) -> None:
    """Negative control."""
    keeper("from sidecar.keeper.sockets import Sockets\nSockets.lost = lambda self: False").serve()
    began = time.monotonic()
    take_away(folders)
    eventually(lambda: time.monotonic() > began + 1.5)  # seven beats
    assert not there(folders)
