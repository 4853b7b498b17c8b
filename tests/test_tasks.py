"""Named tasks: what a configuration may say, and what becomes of a job that asks for one."""

from __future__ import annotations

import json
import timeit
from typing import Any

import pytest

from sidecar import wire
from sidecar.config import BadConfig, parse
from sidecar.errors import BadRequest
from sidecar.tasks import MAX_PAYLOAD, OF_JOB, OF_TASK, STDIN, Task, Tasks, read_tasks
from sidecar.tasks import parse as parse_job

from .test_protocol import first_table, section

ID = bytes(range(16))
NOW = 1_763_683_200.0


def tasks(**fields: Any) -> Tasks:
    return read_tasks({"t": fields or {"argv": ["thumbnail"]}})


def parsed(job: dict[str, Any], **fields: Any) -> tuple[str, dict[str, Any]]:
    """Return the target as people read it, and the body, of a job of a task with these fields."""
    made = parse_job({"id": ID, "task": "t", **job}, 1000, NOW, tasks(**fields))
    return made.target, wire.unpack(made.body)


def refusal(job: dict[str, Any], **fields: Any) -> str:
    with pytest.raises(BadRequest) as refused:
        parsed(job, **fields)
    return str(refused.value)


def test_a_job_that_names_no_task_is_as_ever() -> None:
    job = parse_job({"id": ID, "argv": ["true"]}, 1000, NOW, {})
    assert (job.target, wire.unpack(job.body)) == ("true", {"argv": ["true"]})


def test_a_job_becomes_what_the_configuration_says() -> None:
    said = {"argv": ["thumbnail", "-s"], "cwd": "/srv", "env": {"A": "b"}, "timeout": 30, "retries": 2, "backoff": [1]}
    target, body = parsed({"payload": {"path": "/ä.jpg", "size": 2.5}}, **said)
    assert target == "t: thumbnail -s"
    assert body == {**said, "timeout": 30.0, "backoff": [1.0], "stdin": '{"path":"/ä.jpg","size":2.5}\n'.encode()}


def test_queue_priority_and_the_runtime_of_a_call_are_the_configuration_s_too() -> None:
    runtime = {"kind": "php", "interpreter": "/usr/bin/php", "worker": "/w"}
    given = tasks(call=r"Acme\Mail::send", runtime=runtime, queue="mail", priority=5)
    job = parse_job({"id": ID, "task": "t", "payload": [42]}, 1000, NOW, given)
    assert (job.queue, job.priority, wire.unpack(job.runtime or b"")) == ("mail", 5, runtime)
    assert wire.unpack(job.body)["args"] == wire.pack([42])


def test_when_is_the_submitter_s_to_say() -> None:
    job = parse_job({"id": ID, "task": "t", "delay": 5, "expires": NOW + 9}, 1000, NOW, tasks())
    assert (job.due, job.expires) == (NOW + 5, NOW + 9)


@pytest.mark.parametrize("name", sorted({*OF_TASK, "kwargs", "args", "stdin"}))
def test_nothing_else_is(name: str) -> None:
    assert f"{name} of task 't' is the configuration's to say" in refusal({name: 1})


def test_an_unknown_field_is_called_so() -> None:
    assert "unknown option 'colour' of task 't', give id, task, payload" in refusal({"colour": 1})


@pytest.mark.parametrize("name", ["u", "", 7, None, ["t"]])
def test_a_task_that_is_not_there_is_refused(name: object) -> None:
    with pytest.raises(BadRequest, match="in the daemon's configuration"):
        parse_job({"id": ID, "task": name}, 1000, NOW, tasks())


# The payload.


def test_arguments_of_a_call_are_positional_or_named() -> None:
    assert parsed({"payload": wire.pack([1, b"x"])}, call="a:b")[1] == {"call": "a:b", "args": wire.pack([1, b"x"])}
    assert parsed({"payload": {"k": 1}}, call="a:b")[1] == {"call": "a:b", "kwargs": wire.pack({"k": 1})}
    assert parsed({}, call="a:b")[1] == {"call": "a:b", "kwargs": wire.pack({})}


def test_a_call_may_read_it_on_stdin() -> None:
    assert parsed({"payload": [1]}, call="a:b", payload="stdin")[1] == {"call": "a:b", "stdin": b"[1]\n"}


def test_words_of_a_command() -> None:
    said: dict[str, Any] = {"argv": ["thumbnail"], "payload": "args"}
    assert parsed({"payload": ["a b", 7, 1.5, b"\xff"]}, **said)[1]["argv"] == ["thumbnail", "a b", "7", "1.5", b"\xff"]
    assert parsed({}, **said)[1]["argv"] == ["thumbnail"]
    assert said["argv"] == ["thumbnail"]


