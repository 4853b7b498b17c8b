"""Targets: functions by name, commands as words, and the way out for what cannot be found again."""

from __future__ import annotations

import functools
import os
import pathlib
import sys
import types

import pytest

from sidecar import descriptor
from sidecar.client.target import argv_of, call_of

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
    descriptor.FIELDS["call"]("call", name)


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
