"""submit: what was typed is what is handed over; --wait ends as the job ends."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from sidecar import wire
from sidecar.cli import watching
from sidecar.errors import NotAllowed

from .conftest import Run
from .stub import ID, Stub, failed, job

HERE = os.getcwd()


@pytest.mark.parametrize(
    ("words", "fields"),
    [
        (["--", "convert", "a.png", "b.jpg"], {"argv": ["convert", "a.png", "b.jpg"], "cwd": HERE}),
        (["ls", "-l", "--all"], {"argv": ["ls", "-l", "--all"]}),
        (["--timeout", "2", "--grace", "0.5", "true"], {"timeout": 2.0, "grace": 0.5}),
        (["--retries", "3", "--priority", "-5", "--queue", "mail", "true"],
         {"retries": 3, "priority": -5, "queue": "mail"}),
        (["--run-at", "4000000000", "true"], {"run_at": 4e9}),
        (["--run-at", "2096-10-02T07:06:40+00:00", "true"], {"run_at": 4e9}),
        (["--env", "A=b", "--env", "EMPTY=", "--env", "C=d=e", "true"], {"env": {"A": "b", "EMPTY": "", "C": "d=e"}}),
        (["--cwd", "/usr/../etc", "true"], {"cwd": "/etc"}),
        (["--stdin", "-", "cat"], {"stdin": b"in\xff\n"}),
        (["--call", "shop:send"], {"call": "shop:send", "args": b"\x90"}),
        (["--call", "shop:send", "--args", '[1, "x", null]', "--kwargs", '{"to": {"a": 2.5}}'],
         {"args": wire.pack([1, "x", None]), "kwargs": wire.pack({"to": {"a": 2.5}})}),
        (["--task", "thumbnail", "--kwargs", '{"path": "/a.jpg"}', "--delay", "0"],
         {"task": "thumbnail", "payload": wire.pack({"path": "/a.jpg"}), "argv": None, "runtime": None}),
        (["--task", "thumbnail", "--args", '["a", 1]'], {"task": "thumbnail", "payload": wire.pack(["a", 1])}),
        (["--task", "thumbnail"], {"task": "thumbnail", "payload": None}),
    ],
)  # fmt: skip
def test_what_is_typed_is_what_is_handed_over(run: Run, stub: Stub, words: list[str], fields: dict[str, Any]) -> None:
    result = run("submit", *words, input=b"in\xff\n")
    sent = stub.handed_over()
    assert {name: sent.get(name) for name in fields} == fields
    assert result.exit_code == 0
    assert result.stdout.strip().replace("-", "") == sent["id"].hex()


def test_a_call_is_looked_for_in_this_folder_first(
    run: Run, stub: Stub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.delenv("PWD", raising=False)
    run("submit", "--call", "shop:send")
    record = wire.unpack(stub.handed_over()["runtime"])
    assert record["path"][0] == record["cwd"] == str(folder)
    assert record["interpreter"] == os.path.abspath(sys.executable)
    assert "" not in sys.path and str(folder) not in sys.path


@pytest.mark.parametrize(
    ("environ", "words", "ack"),
    [
        ({}, [], "sent"),
        ({"SIDECAR_ACK": "stored"}, [], "stored"),
        ({"SIDECAR_ACK": "stored"}, ["--ack", "sent"], "sent"),
        ({}, ["--ack", "stored"], "stored"),
        ({}, ["--ack", "synced"], "synced"),
    ],
)
def test_the_ack_is_the_one_asked_for(
    run: Run, stub: Stub, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], words: list[str], ack: str
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    shown = json.loads(run("submit", *words, "--json", "true").stdout)
    assert shown["ack"] == ack
    if ack != "sent":
        assert stub.params("submit")[0]["argv"] == ["true"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "give one of: a program with its words, --call MODULE:FUNCTION, --task NAME"),
        (["--call", "a:b", "true"], "give one of"),
        (["--call", "a:b", "--task", "thumbnail"], "give one of"),
        (["--task", "thumbnail", "--timeout", "3"], "with timeout: that is said in its configuration"),
        (["--task", "thumbnail", "--on-unavailable", "inline"], "only the daemon knows what it runs"),
        (["--task", "t", "--args", "[1]", "--kwargs", '{"a": 1}'], "give arguments or keywords, not both"),
        (["--args", "[1]", "true"], "--args and --kwargs belong to --call"),
        (["--call", "a:b", "--args", "[1"], "is no JSON"),
        (["--call", "a:b", "--args", "{}"], "is no JSON array"),
        (["--call", "a:b", "--kwargs", "[]"], "is no JSON object"),
        (["--call", "a:b", "--args", "[99999999999999999999]"], "over 64 bits"),
        (["--call", "a b:c"], "give a function as"),
        (["--env", "A", "true"], "give NAME=VALUE"),
        (["--env", "=A", "true"], "give NAME=VALUE"),
        (["--run-at", "tomorrow", "true"], "is no time"),
        (["--delay", "1", "--run-at", "4000000000", "true"], "give delay or run_at, not both"),
        (["--timeout", "nan", "true"], "give seconds"),
        (["--timeout", "-1", "true"], "-1"),
        (["--priority", "101", "true"], "101"),
        (["--queue", "a b", "true"], "letters, digits"),
        (["--ack", "durable", "true"], "durable"),
        (["--stdin", "/no/such/file", "true"], "/no/such/file"),
    ],
)
def test_what_is_typed_wrongly_ends_with_2_and_hands_nothing_over(
    run: Run, stub: Stub, words: list[str], said: str
) -> None:
    result = run("submit", *words)
    assert (result.exit_code, result.stdout, stub.asked) == (2, "", [])
    assert said in " ".join(result.stderr.split())
    assert not stub.has_mail()


def test_without_a_daemon_the_job_waits_in_the_spool(run: Run, folder: Path) -> None:
    for name in ("tmp", "new"):
        (folder / "spool" / name).mkdir(parents=True)
    result = run("submit", "true")
    assert result.exit_code == 0
    assert result.stdout.strip().replace("-", "") in os.listdir(folder / "spool" / "new")
    assert "waits in the spool folder" in result.stderr
    assert run("submit", "--wait", "true").exit_code == 3


@pytest.mark.parametrize(
    ("policy", "code", "said"),
    [
        ("raise", 3, "cannot reach sidecar"),
        ("drop", 0, "was dropped"),
        ("spool", 3, "cannot spool job"),
    ],
)
def test_without_a_daemon_the_policy_decides(run: Run, policy: str, code: int, said: str) -> None:
    result = run("submit", "--on-unavailable", policy, "true")
    assert result.exit_code == code
    assert said in result.stderr and result.stderr.count("\n") == 1
    assert result.stdout == "", "no id of a job that is nowhere"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--", "sh", "-c", "echo out; exit 3"], 3, "out\n"),
        (["true"], 0, ""),
        (["--call", "inline_shop:fine"], 0, ""),
        (["--call", "inline_shop:bad"], 1, "ValueError: no luck"),
    ],
)
def test_a_job_that_is_run_here_ends_as_it_would_there(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], code: int, said: str
) -> None:
    (folder / "inline_shop.py").write_text("def fine(): pass\ndef bad(): raise ValueError('no luck')\n")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [*sys.path])
    result = run("submit", "--on-unavailable", "inline", *words)
    assert result.exit_code == code
    assert "was run here" in result.stderr and said in result.stderr
    assert len(result.stdout) == len(ID) + 1


def test_a_refusal_is_an_error_and_never_spooled(run: Run, stub: Stub, folder: Path) -> None:
    stub.answers["submit"] = NotAllowed("cannot submit job: user 1000 may not")
    result = run("submit", "--ack", "stored", "true")
    assert (result.exit_code, result.stderr) == (111, "sidecar: cannot submit job: user 1000 may not\n")


def test_wait_streams_the_output_and_takes_over_the_exit_status(run: Run, stub: Stub) -> None:
    stub.answer(failed(("ExitStatus", "ended with status 7"), status=7), output=b"one\ntwo \xff")
    stub.notices["run"] = [[ID, 1, b"one\n", 0]]
    result = run("submit", "--wait", "true")
    assert (result.exit_code, result.stdout_bytes, result.stderr) == (7, b"one\ntwo \xff", "")


@pytest.mark.parametrize(
    ("status", "words", "code", "said"),
    [
        (job(), ["true"], 0, ""),
        (failed(("ValueError", "no"), traceback="Traceback:\nValueError: no\n"), ["--call", "a:b"], 1,
         "Traceback:\nValueError: no\n"),
        (failed(("Signal", "was killed by signal 9"), status=None, signal=9), ["true"], 137,
         f"sidecar: cannot complete {ID}: failed: was killed by signal 9\n"),
        (failed(("Timeout", "did not end in time"), "timed_out", status=None, signal=15), ["true"], 124,
         f"sidecar: cannot complete {ID}: timed_out: did not end in time\n"),
        (failed(("CommandNotFound", "cannot run 'x'"), status=127), ["true"], 127,
         f"sidecar: cannot complete {ID}: failed: cannot run 'x'\n"),
        (job(outcome="cancelled", attempts=[]), ["true"], 1, f"sidecar: cannot complete {ID}: cancelled\n"),
        (job(outcome="rejected", reason="too old", attempts=[]), ["true"], 1,
         f"sidecar: cannot complete {ID}: rejected: too old\n"),
        (job(result_error="cannot pack set"), ["--call", "a:b"], 0,
         f"sidecar: cannot keep the result of {ID}: cannot pack set\n"),
    ],
)  # fmt: skip
def test_wait_says_on_stderr_what_the_exit_code_does_not(
    run: Run, stub: Stub, status: dict[str, Any], words: list[str], code: int, said: str
) -> None:
    stub.answer(status)
    result = run("submit", "--wait", *words)
    assert (result.exit_code, result.stdout, result.stderr) == (code, "", said)


def test_wait_with_json_prints_one_object_with_everything(run: Run, stub: Stub) -> None:
    stub.answer(job(), result={"n": 1}, output=b"caf\xc3\xa9")
    result = run("submit", "--wait", "--json", "--call", "a:b")
    shown = json.loads(result.stdout)
    assert (shown["outcome"], shown["result"], shown["output"], shown["ack"]) == (
        "succeeded",
        {"n": 1},
        "café",
        "stored",
    )


def test_an_interrupted_wait_says_that_the_job_goes_on(run: Run, stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(watching, "run", interrupt)
    result = run("submit", "--wait", "true")
    assert result.exit_code == 130
    assert "goes on" in result.stderr and "sidecar cancel " in result.stderr
