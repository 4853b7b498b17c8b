"""What a job meets, and how each way to end is told: real zygote, real children."""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.zygote.forks import SPARES
from tests.waiting import eventually

from .process import ROOT, ZygoteProcess, order, report, result

J = "tests.zygote.jobs:"


@pytest.fixture(scope="module", params=["forked", "in a spare"])
def zygote(request: pytest.FixtureRequest) -> Iterator[ZygoteProcess]:
    """Give a zygote that forks each attempt when it is told, then one that has forked it before: one contract."""
    record = {"path": [ROOT], "cwd": "/", "env": {"FROM_RUNTIME": "yes"}}
    spare = request.param == "in a spare"
    process = ZygoteProcess(record, "" if spare else "no_spares", spare)
    yield process
    process.stop()


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_call_returns_its_value(zygote: ZygoteProcess) -> None:
    ending = zygote.run(call=J + "add", args=[1], kwargs={"b": 2})
    assert (ending["reason"], ending["status"], ending["signal"]) == ("exit", 0, None)
    assert result(ending) == 3
    assert ending["max_rss"] > 1024 * 1024 and ending["ended"] >= ending["started"]


def test_a_coroutine_function_is_run_to_its_end(zygote: ZygoteProcess) -> None:
    assert result(zygote.run(call=J + "add_later", args=[1, 2])) == 3


def test_an_exception_is_told_with_type_message_and_trace(zygote: ZygoteProcess) -> None:
    ending = zygote.run(call=J + "raise_error")
    error = report(ending)["error"]
    assert (ending["status"], error["type"], error["message"]) == (1, "ValueError", "no such order")
    assert "raise_error" in error["traceback"] and "child.py" not in error["traceback"]


@pytest.mark.parametrize(
    ("target", "kind", "words"),
    [
        ("tests.zygote.jobs:nothing", "AttributeError", "cannot find 'nothing'"),
        ("no.such.module:f", "ModuleNotFoundError", "no"),
        ("tests.zygote.raises_on_import:f", "RuntimeError", "not today"),
    ],
)
def test_a_target_that_cannot_be_had_is_an_error(zygote: ZygoteProcess, target: str, kind: str, words: str) -> None:
    error = report(zygote.run(call=target))["error"]
    assert error["type"] == kind and words in error["message"]


def test_setup_runs_before_the_call() -> None:
    process = ZygoteProcess({"path": [ROOT], "setup": J + "raise_error"})
    assert report(process.run(call=J + "add", args=[1]))["error"]["message"] == "no such order"
    process.stop()


@pytest.mark.parametrize(("code", "status"), [(None, 0), (0, 0), (3, 3), ("gone", 1)])
def test_sys_exit_ends_a_call_with_that_status(zygote: ZygoteProcess, code: object, status: int) -> None:
    ending = zygote.run(call=J + "exit_with", args=[code])
    assert ending["status"] == status
    assert ("result" in report(ending)) == (status == 0)


def test_a_process_that_ends_without_a_word_has_reported_nothing(zygote: ZygoteProcess) -> None:
    ending = zygote.run(call=J + "exit_at_once", args=[0])
    assert (ending["status"], ending["report"]) == (0, b"")


@pytest.mark.parametrize(("call", "args"), [("return_unpackable", []), ("return_large", [2**20])])
def test_a_value_that_cannot_be_kept_does_not_undo_the_work(zygote: ZygoteProcess, call: str, args: list[int]) -> None:
    ending = zygote.run(call=J + call, args=args)
    assert ending["status"] == 0 and "return value" in report(ending)["result_error"]


def test_a_large_value_comes_back_whole(zygote: ZygoteProcess) -> None:
    assert result(zygote.run(call=J + "return_large", args=[2**20 - 100])) == bytes(2**20 - 100)


