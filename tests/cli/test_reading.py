"""The verbs that ask and show: status, list, wait, result, logs, cancel, stats, ping."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sidecar.errors import BadRequest, Internal, NoSpace, NotAllowed, NotFound, SidecarError, TooLarge

from .conftest import Run
from .stub import ID, PING, Stub, attempt, failed, job

SCHEDULED = job(state="scheduled", outcome=None, due=4e9, started=None, finished=None, attempts=[])
STATS = {
    "states": {"queued": 2, "done": 1}, "outcomes": {}, "queues": {"mail": {"queued": 2, "running": 0}},
    "counters": {"commits": 7}, "store": {"bytes": 4096},
}  # fmt: skip


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        (["status", "01a1"], ("status", ["01a1"])),
        (["wait", ID], ("wait", [ID, None])),
        (["wait", ID, "--timeout", "3"], ("wait", [ID, 3.0])),
        (["result", ID], ("result", [ID])),
        (["logs", ID], ("logs", [ID])),
        (["cancel", ID], ("cancel", [ID])),
        (["list"], ("list", [{"limit": 50}])),
        (["list", "--state", "done", "--outcome", "failed", "--queue", "mail", "--limit", "3"],
         ("list", [{"state": "done", "outcome": "failed", "queue": "mail", "limit": 3}])),
        (["stats"], ("stats", [])),
        (["ping"], ("ping", [])),
    ],
)  # fmt: skip
def test_a_verb_asks_for_what_was_typed(run: Run, stub: Stub, words: list[str], asked: tuple[str, list[Any]]) -> None:
    stub.answer(job(outcome="cancelled" if words[0] == "cancel" else "succeeded"), result=1)
    stub.answers |= {"list": [job()], "stats": STATS}
    assert run(*words).exit_code == 0
    assert stub.asked == [asked]


@pytest.mark.parametrize("verb", ["status", "wait", "result", "logs", "list", "stats", "ping", "cancel"])
def test_json_is_one_line_that_says_what_the_daemon_said(run: Run, stub: Stub, verb: str) -> None:
    stub.answer(job(outcome="cancelled"), output=b"caf\xc3\xa9 \xff")
    stub.answers |= {"list": [job()], "stats": STATS}
    told = stub.answers[verb]
    shown = json.loads(run(verb, *([] if verb in ("list", "stats", "ping") else [ID]), "--json").stdout)
    if verb == "logs":
        told = {**told, "output": "café \ufffd"}
    assert shown == ([told] if verb == "cancel" else told)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotFound("cannot find job 'x': no job of yours has this id"), 1),
        (BadRequest("cannot list: outcome is 'x'"), 2),
        (TooLarge("cannot submit job: too large"), 2),
        (NotAllowed("cannot cancel job: it is somebody else's"), 111),
        (NoSpace("cannot submit job: the disk is full"), 111),
        (Internal("cannot read the store"), 111),
    ],
)
@pytest.mark.parametrize("verb", ["status", "wait", "result", "logs", "cancel"])
def test_an_error_is_one_line_on_stderr_and_a_code(
    run: Run, stub: Stub, verb: str, error: SidecarError, code: int
) -> None:
    stub.answers[verb] = error
    result = run(verb, ID)
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr == f"sidecar: {error}\n"


@pytest.mark.parametrize(
    "words",
    [["status", ID], ["wait", ID], ["result", ID], ["logs", ID], ["logs", "-f", ID], ["cancel", ID], ["list"],
     ["stats"], ["ping"], ["reload"]],
)  # fmt: skip
def test_without_a_daemon_every_verb_says_so_and_ends_with_3(run: Run, words: list[str]) -> None:
    result = run(*words)
    assert result.exit_code == 3
    assert result.stderr.startswith("sidecar: cannot reach sidecar: ") and result.stderr.count("\n") == 1
    assert "sidecar serve" in result.stderr


@pytest.mark.parametrize(
    "words",
    [["nonsense"], ["status"], ["status", ID, ID], ["cancel"], ["list", "--state", "gone"], ["list", "--limit", "0"],
     ["wait", ID, "--timeout", "soon"], ["wait", ID, "--timeout", "-1"], ["logs", ID, "--follow", "--json"],
     ["ping", "--colour"]],
)  # fmt: skip
def test_what_is_typed_wrongly_ends_with_2_and_asks_nobody(run: Run, stub: Stub, words: list[str]) -> None:
    result = run(*words)
    assert (result.exit_code, result.stdout, stub.asked) == (2, "", [])
    assert "Error: " in result.stderr


def test_status_shows_the_job_and_each_attempt(run: Run, stub: Stub) -> None:
    first = attempt(reason="timeout", status=None, signal=15, dropped=2048, survivors=3)
    running = attempt(number=2, ended=None, reason=None)
    told = job(state="running", outcome=None, queue="mail", priority=5, finished=None, attempts=[first, running])
    stub.answers["status"] = told
    lines = dict(line.split("  ", 1) for line in run("status", ID).stdout.splitlines())
    assert lines["state"].strip() == "running"
    assert lines["queue"].strip() == "mail, priority 5"
    assert lines["attempt 1"].strip() == (
        "timeout, signal 15, took 2.5 s, cpu 500 ms, memory 3 MiB, 2 KiB of output not kept, left behind and ended: 3"
    )
    assert lines["attempt 2"].strip().startswith("runs for ")


def test_status_says_when_a_scheduled_job_is_due_and_why_a_queued_one_waits(run: Run, stub: Stub) -> None:
    stub.answers["status"] = SCHEDULED
    assert "\ndue        2096-" in run("status", ID).stdout
    stub.answers["status"] = {**SCHEDULED, "state": "queued", "waiting": "no sidecar in /opt/app/bin/python"}
    assert "\nwaiting    no sidecar in /opt/app/bin/python" in run("status", ID).stdout


def test_list_shows_whole_ids_and_says_when_there_is_nothing(run: Run, stub: Stub) -> None:
    stub.answers["list"] = [job(target="sh -c 'echo \x1b[31m'"), SCHEDULED]
    head, first, second = run("list").stdout.splitlines()
    assert head.split() == ["ID", "STATE", "QUEUE", "SUBMITTED", "ENDED", "TARGET"]
    assert first.startswith(f"{ID}  succeeded  default") and first.endswith("sh -c 'echo \\x1b[31m'")
    assert second.startswith(f"{ID}  scheduled  default")
    stub.answers["list"] = []
    result = run("list")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "no jobs\n")


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (job(), 0, f"{ID} succeeded\n"),
        (failed(("ValueError", "no luck")), 1, f"{ID} failed: ValueError: no luck\n"),
        (job(outcome="cancelled"), 1, f"{ID} cancelled\n"),
    ],
)
def test_wait_ends_with_0_only_when_the_job_succeeded(
    run: Run, stub: Stub, status: dict[str, Any], code: int, said: str
) -> None:
    stub.answers["wait"] = status
    result = run("wait", ID)
    assert (result.exit_code, result.stdout) == (code, said)


def test_wait_says_when_its_time_is_up_and_that_the_job_goes_on(run: Run, stub: Stub) -> None:
    stub.answers["wait"] = SCHEDULED
    result = run("wait", ID, "--timeout", "0.5")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "scheduled after 0.5 s and goes on" in result.stderr
    assert json.loads(run("wait", ID, "--timeout", "0.5", "--json").stdout) == SCHEDULED


@pytest.mark.parametrize(
    ("value", "shown"),
    [("a text", "a text\n"), (42, "42\n"), ({"a": [1, None]}, '{"a": [1, null]}\n'),
     (list(range(5000)), json.dumps(list(range(5000))) + "\n"), ({1: 2}, '{"1": 2}\n'), (False, "false\n")],
)  # fmt: skip
def test_result_shows_the_value(run: Run, stub: Stub, value: object, shown: str) -> None:
    stub.answer(job(), result=value)
    assert run("result", ID).stdout == shown
    assert run("result", "--json", ID).exit_code == 0


def test_result_gives_bytes_to_a_program_as_they_are(run: Run, stub: Stub) -> None:
    stub.answer(job(), result=b"\xff\0\n")
    assert run("result", ID).stdout_bytes == b"\xff\0\n"


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (SCHEDULED, f"cannot show the result of {ID}: it is scheduled, see: sidecar wait {ID}\n"),
        (job(outcome="expired"), f"cannot show the result of {ID}: expired\n"),
        (job(result_error="cannot pack set"), f"cannot show the result of {ID}: it succeeded, but cannot pack set\n"),
        (failed(("KeyError", "'x'")), f"cannot show the result of {ID}: failed, KeyError: 'x'\n"),
    ],
)
def test_result_says_why_there_is_none(run: Run, stub: Stub, status: dict[str, Any], said: str) -> None:
    stub.answer(status)
    result = run("result", ID)
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", f"sidecar: {said}")


def test_result_of_a_failed_call_shows_its_traceback_harmless(run: Run, stub: Stub) -> None:
    stub.answer(failed(("ValueError", "no"), traceback='Traceback:\n\tFile "a"\nValueError: \x1b[31mno\n'))
    shown = run("result", ID).stderr.splitlines()
    assert shown[:3] == ["Traceback:", '        File "a"', "ValueError: \\x1b[31mno"]


def test_logs_are_bytes_as_they_are_and_what_is_gone_is_told_apart(run: Run, stub: Stub) -> None:
    stub.answer(job(), output=b"\x1b[31m\xff\n", dropped=4096)
    result = run("logs", ID)
    assert result.stdout_bytes == b"\x1b[31m\xff\n"
    assert result.stderr == "sidecar: cannot show all of it: 4 KiB of output were not kept\n"


def test_logs_follow_writes_what_comes_and_then_what_did_not(run: Run, stub: Stub) -> None:
    stub.answer(job(), output=b"one two three", dropped=0)
    stub.notices["follow"] = [[ID, 1, b"one ", 0], [ID, 1, b"two ", 4]]
    result = run("logs", "--follow", ID)
    assert (result.exit_code, result.stdout_bytes) == (0, b"one two three")


def test_cancel_goes_on_after_an_unknown_id_and_ends_with_its_code(run: Run, stub: Stub) -> None:
    other = NotFound("cannot find job")
    stub.answers["cancel"] = lambda params: other if params == ["ffff"] else job(state="running", cancel_wanted=True)
    result = run("cancel", "ffff", ID)
    assert (result.exit_code, result.stdout) == (1, f"{ID} running, asked to end\n")
    assert result.stderr == "sidecar: cannot find job\n"


@pytest.mark.parametrize(("outcome", "code"), [("cancelled", 0), ("succeeded", 1), ("failed", 1)])
def test_cancel_fails_only_for_a_job_that_ended_otherwise(run: Run, stub: Stub, outcome: str, code: int) -> None:
    stub.answers["cancel"] = job(outcome=outcome)
    result = run("cancel", ID)
    assert result.exit_code == code
    assert ("it is done already" in result.stderr) == (code == 1)


def test_ping_says_who_is_there_and_who_asks(run: Run, stub: Stub) -> None:
    stub.answers["ping"] = {**PING, "allowed": False}
    lines = dict(line.split("  ", 1) for line in run("ping").stdout.splitlines())
    assert lines["uptime"].strip() == "1 min 1 s"
    assert lines["zygotes"].strip() == "11 (default)"
    assert lines["you are"].strip() == "uid 1000, not allowed"


def test_stats_leaves_out_what_it_has_nothing_to_say_about(run: Run, stub: Stub) -> None:
    stub.answers["stats"] = STATS
    assert run("stats").stdout.splitlines() == [
        "states", "  queued  2", "  done    1", "queues", "  mail  2 queued  0 running", "counters", "  commits  7",
        "store", "  bytes  4096",
    ]  # fmt: skip
