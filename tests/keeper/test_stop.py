"""The end: in order, now, and at any price."""

from __future__ import annotations

import os
import signal
import socket
import struct
from pathlib import Path

import pytest

from sidecar.keeper.rescue import rescue

from ..waiting import eventually
from .conftest import MakeKeeper
from .process import Folders, alive, daemon_pid


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_in_order(keeper: MakeKeeper, folders: Folders, number: int) -> None:
    one = keeper().serve()
    stray = one.orphan(one.default()["generation"])
    one.signal(number)
    assert one.wait() == 0
    drain = folders.told("drain")[0]
    assert not drain["handoff"] and drain["control"] and drain["spool"]
    lifeline = folders.events("lifeline")[0]
    assert lifeline["at"] > folders.events("daemon ended")[0]["at"]
    assert not lifeline["control"] and lifeline["spool"]
    assert not alive(stray)
    assert folders.family() == []
    assert sorted(path.name for path in folders.runtime.iterdir()) == ["spool", "stub.log"]
    assert one.log() == ""


def test_what_was_accepted_stays_and_later_senders_are_told(keeper: MakeKeeper, folders: Folders) -> None:
    folders.script("daemon", drain="stay")
    one = keeper().serve()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(str(folders.runtime / "handoff.sock"))
        sender.send(b"accepted")
        one.signal(signal.SIGTERM)
        eventually(lambda: folders.told("drain"))
        with pytest.raises(BrokenPipeError):
            sender.send(b"later")
    assert one.ask(receive=1) == ["accepted"]
    one.ask(exit=0)
    assert one.wait() == 0


def in_spool(folders: Folders) -> list[bytes]:
    return sorted(file.read_bytes() for file in (folders.state / "spool" / "new").iterdir())


def end_untaken(keeper: MakeKeeper, folders: Folders, mutation: str = "") -> str:
    """End a keeper whose daemon leaves two hand-offs in the socket; return its log."""
    folders.script("daemon", drain="stay")
    one = keeper(mutation).serve()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(str(folders.runtime / "handoff.sock"))
        for data in (b"one", b"two"):
            sender.send(data)
    one.signal(signal.SIGTERM)
    eventually(lambda: folders.told("drain"))
    one.ask(exit=0)
    one.wait()
    return one.log()


def test_what_no_daemon_has_taken_in_is_in_the_spool_afterwards(keeper: MakeKeeper, folders: Folders) -> None:
    assert "hand-offs that no daemon had taken in: 2 are in the spool now, 0 are lost" in end_untaken(keeper, folders)
    assert in_spool(folders) == [b"one", b"two"]


def test_without_the_rescue_they_would_be_gone(keeper: MakeKeeper, folders: Folders) -> None:
    end_untaken(keeper, folders, "import sidecar.keeper.sockets as s; s.Sockets.rescue = lambda self, spool: (0, 0)")
    assert in_spool(folders) == []


def test_a_hand_off_of_somebody_else_gains_no_owner_by_the_rescue(tmp_path: Path) -> None:
    for name in ("tmp", "new"):
        (tmp_path / name).mkdir()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.setblocking(False)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    stranger = struct.pack("3i", os.getpid(), os.geteuid() + 1, os.getegid())
    theirs.sendmsg([b"theirs"], [(socket.SOL_SOCKET, socket.SCM_CREDENTIALS, stranger)])
    theirs.send(b"")
    theirs.send(b"ours")
    assert rescue(ours, str(tmp_path)) == (2, 1)
    assert sorted(file.read_bytes() for file in (tmp_path / "new").iterdir()) == [b"", b"ours"]


def test_without_closing_the_handoff_later_ones_would_be_lost(keeper: MakeKeeper, folders: Folders) -> None:
    folders.script("daemon", drain="stay")
    one = keeper("import sidecar.keeper.sockets as s; s.Sockets.close_handoff = lambda self: None").serve()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(str(folders.runtime / "handoff.sock"))
        one.signal(signal.SIGTERM)
        eventually(lambda: folders.told("drain"))
        sender.send(b"later")
    one.ask(exit=0)
    assert one.wait() == 0


def test_the_second_signal_means_now_and_the_third_does_not_ask(keeper: MakeKeeper, folders: Folders) -> None:
    folders.script("daemon", drain="stay", now="stay")
    folders.script("zygote", lifeline="ignore")
    one = keeper().serve()
    for count, word in enumerate(("drain", "now")):
        one.signal(signal.SIGTERM)
        eventually(lambda word=word: folders.told(word))  # type: ignore[misc]
        assert len(folders.events("daemon ended")) == 0, count
    one.signal(signal.SIGTERM)
    assert one.wait(4) == 0  # less than zygotes have to end by themselves
    assert folders.family() == []


