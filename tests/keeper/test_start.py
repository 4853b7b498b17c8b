"""What holds before anything serves: the only one, on clean ground, with the right sockets."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from sidecar.errors import UNUSABLE

from ..waiting import eventually
from .conftest import MakeKeeper
from .process import Folders, alive, daemon_pid

Event = dict[str, Any]

NO_LOCK = "import fcntl; fcntl.flock = lambda fd, how: None"
NO_STRAYS = "import sidecar.keeper.strays as strays; strays.end = lambda instance, seconds: 0"


def test_it_says_in_one_line_where_it_is(keeper: MakeKeeper, folders: Folders) -> None:
    line = keeper().serve().line
    assert line == f"sidecar 0.1.0 is ready: {folders.runtime}/handoff.sock {folders.runtime}/control.sock\n"


def test_folders_and_sockets_are_for_our_user_alone(keeper: MakeKeeper, folders: Folders) -> None:
    keeper().serve()
    modes = {name: stat.S_IMODE((folders.base / name).lstat().st_mode) for name in ("state", "run", "state/spool/new")}
    assert set(modes.values()) == {0o700}
    for name in ("handoff.sock", "control.sock"):
        assert stat.S_IMODE((folders.runtime / name).stat().st_mode) == 0o600
    assert os.readlink(folders.runtime / "spool") == str(folders.state / "spool")
    assert sorted(os.listdir(folders.state / "spool")) == ["corrupt", "new", "tmp"]


def test_the_first_datagram_names_its_sender(keeper: MakeKeeper, folders: Folders) -> None:
    one = keeper().serve()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect(str(folders.runtime / "handoff.sock"))
        sock.send(b"x")
    assert one.ask(senders=1) == [os.getpid()]


def test_neither_socket_takes_descriptors(keeper: MakeKeeper, folders: Folders) -> None:
    keeper().serve()
    assert set(folders.events("daemon started")[0]["rights"]) <= {0, None}  # None: a kernel before 6.16


def test_a_second_one_says_one_sentence_and_disturbs_nothing(keeper: MakeKeeper, folders: Folders) -> None:
    first = keeper().serve()
    before = sockets_of(folders)
    second = keeper().start()
    assert second.wait() == 1
    assert second.log() == (
        f"sidecar: cannot serve: another sidecar (`sidecar serve`, process {first.pid}) serves {folders.state}, "
        "stop it first or give another --state-dir\n"
    )
    assert sockets_of(folders) == before
    assert first.ask() == {}
    assert len(folders.events("daemon started")) == 1


def test_without_the_lock_a_second_one_would_take_the_sockets(keeper: MakeKeeper, folders: Folders) -> None:
    keeper().serve()
    before = sockets_of(folders)
    keeper(NO_LOCK).serve()
    assert sockets_of(folders) != before


def test_one_with_another_state_folder_does_not_take_the_sockets(keeper: MakeKeeper, folders: Folders) -> None:
    keeper().serve()
    before = sockets_of(folders)
    second = keeper(state_dir=str(folders.base / "other")).start()
    assert second.wait() == 1
    assert second.log() == (
        f"sidecar: cannot serve: another sidecar has its sockets in {folders.runtime}, "
        "stop it first or give another --runtime-dir\n"
    )
    assert sockets_of(folders) == before


def sockets_of(folders: Folders) -> list[int]:
    return [(folders.runtime / name).stat().st_ino for name in ("handoff.sock", "control.sock")]


def test_stale_socket_files_are_replaced(keeper: MakeKeeper, folders: Folders) -> None:
    first = keeper().serve()
    first.kill()
    eventually(lambda: not folders.family())
    with socket.socket(socket.AF_UNIX) as sock, pytest.raises(ConnectionRefusedError):
        sock.connect(str(folders.runtime / "control.sock"))
    assert keeper().serve().ask() == {}


def test_it_waits_for_the_remains_of_a_killed_one(keeper: MakeKeeper, folders: Folders) -> None:
    folders.script("zygote", lifeline="linger")
    keeper().serve().kill()
    eventually(lambda: folders.events("lifeline"))
    second = keeper(NO_STRAYS).start()
    wait_for_lock(second.pid)
    assert len(folders.events("daemon started")) == 1
    folders.let_continue()
    assert " is ready: " in second.process.stdout.readline().decode()  # type: ignore[union-attr]
    ended, started = folders.events("zygote ended")[0], folders.events("daemon started")[1]
    assert ended["at"] < started["at"]


def test_without_the_life_lock_it_would_not_wait(keeper: MakeKeeper, folders: Folders) -> None:
    folders.script("zygote", lifeline="linger")
    keeper().serve().kill()
    eventually(lambda: folders.events("lifeline"))
    keeper(f"{NO_LOCK}; {NO_STRAYS}").serve()
    assert not folders.events("zygote ended")


def wait_for_lock(pid: int) -> None:
    """Wait until the process hangs in flock."""
    eventually(lambda: "->" in locks() and any(str(pid) in line for line in locks().splitlines() if "->" in line))


def locks() -> str:
    return Path("/proc/locks").read_text()


IMPATIENT = "import sidecar.keeper.ground as ground; ground.ORDERLY = 0.3"


def test_a_process_of_ours_that_hangs_is_ended_and_keeps_nobody_out(keeper: MakeKeeper, folders: Folders) -> None:
    folders.script("zygote", lifeline="linger")
    first = keeper().serve()
    hanging = first.default()["pid"]
    first.kill()
    folders.script("zygote")
    keeper(IMPATIENT).serve()
    assert not alive(hanging)


def test_it_gives_up_with_a_sentence_when_somebody_unknown_holds_the_lock(keeper: MakeKeeper, folders: Folders) -> None:
    folders.script("zygote", lifeline="linger")
    keeper().serve().kill()
    second = keeper(f"{IMPATIENT}; {NO_STRAYS}").start()
    assert second.wait() == 1
    assert "cannot serve: processes of an earlier sidecar still hold" in second.log()


def stray(instance: str) -> subprocess.Popen[bytes]:
    env = {**os.environ, "SIDECAR_INSTANCE": instance}
    return subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], env=env, start_new_session=True)


@pytest.mark.parametrize("mutation", ["", NO_STRAYS])
def test_strays_of_an_older_life_are_ended_before_anything_starts(
    keeper: MakeKeeper, folders: Folders, mutation: str
) -> None:
    first = keeper().serve()
    first.signal(signal.SIGTERM)
    assert first.wait() == 0
    ours, other = stray(folders.instance()), stray("0" * 32)
    try:
        eventually(lambda: b"SIDECAR_INSTANCE" in Path(f"/proc/{ours.pid}/environ").read_bytes())
        keeper(mutation).serve()
        assert (ours.poll() == -signal.SIGKILL) is (mutation == "")
        assert other.poll() is None
    finally:
        for process in (ours, other):
            process.kill()
            process.wait()


@pytest.mark.parametrize("mutation", ["", "import sidecar.keeper.spawn as s; s.keep_to_ourselves = lambda: None"])
def test_what_a_careless_parent_leaves_open_reaches_no_child(
    keeper: MakeKeeper, folders: Folders, mutation: str
) -> None:
    reading, writing = os.pipe()
    keeper(mutation).serve(pass_fds=(writing,))
    os.close(writing)
    os.close(reading)
    leaked = 1 if mutation else 0
    daemon, zygote = started(folders)
    assert len(daemon["fds"]) == 8 + leaked, daemon["fds"]
    assert len(zygote["fds"]) == 6 + leaked, zygote["fds"]


def test_children_have_exactly_the_named_descriptors(keeper: MakeKeeper, folders: Folders) -> None:
    keeper().serve()
    daemon, zygote = started(folders)
    assert daemon["environ"]["LISTEN_FDNAMES"] == "keeper:lifeline:handoff:control:life"
    assert daemon["environ"]["LISTEN_FDS"] == "5"
    assert kinds(daemon) == ["null", "file", "file", "socket", "pipe", "socket", "socket", "life.lock"]
    assert zygote["environ"]["LISTEN_FDNAMES"] == "daemon:lifeline:life"
    assert zygote["environ"]["LISTEN_FDS"] == "3"
    assert kinds(zygote) == ["null", "file", "file", "socket", "pipe", "life.lock"]
    for child in (daemon, zygote):
        assert child["sid"] == child["pid"]
        assert child["cwd"] == "/"


def kinds(child: Event) -> list[str]:
    found = [child["fds"][name] for name in sorted(child["fds"], key=int)]
    names = {"/dev/null": "null", "socket": "socket", "pipe": "pipe"}
    return [names.get(what.split(":")[0]) or ("life.lock" if what.endswith("life.lock") else "file") for what in found]


def started(folders: Folders) -> tuple[Event, Event]:
    zygote = eventually(lambda: folders.events("zygote started"))[0]
    return folders.events("daemon started")[0], zygote


def test_children_have_exactly_the_named_environment(keeper: MakeKeeper, folders: Folders, tmp_path: Path) -> None:
    config = tmp_path / "sidecar.toml"
    noise = {"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "1", "LISTEN_PID": "1", "LISTEN_FDS": "7", "MINE": "x"}
    one = keeper(config=str(config), slots=3)
    one.env = {"PATH": "/bin", **noise}
    one.serve()
    daemon, zygote = started(folders)
    common = {
        "PATH": "/bin", "MINE": "x",
        "SIDECAR_INSTANCE": folders.instance(), "SIDECAR_RUNTIME_DIR": str(folders.runtime),
    }  # fmt: skip
    assert without_fds(daemon) == common | {
        "SIDECAR_STATE_DIR": str(folders.state), "SIDECAR_CONFIG": str(config), "SIDECAR_SLOTS": "3",
        "SIDECAR_DEATHS": "0", "SIDECAR_HEARTBEAT": "30.0", "SIDECAR_TICK": "",
    }  # fmt: skip
    assert without_fds(zygote) == common | {"LD_BIND_NOW": "1"}


def without_fds(child: Event) -> dict[str, str]:
    known = ("LISTEN_FDS", "LISTEN_FDNAMES", "LC_CTYPE")  # the last one is CPython's own doing
    return {name: value for name, value in child["environ"].items() if name not in known}


def test_sockets_from_outside_are_used_and_left_alone(keeper: MakeKeeper, folders: Folders) -> None:
    paths = [str(folders.base / name) for name in ("dgram", "stream")]
    dgram = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    dgram.bind(paths[0])
    stream.bind(paths[1])
    stream.listen()
    one = keeper().serve_on(stream, dgram)
    assert one.line.endswith(f": {paths[0]} {paths[1]}\n")
    assert not (folders.runtime / "handoff.sock").exists()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(paths[0])
        sender.send(b"before")
        one.signal(signal.SIGTERM)
        assert one.wait() == 0
        sender.send(b"after")
    assert [dgram.recv(99), dgram.recv(99)] == [b"before", b"after"]
    assert all(os.path.exists(path) for path in paths)
    dgram.close()
    stream.close()


def test_given_sockets_are_emptied_into_the_spool_where_no_daemon_can_serve(
    keeper: MakeKeeper, folders: Folders
) -> None:
    """Their owner would start us a few times for what is in there, and then close them."""
    given = [socket.socket(socket.AF_UNIX, kind) for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM)]
    for sock, name in zip(given, ("dgram", "stream"), strict=True):
        sock.bind(str(folders.base / name))
    given[1].listen(5)
    one = keeper().serve_on(*given)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender, socket.socket(socket.AF_UNIX) as orders:
        sender.connect(str(folders.base / "dgram"))
        sender.send(b"a hand-off")
        orders.connect(str(folders.base / "stream"))
        orders.send(json.dumps({"exit": UNUSABLE}).encode())
        assert one.wait() == 1
    assert [file.read_bytes() for file in (folders.state / "spool" / "new").iterdir()] == [b"a hand-off"]
    assert len(folders.events("daemon started")) == 1, "and no other daemon follows"
    for sock in given:
        sock.close()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"runtime_dir": "/proc/nowhere/run"}, "cannot make folder '/proc/nowhere/run'"),
        ({"state_dir": "/proc/nowhere/state"}, "cannot make folder '/proc/nowhere/state"),
        ({"runtime_dir": "/tmp/" + "long" * 30}, "longer than 107 bytes, give a shorter --runtime-dir"),
    ],
)
def test_what_cannot_be_used_is_named(keeper: MakeKeeper, settings: dict[str, str], said: str) -> None:
    one = keeper(**settings).start()
    try:
        assert one.wait() == 1
        assert said in one.log()
        assert one.log().count("\n") == 1
    finally:
        if os.path.isdir("/tmp/" + "long" * 30):
            os.rmdir("/tmp/" + "long" * 30)


def test_a_folder_in_tmp_that_others_can_enter_is_refused(keeper: MakeKeeper, folders: Folders) -> None:
    (folders.base / "elsewhere").mkdir()
    folders.base.chmod(0o1777)
    (folders.base / "link").symlink_to(folders.base / "elsewhere")
    open_to_all = folders.base / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o755)
    for path in (folders.base / "link", open_to_all):
        one = keeper(runtime_dir=str(path)).start()
        assert one.wait() == 1
        assert "it is not a folder of this user with mode 0700" in one.log()


def test_the_instance_has_one_name_for_ever(keeper: MakeKeeper, folders: Folders) -> None:
    first = keeper().serve()
    name = folders.instance()
    first.signal(signal.SIGTERM)
    first.wait()
    keeper().serve()
    assert folders.instance() == name
    assert len(name) == 32


def test_generations_never_come_again(keeper: MakeKeeper, folders: Folders) -> None:
    first = keeper().serve()
    before = first.default()["generation"]
    first.signal(signal.SIGTERM)
    first.wait()
    assert keeper().serve().default()["generation"] > before


def test_a_killed_keeper_takes_everything_with_it(keeper: MakeKeeper, folders: Folders) -> None:
    one = keeper().serve()
    pids = [daemon_pid(folders), one.default()["pid"]]
    one.kill()
    began = time.monotonic()
    eventually(lambda: not any(map(alive, pids)))
    assert time.monotonic() - began < 1.0
    assert folders.events("lifeline")


@pytest.mark.parametrize("name", ["state", "run"])
def test_a_folder_that_others_can_write_is_refused(keeper: MakeKeeper, folders: Folders, name: str) -> None:
    (folders.base / name).mkdir(exist_ok=True)
    (folders.base / name).chmod(0o777)
    one = keeper().start()
    assert one.wait() == 1
    assert "others may write in it" in one.log() and "chmod 700" in one.log()
