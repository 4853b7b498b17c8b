"""What `sidecar-php tick` takes in, and what it does where the queue, a disk or a database cannot be used."""

from __future__ import annotations

import os
import re
import resource
import signal
from pathlib import Path

import pytest

from ..daemon_process import Daemon
from ..waiting import eventually
from .mariadb import MariaDb, needs_mariadb
from .script import needs_php, said
from .ticks import (
    RAN,
    Host,
    attempts,
    hosting,
    mutated,
)

pytestmark = needs_php


def test_what_is_no_job_is_put_aside_and_what_is_wrong_is_rejected(host: Host) -> None:
    (id, wrong, odd) = host.submit(r"""
        $jobs[] = $client->run(['true']);
        foreach (['timeout' => -1, 'no_such' => 1] as $name => $value) {
            $id = Sidecar\Id::make();
            $job = ['id' => new Bytes($id), 'argv' => ['true'], $name => $value];
            $packed = Sidecar\Msgpack::encode([2, 'submit', [$job]]);
            file_put_contents(dirname($out) . '/state/spool/new/' . bin2hex($id), $packed);
            $jobs[] = (object) ['id' => Sidecar\Id::show($id), 'ack' => 'spooled'];
        }
    """)
    new = host.spool / "new"
    (new / "garbage").write_bytes(b"\xc1 no msgpack")
    (new / "request").write_bytes(b"\x93\x02\xa4ping\x90")
    (new / "empty").touch()
    (new / "link").symlink_to("/etc/hostname")
    os.mkfifo(new / "fifo")
    (new / "folder").mkdir()
    aside = ["empty", "fifo", "folder", "garbage", "link", "request"]
    if os.geteuid() == 0:
        (new / "stranger").write_bytes(b"\x93\x02\xa6submit\x90")
        os.chown(new / "stranger", 12345, 12345)
        aside.append("stranger")
    run = host.tick()
    assert sorted(name.partition(".")[0] for name in os.listdir(host.spool / "corrupt")) == aside
    assert os.listdir(new) == []
    assert re.findall(r"^sidecar-php: spool file (\w+): .*: put into ", run.said(), re.MULTILINE) == aside
    assert run.report().startswith("3 taken from the spool; ended: 2 rejected, 1 succeeded")
    assert sorted(re.findall(r"job (\S+): rejected: .", run.said())) == sorted([wrong, odd])
    assert [host.outcome(each) for each in (id, wrong, odd)] == ["succeeded", "rejected", "rejected"]
    assert "timeout" in host.status(wrong)["reason"]
    assert "no_such" in host.status(odd)["reason"]


@pytest.mark.parametrize(
    ("env", "folder"),
    [
        ({"SIDECAR_STATE_DIR": "/srv/jobs"}, "/srv/jobs"),
        ({"SIDECAR_STATE_DIR": "/srv/jobs", "SIDECAR_RUNTIME_DIR": "/srv/run"}, "/srv/jobs"),
        ({"XDG_STATE_HOME": "/srv/state"}, "/srv/state/sidecar"),
        ({}, "/home/you/.local/state/sidecar"),
    ],
    ids=["named", "both named", "xdg", "home"],
)
def test_without_state_a_tick_of_a_user_takes_the_folder_of_the_environment(env: dict[str, str], folder: str) -> None:
    none = {"SIDECAR_STATE_DIR": "", "SIDECAR_RUNTIME_DIR": "", "XDG_STATE_HOME": "", "HOME": "/home/you"}
    become = "if (posix_getuid() === 0) { posix_setgid(12345); posix_setuid(12345); }"
    assert said(f"{become} say(Sidecar\\Tick\\Ground::usual());", {**none, **env}) == folder


def test_what_is_spooled_twice_is_one_job(host: Host) -> None:
    host.submit(f"{RAN} $jobs[] = $ran('x');")
    (file,) = (host.spool / "new").iterdir()
    data = file.read_bytes()
    host.tick()
    file.write_bytes(data)
    assert host.tick().report() == "0 taken from the spool; ended: none; left: none"
    assert host.lines("ran") == ["x"]


