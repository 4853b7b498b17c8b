"""Daemons die, hang, are replaced: the sockets and what is in them stay."""

from __future__ import annotations

import os
import signal
import socket
import time
from typing import Any

from ..waiting import eventually
from .conftest import MakeKeeper
from .process import Folders, alive, daemon_pid


def starts(folders: Folders) -> list[dict[str, Any]]:
    return folders.events("daemon started")


def go_count(folders: Folders) -> int:
    return len(folders.told("go"))


def wait_go(folders: Folders, count: int) -> int:
    """Wait until that many daemons were told to go; return the last one's pid."""
    eventually(lambda: go_count(folders) >= count)
    return daemon_pid(folders)


def test_a_killed_daemon_is_replaced_and_what_the_sockets_hold_is_still_there(
    keeper: MakeKeeper, folders: Folders
) -> None:
    one = keeper().serve()
    inodes = [os.stat(folders.runtime / name).st_ino for name in ("handoff.sock", "control.sock")]
    zygote = one.default()
    old = daemon_pid(folders)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(str(folders.runtime / "handoff.sock"))
        sender.send(b"one")
        os.kill(old, signal.SIGKILL)
        sender.send(b"two")
        new = wait_go(folders, 2)
        sender.send(b"three")
    assert new != old
    assert [os.stat(folders.runtime / name).st_ino for name in ("handoff.sock", "control.sock")] == inodes
    assert one.ask(receive=1) == ["one", "two", "three"]
    assert one.ask(zygote=zygote["generation"], say={}) == {"pid": zygote["pid"]}
    assert [start["environ"]["SIDECAR_DEATHS"] for start in starts(folders)] == ["0", "0"], "nobody's datagram"
    assert "the daemon ended (killed by SIGKILL)" in one.log()


def test_one_that_keeps_dying_is_started_with_pauses_and_told_how_often(keeper: MakeKeeper, folders: Folders) -> None:
    folders.script("daemon", after_go="crash")
    one = keeper().start()
    eventually(lambda: len(starts(folders)) >= 9, 20)
    begins = [start["at"] for start in starts(folders)]
    ends = [end["at"] for end in folders.events("daemon ended")]
    pauses = [begin - end for begin, end in zip(begins[1:], ends, strict=False)]
    assert pauses[5] >= 0.1 and pauses[6] >= 0.2 and pauses[7] >= 0.4
    assert [start["environ"]["SIDECAR_DEATHS"] for start in starts(folders)][:4] == ["0", "1", "2", "3"]
    assert "6 in a row, the next one starts in 0.1 s" in one.log()
    folders.script("daemon")
    assert " is ready: " in one.process.stdout.readline().decode()  # type: ignore[union-attr]


def test_a_silent_daemon_is_killed_and_replaced(keeper: MakeKeeper, folders: Folders) -> None:
    one = keeper(heartbeat=1.0).serve()
    old = daemon_pid(folders)
    os.kill(old, signal.SIGSTOP)
    new = wait_go(folders, 2)
    assert new != old and not alive(old)
    assert [start["environ"]["SIDECAR_DEATHS"] for start in starts(folders)] == ["0", "1"]
    assert "the daemon ended (silent for too long)" in one.log()


def test_a_daemon_that_beats_is_not_killed(keeper: MakeKeeper, folders: Folders) -> None:
    one = keeper(heartbeat=0.6).serve()
    old = daemon_pid(folders)
    began = folders.events("daemon loaded")[0]["at"]
    eventually(lambda: time.monotonic() > began + 1.5)  # more than two silences
    assert daemon_pid(folders) == old
    assert one.log() == ""