@pytest.mark.parametrize("call", ["forge_report", "fill_report"])
def test_a_job_cannot_do_harm_through_its_report(zygote: ZygoteProcess, call: str) -> None:
    ending = zygote.run(call=J + call)
    assert len(ending["report"]) < 2 * 2**20


def test_a_job_starts_clean(zygote: ZygoteProcess, tmp_path: Path) -> None:
    found = result(zygote.run(call=J + "surroundings", cwd=str(tmp_path), env={"FROM_JOB": "yes"}))
    assert found["fds"] == [0, 1, 2, 3]
    assert (found["leader"], found["umask"], found["blocked"]) == (True, 0o022, 0)
    assert found["cwd"] == str(tmp_path)
    assert (found["environ"]["FROM_RUNTIME"], found["environ"]["FROM_JOB"]) == ("yes", "yes")
    assert not {"LISTEN_FDS", "LISTEN_FDNAMES", "LD_BIND_NOW"} & found["environ"].keys()


def test_one_jobs_environment_is_not_the_next_ones(zygote: ZygoteProcess) -> None:
    zygote.run(call=J + "add", args=[1], env={"ONLY_ONCE": "yes"})
    assert "ONLY_ONCE" not in result(zygote.run(call=J + "surroundings"))["environ"]


def test_stdin_is_what_was_given_or_nothing(zygote: ZygoteProcess) -> None:
    assert result(zygote.run(call=J + "read_stdin", stdin=b"\x00" * 100_000 + b"end")) == b"\x00" * 100_000 + b"end"
    assert result(zygote.run(call=J + "read_stdin")) == b""
    assert zygote.run(argv=["cat"], stdin=b"through")["tail"] == b"through"


def test_output_of_both_kinds_is_kept(zygote: ZygoteProcess) -> None:
    ending = zygote.run(call=J + "write", args=["words\n"])
    assert (ending["tail"], ending["dropped"]) == (b"words\n!", 0)


def test_a_command_runs_with_its_environment(zygote: ZygoteProcess) -> None:
    ending = zygote.run(
        argv=["sh", "-c", 'echo "$FROM_JOB $FROM_RUNTIME $SIDECAR_ATTEMPT"; exit 7'], env={"FROM_JOB": "a"}
    )
    assert (ending["status"], ending["tail"]) == (7, b"a yes 1\n")


def test_a_command_has_the_descriptors_of_a_job_and_no_other(zygote: ZygoteProcess) -> None:
    script = "import os; d = '/proc/self/fd/'; print(*(fd for fd in os.listdir(d) if os.path.exists(d + fd)))"
    assert sorted(zygote.run(argv=[sys.executable, "-c", script])["tail"].split()) == [b"0", b"1", b"2", b"3"]


@pytest.mark.parametrize(
    ("argv", "status", "kind"),
    [
        (["/no/such/file"], 127, "CommandNotFound"),
        (["no-such-command"], 127, "CommandNotFound"),
        (["/etc/passwd"], 126, "CommandError"),
        (["/"], 126, "CommandError"),
    ],
)
def test_a_command_that_cannot_run_says_so(zygote: ZygoteProcess, argv: list[str], status: int, kind: str) -> None:
    ending = zygote.run(argv=argv)
    assert (ending["status"], report(ending)["error"]["type"]) == (status, kind)


def test_a_folder_that_is_not_there_says_so(zygote: ZygoteProcess) -> None:
    ending = zygote.run(argv=["true"], cwd="/no/such/folder")
    assert (ending["status"], report(ending)["error"]["type"]) == (126, "FolderError")


def test_the_deadline_ends_a_job_that_listens(zygote: ZygoteProcess) -> None:
    ending = zygote.run(call=J + "end_on_sigterm", timeout=0.3)
    assert (ending["reason"], ending["status"]) == ("timeout", 0)


def test_the_deadline_ends_a_job_that_ignores_it(zygote: ZygoteProcess) -> None:
    ending = zygote.run(call=J + "ignore_sigterm", timeout=0.3, grace=0.2)
    assert (ending["reason"], ending["signal"]) == ("timeout", signal.SIGKILL)


