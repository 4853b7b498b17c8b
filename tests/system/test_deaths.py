"""What survives whose death: daemon, zygote, keeper, each by SIGKILL, and the orderly ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.client import Handle, connect
from tests.conftest import StartDaemon
from tests.daemon_process import Daemon
from tests.waiting import eventually

from . import jobs
from .checks import alive, children, lines

SUBMITTER = """
import sys
from sidecar.client import connect
from tests.system import jobs
runtime, path, first, count, ack = sys.argv[1:]
client = connect(runtime).options(ack=ack, deadline=20)
for number in range(int(first), int(first) + int(count)):
    print(client.submit(jobs.square, path, number).id, flush=True)
"""


def submit_from_processes(
    daemon: Daemon, path: Path, processes: int, each: int, ack: str
) -> list[subprocess.Popen[str]]:
    return [
        subprocess.Popen(
            [sys.executable, "-c", SUBMITTER, str(daemon.runtime), str(path), str(n * each), str(each), ack],
            stdout=subprocess.PIPE, text=True, cwd=os.getcwd(),
        )
        for n in range(processes)
    ]  # fmt: skip


def ids_of(processes: list[subprocess.Popen[str]]) -> list[str]:
    ids: list[str] = []
    for process in processes:
        out, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        ids += out.split()
    return ids


def test_jobs_of_many_processes_are_each_run_once_with_the_right_result(daemon: Daemon, tmp_path: Path) -> None:
    ids = ids_of(submit_from_processes(daemon, tmp_path / "ran", 8, 250, "sent"))
    assert len(set(ids)) == 2000
    client = connect(str(daemon.runtime))
    results = [Handle(id, door=client.door).result(timeout=120) for id in ids]
    assert results == [number * number for number in range(2000)]
    assert sorted(map(int, lines(tmp_path / "ran"))) == list(range(2000))
    daemon_pids = daemon.pids()
    for zygote in daemon_pids["zygotes"]:
        assert [pid for pid in children(zygote["pid"]) if not alive(pid)] == []


@pytest.mark.parametrize("ack", ["sent", "stored"])
def test_a_daemon_killed_under_load_loses_nothing(daemon: Daemon, tmp_path: Path, ack: str) -> None:
    submitters = submit_from_processes(daemon, tmp_path / "ran", 4, 100, ack)
    for done in (20, 120, 220):
        eventually(lambda done=done: len(lines(tmp_path / "ran")) >= done, 60)  # type: ignore[misc]
        os.kill(daemon.pids()["daemon"], signal.SIGKILL)
    ids = ids_of(submitters)
    client = connect(str(daemon.runtime))
    assert [Handle(id, door=client.door).result(timeout=120) for id in ids] == [
        number * number for number in range(400)
    ]
    assert sorted(map(int, lines(tmp_path / "ran"))) == list(range(400))


def test_a_running_job_does_not_notice_the_death_of_the_daemon(daemon: Daemon, tmp_path: Path) -> None:
    client = connect(str(daemon.runtime))
    handle = client.submit(jobs.wait_for_file, str(tmp_path / "started"), str(tmp_path / "go"))
    pid = int(eventually(lambda: lines(tmp_path / "started"), 20)[0].split()[0])
    before = daemon.pids()["daemon"]
    os.kill(before, signal.SIGKILL)
    (tmp_path / "go").touch()
    eventually(lambda: not alive(pid), 20)
    assert handle.result(timeout=20) == "went on"
    status = handle.status()
    assert (len(status.attempts), status.interruptions, handle.output()) == (1, 0, b"went on\n")
    assert daemon.pids()["daemon"] != before


def test_a_deadline_is_kept_while_the_daemon_is_stopped(daemon: Daemon, tmp_path: Path) -> None:
    client = connect(str(daemon.runtime))
    handle = client.options(timeout=1.0, grace=0.2).submit(jobs.stubborn, str(tmp_path / "pid"))
    pid = int(eventually(lambda: lines(tmp_path / "pid"), 20)[0])
    stopped = daemon.pids()["daemon"]
    os.kill(stopped, signal.SIGSTOP)
    try:
        eventually(lambda: not alive(pid), 10)
    finally:
        os.kill(stopped, signal.SIGCONT)
    assert handle.wait(timeout=20).outcome == "timed_out"


def test_the_death_of_a_zygote_interrupts_its_jobs_and_they_run_again(daemon: Daemon, tmp_path: Path) -> None:
    client = connect(str(daemon.runtime))
    handle = client.submit(jobs.wait_for_file, str(tmp_path / "started"), str(tmp_path / "go"))
    other = client.submit(["sh", "-c", f"while [ ! -e {tmp_path}/go ]; do sleep 0.01; done"])
    pid = int(eventually(lambda: lines(tmp_path / "started"), 20)[0].split()[0])
    eventually(lambda: other.status().state == "running", 20)
    zygote = next(z["pid"] for z in daemon.pids()["zygotes"] if z["key"] != "default")
    os.kill(zygote, signal.SIGKILL)
    eventually(lambda: len(lines(tmp_path / "started")) == 2, 20)
    assert not alive(pid)
    (tmp_path / "go").touch()
    assert handle.result(timeout=20) == "went on"
    status = handle.status()
    assert (len(status.attempts), status.interruptions, status.failures) == (2, 1, 0)
    assert status.attempts[0].reason == "crash"
    assert (other.wait(timeout=20).outcome, other.status().interruptions) == ("succeeded", 0)


def test_a_job_that_kills_its_zygote_each_time_is_lost(daemon: Daemon, tmp_path: Path) -> None:
    client = connect(str(daemon.runtime))
    status = client.submit(jobs.kill_parent, str(tmp_path / "ran")).wait(timeout=60)
    assert (status.outcome, status.interruptions, len(status.attempts)) == ("lost", 3, 3)
    assert lines(tmp_path / "ran") == ["1", "2", "3"]


def test_a_job_that_kills_its_zygote_takes_nobody_with_it_twice(daemon: Daemon, tmp_path: Path) -> None:
    client = connect(str(daemon.runtime))
    innocent = [
        client.submit(jobs.wait_for_file, str(tmp_path / f"started-{number}"), str(tmp_path / "go"))
        for number in range(3)
    ]
    for number in range(3):
        eventually(lambda number=number: lines(tmp_path / f"started-{number}"), 20)  # type: ignore[misc]
    killer = client.submit(jobs.kill_parent, str(tmp_path / "ran"))
    assert killer.wait(timeout=60).outcome == "lost"
    (tmp_path / "go").touch()
    assert [handle.result(timeout=20) for handle in innocent] == ["went on"] * 3
    assert [handle.status().interruptions for handle in innocent] == [1] * 3
    eventually(lambda: not [z for z in daemon.pids()["zygotes"] if "." in z["key"].partition("+")[0]], 20)


def test_the_death_of_the_keeper_takes_everything_and_the_next_serve_goes_on(daemon: Daemon, tmp_path: Path) -> None:
    client = connect(str(daemon.runtime))
    handle = client.submit(jobs.wait_for_file, str(tmp_path / "started"), str(tmp_path / "go"))
    pid = int(eventually(lambda: lines(tmp_path / "started"), 20)[0].split()[0])
    daemon.kill()
    eventually(lambda: not daemon.family(), 1.0, "everything of a dead keeper's is gone within a second")
    assert not alive(pid)
    (tmp_path / "go").touch()
    daemon.start()
    assert handle.result(timeout=20) == "went on"
    assert handle.status().interruptions == 1


def test_a_job_finishes_while_the_daemon_drains(daemon: Daemon, tmp_path: Path) -> None:
    client = connect(str(daemon.runtime))
    handle = client.submit(jobs.wait_for_file, str(tmp_path / "started"), str(tmp_path / "go"))
    eventually(lambda: lines(tmp_path / "started"), 20)
    daemon.signal(signal.SIGTERM)
    eventually(lambda: not os.path.exists(daemon.handoff), 10)
    (tmp_path / "go").touch()
    assert daemon.wait(20) == 0
    daemon.start()
    assert handle.status().outcome == "succeeded"
    assert handle.status().interruptions == 0


def test_a_job_that_outlasts_the_drain_is_interrupted_and_runs_again(start_daemon: StartDaemon, tmp_path: Path) -> None:
    daemon = start_daemon(config="drain = 0.3\n")
    client = connect(str(daemon.runtime))
    handle = client.options(grace=0.2).submit(jobs.wait_for_file, str(tmp_path / "started"), str(tmp_path / "go"))
    eventually(lambda: lines(tmp_path / "started"), 20)
    assert daemon.stop() == 0
    (tmp_path / "go").touch()
    daemon.start()
    assert handle.result(timeout=20) == "went on"
    status = handle.status()
    assert [attempt.reason for attempt in status.attempts] == ["shutdown", "exit"]
    assert (status.interruptions, status.failures) == (1, 0)


def test_the_second_signal_does_not_wait(daemon: Daemon, tmp_path: Path) -> None:
    client = connect(str(daemon.runtime))
    client.options(grace=60).submit(jobs.stubborn, str(tmp_path / "pid"))
    pid = int(eventually(lambda: lines(tmp_path / "pid"), 20)[0])
    assert daemon.stop(now=True, seconds=15) == 0
    assert not alive(pid)


def test_hand_offs_of_the_last_moment_are_taken_in(daemon: Daemon, tmp_path: Path) -> None:
    client = connect(str(daemon.runtime))
    os.kill(daemon.pids()["daemon"], signal.SIGSTOP)
    handles = [client.submit(jobs.square, str(tmp_path / "ran"), number) for number in range(8)]
    assert {handle.ack for handle in handles} == {"sent"}
    daemon.signal(signal.SIGTERM)
    for child in children(daemon.pid):
        os.kill(child, signal.SIGCONT)
    assert daemon.wait(30) == 0
    daemon.start()
    assert [handle.result(timeout=20) for handle in handles] == [number * number for number in range(8)]
    assert sorted(map(int, lines(tmp_path / "ran"))) == list(range(8))


def test_a_spooled_job_is_taken_in_exactly_once(daemon: Daemon, tmp_path: Path) -> None:
    client = connect(str(daemon.runtime))
    daemon.stop()
    handle = client.submit(jobs.square, str(tmp_path / "ran"), 5)
    assert handle.ack == "spooled"
    daemon.start()
    assert handle.result(timeout=20) == 25
    daemon.restart()
    assert handle.status().outcome == "succeeded"
    assert lines(tmp_path / "ran") == ["5"]
    assert list(Path(daemon.spool, "new").iterdir()) == []


def test_a_reload_changes_daemon_and_zygotes_and_no_job_notices(daemon: Daemon, tmp_path: Path) -> None:
    client = connect(str(daemon.runtime))
    handle = client.submit(jobs.wait_for_file, str(tmp_path / "started"), str(tmp_path / "go"))
    eventually(lambda: lines(tmp_path / "started"), 20)
    before = daemon.pids()
    daemon.signal(signal.SIGHUP)
    eventually(lambda: daemon.pids()["daemon"] != before["daemon"], 20)
    after = client.submit(jobs.square, str(tmp_path / "ran"), 2)
    assert after.result(timeout=20) == 4
    (tmp_path / "go").touch()
    assert handle.result(timeout=20) == "went on"
    assert handle.status().interruptions == 0
    old = {zygote["pid"] for zygote in before["zygotes"]}
    eventually(lambda: not old & {zygote["pid"] for zygote in daemon.pids()["zygotes"]}, 20)
    eventually(lambda: not any(alive(pid) for pid in old), 20)


def test_a_reload_with_a_broken_configuration_leaves_the_old_one(start_daemon: StartDaemon) -> None:
    daemon = start_daemon(config="drain = 1\n")
    before = daemon.pids()["daemon"]
    (daemon.folder / "sidecar.toml").write_text("dran = 1\n")
    daemon.signal(signal.SIGHUP)
    eventually(lambda: "dran" in daemon.log(), 20)
    assert daemon.pids()["daemon"] == before


def test_a_cancel_outlives_the_daemon(daemon: Daemon, tmp_path: Path) -> None:
    client = connect(str(daemon.runtime))
    handle = client.options(grace=1).submit(jobs.stubborn, str(tmp_path / "pid"))
    eventually(lambda: lines(tmp_path / "pid"), 20)
    handle.cancel()
    os.kill(daemon.pids()["daemon"], signal.SIGKILL)
    assert handle.wait(timeout=20).outcome == "cancelled"


def test_questions_that_a_dead_daemon_had_asked_do_not_trouble_the_next(daemon: Daemon, tmp_path: Path) -> None:
    client = connect(str(daemon.runtime))
    handle = client.submit(jobs.wait_for_file, str(tmp_path / "started"), str(tmp_path / "go"))
    eventually(lambda: lines(tmp_path / "started"), 20)
    for _ in range(3):
        with daemon.client() as raw:
            for _ in range(200):
                raw.ask("logs", handle.id)
            os.kill(daemon.pids()["daemon"], signal.SIGKILL)
        daemon.pids()
    (tmp_path / "go").touch()
    assert handle.result(timeout=20) == "went on"
    assert "Traceback" not in daemon.log()


def test_a_spool_file_that_can_be_neither_read_nor_moved_is_left(daemon: Daemon, tmp_path: Path) -> None:
    os.rmdir(Path(daemon.spool, "corrupt"))
    Path(daemon.spool, "tmp", "junk").write_bytes(b"junk")
    os.rename(Path(daemon.spool, "tmp", "junk"), Path(daemon.spool, "new", "junk"))
    eventually(lambda: "left where it is" in daemon.log(), 10)
    client = connect(str(daemon.runtime))
    assert client.submit(jobs.square, str(tmp_path / "ran"), 3).result(timeout=20) == 9
    os.mkdir(Path(daemon.spool, "corrupt"))
