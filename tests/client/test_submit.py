"""Submitting: what is on the wire, and which way a job goes when the daemon cannot take it."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sidecar import descriptor, wire
from sidecar.client import Handle, Options, connect, ids, options, prepare, runtime, statistics, submit
from sidecar.client.handoff import Handoff
from sidecar.errors import BadRequest, NoSpace, NotAllowed, Unavailable

from . import jobs
from .stub import HANG_UP, SILENT, Stub, spooled


def test_a_function_with_arguments_goes_by_datagram(stub: Stub, client: Options) -> None:
    for _ in range(3):  # the first opens the socket, the next take the short way
        handle = client.submit(jobs.add, 42, "x")
        job = stub.job()
        assert handle.ack == "sent"
        assert type(handle.id) is str
        assert job["id"] == ids.parse(handle.id)
        assert job["call"] == "tests.client.jobs:add"
        assert job["args"] == [42, "x"]
        assert job["runtime"] == descriptor.parse_runtime(runtime.current().packed)
        assert set(job) == {"id", "call", "args", "runtime"}


def test_the_modules_functions_use_the_usual_daemon(stub: Stub) -> None:
    assert submit("a:b", 1).ack == "sent"
    assert stub.job()["args"] == [1]
    assert options(queue="mail").submit("a:b").ack == "sent"
    assert stub.job()["queue"] == "mail"
    assert prepare("a:b").ack is None


@pytest.mark.parametrize("size", [0, 1, 200, 252, 253, 254, 255, 256, 5000, 60000])
def test_arguments_of_every_size_arrive(stub: Stub, client: Options, size: int) -> None:
    client.submit("a:b")
    stub.job()
    client.submit("a:b", b"x" * size)
    assert stub.job()["args"] == [b"x" * size]


def test_keywords_belong_to_the_function_all_of_them(stub: Stub, client: Options) -> None:
    client.submit("a:b", 1, fn=2, self=3, timeout=4, ack="x")
    job = stub.job()
    assert job["args"] == [1]
    assert job["kwargs"] == {"fn": 2, "self": 3, "timeout": 4, "ack": "x"}
    assert "timeout" not in job


def test_a_list_is_a_command_in_the_folder_as_it_is_spelled(stub: Stub, client: Options) -> None:
    client.submit(["convert", Path("/a.png"), "b.jpg"])
    job = stub.job()
    assert job["argv"] == ["convert", "/a.png", "b.jpg"]
    assert job["cwd"] == runtime.current().folder
    assert set(job) == {"id", "argv", "cwd"}
    client.options(cwd="/srv").submit(("ls",))
    assert stub.job()["cwd"] == "/srv"


def test_a_command_takes_no_arguments_beside_its_words(client: Options) -> None:
    with pytest.raises(TypeError, match="its words are its arguments"):
        client.submit(["ls"], "-l")


def test_every_option_arrives(stub: Stub, client: Options) -> None:
    made = client.options(
        timeout=timedelta(seconds=30), grace=1, queue="mail", priority=3, retries=5, backoff=[1, 2], run_at=2e9,
        stdin="in", env={"A": "b"}, cwd="/srv", expires=datetime(2040, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    made.submit("a:b", x=1)
    job = stub.job()
    assert job.pop("expires") == 2208988800.0
    assert {name: job[name] for name in job if name not in ("id", "call", "args", "kwargs", "runtime")} == {
        "timeout": 30.0, "grace": 1.0, "queue": "mail", "priority": 3, "retries": 5, "backoff": [1.0, 2.0],
        "run_at": 2e9, "stdin": b"in", "env": {"A": "b"}, "cwd": "/srv",
    }  # fmt: skip


def test_delay_and_expires_count_from_each_submit(stub: Stub, client: Options) -> None:
    made = client.options(delay=100, expires=timedelta(seconds=200))
    instants = []
    for _ in range(2):
        before = time.time()
        made.submit("a:b")
        job = stub.job()
        assert "delay" not in job
        assert before + 100 <= job["run_at"] <= time.time() + 100
        assert job["expires"] - job["run_at"] == pytest.approx(100)
        instants.append(job["run_at"])
    assert instants[0] < instants[1]


def test_options_do_not_change_and_make_others(stub: Stub, client: Options) -> None:
    base = client.options(queue="mail", delay=5)
    with pytest.raises(AttributeError, match="do not change"):
        base.queue = "x"  # type: ignore[attr-defined]
    base.options(timeout=3, run_at=2e9).submit("a:b")
    job = stub.job()
    assert (job["queue"], job["timeout"], job["run_at"]) == ("mail", 3.0, 2e9)
    assert repr(base) == "options(queue='mail', delay=5.0)"


def test_a_runtime_of_ones_own_replaces_the_processs(stub: Stub, client: Options) -> None:
    client.options(runtime={"interpreter": "/srv/venv/bin/python", "path": ["/srv/app"]}).submit("a:b")
    assert stub.job()["runtime"] == {"kind": "python", "interpreter": "/srv/venv/bin/python", "path": ["/srv/app"]}


def test_a_changed_path_goes_along_from_the_next_submit_on(
    stub: Stub, client: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.submit("a:b")
    assert "/srv/new" not in stub.job()["runtime"]["path"]
    monkeypatch.setattr(sys, "path", [*sys.path, "/srv/new"])
    client.submit("a:b")
    assert "/srv/new" in stub.job()["runtime"]["path"]


def test_made_up_names_do_not_fill_the_memory(stub: Stub, client: Options) -> None:
    for number in range(3000):
        client.prepare(f"a:b{number}")
    assert len(client._plans) <= 1024


def test_stored_is_asked_for_on_the_stream(stub: Stub, client: Options) -> None:
    stub.on_request = lambda method, params: {"id": "x", "ack": "stored", "state": "queued"}
    handle = client.options(ack="stored").submit("a:b", 1)
    assert handle.ack == "stored"
    [(method, params)] = stub.asked
    assert (method, params[1]) == ("submit", "stored")
    assert params[0]["id"] == ids.parse(handle.id)


def test_the_environment_can_make_stored_the_default(
    stub: Stub, client: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIDECAR_ACK", "stored")

    def refuse(method: str, params: list[Any]) -> Any:
        raise BadRequest("no")

    stub.on_request = refuse
    with pytest.raises(BadRequest):
        client.submit("a:b")
    assert client.options(ack="sent").submit("a:b").ack == "sent"


def test_a_full_queue_falls_back_to_the_stream(stub: Stub, client: Options) -> None:
    stub.on_request = lambda method, params: {"ack": "stored"}
    stub.fill()
    assert client.submit("a:b", 1).ack == "stored"
    assert stub.asked[0][1][0]["args"] == b"\x91\x01"
    assert len(stub.asked[0][1]) == 1


def test_a_queue_that_empties_in_time_takes_it(stub: Stub, client: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    def drain_and_wait(self: Handoff, seconds: float) -> bool:
        stub.message()
        return wait_writable(self, seconds)

    wait_writable = Handoff.wait_writable
    monkeypatch.setattr(Handoff, "wait_writable", drain_and_wait)
    stub.fill()
    assert client.options(deadline=10).submit("a:b").ack == "sent"
    assert not stub.asked


def test_what_is_too_large_for_a_datagram_goes_by_stream_at_once(stub: Stub, client: Options) -> None:
    stub.on_request = lambda method, params: {"ack": "stored"}
    assert client.options(deadline=10).submit("a:b", "x" * 1_000_000).ack == "stored"
    assert len(stub.asked[0][1][0]["args"]) > 1_000_000


def test_nobody_there_goes_to_the_spool(client: Options, folder: Path, spool: Path) -> None:
    handle = client.submit("a:b", 7)
    assert handle.ack == "spooled"
    [job] = spooled(folder)
    assert job["id"] == ids.parse(handle.id)
    assert job["args"] == [7]
    assert client.door.statistics().spooled == 1


def test_a_daemon_that_does_not_answer_in_time_is_followed_by_the_spool(
    stub: Stub, client: Options, spool: Path
) -> None:
    stub.on_request = lambda method, params: SILENT
    began = time.monotonic()
    handle = client.options(ack="stored", deadline=0.1).submit("a:b")
    assert time.monotonic() - began < 5
    assert handle.ack == "spooled"
    [job] = spooled(stub.folder)
    assert job["id"] == stub.asked[0][1][0]["id"] == ids.parse(handle.id)  # one job, whoever takes both in


def test_one_deadline_bounds_the_queue_and_the_stream_together(stub: Stub, client: Options, spool: Path) -> None:
    stub.on_request = lambda method, params: SILENT
    stub.fill()
    began = time.monotonic()
    assert client.options(deadline=0.4).submit("a:b").ack == "spooled"
    assert 0.3 < time.monotonic() - began < 2


def test_a_daemon_that_hangs_up_is_followed_by_the_spool(stub: Stub, client: Options, spool: Path) -> None:
    stub.on_request = lambda method, params: HANG_UP
    assert client.options(ack="stored").submit("a:b").ack == "spooled"


@pytest.mark.parametrize("error", [BadRequest, NoSpace, NotAllowed])
def test_a_refusal_is_raised_never_spooled(
    stub: Stub, client: Options, spool: Path, error: type[Exception], folder: Path
) -> None:
    def refuse(method: str, params: list[Any]) -> Any:
        raise error("no")

    stub.on_request = refuse
    with pytest.raises(error):
        client.options(ack="stored").submit("a:b")
    assert spooled(folder) == []


def test_no_daemon_and_no_spool_names_serve(client: Options) -> None:
    with pytest.raises(Unavailable, match=r"cannot reach sidecar.*; cannot spool job: .*sidecar serve"):
        client.submit("a:b")


def test_policy_raise_raises(client: Options, spool: Path, folder: Path) -> None:
    with pytest.raises(Unavailable):
        client.options(on_unavailable="raise").submit("a:b")
    assert spooled(folder) == []


def test_policy_drop_counts(client: Options) -> None:
    before = client.door.statistics().dropped
    handle = client.options(on_unavailable="drop").submit("a:b")
    assert handle.ack == "dropped"
    assert client.door.statistics().dropped == before + 1
    assert statistics().dropped >= 0


def test_policy_inline_runs_it_here(client: Options) -> None:
    handle = client.options(on_unavailable="inline").submit(jobs.add, 40, other=2)
    assert handle.ack == "inline"
    assert jobs.calls[-1] == (40, 2)
    assert handle.result() == 42
    assert client.door.statistics().inline == 1


def test_prepared_is_not_sent_until_it_is_and_then_once(stub: Stub, client: Options) -> None:
    handle = client.options(retries=5).prepare(jobs.add, 1)
    assert handle.ack is None
    id = handle.id
    assert handle.send() is handle
    assert handle.send().ack == "sent"
    assert stub.job()["id"] == ids.parse(id) == ids.parse(handle.id)
    client.submit("a:last")
    assert stub.job()["call"] == "a:last"


def test_a_send_that_failed_may_be_tried_again(stub: Stub, folder: Path) -> None:
    stub.close_handoff()
    handle = connect(str(folder)).options(on_unavailable="raise").prepare("a:b")
    with pytest.raises(Unavailable):
        handle.send()
    stub.open_handoff()
    assert handle.send().ack == "sent"


def test_wrong_arguments_and_targets_are_told_before_anything_is_sent(stub: Stub, client: Options) -> None:
    client.submit(jobs.add, 1)
    stub.job()
    with pytest.raises(TypeError, match=r"argument 1 is \{1\}"):
        client.submit(jobs.add, {1})
    with pytest.raises(ValueError, match="lambda"):
        client.submit(lambda: 1)
    client.submit("a:last")
    assert stub.job()["call"] == "a:last"


def test_the_short_way_and_the_long_way_make_the_same_bytes(stub: Stub, client: Options) -> None:
    client.submit(jobs.add, 1)
    stub.message()
    handle = client.submit(jobs.add, [1, "x"])
    assert not hasattr(handle, "_parcel")  # it did take the short way
    short = stub.message()
    prepared = client.prepare(jobs.add, [1, "x"])
    assert short.replace(ids.parse(handle.id), b"") == prepared._parcel.message.replace(ids.parse(prepared.id), b"")
    assert wire.unpack(short)[:2] == [2, "submit"]
    assert isinstance(handle, Handle)