def test_a_stopped_job_is_ended_too(zygote: ZygoteProcess) -> None:
    ending = zygote.run(argv=["sh", "-c", "kill -STOP $$"], timeout=0.2, grace=0.2)
    assert ending["reason"] == "timeout"


def test_a_job_that_is_told_to_stop_ends_for_that_reason(zygote: ZygoteProcess) -> None:
    number = zygote.start(call=J + "ignore_sigterm", grace=60.0)
    zygote.tell("follow", [number, 1])
    zygote.wait_for("output", [number, 1])
    zygote.tell("stop", [number, 1], "cancel")
    zygote.tell("kill", [number, 1])
    assert zygote.ending(number)["reason"] == "cancel"


def test_a_job_that_closes_its_output_is_not_over(zygote: ZygoteProcess) -> None:
    assert result(zygote.run(call=J + "close_stdout")) == "done"


@pytest.mark.parametrize("hold_stdout", [True, False])
def test_what_escaped_is_killed_with_its_job(zygote: ZygoteProcess, tmp_path: Path, hold_stdout: bool) -> None:
    path = tmp_path / "pid"
    ending = zygote.run(call=J + "escape", args=[str(path), hold_stdout])
    assert (ending["reason"], ending["status"], ending["survivors"]) == ("exit", 0, 1)
    assert not alive(int(path.read_text()))


def test_the_end_of_one_job_spares_anothers_helper(zygote: ZygoteProcess, tmp_path: Path) -> None:
    script = f"(setsid sh -c 'echo $$ > {tmp_path}/pid; sleep 60' &) ; sleep 60"
    number = zygote.start(argv=["sh", "-c", script])
    eventually(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip(), 10)
    zygote.run(call=J + "escape", args=[str(tmp_path / "other"), False])
    assert alive(int((tmp_path / "pid").read_text()))
    zygote.tell("stop", [number, 1], "cancel")
    assert zygote.ending(number)["survivors"] >= 1
    assert not alive(int((tmp_path / "pid").read_text()))


def test_a_flood_costs_no_memory_and_keeps_the_end(zygote: ZygoteProcess) -> None:
    ending = zygote.run(call=J + "flood", args=[200 * 2**20])
    assert (len(ending["tail"]), ending["dropped"]) == (64 * 1024, 200 * 2**20 - 64 * 1024)
    with open(f"/proc/{zygote.pid}/status") as file:
        peak = next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))
    assert peak < 40 * 1024


def test_threads_and_exit_functions_finish_before_the_job_does(zygote: ZygoteProcess, tmp_path: Path) -> None:
    assert result(zygote.run(call=J + "leave_thread", args=[str(tmp_path / "late")])) == "returned"
    assert (tmp_path / "late").read_text() == "late"
    zygote.run(call=J + "at_exit", args=[str(tmp_path / "exit")])
    assert (tmp_path / "exit").read_text() == "exit"


def test_endings_are_told_again_until_they_are_recorded(zygote: ZygoteProcess) -> None:
    number = zygote.start(call=J + "add", args=[1])
    zygote.ending(number)
    zygote.said.clear()
    zygote.tell("hello", 8, {}, {"result": 2**20, "output": 65536})
    assert [number, 1] in zygote.wait_for("hello", 8)[2]["attempts"], "else its daemon believes that it never started"
    assert zygote.ending(number)["status"] == 0
    zygote.tell("recorded", number, 1)
    zygote.tell("hello", 8, {}, {"result": 2**20, "output": 65536})
    zygote.said.clear()
    zygote.wait_for("hello")
    zygote.tell("tail", [0, 0], 1)
    zygote.wait_for("tail", 1)
    assert ["exited", number, 1] not in [message[:3] for message in zygote.said]