def test_jobs_that_cannot_start_wait_and_keep_nobody(host: Host) -> None:
    ids = host.submit(f"""{RAN}
        $jobs[] = $client->submit('time:time', runtime: ['kind' => 'python', 'interpreter' => '/usr/bin/python3']);
        $jobs[] = $client->submit('Jobs\\\\add', [1, 2], runtime: ['interpreter' => '/no/php']);
        $jobs[] = $client->submit('Jobs\\\\add', [1, 2], runtime: ['bootstrap' => '/no/bootstrap.php']);
        $jobs[] = $ran('x');
    """)
    run = host.tick("--slots=1")
    assert run.report() == "4 taken from the spool; ended: 1 succeeded; left: 3 queued"
    waiting = [host.status(id).get("waiting", "") for id in ids]
    assert [text.partition(" ")[0] for text in waiting[1:]] == ["/no/php", "/no/bootstrap.php", ""]
    assert waiting[0] == "it is Python: `sidecar tick` runs it, this one runs PHP and commands"
    assert host.status(ids[0])["failures"] == "0"


def test_what_a_tick_had_no_time_for_is_said(host: Host) -> None:
    host.submit("for ($n = 0; $n < 60; $n++) { $jobs[] = $client->run(['true']); }")
    said = host.tick("--for=0.000001", "--drain=0").report()
    assert said == "0 taken from the spool; ended: none; left: 60 in the spool"
    assert host.tick().report() == "60 taken from the spool; ended: 60 succeeded; left: none"


def test_either_tick_takes_what_the_client_has_spooled(daemon: Daemon, tmp_path: Path) -> None:
    daemon.stop()
    host = Host(tmp_path, f"{tmp_path}/queue")
    host.state, host.spool = daemon.state, daemon.state / "spool"
    (tmp_path / "state").symlink_to(daemon.state)
    host.submit(f"{RAN} $jobs[] = $ran('ours');")
    assert host.tick().report().startswith("1 taken from the spool; ended: 1 succeeded")
    host.submit(f"{RAN} $jobs[] = $ran('theirs');")
    daemon.start()
    eventually(lambda: host.lines("ran") == ["ours", "theirs"], 30)


@pytest.mark.parametrize(
    ("queue", "says"),
    [
        ("/dev/null/queue", "cannot make folder /dev/null/queue/waiting: "),
        ("sqlite:/no/such/folder/queue", "cannot use queue sqlite:/no/such/folder/queue: "),
        ("mysql:unix_socket=/no/such/socket;dbname=x;user=ann;password=secret",
         "cannot use queue mysql:unix_socket=/no/such/socket;dbname=x: "),
        ("oracle:x", "cannot use queue: no table can be kept in oracle, give sqlite: or mysql:"),
    ],
)  # fmt: skip
def test_a_queue_that_cannot_be_used_is_one_sentence_and_111(folder_host: Host, queue: str, says: str) -> None:
    folder_host.submit("$jobs[] = $client->run(['true']);")
    folder_host.queue = queue
    run = folder_host.begin()
    assert run.wait() == 111
    assert run.said().startswith(f"sidecar-php: {says}")
    assert "secret" not in run.said()
    assert len(run.said().splitlines()) == 1
    assert len(os.listdir(folder_host.spool / "new")) == 1


