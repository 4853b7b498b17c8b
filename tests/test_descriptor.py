"""What a job may say: which fields, how each is checked, the runtime record, ids."""

from __future__ import annotations

import math
import random
import uuid
from typing import Any

import pytest

from sidecar import descriptor, wire
from sidecar.descriptor import BODY, FIELDS, MAX_TEXT, YEAR, job_id, parse_job, parse_runtime, rejected_job, show_id
from sidecar.errors import BadRequest

ID = uuid.UUID("019ab1c2-0000-7000-8000-000000000001")
CALL = {"id": ID.bytes, "call": "a:b"}
ARGV = {"id": ID.bytes, "argv": ["true"]}
NOW = 1_000_000.0
RUNTIME = {"kind": "python", "interpreter": "/usr/bin/python3", "path": ["/srv"], "cwd": "/srv", "env": {"A": "b"}}
PHP = {"kind": "php", "interpreter": "/usr/bin/php", "worker": "/srv/vendor/bin/sidecar-php-worker"}


def options(value: dict[str, Any]) -> dict[str, Any]:
    """Return the options that are kept of a job."""
    body: dict[str, Any] = wire.unpack(parse_job(value, 1000, NOW).body)
    return body


# A job and what becomes of it.


def test_a_job_that_says_nothing_has_the_defaults() -> None:
    job = parse_job(CALL, 1000, NOW)
    assert job == (ID.bytes, 1000, "default", 0, NOW, None, None, wire.pack({"call": "a:b"}), "a:b", None)


def test_the_submitter_is_who_the_caller_says_never_the_job() -> None:
    assert parse_job(CALL, 33, NOW).uid == 33
    with pytest.raises(BadRequest, match="unknown option 'uid'"):
        parse_job({**CALL, "uid": 0}, 33, NOW)


def test_a_delay_counts_from_now_and_an_instant_is_taken_as_it_is() -> None:
    assert parse_job({**CALL, "delay": 5}, 0, NOW).due == NOW + 5
    assert parse_job({**CALL, "run_at": 5}, 0, NOW).due == 5.0
    assert parse_job({**CALL, "expires": 7}, 0, NOW).expires == 7.0


def test_the_body_carries_what_the_attempt_needs_and_nothing_else() -> None:
    job = {**CALL, "args": [], "kwargs": {}, "stdin": b"", "env": {}, "cwd": "/", "timeout": 1, "grace": 1,
           "delay": 1, "expires": 1, "retries": 1, "backoff": [1], "priority": 1, "queue": "q"}  # fmt: skip
    assert set(options(job)) == set(job) & set(BODY)


def test_a_runtime_goes_with_a_call_only() -> None:
    packed = wire.pack(RUNTIME)
    assert parse_job({**CALL, "runtime": packed}, 0, NOW).runtime == packed
    assert parse_job({**CALL, "runtime": RUNTIME}, 0, NOW).runtime == packed
    assert parse_job({**ARGV, "runtime": packed}, 0, NOW).runtime is None


CALLS = ["a:b", "pkg.mod:Class.method", "_a:_b", "a1.b2:c3", "\u00e9t\u00e9:\u00fc"]
NOT_CALLS: list[object] = [
    "", "a", "a:", ":b", "a.b", "a:b:c", "a:b()", "a b:c", "1a:b", "a:1b", ".a:b", "a.:b", "a:.b", "a..b:c", "a:b\n",
    "a:b\0", "a/b:c", "a:" + "b" * MAX_TEXT, "\udcff:b", b"a:b", None, 1, ["a:b"], {},
]  # fmt: skip


@pytest.mark.parametrize("call", CALLS)
def test_a_call_names_a_module_and_what_is_in_it(call: str) -> None:
    assert options({**CALL, "call": call})["call"] == call


@pytest.mark.parametrize("call", NOT_CALLS, ids=lambda call: repr(call)[:20])
def test_anything_else_is_no_call(call: object) -> None:
    with pytest.raises(BadRequest, match="cannot submit job: call is"):
        parse_job({**CALL, "call": call}, 0, NOW)


PHP_CALLS = ["send", "Acme\\send", "Acme\\Mail::send", "Acme\\Handler"]


@pytest.mark.parametrize("call", PHP_CALLS)
def test_the_form_of_a_call_is_that_of_its_runtime(call: str) -> None:
    assert options({**CALL, "call": call, "runtime": PHP})["call"] == call
    for given in ({}, {"runtime": RUNTIME}):
        with pytest.raises(
            BadRequest, match=r'call is .*"package.module:function", since its runtime is python, or .* php'
        ):
            parse_job({**CALL, "call": call, **given}, 0, NOW)
    with pytest.raises(BadRequest, match=r'call is .*as "Acme\\Mail::send", since its runtime is php, or .* python'):
        parse_job({**CALL, "runtime": PHP}, 0, NOW)