def test_the_death_of_the_keeper_leaves_nothing(tmp_path: Path) -> None:
    process = ZygoteProcess({"path": [ROOT]})
    process.start(call=J + "escape", args=[str(tmp_path / "escaped"), True])
    number = process.start(argv=["sh", "-c", f"setsid sleep 600 & echo $! $$ > {tmp_path}/pids; wait"])
    eventually(lambda: (tmp_path / "pids").exists() and (tmp_path / "pids").read_text().strip(), 10)
    assert number
    process.stop()
    assert not [pid for pid in map(int, (tmp_path / "pids").read_text().split()) if alive(pid)]


def test_an_attempt_dies_with_its_zygote(tmp_path: Path) -> None:
    process = ZygoteProcess({"path": [ROOT]})
    process.start(argv=["sh", "-c", f"echo $$ > {tmp_path}/pid; exec sleep 600"])
    eventually(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip(), 10)
    process.kill()
    pid = int((tmp_path / "pid").read_text())
    eventually(lambda: not alive(pid), 5)


def test_no_zombie_is_left_after_many_jobs(zygote: ZygoteProcess) -> None:
    numbers = [zygote.start(argv=["true"]) for _ in range(50)]
    for number in numbers:
        zygote.ending(number)
    assert [pid for pid in zygote.children() if not alive(pid)] == []


def test_deadlines_are_kept_while_nobody_listens() -> None:
    """The zygote's side of a dead or stopped daemon: its socket is full, and time goes on."""
    process = ZygoteProcess({"path": [ROOT]})
    first = process.start(argv=["yes"], timeout=0.5, grace=0.2)
    process.tell("follow", [first, 1])
    before = time.monotonic()
    second = process.start(argv=["sh", "-c", "trap '' TERM; while :; do sleep 1; done"], timeout=0.5, grace=0.2)
    assert process.ending(first)["reason"] == "timeout"
    assert process.ending(second)["reason"] == "timeout"
    assert time.monotonic() - before >= 0.7
    process.stop()


def test_a_zygote_nobody_speaks_to_any_more_finishes_what_it_has_and_ends_well(tmp_path: Path) -> None:
    process = ZygoteProcess({"path": [ROOT]})
    process.start(argv=["sh", "-c", f"while [ ! -e {tmp_path}/go ]; do sleep 0.01; done; echo > {tmp_path}/finished"])
    process.channel.close()
    (tmp_path / "go").touch()
    assert os.waitstatus_to_exitcode(os.waitpid(process.pid, 0)[1]) == 0
    assert (tmp_path / "finished").exists()
    os.close(process.lifeline)


def test_what_a_job_makes_of_descriptor_3_is_its_own(zygote: ZygoteProcess, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"precious data")
    assert result(zygote.run(call=J + "close_report_and_open", args=[str(tmp_path / "data")])) == "opened as 3"
    assert (tmp_path / "data").read_bytes() == b"precious data"


def test_an_exception_that_utf8_cannot_carry_is_told_all_the_same(zygote: ZygoteProcess) -> None:
    error = report(zygote.run(call=J + "raise_surrogate"))["error"]
    assert (error["type"], error["message"]) == ("ValueError", "lone \\ud800 surrogate")


def test_a_deadline_a_year_away_is_no_trouble(zygote: ZygoteProcess) -> None:
    assert result(zygote.run(call=J + "add", args=[1], timeout=366 * 86400.0)) == 1


def test_an_answer_to_an_earlier_daemon_can_be_told_from_ours(zygote: ZygoteProcess) -> None:
    for nonce in (100, 101):
        zygote.tell("hello", nonce, {}, {"result": 2**20, "output": 65536})
    assert zygote.wait_for("hello", 101) and zygote.wait_for("hello", 100)