def test_a_zygote_that_does_not_heed_the_end_is_ended(keeper: MakeKeeper, folders: Folders) -> None:
    folders.script("zygote", lifeline="ignore")
    one = keeper("import sidecar.keeper.loop as loop; loop._LAST = 0.2").serve()
    stray = one.orphan(one.default()["generation"])
    one.signal(signal.SIGTERM)
    assert one.wait() == 0
    assert folders.events("lifeline")
    assert not alive(stray) and folders.family() == []


def test_a_daemon_that_dies_draining_is_replaced_once(keeper: MakeKeeper, folders: Folders) -> None:
    folders.script("daemon", drain="crash")
    one = keeper().serve()
    one.signal(signal.SIGTERM)
    assert one.wait() == 0
    assert len(folders.events("daemon started")) == 2
    assert len(folders.told("drain")) == 2


def test_a_dead_daemon_is_replaced_to_drain(keeper: MakeKeeper, folders: Folders) -> None:
    """What the hand-off socket holds was promised: somebody has to take it in."""
    folders.script("daemon", load="exit")
    one = keeper("import sidecar.keeper.restarts as r; r.FIRST_PAUSE = r.LONGEST_PAUSE = 600").start()
    eventually(lambda: "the next one starts in" in one.log())
    folders.script("daemon")
    one.signal(signal.SIGTERM)
    assert one.wait() == 0
    assert len(folders.told("drain")) == 1


def test_stopping_while_a_daemon_loads_lets_it_drain(keeper: MakeKeeper, folders: Folders) -> None:
    folders.script("daemon", load="wait")
    one = keeper().start()
    eventually(lambda: folders.events("daemon started"))
    one.signal(signal.SIGTERM)
    eventually(lambda: not (folders.runtime / "handoff.sock").exists())
    folders.let_continue()
    assert one.wait() == 0
    assert [told["message"]["do"] for told in folders.events("told")] == ["zygote", "go", "drain"]


def test_a_reload_under_way_is_given_up(keeper: MakeKeeper, folders: Folders) -> None:
    one = keeper().serve()
    old = daemon_pid(folders)
    folders.script("daemon", load="hang")
    one.signal(signal.SIGHUP)
    eventually(lambda: len(folders.events("daemon started")) == 2)
    one.signal(signal.SIGTERM)
    assert one.wait() == 0
    assert [told["pid"] for told in folders.told("drain")] == [old]


def test_a_reload_while_stopping_is_passed_over(keeper: MakeKeeper, folders: Folders) -> None:
    folders.script("daemon", drain="stay")
    one = keeper().serve()
    one.signal(signal.SIGTERM)
    eventually(lambda: folders.told("drain"))
    one.signal(signal.SIGHUP)
    one.ask(tell={"want": "reload"})
    one.ask(exit=0)
    assert one.wait() == 0
    assert len(folders.events("daemon started")) == 1


def test_sigquit_is_passed_on(keeper: MakeKeeper, folders: Folders) -> None:
    one = keeper().serve()
    old = daemon_pid(folders)
    one.signal(signal.SIGQUIT)
    eventually(lambda: len(folders.told("go")) == 2)  # the stub has no handler: it dies of it
    assert not alive(old)
    assert "the daemon ended (killed by SIGQUIT)" in one.log()


def test_the_service_manager_hears_how_it_goes(keeper: MakeKeeper, folders: Folders) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(folders.base / "notify"))
        manager.settimeout(10)
        one = keeper(env={"NOTIFY_SOCKET": str(folders.base / "notify"), "WATCHDOG_USEC": "1000000"}).serve()
        notes = Notes(manager)
        notes.until("READY=1")
        notes.until("WATCHDOG=1")
        one.signal(signal.SIGHUP)
        notes.until("RELOADING=1")
        notes.until("READY=1")
        os.kill(daemon_pid(folders), signal.SIGKILL)
        notes.until("STATUS=the daemon ended (killed by SIGKILL)")
        one.signal(signal.SIGTERM)
        notes.until("STOPPING=1")
        assert one.wait() == 0


class Notes:
    """What arrives at the manager, in order."""

    def __init__(self, manager: socket.socket) -> None:
        self.manager = manager

    def until(self, line: str) -> None:
        while line not in self.manager.recv(9999).decode().split("\n"):
            pass


def test_stderr_that_nobody_reads_does_not_stop_it(keeper: MakeKeeper, folders: Folders) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    try:
        while True:
            os.write(writing, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(writing, True)
    one = keeper(f"import os; os.dup2({writing}, 2)").serve(pass_fds=(writing,))
    os.kill(daemon_pid(folders), signal.SIGKILL)
    eventually(lambda: len(folders.told("go")) == 2)
    assert one.ask() == {}
    os.close(reading)
    os.close(writing)