# Each row: field, values that are taken (and what is kept of them), values that are refused.
FIELD_TABLE: list[tuple[str, list[tuple[object, object]], list[object]]] = [
    ("timeout",
     [(1, 1.0), (0.001, 0.001), (YEAR, YEAR)],
     [0, -1, math.nan, math.inf, -math.inf, YEAR + 1, "1", True, None, [1]]),
    ("grace",
     [(0, 0.0), (3600, 3600.0)],
     [-0.1, 3600.1, math.nan, "1", False]),
    ("retries",
     [(0, 0), (1000, 1000)],
     [-1, 1001, 1.0, True, "1", None]),
    ("backoff",
     [([1], [1.0]), ([0, 2.5], [0.0, 2.5]), ({}, {}), ({"base": 1}, {"base": 1.0}), ({"cap": 0}, {"cap": 0.0})],
     [[], 1, None, "1", [-1], [math.nan], [None], {"base": -1}, {"cap": math.inf}, {"factor": 2}, {"base": None}]),
    ("env",
     [({}, {}), ([], {}), ({"A": ""}, {"A": ""}), ({"\u00e9": "\udcff"}, {"\u00e9": "\udcff"})],
     [None, "A=b", ["A=b"], {"A": 1}, {"A": None}, {"A": b"b"}, {"A=": "b"}, {"": "b"}, {"A\0": "b"}, {"A": "b\0"},
      {"\udcff": "b"}]),
    ("cwd",
     [("/", "/"), ("/a b/\u00e9", "/a b/\u00e9")],
     ["", "a", ".", "~", "/a\0b", "/\udcff", b"/a", None, 1, "/" * (MAX_TEXT + 1)]),
    ("stdin",
     [(b"", b""), (b"\xff\0", b"\xff\0"), ("a\udcff", b"a\xff")],
     [None, 1, ["a"], {}]),
    ("args",
     [([], b"\x90"), ([1, []], b"\x92\x01\x90"), (b"\x90", b"\x90"), (b"any", b"any"), ("\udc91\x01", b"\x91\x01")],
     [None, 1, {}, {"a": 1}]),
    ("kwargs",
     [({}, b"\x80"), ([], b"\x80"), ({"a": 1}, b"\x81\xa1a\x01"), (b"\x80", b"\x80"), ("\udc80", b"\x80")],
     [None, 1, [1]]),
]  # fmt: skip
TAKEN = [(name, given, kept) for name, taken, _ in FIELD_TABLE for given, kept in taken]
NOT_TAKEN = [(name, given) for name, _, not_taken in FIELD_TABLE for given in not_taken]


@pytest.mark.parametrize(("name", "given", "kept"), TAKEN, ids=lambda value: repr(value)[:25])
def test_a_field_is_kept_as(name: str, given: object, kept: object) -> None:
    found = options({**CALL, name: given})[name]
    assert (found, type(found)) == (kept, type(kept))


@pytest.mark.parametrize(("name", "given"), NOT_TAKEN, ids=lambda value: repr(value)[:25])
def test_a_field_is_refused_naming_itself(name: str, given: object) -> None:
    with pytest.raises(BadRequest, match=rf"cannot submit job: {name}\b.* is .*, give "):
        parse_job({**CALL, name: given}, 0, NOW)


@pytest.mark.parametrize("argv", [["a"], ["a", ""], [b"a", "b\udcff"], ["a"] * 4096], ids=len)
def test_an_argv_is_a_program_and_its_words(argv: list[Any]) -> None:
    assert options({**ARGV, "argv": argv})["argv"] == argv


@pytest.mark.parametrize(
    "argv", ["ls -l", b"ls", [], [""], [b""], ["a", 1], ["a", None], ["a\0"], [b"a\0"], {}, None, [["a"]]]
)
def test_a_shell_line_and_the_like_is_no_argv(argv: object) -> None:
    with pytest.raises(BadRequest, match="cannot submit job: argv is"):
        parse_job({**ARGV, "argv": argv}, 0, NOW)


@pytest.mark.parametrize(("priority", "queue"), [(-100, "a"), (100, "A.b_c-9"), (0, "q" * 64)])
def test_priority_and_queue_are_columns(priority: int, queue: str) -> None:
    job = parse_job({**CALL, "priority": priority, "queue": queue}, 0, NOW)
    assert (job.priority, job.queue) == (priority, queue)