def test_an_attempt_is_never_started_twice(zygote: ZygoteProcess, tmp_path: Path) -> None:
    script = f"echo >> {tmp_path}/ran; while [ ! -e {tmp_path}/go ]; do sleep 0.01; done"
    number = zygote.start(argv=["sh", "-c", script])
    eventually(lambda: (tmp_path / "ran").exists(), 10)
    again = order(number, argv=["sh", "-c", script])
    zygote.tell(*again)
    (tmp_path / "go").touch()
    zygote.ending(number)
    zygote.tell(*again)
    zygote.run(call=J + "add", args=[1])
    assert (tmp_path / "ran").read_text() == "\n"


def test_who_traces_a_job_holds_up_no_deadline(zygote: ZygoteProcess, tmp_path: Path) -> None:
    script = f"echo $$ > {tmp_path}/new; mv {tmp_path}/new {tmp_path}/pid; exec sleep 600"
    held = zygote.start(argv=["sh", "-c", script], timeout=1.5, grace=0.2)
    eventually(lambda: (tmp_path / "pid").exists(), 10)
    tracer = zygote.start(
        call=J + "hold_as_tracer", args=[str(tmp_path / "pid"), str(tmp_path / "ready")], timeout=3.0, grace=0.2
    )
    eventually(lambda: (tmp_path / "ready").exists(), 10)
    assert zygote.run(argv=["true"], timeout=5.0)["status"] == 0
    assert zygote.ending(tracer)["reason"] == "timeout"
    assert zygote.ending(held)["reason"] == "timeout"


def test_an_attempt_without_memory_for_its_report_says_so() -> None:
    process = ZygoteProcess()
    process.run(call="os:getpid")
    size = int(Path(f"/proc/{process.pid}/statm").read_text().split()[0]) * resource.getpagesize()
    limit = size + 512 * 1024  # half of what a report takes
    resource.prlimit(process.pid, resource.RLIMIT_AS, (limit, limit))
    endings = [process.run(argv=["true"]) for _ in range(SPARES + 1)]  # those that were forked before have theirs
    failed = [ending for ending in endings if ending["status"]]
    assert failed
    for ending in failed:
        assert (ending["reason"], ending["status"]) == ("exit", 1)
        error = report(ending)["error"]
        assert (error["type"], error["message"]) == ("SetupError", "cannot map the report file: Cannot allocate memory")
    process.stop()


def test_more_leftovers_than_descriptors_are_no_trouble(tmp_path: Path) -> None:
    process = ZygoteProcess({"path": [ROOT]})
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (24, 24))
    ending = process.run(call=J + "leave_many", args=[40])
    assert (ending["status"], ending["survivors"]) == (0, 40)
    process.stop()


def program(folder: Path, name: str, says: str, mode: int = 0o755) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\necho {says}\n")
    (folder / name).chmod(mode)


def test_a_command_is_looked_for_in_its_own_path_and_past_what_it_may_not_run(
    zygote: ZygoteProcess, tmp_path: Path
) -> None:
    program(tmp_path / "a", "tool", "never", mode=0o644)
    program(tmp_path / "b", "tool", "found")
    path = f"{tmp_path}/none:{tmp_path}/a:{tmp_path}/b"
    ending = zygote.run(argv=["tool"], env={"PATH": path})
    assert (ending["status"], ending["tail"]) == (0, b"found\n")
    ending = zygote.run(argv=["tool"], env={"PATH": f"{tmp_path}/a:{tmp_path}/none"})
    assert (ending["status"], report(ending)["error"]["type"]) == (126, "CommandError")
    ending = zygote.run(argv=["tool"], env={"PATH": f"{tmp_path}/none"})
    assert (ending["status"], report(ending)["error"]["type"]) == (127, "CommandNotFound")


def test_a_command_without_a_folder_in_its_path_is_looked_for_where_it_runs(
    zygote: ZygoteProcess, tmp_path: Path
) -> None:
    program(tmp_path / "here", "tool", "here")
    ending = zygote.run(argv=["tool"], env={"PATH": ":/none"}, cwd=str(tmp_path / "here"))
    assert (ending["status"], ending["tail"]) == (0, b"here\n")