def fill_the_disk() -> None:
    """Have this process write no file beyond 64 KiB, as if there were no more room."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))


@needs_mariadb
def test_what_cannot_be_started_for_want_of_room_has_not_begun(request: pytest.FixtureRequest) -> None:
    with hosting("mariadb", request) as host:
        (id,) = host.submit("$jobs[] = $client->run(['true'], stdin: str_repeat('x', 200_000), at_most_once: true);")
        run = host.begin(preexec_fn=fill_the_disk)
        assert run.wait() == 111
        assert attempts(run.said(), id) == ["true, could not be started; queued"]
        assert "free some space there" in run.said()
        host.tick()
        assert host.outcome(id) == "succeeded"


def test_a_full_disk_leaves_the_job_in_the_spool(folder_host: Host) -> None:
    (id,) = folder_host.submit("$jobs[] = $client->run(['true'], stdin: str_repeat('x', 200_000));")

    run = folder_host.begin(preexec_fn=fill_the_disk)
    assert run.wait() == 111
    assert re.fullmatch(r"sidecar-php: cannot write \S+/tmp/\w+: .*, free some space there\n", run.said()), run.said()
    assert len(os.listdir(folder_host.spool / "new")) == 1
    folder_host.tick()
    assert folder_host.outcome(id) == "succeeded"


def leave_few_descriptors() -> None:
    """Have this process open few files at a time: enough for itself and some jobs."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))


def test_jobs_that_run_are_not_ended_since_another_finds_no_descriptor(host: Host) -> None:
    ids = host.submit("for ($n = 0; $n < 20; $n++) { $jobs[] = $client->run(['sleep', '0.3']); }")
    for _ in range(3):
        host.begin("--slots=20", preexec_fn=leave_few_descriptors).wait()
    assert "Too many open files" in host.log()
    host.tick("--slots=20")
    assert [host.outcome(id) for id in ids] == ["succeeded"] * 20
    assert "crash" not in host.log()


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a folder to another user")
def test_a_tick_of_another_user_leaves_a_folder_as_it_is(host: Host) -> None:
    host.submit("$jobs[] = $client->run(['true']);")
    for path in (host.state, host.spool, host.spool / "new", *(host.spool / "new").iterdir()):
        os.chown(path, 12345, 12345)
    run = host.begin()
    assert run.wait() == 111
    says = f"sidecar-php: cannot use folder {host.state}: it is of user 12345, run as that user or give another"
    assert run.said() == f"{says} --state\n"
    assert len(os.listdir(host.spool / "new")) == 1


@needs_mariadb
def test_what_the_database_takes_no_packet_of_keeps_nobody(request: pytest.FixtureRequest, mariadb: MariaDb) -> None:
    [[usual]] = mariadb.run("SELECT @@global.max_allowed_packet")
    mariadb.run("SET GLOBAL max_allowed_packet = 1048576")
    try:
        with hosting("mariadb", request) as host:
            _, grown, id = host.submit("""
                $jobs[] = $client->run(['true'], stdin: str_repeat('x', 3_000_000));
                $jobs[] = $client->submit('str_repeat', ['x', 1_000_000], stdin: str_repeat('x', 980_000));
                $jobs[] = $client->run(['true']);
            """)
            run = host.tick()
            assert run.report() == "2 taken from the spool; ended: 2 succeeded; left: none"
            assert "over the database's max_allowed_packet; raise that: put into " in run.said()
            assert len(os.listdir(host.spool / "corrupt")) == 1
            assert host.status(grown)["result"] == "the return value is too large for the queue's database"
            assert host.outcome(id) == "succeeded"
    finally:
        mariadb.run(f"SET GLOBAL max_allowed_packet = {usual}")


@needs_mariadb
@pytest.mark.parametrize("again", [True, False])
def test_a_database_that_hangs_up_while_a_job_runs_hears_of_its_end(
    again: bool, request: pytest.FixtureRequest, mariadb: MariaDb
) -> None:
    with hosting("mariadb", request) as host:
        (id,) = host.submit("$jobs[] = $client->run(['sleep', '2.5']);")
        changes = [] if again else [("PdoQueue.php", "GONE = [2006, 2013]", "GONE = []")]
        mariadb.run("SET GLOBAL wait_timeout = 1")
        try:
            run = host.begin("--slots=1", client=mutated(host.folder, *changes))
            assert run.wait() == (0 if again else 111), run.said()
        finally:
            mariadb.run("SET GLOBAL wait_timeout = DEFAULT")
        assert host.outcome(id) == ("succeeded" if again else "running")
