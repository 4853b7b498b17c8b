"""Zygotes are started, shown, retired, killed; what a dead one left is dead before anybody hears of it."""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from sidecar import boot

from ..waiting import eventually
from .conftest import MakeKeeper
from .process import ROOT, STUBS, Folders, Keeper, alive, daemon_pid

NO_SWEEP = "import sidecar.keeper.zygotes as z; z.Children.pids = lambda self: []"


def ask_for(one: Keeper, folders: Folders, key: str, interpreter: str | None = None) -> dict[str, Any]:
    """Have the daemon want a zygote; return how it was shown."""
    path = [str(ROOT), str(STUBS)]
    one.ask(tell={"want": "zygote", "key": key, "interpreter": interpreter, "path": path})
    found: list[dict[str, Any]] = eventually(lambda: of_key(folders, key))
    return found[-1]


def of_key(folders: Folders, key: str) -> list[dict[str, Any]]:
    return [told["message"] for told in folders.told("zygote") if told["message"]["key"] == key]


def test_a_daemon_gets_the_zygote_it_wants(keeper: MakeKeeper, folders: Folders) -> None:
    one = keeper().serve()
    zygote = ask_for(one, folders, "abc", sys.executable)
    assert zygote["generation"] > one.default()["generation"]
    assert one.ask(zygote=zygote["generation"], say={}) == {"pid": zygote["pid"]}


def test_an_interpreter_that_is_not_there_is_refused_with_the_reason(keeper: MakeKeeper, folders: Folders) -> None:
    one = keeper().serve()
    one.ask(tell={"want": "zygote", "key": "abc", "interpreter": "/no/python", "path": []})
    refused = eventually(lambda: folders.told("refused"))[0]["message"]
    assert refused == {"do": "refused", "key": "abc", "reason": "cannot run '/no/python': No such file or directory"}


def test_a_zygote_is_shown_to_the_next_daemon_until_it_is_retired(keeper: MakeKeeper, folders: Folders) -> None:
    one = keeper().serve()
    zygote = ask_for(one, folders, "abc")
    one.ask(tell={"want": "retire", "generation": zygote["generation"]})
    other = ask_for(one, folders, "def")
    os.kill(daemon_pid(folders), signal.SIGKILL)
    eventually(lambda: len(folders.told("go")) == 2)
    new = daemon_pid(folders)
    shown = [told["message"]["key"] for told in folders.told("zygote") if told["pid"] == new]
    assert shown == ["default", "def"]
    assert one.ask(zygote=other["generation"], say={}) == {"pid": other["pid"]}
    eventually(lambda: not alive(zygote["pid"]))  # both ends of its socket are closed
    assert "abc" not in one.log()


def test_what_a_dead_zygote_left_is_dead_before_it_is_reported(keeper: MakeKeeper, folders: Folders) -> None:
    one = keeper().serve()
    zygote = one.default()
    stray = one.orphan(zygote["generation"])
    assert alive(stray)
    os.kill(zygote["pid"], signal.SIGKILL)
    dead = eventually(lambda: folders.told("dead"))[0]
    assert dead["message"] == {"do": "dead", "generation": zygote["generation"]}
    assert dead["alive"] == []
    assert f"zygote {zygote['generation']} (default) ended (killed by SIGKILL), what it ran is interrupted" in one.log()


def test_without_the_sweep_it_would_live(keeper: MakeKeeper, folders: Folders) -> None:
    one = keeper(NO_SWEEP).serve()
    zygote = one.default()
    stray = one.orphan(zygote["generation"])
    os.kill(zygote["pid"], signal.SIGKILL)
    assert eventually(lambda: folders.told("dead"))[0]["alive"] == [stray]
    os.kill(stray, signal.SIGKILL)


def test_a_sweep_spares_the_living_zygotes_and_what_they_run(keeper: MakeKeeper, folders: Folders) -> None:
    one = keeper().serve()
    other = ask_for(one, folders, "abc")
    spared = one.orphan(other["generation"])
    zygote = one.default()
    os.kill(zygote["pid"], signal.SIGKILL)
    eventually(lambda: folders.told("dead"))
    assert alive(spared) and alive(other["pid"])
    assert one.ask(zygote=other["generation"], say={}) == {"pid": other["pid"]}


def test_the_default_zygote_is_replaced(keeper: MakeKeeper, folders: Folders) -> None:
    one = keeper().serve()
    before = one.default()
    os.kill(before["pid"], signal.SIGKILL)
    eventually(lambda: len(of_key(folders, "default")) == 2)
    after = one.default()
    assert after["generation"] > before["generation"]
    assert one.ask(zygote=after["generation"], say={}) == {"pid": after["pid"]}


def test_a_default_zygote_that_keeps_dying_is_started_with_pauses(keeper: MakeKeeper, folders: Folders) -> None:
    folders.script("zygote", start="exit")
    one = keeper().serve()
    eventually(lambda: len(folders.events("zygote started")) >= 8, 20)
    starts = folders.events("zygote started")
    assert starts[7]["at"] - starts[6]["at"] >= 0.2
    assert one.ask() == {}


