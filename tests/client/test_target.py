"""Targets: functions by name, commands as words, and the way out for what cannot be found again."""

from __future__ import annotations

import functools
import os
import pathlib
import sys
import types

import pytest

from sidecar import descriptor, wire
from sidecar.client import named, options
from sidecar.client.target import argv_of, call_of, php_call_of
from sidecar.errors import BadRequest

from . import jobs


@pytest.mark.parametrize(
    ("target", "name"),
    [
        (jobs.add, "tests.client.jobs:add"),
        (jobs.double, "tests.client.jobs:double"),
        (jobs.Shop.price, "tests.client.jobs:Shop.price"),
        (jobs.Shop.audit, "tests.client.jobs:Shop.audit"),
        (jobs.Branch.audit, "tests.client.jobs:Branch.audit"),
        (jobs.Shop, "tests.client.jobs:Shop"),
        (jobs.send, "tests.client.jobs:send"),
        (os.getpid, "posix:getpid"),
        (print, "builtins:print"),
        (functools.reduce, "_functools:reduce"),
        ("shop.mail:send", "shop.mail:send"),
        ("shop:Mail.send", "shop:Mail.send"),
    ],
)
def test_a_function_travels_by_its_name(target: object, name: str) -> None:
    assert call_of(target) == name
    descriptor.parse_job({"id": bytes(16), "call": name}, 0, 0.0)


def local() -> object:
    def inner() -> None: ...

    return inner


def in_main() -> None: ...


in_main.__module__ = "__main__"


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        (lambda: 1, ValueError, "lambda .*use `def` in a module"),
        (local(), ValueError, "only inside another function, move it to the top of its module"),
        (in_main, ValueError, "cannot import what is only in the script being run, move it into a module"),
        (jobs.Shop().sell, TypeError, "belongs to an object that does not go along"),
        ([].append, TypeError, "belongs to an object"),
        (functools.partial(jobs.add, 1), TypeError, "pass the function itself with its arguments"),
        (object(), TypeError, "no name to import it by"),
        (5, TypeError, "no name to import it by"),
        (None, TypeError, "no name to import it by"),
        ("shop.mail.send", ValueError, 'as "package.module:function", or a command as a list'),
        ("convert a.png b.jpg", ValueError, "or a command as a list"),
        ("a:b:c", ValueError, "package.module:function"),
        (":f", ValueError, "package.module:function"),
        ("", ValueError, "package.module:function"),
    ],
)
def test_what_no_job_could_find_is_refused_with_the_cure(target: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call_of(target)


def test_a_name_that_leads_nowhere_is_refused() -> None:
    def gone() -> None: ...

    gone.__qualname__ = "gone"
    with pytest.raises(ValueError, match="is not found there"):
        call_of(gone)


def test_the_script_of_dash_m_is_told_its_importable_name(monkeypatch: pytest.MonkeyPatch) -> None:
    main = types.ModuleType("__main__")
    main.__spec__ = types.SimpleNamespace(name="shop.jobs")  # type: ignore[assignment]
    monkeypatch.setitem(sys.modules, "__main__", main)
    with pytest.raises(ValueError, match=r'pass "shop\.jobs:in_main"'):
        call_of(in_main)


PHP = {"kind": "php", "interpreter": "/usr/bin/php", "worker": "/w"}


def as_php(call: str) -> None:
    descriptor.parse_job({"id": bytes(16), "call": call, "runtime": wire.pack(PHP)}, 0, 0.0)


@pytest.mark.parametrize(
    "call", ["strlen", "_f1", "Acme\\send", "Acme\\Mail::send", "Mail::__invoke", "Acme\\Handler", "Größe\\Ä::ö"]
)
def test_what_php_calls_by_name_goes_as_it_is_and_the_daemon_takes_it(call: str) -> None:
    assert php_call_of(call) == call
    as_php(call)


@pytest.mark.parametrize(
    "call",
    ["", "\\Acme\\Mail::send", "Acme\\", "Acme\\\\Mail", "Acme.Mail", "Mail::", "::send", "Mail:send", "Mail::a::b",
     "Mail->a", "a b", "1a", "a()", "a\n", "a\0", "Mail::1", "shop.mail:send", "\udcff"],
)  # fmt: skip
def test_what_is_no_php_name_is_refused_with_the_form_and_the_daemon_refuses_it(call: str) -> None:
    with pytest.raises(ValueError, match=r'"Class::method" or an invokable class'):
        php_call_of(call)
    with pytest.raises(BadRequest, match="call is"):
        as_php(call)


def test_a_python_function_cannot_be_a_php_job() -> None:
    with pytest.raises(TypeError, match="its runtime is php, give a PHP function or method by its name"):
        options(runtime=PHP).prepare(jobs.add, 1)


def test_a_php_name_without_a_php_runtime_is_refused() -> None:
    with pytest.raises(ValueError, match=r'as "package\.module:function"'):
        options().prepare("Acme\\Mail::send")


def test_a_php_job_is_not_run_inline_by_a_process_that_is_none() -> None:
    with pytest.raises(ValueError, match="PHP cannot run inline here"):
        options(runtime=PHP, on_unavailable="inline").prepare("Acme\\Mail::send")


def test_a_php_job_carries_its_record_as_it_was_given() -> None:
    message = wire.unpack(options(runtime=PHP).prepare("Acme\\Mail::send", 42)._parcel.message)
    job = message[2][0]
    assert (job["call"], wire.unpack(job["runtime"])) == ("Acme\\Mail::send", PHP)


def test_a_command_is_its_words() -> None:
    assert argv_of(["convert", pathlib.Path("/a b"), b"\xff", ""]) == ["convert", "/a b", b"\xff", ""]


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        ([], ValueError, "program as first word"),
        ([""], ValueError, "program as first word"),
        (["ls", 1], TypeError, r"word 1 is 1, pass str\(...\)"),
        (["ls", None], TypeError, "word 1 is None"),
        (["ls", "a\0b"], ValueError, "holds no NUL"),
        (["ls", b"a\0b"], ValueError, "holds no NUL"),
    ],
)
def test_a_wrong_word_is_named(words: list[object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        argv_of(words)


def test_a_named_task_says_its_name_and_payload_and_no_runtime() -> None:
    for args, kwargs, payload in [((), {}, None), ((1, "a"), {}, [1, "a"]), ((), {"k": 1}, {"k": 1})]:
        parcel = options(run_at=7).parcel(named("thumbnail"), args, kwargs)
        job = wire.unpack(parcel.job)
        assert job.pop("id") == parcel.id
        assert wire.unpack(job.pop("payload", b"\xc0")) == payload
        assert job == {"task": "thumbnail", "run_at": 7.0}


def test_the_same_name_is_the_same_task() -> None:
    assert named("a") == named("a") and hash(named("a")) == hash(named("a"))
    assert named("a") != named("b") and named("a") != "a"


@pytest.mark.parametrize("name", ["", None, 7])
def test_a_task_has_a_name(name: object) -> None:
    with pytest.raises(TypeError, match="give the NAME of a"):
        named(name)  # type: ignore[arg-type]
