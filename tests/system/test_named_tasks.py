"""Named tasks against a real daemon: through every door, and what a change of the configuration does to them."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.client import BadRequest, JobFailed, connect, named
from tests.conftest import StartDaemon
from tests.daemon_process import Daemon
from tests.rawclient import hand_off, new_id
from tests.system import jobs
from tests.waiting import eventually

CONFIG = """
[task.show]
argv = ["sh", "-c", "echo $COLOUR in $PWD; cat"]
env = {COLOUR = "blue"}
cwd = "/usr"

[task.words]
argv = ["printf", "<%s>"]
payload = "args"

[task.join]
call = "os.path:join"

[task.fails]
argv = ["false"]
retries = 1
backoff = [0]
"""


@pytest.fixture(scope="module")
def configured() -> Iterator[Daemon]:
    daemon = Daemon(config=CONFIG).start()
    yield daemon
    daemon.close()


def test_a_command_reads_its_payload_as_json(configured: Daemon) -> None:
    handle = connect(str(configured.runtime)).submit(named("show"), path="/ä.jpg", size=[1, 2])
    assert handle.result(20) == 0
    assert handle.output() == 'blue in /usr\n{"path":"/ä.jpg","size":[1,2]}\n'.encode()
    assert handle.status().target.startswith("show: sh -c")


def test_words_and_arguments(configured: Daemon) -> None:
    submit = connect(str(configured.runtime)).options(ack="stored").submit
    words = submit(named("words"), "a b", 7, "$(reboot)")
    joined = submit(named("join"), "/srv", "a.jpg")
    assert words.result(20) == 0
    assert words.output() == b"<a b><7><$(reboot)>"
    assert joined.result(20) == "/srv/a.jpg"


def test_the_retries_are_the_task_s(configured: Daemon) -> None:
    handle = connect(str(configured.runtime)).submit(named("fails"))
    with pytest.raises(JobFailed):
        handle.result(20)
    assert len(handle.status().attempts) == 2


def test_a_refusal_is_an_error_on_the_stream_and_a_reason_by_datagram(configured: Daemon) -> None:
    door = connect(str(configured.runtime))
    with pytest.raises(BadRequest, match="no task 'rm'"):
        door.options(ack="stored").submit(named("rm"))
    assert "no task 'rm'" in (door.submit(named("rm")).wait(20).reason or "")
    id = new_id()
    hand_off(configured.handoff, {"id": id, "task": "show", "env": {"COLOUR": "red"}})
    assert "env of task 'show' is the configuration's to say" in configured.call("wait", id, 20)["reason"]


def test_a_field_whose_name_is_no_text_is_refused_as_any_other(configured: Daemon) -> None:
    before = configured.pids()["daemon"]
    id = new_id()
    hand_off(configured.handoff, {"id": id, "task": "show", "\udcff": 1})
    assert "unknown option '\\udcff' of task 'show'" in configured.call("wait", id, 20)["reason"]
    assert configured.pids()["daemon"] == before


def test_a_spooled_job_becomes_what_the_next_daemon_s_configuration_says(start_daemon: StartDaemon) -> None:
    daemon = start_daemon(config='[task.t]\nargv = ["echo", "old"]\n')
    daemon.stop()
    handle = connect(str(daemon.runtime)).submit(named("t"))
    assert handle.ack == "spooled"
    (daemon.folder / "sidecar.toml").write_text('[task.t]\nargv = ["echo", "new"]\n')
    daemon.start()
    assert handle.result(20) == 0
    assert handle.output() == b"new\n"


def test_a_job_that_waits_stays_what_it_was_over_a_reload(start_daemon: StartDaemon, tmp_path: Path) -> None:
    daemon = start_daemon(config='[task.t]\nargv = ["echo", "old"]\n[task.gone]\nargv = ["echo", "gone"]\n', slots=1)
    door = connect(str(daemon.runtime))
    door.submit(jobs.wait_for_file, str(tmp_path / "started"), str(tmp_path / "go"))
    eventually((tmp_path / "started").exists)
    early = [door.options(ack="stored").submit(named(name)) for name in ("t", "gone")]
    before = daemon.pids()["daemon"]
    (daemon.folder / "sidecar.toml").write_text('[task.t]\nargv = ["echo", "new"]\n')
    daemon.signal(signal.SIGHUP)
    eventually(lambda: daemon.pids()["daemon"] != before, 20)
    late = door.submit(named("t"))
    with pytest.raises(BadRequest, match="no task 'gone'"):
        door.options(ack="stored").submit(named("gone"))
    (tmp_path / "go").touch()
    assert [handle.result(20) for handle in [*early, late]] == [0, 0, 0]
    assert [handle.output() for handle in [*early, late]] == [b"old\n", b"gone\n", b"new\n"]