@pytest.mark.parametrize("word", ["-o/etc/passwd", b"-x", "--", -1])
def test_no_word_turns_into_an_option(word: object) -> None:
    assert "a word without '-' in front" in refusal({"payload": [word]}, argv=["thumbnail"], payload="args")
    assert parsed({"payload": [word]}, argv=["thumbnail", "--"], payload="args")[1]["argv"][2:] == [
        str(word) if type(word) is int else word
    ]


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ({"a": 1}, "a list: task 't' takes words"),
        ([None], "payload[0] is None, give a text or a number"),
        ([1, True], "payload[1] is True"),
        ([["a"]], "payload[0] is ['a']"),
        (["a\0b"], "without NUL"),
    ],
)
def test_what_is_no_word_is_refused(payload: object, said: str) -> None:
    assert said in refusal({"payload": payload}, argv=["thumbnail"], payload="args")


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ({"a": [b"x"]}, "payload.a[0] is b'x', give text in UTF-8"),
        ({"a": "\udcff"}, "payload.a is '\\udcff'"),
        ({"\udcff": 1}, "a key of payload"),
        ([float("nan")], "payload[0] is nan, give a number that JSON has"),
        ([float("inf")], "payload[0] is inf"),
    ],
)
def test_what_json_has_not_is_refused(payload: object, said: str) -> None:
    assert said in refusal({"payload": payload})


@pytest.mark.parametrize(
    "job",
    [
        {"\udcff": 1},
        {"k" * 100_000: 1},
        {"task": "\udcff" * 1000},
        {"payload": {"k" * 100_000: {"\udcff": 1}}},
        {"payload": {"k" * 100_000: [float("nan")]}},
    ],
)
def test_a_refusal_is_a_short_text_whatever_was_sent(job: dict[str, Any]) -> None:
    assert len(refusal(job).encode()) < 700


def test_a_payload_is_checked_as_fast_with_long_keys() -> None:
    def seconds(key: str) -> float:
        job = {"payload": {key: [[0] * 4096] * 20}}
        return min(timeit.repeat(lambda: parsed(job), number=1, repeat=5))

    assert seconds("k" * 100_000 + "\U0001f600") < 4 * seconds("k")


def test_a_payload_comes_packed_or_plain_in_a_bin_or_a_str() -> None:
    for given in (["ä"], wire.pack(["ä"]), wire.pack(["ä"]).decode("utf-8", "surrogateescape")):
        assert parsed({"payload": given})[1]["stdin"] == '["ä"]\n'.encode()


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (7, "payload is 7, give a map or a list"),
        (None, "payload is None"),
        (wire.pack("text"), "payload is 'text', give a map or a list"),
        (b"\xc1", "payload is no msgpack"),
        (b"\x81\x05\x01", "payload is no msgpack (cannot read message"),
        (b"\xda" + bytes(2), "payload is '', give a map or a list"),
        (bytes(MAX_PAYLOAD + 1), "the limit is 262144: put it into a file"),
        ({"a": "x" * MAX_PAYLOAD}, "the limit is 262144"),
    ],
)
def test_what_is_no_payload_is_refused(payload: object, said: str) -> None:
    assert said in refusal({"payload": payload})


# The configuration.


def test_a_configuration_has_tasks_by_name() -> None:
    text = b'[task.thumbnail]\nargv = ["t"]\nbackoff = {base = 1, cap = 2}\n[task."a.b-c"]\ncall = "m:f"\n'
    fields = {"argv": ["t"], "backoff": {"base": 1, "cap": 2}}
    assert parse(text, "c").task == {
        "thumbnail": Task("thumbnail", fields, STDIN), "a.b-c": Task("a.b-c", {"call": "m:f"}, "args"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("task = 3", "cannot use c: task is 3, give tables [task.NAME]"),
        ("task.t = 3", "task.t is 3, give a table [task.t]"),
        ("[task.t]", "task.t: give exactly one target"),
        ('[task.t]\nargv = ["a"]\ncall = "a:b"', "task.t: give exactly one target"),
        ('[task.t]\nargv = "a b"', "task.t: argv is 'a b', give a list"),
        ('[task.t]\ncall = "a.b"', "task.t: call is 'a.b'"),
        ('[task.t]\nargv = ["a"]\nargs = [1]', "unknown key 'task.t.args', known are argv, at_most_once"),
        ('[task.t]\nargv = ["a"]\ntimeout = "5m"', "task.t: timeout is '5m'"),
        ('[task.t]\nargv = ["a"]\npayload = "argv"', "task.t.payload is 'argv', give 'stdin' or 'args'"),
        ('[task.t]\ncall = "a:b"\nruntime = {kind = "php"}', "task.t: its runtime names no interpreter"),
        ('[task."a/b"]\nargv = ["a"]', "task.a/b: give a name of"),
        ('[task.t]\nargv = ["a"]\nretries = 1\nat_most_once = true', "task.t: retries would start it again"),
    ],
)
def test_a_mistake_in_a_task_names_task_and_key(text: str, said: str) -> None:
    with pytest.raises(BadConfig) as refused:
        parse(text.encode(), "c")
    assert said in str(refused.value)


def test_the_document_has_every_field_of_a_task_s_job_and_no_other() -> None:
    named = section("A named task").split("\n### ")[0]
    words = [word for row in named.splitlines() if row.startswith("| `") for word in row.split("|")[1].split("`")[1::2]]
    assert sorted(words) == sorted(OF_JOB)
    assert first_table(named)  # negative control: rows are found at all
    assert f"{MAX_PAYLOAD // 1024} KiB" in named


def test_what_is_on_stdin_is_json() -> None:
    payload = {"a": [1, 2.5, None, True, {"b": "\u2028 \"'\n"}]}
    assert json.loads(parsed({"payload": payload})[1]["stdin"]) == payload