def test_an_overdue_zygote_is_killed_when_the_daemon_wants_it(keeper: MakeKeeper, folders: Folders) -> None:
    one = keeper().serve()
    zygote = ask_for(one, folders, "abc")
    stray = one.orphan(zygote["generation"])
    one.ask(tell={"want": "kill", "generation": zygote["generation"]})
    dead = eventually(lambda: folders.told("dead"))[0]
    assert dead["message"]["generation"] == zygote["generation"] and dead["alive"] == []
    assert not alive(stray)


def test_a_stopped_zygote_goes_on(keeper: MakeKeeper, folders: Folders) -> None:
    one = keeper().serve()
    zygote = one.default()
    os.kill(zygote["pid"], signal.SIGSTOP)
    assert one.ask(zygote=zygote["generation"], say={}) == {"pid": zygote["pid"]}


def test_no_daemon_gets_its_go_while_orphans_live(keeper: MakeKeeper, folders: Folders) -> None:
    one = keeper(CANNOT_KILL).serve()
    zygote = one.default()
    stray = one.orphan(zygote["generation"])
    os.kill(zygote["pid"], signal.SIGKILL)
    os.kill(daemon_pid(folders), signal.SIGKILL)
    eventually(lambda: len(folders.events("daemon loaded")) == 2)
    assert len(folders.told("go")) == 1
    os.kill(stray, signal.SIGKILL)
    eventually(lambda: len(folders.told("go")) == 2)


CANNOT_KILL = """
import os, signal
kill = os.kill
os.kill = lambda pid, number: None if number == signal.SIGKILL else kill(pid, number)
"""  # an orphan that does not die at once, as one in a system call that cannot be interrupted


def test_strangers_are_reaped_and_not_killed(keeper: MakeKeeper, folders: Folders) -> None:
    """An orphan that comes to us while no zygote is dead, as all do in a container, is somebody else's business."""
    one = keeper().serve()
    stranger = one.ask(orphan=True)
    eventually(lambda: parent(stranger) == one.pid)
    assert one.ask() == {}
    assert alive(stranger)
    os.kill(stranger, signal.SIGKILL)
    eventually(lambda: not os.path.exists(f"/proc/{stranger}"))


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_children_that_were_ours_before_we_began_are_spared(keeper: MakeKeeper, folders: Folders) -> None:
    """`sh -c "helper & exec sidecar serve"`, as start scripts of containers do."""
    launch = (
        "import os, sys; os.spawnv(os.P_NOWAIT, '/bin/sleep', ['sleep', '1000']); os.execv(sys.argv[1], sys.argv[1:])"
    )
    one = keeper()
    one.command = [sys.executable, "-c", launch, *one.command]
    one.serve()
    before = [pid for pid in children(one.pid) if Path(f"/proc/{pid}/comm").read_text() == "sleep\n"]
    os.kill(one.default()["pid"], signal.SIGKILL)
    eventually(lambda: folders.told("dead"))
    assert len(before) == 1 and alive(before[0])
    os.kill(before[0], signal.SIGKILL)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def boot_with(names: str, module: str, path: list[str]) -> tuple[int, bytes]:
    """Run the boot program with a socket at fd 3; return its exit status and what it sent."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        ours.settimeout(10)
        argv = boot.command(sys.executable, module, path)
        null = os.open(os.devnull, os.O_WRONLY)
        source = os.dup(theirs.fileno())
        actions = [(os.POSIX_SPAWN_DUP2, source, 3), (os.POSIX_SPAWN_DUP2, null, 2)]
        pid = os.posix_spawn(argv[0], argv, {"LISTEN_FDNAMES": names}, file_actions=actions)
        os.close(null)
        os.close(source)
        theirs.close()
        _, status = os.waitpid(pid, 0)
        return os.waitstatus_to_exitcode(status), ours.recv(9999)


def test_a_zygote_that_cannot_import_us_says_so(tmp_path: Path) -> None:
    assert boot_with("daemon:life", "no_such_room", []) == (
        0, b"\xc1cannot import no_such_room: ModuleNotFoundError: No module named 'no_such_room'",
    )  # fmt: skip
    (tmp_path / "too_new.py").write_text("def main() -> None: pass\nfrom __future__ import telepathy\n")
    status, packet = boot_with("daemon:life", "too_new", [str(tmp_path)])
    assert status == 0
    assert packet.startswith(b"\xc1cannot import too_new: SyntaxError: ")


def test_anybody_else_that_cannot_import_us_fails() -> None:
    assert boot_with("keeper:life", "no_such_room", []) == (1, b"")


def test_folders_given_at_the_start_only_fill_gaps(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise ImportError('not this one')")
    (tmp_path / "room.py").write_text("def main():\n    import json, sys, os\n    os.write(3, repr(sys.argv).encode())")
    assert boot_with("x", "room", [str(tmp_path)]) == (0, b"['room']")
