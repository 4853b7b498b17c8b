"""Named tasks: what the administrator has written down for others to start, and a job that asks for one of them.

    [task.thumbnail]
    argv = ["/usr/local/bin/thumbnail", "--size", "200"]
    timeout = 30

Whoever starts it says its name and a payload, and nothing else that could make it another: the command, its folder,
its environment are the configuration's. A job becomes what the configuration says when it is taken in; one that waits
keeps that over a reload.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from . import wire
from .descriptor import FIELDS, parse_job
from .errors import BadFrame, BadRequest, shown
from .job import Job

NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
MAX_PAYLOAD = 256 * 1024  # bytes packed: it is opened when it is taken in, beside everybody else's jobs

# What a task says of its jobs, each as a job would; and what a job of a task may say.
OF_TASK = (
    "argv", "call", "cwd", "env", "runtime", "queue", "priority", "timeout", "grace", "retries", "backoff",
    "at_most_once",
)  # fmt: skip
OF_JOB = ("id", "task", "payload", "delay", "run_at", "expires")
STDIN, ARGS = "stdin", "args"

_UTF8 = "text in UTF-8, as JSON has no bytes: base64 it"
_MOST_OF_A_PLACE = 200  # characters


class Task(NamedTuple):
    """One task: the fields of its jobs, and how they get the payload: as JSON on stdin, or as arguments."""

    name: str
    fields: dict[str, Any]
    payload: str


Tasks = Mapping[str, Task]


def read_tasks(tables: object) -> dict[str, Task]:
    """Check the [task.NAME] tables of a configuration. Raises BadRequest naming task and key."""
    if type(tables) is not dict:
        raise BadRequest(f"task is {tables!r}, give tables [task.NAME]")
    return {name: _read_task(name, table) for name, table in tables.items()}


def _read_task(name: str, table: object) -> Task:
    where = f"task.{name}"
    if not NAME.fullmatch(name):
        raise BadRequest(f"{where}: give a name of 1 to 64 letters, digits, '_', '-' or '.'")
    if type(table) is not dict:
        raise BadRequest(f"{where} is {table!r}, give a table [{where}]")
    fields = dict(table)
    payload = fields.pop("payload", ARGS if "call" in fields else STDIN)
    if payload not in (STDIN, ARGS):
        raise BadRequest(f"{where}.payload is {payload!r}, give {STDIN!r} or {ARGS!r}")
    for key in fields:
        if key not in OF_TASK:
            raise BadRequest(f"unknown key '{where}.{key}', known are {', '.join(sorted((*OF_TASK, 'payload')))}")
    try:
        parse_job({"id": bytes(16), **fields}, 0, 0.0)
    except BadRequest as error:
        raise BadRequest(f"{where}: {str(error).removeprefix('cannot submit job: ')}") from None
    return Task(name, fields, payload)


def parse(value: object, uid: int, now: float, tasks: Tasks) -> Job:
    """Check one job as `parse_job` does, whether it says itself what it runs or names a task."""
    if type(value) is not dict or "task" not in value:
        return parse_job(value, uid, now)
    task = _find(value["task"], tasks)
    job = parse_job(expand(value, task), uid, now)
    return job._replace(target=f"{task.name}: {job.target}")


def _find(name: object, tasks: Tasks) -> Task:
    task = tasks.get(name) if type(name) is str else None
    if task is None:
        raise BadRequest(f"cannot submit job: no task {shown(name)} in the daemon's configuration, write [task.NAME]")
    return task


def expand(value: dict[str, Any], task: Task) -> dict[str, Any]:
    """Return the job map of a job that asks for this task. Raises BadRequest for what is not the asker's to say."""
    for name in value:
        if name not in OF_JOB:
            what = f"{name} of task {task.name!r} is the configuration's to say"
            if name not in FIELDS:
                what = f"unknown option {shown(name)} of task {task.name!r}"
            raise BadRequest(f"cannot submit job: {what}, give {', '.join(OF_JOB)}")
    job = {name: given for name, given in value.items() if name not in ("task", "payload")}
    return {**task.fields, **_carried(task, _opened(value.get("payload", {}))), **job}


def _bad(value: object, wanted: str, place: str = "payload") -> BadRequest:
    return BadRequest(f"cannot submit job: {place} is {shown(value)}, give {wanted}")


def _opened(payload: object) -> dict[str, Any] | list[Any]:
    """Return the payload as a map or a list, however it came."""
    if type(payload) is str:  # PHP's extension has no bin
        payload = payload.encode("utf-8", "surrogateescape")
    if type(payload) is not bytes and type(payload) in (dict, list):
        payload = wire.pack(payload)
    if type(payload) is not bytes:
        raise _bad(payload, "a map or a list, or one packed into a bin")
    if len(payload) > MAX_PAYLOAD:
        raise BadRequest(
            f"cannot submit job: payload is {len(payload)} bytes, the limit is {MAX_PAYLOAD}: put it into a file and"
            " hand over its path"
        )
    try:
        value = wire.unpack(payload)
    except BadFrame as error:
        raise BadRequest(f"cannot submit job: payload is no msgpack ({error})") from None
    if type(value) is not dict and type(value) is not list:
        raise _bad(value, "a map or a list")
    return value


def _carried(task: Task, payload: dict[str, Any] | list[Any]) -> dict[str, Any]:
    """Return the fields that bring the payload to the job."""
    if task.payload == STDIN:
        return {"stdin": _as_json(payload)}
    if "call" in task.fields:
        return {"kwargs" if type(payload) is dict else "args": payload}
    if payload == {}:
        return {}
    if type(payload) is not list:
        raise _bad(payload, f"a list: task {task.name!r} takes words")
    words = task.fields["argv"]
    return {"argv": [*words, *(_word(task, index, word) for index, word in enumerate(payload))]}


def _word(task: Task, index: int, value: object) -> str | bytes:
    """Return one word for a command. What it would take for an option is refused where it does not end them itself."""
    place = f"payload[{index}]"
    word = str(value) if type(value) in (int, float) else value
    if type(word) not in (str, bytes):
        raise _bad(value, "a text or a number", place)
    if word[:1] in ("-", b"-") and task.fields["argv"][-1] != "--":  # type: ignore[index]
        raise _bad(value, f"a word without '-' in front: task {task.name!r} does not end its options with '--'", place)
    return word  # type: ignore[return-value]


def _as_json(payload: object) -> bytes:
    """Return it as JSON in UTF-8, on one line."""
    _refuse_what_json_lacks(payload, ())
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _refuse_what_json_lacks(value: object, path: tuple[str | int, ...]) -> None:
    # Its place is spelt out where it is refused: keys may be long, and what lies under them many.
    if type(value) is dict:
        for name, item in value.items():
            if not _is_utf8(name):
                raise _bad(name, _UTF8, f"a key of {_place(path)}")
            _refuse_what_json_lacks(item, (*path, name))
    elif type(value) is list:
        for index, item in enumerate(value):
            _refuse_what_json_lacks(item, (*path, index))
    elif type(value) is bytes or (type(value) is str and not _is_utf8(value)):
        raise _bad(value, _UTF8, _place(path))
    elif type(value) is float and not math.isfinite(value):
        raise _bad(value, "a number that JSON has", _place(path))


def _place(path: tuple[str | int, ...]) -> str:
    place = "payload" + "".join(f"[{step}]" if type(step) is int else f".{step}" for step in path)
    return place if len(place) <= _MOST_OF_A_PLACE else place[:_MOST_OF_A_PLACE] + "…"


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