@pytest.mark.parametrize(
    "wrong",
    [{"priority": 101}, {"priority": -101}, {"priority": 1.0}, {"priority": True}, {"priority": math.nan},
     {"queue": ""}, {"queue": "a b"}, {"queue": "a/b"}, {"queue": "q" * 65}, {"queue": "\u00e9"}, {"queue": "a\n"},
     {"queue": b"a"}, {"delay": -1}, {"delay": 10 * YEAR + 1}, {"delay": math.nan}, {"run_at": -1}, {"run_at": 1e12},
     {"run_at": math.nan}, {"expires": "soon"}, {"expires": math.inf}],
    ids=repr,
)  # fmt: skip
def test_what_is_out_of_range_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(BadRequest, match=f"cannot submit job: {next(iter(wrong))} is "):
        parse_job({**CALL, **wrong}, 0, NOW)


@pytest.mark.parametrize(
    ("job", "said"),
    [
        ({"id": ID.bytes}, "exactly one target"),
        ({**CALL, "argv": ["true"]}, "exactly one target"),
        ({"call": "a:b"}, "no id"),
        ({**ARGV, "args": []}, "args and kwargs belong to a call"),
        ({**ARGV, "kwargs": {}}, "args and kwargs belong to a call"),
        ({**CALL, "delay": 1, "run_at": 1}, "give delay or run_at, not both"),
        ({**CALL, "unique": "x"}, "unknown option 'unique', this version knows id, call, argv"),
        ({**CALL, "at_most_once": True, "retries": 1}, "retries would start it again, which at_most_once forbids"),
        ({**CALL, "at_most_once": 1}, "at_most_once is 1, give true or false"),
        ({**CALL, "": 1}, "unknown option ''"),
        ("a:b", "the job is 'a:b', give a map"),
        ([], "the job is \\[\\], give a map"),
        (None, "the job is None"),
    ],
)
def test_a_job_that_makes_no_sense_as_a_whole_is_refused(job: object, said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        parse_job(job, 0, NOW)


def test_a_long_wrong_value_is_not_repeated_in_full() -> None:
    with pytest.raises(BadRequest) as raised:
        parse_job({**CALL, "queue": "x" * 100_000}, 0, NOW)
    assert len(str(raised.value)) < 300


# Ids.


@pytest.mark.parametrize("given", [ID.bytes, str(ID), str(ID).upper(), ID.hex])
def test_an_id_is_sixteen_bytes_or_the_text_of_them(given: object) -> None:
    assert job_id(given) == ID.bytes


@pytest.mark.parametrize(
    "given",
    [b"", b"1" * 15, b"1" * 17, "", "019a", f"{ID}0", f"{str(ID)[:-1]}g", f"{{{ID}}}", f"{ID}\n", None, 1, [ID.bytes]],
)
def test_anything_else_is_no_id(given: object) -> None:
    with pytest.raises(BadRequest, match=r"id is .*, give a UUID as 16 bytes or as text"):
        job_id(given)


def test_an_id_is_shown_as_uuids_are() -> None:
    assert show_id(ID.bytes) == str(ID)


# What was refused.


def test_a_refused_job_whose_id_can_be_read_leaves_a_record() -> None:
    job = rejected_job({"id": str(ID), "call": 1, "queue": 2}, 33, NOW, "because")
    assert job is not None
    assert (job.id, job.uid, job.rejected, wire.unpack(job.body)) == (ID.bytes, 33, "because", {})


def test_the_reason_of_a_refusal_is_text_that_can_be_kept_whatever_it_quotes() -> None:
    job = rejected_job({"id": str(ID)}, 33, NOW, "because of \udcff" + "x" * 10_000)
    assert job is not None and job.rejected is not None
    assert job.rejected.encode().startswith(b"because of \\udcffxxx")
    assert len(job.rejected) < 5000


@pytest.mark.parametrize("value", [None, [], "x", {}, {"id": None}, {"id": b"short"}, {"call": "a:b"}, 7])
def test_one_whose_id_cannot_be_read_leaves_none(value: object) -> None:
    assert rejected_job(value, 33, NOW, "because") is None


@pytest.mark.parametrize(
    ("said", "target"),
    [
        ({"task": "thumbnail", "payload": 1}, "thumbnail"),
        ({"call": "no colon", "timeout": -1}, "no colon"),
        ({"call": "\udcff" + "x" * 5000}, "?" + "x" * 999),
        ({"call": 1}, ""),
        ({"argv": "rm -rf /"}, ""),
    ],
)
def test_a_refused_job_shows_what_it_wanted_where_that_can_be_read(said: dict[str, Any], target: str) -> None:
    job = rejected_job({"id": ID.bytes, **said}, 33, NOW, "because")
    assert job is not None and job.target == target


# The runtime record.


@pytest.mark.parametrize(
    "record",
    [
        {"interpreter": "/p"},
        RUNTIME,
        RUNTIME | {"setup": "django:setup"},
        RUNTIME | {"path": []},
        RUNTIME | {"env": []},
        {"kind": "php", "interpreter": "/php", "worker": "/w"},
        {"kind": "php", "interpreter": "/php", "worker": "/w", "bootstrap": "/b", "cwd": "/", "env": {"A": "b"}},
    ],
    ids=repr,
)
def test_a_runtime_record_is_read(record: dict[str, Any]) -> None:
    packed = wire.pack(record)
    assert parse_runtime(packed) == record
    assert parse_runtime(packed) is parse_runtime(packed)  # remembered: the same bytes come with every job


@pytest.mark.parametrize(
    ("packed", "said"),
    [
        (b"", "no msgpack map"),
        (b"\xc1", "no msgpack map"),
        (b"\x90", "runtime is .*give a map"),
        (wire.pack({}), "names no interpreter"),
        (wire.pack({**RUNTIME, "kind": "ruby"}), "runtime.kind is 'ruby', give python or php"),
        (wire.pack({**RUNTIME, "kind": ["php"]}), "runtime.kind is"),
        (wire.pack({**RUNTIME, "worker": "/w"}), "runtime.worker is for runtimes of kind php alone"),
        (wire.pack({"interpreter": "/p", "bootstrap": "/b"}), "runtime.bootstrap is for runtimes of kind php alone"),
        (wire.pack({**PHP, "path": []}), "runtime.path is for runtimes of kind python alone"),
        (wire.pack({**PHP, "setup": "a:b"}), "runtime.setup is for runtimes of kind python alone"),
        (wire.pack({**PHP, "worker": "w.php"}), "runtime.worker is 'w.php', give an absolute path"),
        (wire.pack({**PHP, "bootstrap": ""}), "runtime.bootstrap is ''"),
        (wire.pack({"kind": "php", "interpreter": "/php"}), "names no worker"),
        (wire.pack({"kind": "php", "worker": "/w"}), "names no interpreter"),
        (wire.pack({**RUNTIME, "user": "root"}), "unknown runtime field 'user', known are"),
        (wire.pack({**RUNTIME, "interpreter": "python3"}), "runtime.interpreter is 'python3', give an absolute path"),
        (wire.pack({**RUNTIME, "path": "/srv"}), "runtime.path is '/srv', give a list"),
        (wire.pack({**RUNTIME, "path": ["src"]}), "runtime.path is 'src', give an absolute path"),
        (wire.pack({**RUNTIME, "cwd": ""}), "runtime.cwd is ''"),
        (wire.pack({**RUNTIME, "env": {"A": 1}}), r"runtime.env\['A'\] is 1"),
        (wire.pack({**RUNTIME, "setup": "django.setup"}), "runtime.setup is 'django.setup'"),
    ],
)
def test_a_wrong_runtime_record_is_refused_however_often(packed: bytes, said: str) -> None:
    for _ in range(2):  # what was refused is not remembered as good
        with pytest.raises(BadRequest, match=said):
            parse_job({**CALL, "runtime": packed}, 0, NOW)


def test_remembered_runtime_records_are_bounded() -> None:
    for number in range(1000):
        parse_runtime(wire.pack({"interpreter": f"/p{number}"}))
    assert len(descriptor._runtimes) <= descriptor._RUNTIMES_KEPT


# Random messages: seeded, so that a failure comes again.

_LEAVES: list[object] = [
    None, True, 0, -1, 2**63, 1.5, math.nan, "", "a:b", "/x", b"", b"i" * 16, "\udcff", "a\0", str(ID),
]  # fmt: skip


def random_value(dice: random.Random, depth: int = 0) -> object:
    """Make a value of up to four levels."""
    if depth < 4 and dice.random() < 0.4:
        if dice.random() < 0.5:
            return [random_value(dice, depth + 1) for _ in range(dice.randrange(3))]
        return {dice.choice([*FIELDS, "x"]): random_value(dice, depth + 1) for _ in range(dice.randrange(3))}
    return dice.choice(_LEAVES)


def test_random_jobs_are_jobs_or_bad_requests_and_nothing_else() -> None:
    dice, good, bad = random.Random(1), 0, 0
    for _ in range(20_000):
        job = {name: random_value(dice) for name in dice.sample(list(FIELDS), dice.randrange(3))}
        job |= dice.choice([CALL, ARGV, {}])
        try:
            parse_job(job, 0, NOW)
            good += 1
        except BadRequest:
            bad += 1
    assert min(good, bad) > 1000