def test_reload_loads_the_next_one_before_the_old_one_leaves(keeper: MakeKeeper, folders: Folders) -> None:
    one = keeper().serve()
    first, old = one.default(), daemon_pid(folders)
    folders.script("daemon", load="wait")
    one.signal(signal.SIGHUP)
    eventually(lambda: len(starts(folders)) == 2)
    assert one.ask() == {}
    assert not folders.told("leave")
    folders.let_continue()
    new = wait_go(folders, 2)
    assert new == starts(folders)[1]["pid"] != old
    ended = folders.events("daemon ended")[0]
    assert ended["pid"] == old and ended["status"] == 0
    order = [(event["event"], event["pid"]) for event in folders.events() if event["event"] != "zygote started"]
    assert order.index(("daemon loaded", new)) < order.index(("daemon ended", old))
    shown = [event for event in folders.told("zygote") if event["pid"] == new]
    generations = [event["message"]["generation"] for event in shown]
    assert generations[0] == first["generation"] and len(generations) == 2  # the old one, and one for new attempts
    assert all(event["fds"] == 1 for event in shown)
    assert folders.told("go")[1]["at"] > ended["at"]
    assert one.log() == ""


def test_a_daemon_may_ask_for_the_reload(keeper: MakeKeeper, folders: Folders) -> None:
    one = keeper().serve()
    one.ask(tell={"want": "reload"})
    wait_go(folders, 2)


def test_a_reload_that_fails_leaves_the_old_one(keeper: MakeKeeper, folders: Folders) -> None:
    one = keeper().serve()
    old, zygote = daemon_pid(folders), one.default()
    folders.script("daemon", load="exit")
    one.signal(signal.SIGHUP)
    eventually(lambda: one.log())
    assert one.log() == "sidecar: reload failed: the new daemon ended (exit status 1), the old one goes on\n"
    assert one.ask() == {}
    assert daemon_pid(folders) == old and not folders.told("leave")
    assert one.default() == zygote
    folders.script("daemon")
    one.signal(signal.SIGHUP)
    assert wait_go(folders, 2) != old


def test_a_reload_during_a_reload_starts_it_again(keeper: MakeKeeper, folders: Folders) -> None:
    one = keeper().serve()
    folders.script("daemon", load="hang")
    one.signal(signal.SIGHUP)
    eventually(lambda: len(starts(folders)) == 2)
    folders.script("daemon")
    one.signal(signal.SIGHUP)
    assert wait_go(folders, 2) == starts(folders)[2]["pid"]
    eventually(lambda: not alive(starts(folders)[1]["pid"]))
    assert one.log() == ""


def test_an_old_one_that_will_not_leave_is_ended(keeper: MakeKeeper, folders: Folders) -> None:
    folders.script("daemon", leave="stay")
    one = keeper(heartbeat=0.8).serve()
    old = daemon_pid(folders)
    one.signal(signal.SIGHUP)
    assert wait_go(folders, 2) != old
    assert not alive(old)


def test_an_old_one_that_dies_during_a_reload_is_followed_by_the_new_one(keeper: MakeKeeper, folders: Folders) -> None:
    one = keeper().serve()
    folders.script("daemon", load="wait")
    one.signal(signal.SIGHUP)
    eventually(lambda: len(starts(folders)) == 2)
    os.kill(daemon_pid(folders), signal.SIGKILL)
    folders.let_continue()
    assert wait_go(folders, 2) == starts(folders)[1]["pid"]
    assert len(starts(folders)) == 2


def test_reload_ends_a_pause(keeper: MakeKeeper, folders: Folders) -> None:
    folders.script("daemon", load="exit")
    one = keeper("import sidecar.keeper.restarts as r; r.FIRST_PAUSE = r.LONGEST_PAUSE = 600").start()
    eventually(lambda: "the next one starts in 600.0 s" in one.log())
    folders.script("daemon")
    one.signal(signal.SIGHUP)
    assert " is ready: " in one.process.stdout.readline().decode()  # type: ignore[union-attr]


def test_what_a_daemon_says_in_error_is_passed_over(keeper: MakeKeeper, folders: Folders) -> None:
    one = keeper().serve()
    for nonsense in ({}, {"want": "zygote"}, {"want": ["x"]}, {"want": "moon"}, {"want": "kill", "generation": 1},
                     {"want": "zygote", "key": "k", "interpreter": 5, "path": []}):  # fmt: skip
        one.ask(tell=nonsense)
    assert one.ask() == {}
    eventually(lambda: one.log().count("cannot follow") == 3)
    assert len(starts(folders)) == 1
