"""The contract of attempts over PHP: what a PHP job meets, and how each way to end is told. Real zygote, real PHP."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.php.runtime import PHP, WORKER, needs_php, record
from tests.waiting import eventually

from .process import ZygoteProcess, report, result
from .test_attempts import alive

pytestmark = needs_php

J = "Jobs\\"


_WAYS = {"forked": "no_spares", "in a spare": "no_template", "from the template": ""}


@pytest.fixture(scope="module", params=_WAYS)
def zygote(request: pytest.FixtureRequest) -> Iterator[ZygoteProcess]:
    """Give a zygote that forks each attempt when it is told, one that has forked it before, one with a template."""
    way = _WAYS[request.param]
    process = ZygoteProcess(record(cwd="/", env={"FROM_RUNTIME": "yes"}), way, way != "no_spares")
    process.has_plans = bool(way)
    if not way:
        process.wait_for("template", None)
    yield process
    process.stop()


@pytest.fixture
def zygote_of() -> Iterator[Any]:
    """Give a function that starts a zygote of a record."""
    started: list[ZygoteProcess] = []

    def start(made: dict[str, Any], broken: str = "") -> ZygoteProcess:
        started.append(ZygoteProcess(made, broken))
        return started[-1]

    yield start
    for process in started:
        process.stop()


def error_of(ending: dict[str, Any]) -> dict[str, str]:
    error: dict[str, str] = report(ending)["error"]
    return error


# What is called.


@pytest.mark.parametrize(
    ("call", "args", "kwargs", "value"),
    [
        (J + "add", [1], {"b": 2}, 3),
        (J + "add", [], {"b": 2, "a": 40}, 42),
        ("plain_function", [], {}, "plain"),
        ("strlen", ["abc"], {}, 3),
        (J + "Mail::send", [42], {"to": "you"}, "42 to you"),
        (J + "Mail::deliver", [42], {}, "delivered 42"),
        (J + "Mail::fake", [], {}, "facade fake"),
        (J + "Handler", [7], {}, "7, made without arguments"),
        (J + "strict", ["42", 7], {}, [42, "7"]),  # as PHP itself calls: what a form sent is a text
        (J + "in_global_scope", [], {}, "a global"),
    ],
)
def test_a_call_returns_its_value(
    zygote: ZygoteProcess, call: str, args: list[Any], kwargs: dict[str, Any], value: object
) -> None:
    ending = zygote.run(call=call, args=args, kwargs=kwargs)
    assert (ending["reason"], ending["status"], ending["signal"], ending["tail"]) == ("exit", 0, None, b"")
    assert result(ending) == value
    assert ending["max_rss"] > 1024 * 1024 and ending["ended"] >= ending["started"]


@pytest.mark.parametrize(
    "args", [[], [None, True, -1, 2**63 - 1, 1.5, "ü", b"\xff\0"], [{"a": [1, {"b": 2}]}]], ids=repr
)
def test_arguments_arrive_as_they_were_given(zygote: ZygoteProcess, args: list[Any]) -> None:
    assert result(zygote.run(call=J + "echoed", args=args)) == args


def test_large_arguments_arrive(zygote: ZygoteProcess) -> None:
    assert result(zygote.run(call="strlen", args=["x" * 3_000_000])) == 3_000_000


@pytest.mark.parametrize(
    ("what", "value"),
    [
        ("empty map", {}),
        ("bytes", b"text"),
        ("no utf-8", b"caf\xe9"),
        ("nested", {"a": [1, 2.5, None, True, "ü"], "b": {"0": 1}}),
        ("nothing", None),
    ],
)
def test_a_value_comes_back_as_what_it_is(zygote: ZygoteProcess, what: str, value: object) -> None:
    found = result(zygote.run(call=J + "special", args=[what]))
    assert (found, type(found)) == (value, type(value))


def test_the_objects_of_calls_come_from_the_container_that_the_bootstrap_returns(zygote_of: Any) -> None:
    process = zygote_of(record("container.php"))
    assert result(process.run(call=J + "Handler", args=[7])) == "7, made by the container"
    assert result(process.run(call=J + "Needy::tell")) == "by the container"


def test_an_object_that_needs_arguments_and_has_no_container_is_an_error(zygote: ZygoteProcess) -> None:
    error = error_of(zygote.run(call=J + "Needy::tell"))
    assert error["type"] == "ArgumentCountError" and "Needy::__construct" in error["message"]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (J + "nothing", ["cannot find function or class Jobs\\nothing", "autoloading", "bootstrap.php"]),
        (J + "Nothing::work", ["cannot find class Jobs\\Nothing", "composer dump-autoload"]),
        (J + "Plain::nothing", ["cannot call Jobs\\Plain::nothing", "no public method"]),
        (J + "Plain::hide", ["cannot call Jobs\\Plain::hide", "no public method"]),
        (J + "Plain", ["cannot call Jobs\\Plain::__invoke"]),
    ],
)
def test_a_target_that_cannot_be_had_is_named_with_the_cure(zygote: ZygoteProcess, call: str, words: list[str]) -> None:
    ending = zygote.run(call=call)
    assert ending["status"] == 1
    assert not [word for word in words if word not in error_of(ending)["message"]], error_of(ending)


def test_without_a_bootstrap_the_error_says_so(zygote_of: Any) -> None:
    process = zygote_of(record(None))
    assert result(process.run(call="strlen", args=["abc"])) == 3
    assert "the job has no bootstrap" in error_of(process.run(call=J + "add"))["message"]


def test_a_bootstrap_that_fails_fails_the_job(zygote_of: Any) -> None:
    error = error_of(zygote_of(record("raises.php")).run(call="strlen", args=["abc"]))
    assert (error["type"], error["message"]) == ("RuntimeException", "no database today")


def test_a_bootstrap_that_ends_the_process_fails_the_job(zygote_of: Any) -> None:
    ending = zygote_of(record("exits.php")).run(call="strlen", args=["abc"])
    assert (ending["status"], ending["tail"], error_of(ending)["type"]) == (0, b"down for maintenance", "BootstrapExit")


def test_a_bootstrap_may_load_the_client_too(zygote_of: Any) -> None:
    assert result(zygote_of(record("composer.php")).run(call=J + "add", args=[1])) == 1


def test_a_wrong_keyword_is_an_error(zygote: ZygoteProcess) -> None:
    error = error_of(zygote.run(call=J + "add", args=[1], kwargs={"c": 2}))
    assert error["message"] == "Unknown named parameter $c"


# How it ends.


def test_a_throwable_is_told_with_class_message_and_trace(zygote: ZygoteProcess) -> None:
    ending = zygote.run(call=J + "raise", args=["no such order"])
    error = error_of(ending)
    assert (ending["status"], error["type"], error["message"]) == (1, "DomainException", "no such order")
    assert "Jobs\\raise" in error["traceback"] and "functions.php" in error["traceback"]
    assert "LogicException: the cause" in error["traceback"]
    assert "Worker.php" not in error["traceback"] and "sidecar-php-worker" not in error["traceback"]


def test_a_message_that_utf8_cannot_carry_is_told_all_the_same(zygote: ZygoteProcess) -> None:
    error = error_of(zygote.run(call=J + "raise_bytes"))
    assert error["type"] == "RuntimeException" and error["message"].startswith("caf\N{REPLACEMENT CHARACTER} ")
    assert len(error["message"].encode()) <= 32 * 1024


def test_what_an_anonymous_class_throws_is_told_all_the_same(zygote: ZygoteProcess) -> None:
    error = error_of(zygote.run(call=J + "raise_sloppily"))
    assert error["type"].startswith("Exception@anonymous") and error["message"] == "anonymous"


@pytest.mark.parametrize(
    ("call", "args", "status", "output"),
    [
        ("leave_plainly", [], 0, b""),
        ("leave_with", [0], 0, b"before;"),
        ("leave_with", [3], 3, b"before;"),
        ("leave_with", ["gone"], 0, b"before;gone"),
    ],
)
def test_exit_ends_a_call_with_phps_status_and_no_value(
    zygote: ZygoteProcess, call: str, args: list[Any], status: int, output: bytes
) -> None:
    ending = zygote.run(call=J + call, args=args)
    assert (ending["status"], ending["tail"]) == (status, output)
    assert result(ending) is None  # beside a status that is not 0 it says nothing: policy looks at that first


def test_memory_that_is_exhausted_is_a_failure_with_phps_message(zygote: ZygoteProcess) -> None:
    ending = zygote.run(call=J + "exhaust_memory")
    error = error_of(ending)
    assert (ending["status"], error["type"]) == (255, "FatalError")
    assert error["message"].startswith("Allowed memory size of 16777216 bytes exhausted")
    assert "functions.php" in error["traceback"]
    assert b"printed before;" in ending["tail"] and b"Allowed memory size" in ending["tail"]


def test_a_file_that_does_not_compile_is_a_failure_with_phps_message(zygote: ZygoteProcess, tmp_path: Path) -> None:
    (tmp_path / "fatal.php").write_text("<?php class Twice {} class Twice {}")
    ending = zygote.run(call=J + "include_broken", args=[str(tmp_path / "fatal.php")])
    assert ending["status"] == 255
    assert error_of(ending)["message"].startswith("Cannot declare class Twice")
    (tmp_path / "parse.php").write_text("<?php this is no php")
    ending = zygote.run(call=J + "include_broken", args=[str(tmp_path / "parse.php")])
    assert (ending["status"], error_of(ending)["type"]) == (1, "ParseError")


@pytest.mark.parametrize(
    ("call", "message"),
    [("call_missing", "undefined function Jobs\\no_such_function()"), ("call_removed_method", "stdClass::gone()")],
)
def test_what_is_undefined_is_a_failure(zygote: ZygoteProcess, call: str, message: str) -> None:
    error = error_of(zygote.run(call=J + call))
    assert error["type"] == "Error" and message in error["message"]


def test_an_error_that_the_job_triggers_is_a_failure(zygote: ZygoteProcess) -> None:
    error = error_of(zygote.run(call=J + "trigger_fatal"))
    assert (error["type"], error["message"]) == ("FatalError", "the end")


def test_warnings_are_output_once_and_the_job_goes_on(zygote: ZygoteProcess) -> None:
    ending = zygote.run(call=J + "warn")
    assert result(ending) == "went on"
    for words in (b"Warning: Undefined variable $nothing", b"Notice: take notice", b"Deprecated: do not"):
        assert ending["tail"].count(words) == 1, ending["tail"]
    assert b"<b>" not in ending["tail"]


def test_buffers_left_open_are_flushed_into_the_output(zygote: ZygoteProcess) -> None:
    ending = zygote.run(call=J + "leave_buffers_open")
    assert (result(ending), ending["tail"]) == ("returned", b"one;TWO;")


def test_shutdown_functions_and_destructors_finish_before_the_job_does(zygote: ZygoteProcess, tmp_path: Path) -> None:
    assert result(zygote.run(call=J + "late", args=[str(tmp_path / "late")])) == "returned"
    assert (tmp_path / "late").read_text() == "shutdown;destructor;"


def test_a_shutdown_function_that_fails_is_seen_in_the_status(zygote: ZygoteProcess) -> None:
    ending = zygote.run(call=J + "fail_late")
    assert ending["status"] == 255 and b"Uncaught Exception: too late" in ending["tail"]


@pytest.mark.parametrize(("call", "args"), [("return_object", []), ("return_large", [2**20])])
def test_a_value_that_cannot_be_kept_does_not_undo_the_work(zygote: ZygoteProcess, call: str, args: list[int]) -> None:
    ending = zygote.run(call=J + call, args=args)
    assert ending["status"] == 0 and "return value" in report(ending)["result_error"]


def test_a_large_value_comes_back_whole(zygote: ZygoteProcess) -> None:
    assert result(zygote.run(call=J + "return_large", args=[2**20 - 100])) == bytes(2**20 - 100)


@pytest.mark.parametrize("call", ["forge_report", "fill_report"])
def test_a_job_cannot_do_harm_through_its_report(zygote: ZygoteProcess, call: str) -> None:
    assert len(zygote.run(call=J + call)["report"]) < 2 * 2**20


def test_random_numbers_differ_between_jobs(zygote: ZygoteProcess) -> None:
    assert len({result(zygote.run(call=J + "draw")) for _ in range(5)}) == 5


# `failed` of the class of the call.


def told(zygote: ZygoteProcess, path: Path, call: str = "Told::work", **plan: Any) -> str:
    ending = zygote.run(call=J + call, args=[str(path)], **plan)
    assert error_of(ending)["type"] == "RangeException"
    return path.read_text() if path.exists() else ""


def test_the_class_hears_of_the_failure_of_the_last_attempt(zygote: ZygoteProcess, tmp_path: Path) -> None:
    assert told(zygote, tmp_path / "a") == "worked, attempt 1\n"
    assert told(zygote, tmp_path / "b", retries=2, failures=2) == "worked, attempt 1\n"
    assert told(zygote, tmp_path / "c", at_most_once=True) == "worked, attempt 1\n"
    assert told(zygote, tmp_path / "d", "Told::apart") == "fresh, attempt 1\n"


def test_it_does_not_while_there_is_something_left_to_try(zygote: ZygoteProcess, tmp_path: Path) -> None:
    assert told(zygote, tmp_path / "a", retries=1) == ""
    assert told(zygote, tmp_path / "b", retries=2, failures=1) == ""


def test_it_does_not_hear_of_a_fatal_error(zygote: ZygoteProcess, tmp_path: Path) -> None:
    ending = zygote.run(call=J + "Told::fatal", args=[f": {tmp_path}/told"])
    assert error_of(ending)["type"] == "FatalError" and not (tmp_path / "told").exists()


def test_what_goes_wrong_in_it_is_output_and_the_job_failed_of_the_first(zygote: ZygoteProcess) -> None:
    ending = zygote.run(call=J + "ToldBadly::work")
    assert error_of(ending)["message"] == "the first" and b"LogicException: the second" in ending["tail"]
    assert error_of(zygote.run(call=J + "ToldToLeave::work"))["message"] == "the first"


# What it meets.


def test_a_job_starts_clean(zygote: ZygoteProcess, tmp_path: Path) -> None:
    found = result(zygote.run(call=J + "surroundings", cwd=str(tmp_path), env={"FROM_JOB": "yes"}))
    assert set(found["fds"]) - {4} == {0, 1, 2, 3, 5}  # 3 and 4: report and plan; 5: the script, which PHP keeps open
    assert (found["leader"], found["umask"], found["blocked"]) == (True, 0o022, 0)
    assert found["cwd"] == str(tmp_path)
    assert (found["environ"]["FROM_RUNTIME"], found["environ"]["FROM_JOB"]) == ("yes", "yes")
    assert not {"LISTEN_FDS", "LISTEN_FDNAMES", "LD_BIND_NOW"} & found["environ"].keys()
    assert found["argv"] == [WORKER]


def start_stubborn(zygote: ZygoteProcess, **plan: Any) -> tuple[int, int]:
    """Start a job that ignores SIGTERM; return its number and its pid once it does."""
    number = zygote.start(call=J + "ignore_sigterm", **plan)
    zygote.tell("follow", [number, 1])
    while b"ready" not in zygote.wait_for("output", [number, 1])[2]:
        pass
    (pid,) = [pid for pid in zygote.children() if _ignores_sigterm(pid)]
    return number, pid


def open_files(zygote: ZygoteProcess) -> list[str]:
    """Return what the descriptors of a PHP job lead to, seen from outside."""
    number, pid = start_stubborn(zygote, grace=0.1)
    folder = f"/proc/{pid}/fd"
    found = sorted((int(fd), os.readlink(f"{folder}/{fd}").partition(":")[0]) for fd in os.listdir(folder))
    zygote.tell("stop", [number, 1], "cancel")
    zygote.ending(number)
    return [name for _, name in found]


def _ignores_sigterm(pid: int) -> bool:
    (ignored,) = re.findall(r"SigIgn:\s*(\w+)", Path(f"/proc/{pid}/status").read_text())
    return bool(int(ignored, 16) >> (signal.SIGTERM - 1) & 1)


def test_nothing_of_the_zygotes_is_open_in_the_job(zygote: ZygoteProcess) -> None:
    plan = ["/memfd"] * zygote.has_plans  # of a job from the template it came by a pipe, which is closed
    assert open_files(zygote) == ["/dev/null", "pipe", "pipe", "/memfd", *plan, os.path.realpath(WORKER)]


def test_its_arguments_do_not_stay_open_for_what_it_starts(zygote: ZygoteProcess) -> None:
    assert result(zygote.run(call=J + "read_plan")) == ""


def test_one_jobs_environment_is_not_the_next_ones(zygote: ZygoteProcess) -> None:
    zygote.run(call=J + "add", args=[1], env={"ONLY_ONCE": "yes"})
    assert "ONLY_ONCE" not in result(zygote.run(call=J + "surroundings"))["environ"]


def test_stdin_is_what_was_given_or_nothing(zygote: ZygoteProcess) -> None:
    assert result(zygote.run(call=J + "read_stdin", stdin=b"\x00" * 100_000 + b"end")) == b"\x00".decode() * 100_000 + (
        "end"
    )
    assert result(zygote.run(call=J + "read_stdin")) == ""


def test_output_of_both_kinds_is_kept(zygote: ZygoteProcess) -> None:
    ending = zygote.run(call=J + "write", args=["words\n"])
    assert (ending["tail"], ending["dropped"]) == (b"words\n!", 0)


def test_a_folder_that_is_not_there_says_so(zygote: ZygoteProcess) -> None:
    ending = zygote.run(call=J + "add", args=[1], cwd="/no/such/folder")
    assert (ending["status"], error_of(ending)["type"]) == (126, "FolderError")


def test_php_is_set_up_for_jobs_and_else_as_its_ini_says(zygote: ZygoteProcess) -> None:
    names = ["display_errors", "html_errors", "max_execution_time", "memory_limit", "zend.assertions"]
    code = "echo json_encode(array_map('ini_get', array_slice($argv, 1)));"
    usual = subprocess.run([PHP, "-r", code, *names], capture_output=True, check=True, text=True)
    found = result(zygote.run(call=J + "settings", args=names))
    assert found[:3] == ["stderr", "0", "0"] and found[3:] == json.loads(usual.stdout)[3:]
    assert result(zygote.run(call=J + "jit")) is False


# When it does not end by itself.


@pytest.mark.parametrize("call", ["spin", "nap", "nap_in_read"])
def test_the_deadline_ends_a_job_whatever_it_does(zygote: ZygoteProcess, call: str) -> None:
    ending = zygote.run(call=J + call, timeout=0.5)
    assert (ending["reason"], ending["signal"]) == ("timeout", signal.SIGTERM)


def test_the_deadline_ends_a_job_that_listens(zygote: ZygoteProcess) -> None:
    ending = zygote.run(call=J + "end_on_sigterm", timeout=1.5)
    assert (ending["reason"], ending["status"], ending["tail"]) == ("timeout", 0, b"ready\n")


def test_the_deadline_ends_a_job_that_ignores_it(zygote: ZygoteProcess) -> None:
    ending = zygote.run(call=J + "ignore_sigterm", timeout=1.5, grace=0.2)
    assert (ending["reason"], ending["signal"], ending["tail"]) == ("timeout", signal.SIGKILL, b"ready\n")


def test_a_job_that_is_told_to_stop_ends_for_that_reason(zygote: ZygoteProcess) -> None:
    number, _ = start_stubborn(zygote, grace=60.0)
    zygote.tell("stop", [number, 1], "cancel")
    zygote.tell("kill", [number, 1])
    assert zygote.ending(number)["reason"] == "cancel"


def test_what_escaped_is_killed_with_its_job(zygote: ZygoteProcess, tmp_path: Path) -> None:
    ending = zygote.run(call=J + "escape", args=[str(tmp_path / "pid")])
    assert (ending["reason"], ending["status"], ending["survivors"]) == ("exit", 0, 1)
    assert not alive(int((tmp_path / "pid").read_text()))


def test_a_flood_keeps_the_end(zygote: ZygoteProcess) -> None:
    ending = zygote.run(call=J + "flood", args=[50 * 2**20])
    assert (len(ending["tail"]), ending["dropped"]) == (64 * 1024, 50 * 2**20 - 64 * 1024)


def test_an_attempt_dies_with_its_zygote() -> None:
    process = ZygoteProcess(record())
    _, pid = start_stubborn(process)
    process.kill()
    eventually(lambda: not alive(pid), 5)


# Negative controls: the looks above find what is broken.


def test_a_descriptor_that_the_zygote_lets_through_is_seen(zygote_of: Any) -> None:
    assert len(open_files(zygote_of(record(), "open_through_exec"))) > 6


def test_without_the_sweep_an_escaped_process_lives(zygote_of: Any, tmp_path: Path) -> None:
    zygote_of(record(), "no_sweep").run(call=J + "escape", args=[str(tmp_path / "pid")])
    pid = int((tmp_path / "pid").read_text())
    assert alive(pid)
    os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize(
    ("setting", "call", "sign"),
    [("display_errors", "warn", b"Undefined variable"), ("html_errors", "warn", b"Warning: Undefined")],
)
def test_with_a_setting_left_to_php_ini_the_difference_is_seen(
    zygote_of: Any, tmp_path: Path, setting: str, call: str, sign: bytes
) -> None:
    """A PHP that is told the worst of each setting after ours: the output is not what it should be."""
    worst = {"display_errors": "0", "html_errors": "1"}[setting]
    php = tmp_path / "php"
    php.write_text(f'#!/bin/sh\nfor last; do :; done\n[ "$1" = -n ] && exec {PHP} "$@"\n'
                   f'exec {PHP} -d display_errors=stdout -d {setting}={worst} "$last"\n')  # fmt: skip
    php.chmod(0o755)
    ending = zygote_of(record() | {"interpreter": str(php)}).run(call=J + call)
    assert result(ending) == "went on" and sign not in ending["tail"]


# What cannot be started.


def fake(path: Path, says: str) -> str:
    path.write_text(f"#!/bin/sh\nprintf '{says}'\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("says", "words"),
    [
        ("80000 cli", "it says PHP 80000 (cli)"),
        ("80200 cgi-fcgi", "PHP 80200 (cgi-fcgi)"),
        ("hello", "it says 'hello'"),
    ],
)
def test_what_is_no_php_is_a_reason_to_wait(zygote_of: Any, tmp_path: Path, says: str, words: str) -> None:
    made = record() | {"interpreter": fake(tmp_path / "php", says)}
    cold = zygote_of(made).hello["cold"]
    assert f"{tmp_path}/php is no command-line PHP >= 8.1" in cold and words in cold


@pytest.mark.parametrize("field", ["interpreter", "worker", "bootstrap"])
def test_what_is_gone_is_a_reason_to_wait(zygote_of: Any, field: str) -> None:
    cold = zygote_of(record() | {field: "/no/such/file"}).hello["cold"]
    assert cold.startswith("/no/such/file is not there; ")


def test_what_may_not_be_run_is_a_reason_to_wait(zygote_of: Any) -> None:
    assert "/etc/passwd cannot be run" in zygote_of(record() | {"interpreter": "/etc/passwd"}).hello["cold"]


def test_a_worker_that_is_gone_later_starts_no_job(zygote_of: Any, tmp_path: Path) -> None:
    worker = tmp_path / "worker"
    worker.symlink_to(WORKER)
    process = zygote_of(record() | {"worker": str(worker)})
    assert result(process.run(call=J + "add", args=[1])) == 1
    worker.unlink()
    number = process.start(call=J + "add", args=[1])
    assert process.wait_for("stale")[1:] == [number, 1]


def test_an_interpreter_that_is_another_one_is_looked_at_anew(zygote_of: Any, tmp_path: Path) -> None:
    php = tmp_path / "php"
    php.symlink_to(PHP)
    process = zygote_of(record() | {"interpreter": str(php)})
    assert result(process.run(call=J + "add", args=[1])) == 1
    php.unlink()
    fake(php, "70400 cli")
    process.start(call=J + "add", args=[1])
    assert process.wait_for("stale")
    assert "70400" in zygote_of(record() | {"interpreter": str(php)}).hello["cold"]
