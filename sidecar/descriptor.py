"""What a job may say: each field with its check, the whole of it, and the runtime record that goes with a call.

It refuses to know sockets, bytes (see `wire`) and the clock. Every field of a job has one row in `FIELDS`; a field
without a row is refused, never ignored, so that a client never believes in an option that this version does not have.
The specification for people is `clients/PROTOCOL.md`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from typing import Any

from . import wire
from .errors import BadFrame, BadRequest, SidecarError, shown
from .job import Job

YEAR = 366 * 86400.0
MAX_TEXT = 4096
_SHOWN_WORDS, _SHOWN_TARGET = 100, 1000
MAX_RUNTIME = 64 * 1024  # records are remembered

# What a call looks like, by the kind of its runtime. No text is both.
_TARGET = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_PHP_TARGET = re.compile(r"[^\W\d]\w*(\\[^\W\d]\w*)*(::[^\W\d]\w*)?")
_CALLS = {
    "python": (_TARGET, 'a function as "package.module:function"'),
    "php": (_PHP_TARGET, r'a PHP function, "Class::method" or an invokable class, as "Acme\Mail::send"'),
}
_QUEUE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_UUID = re.compile(r"[0-9a-fA-F]{8}-?([0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}")


def _bad(name: str, value: object, wanted: str) -> BadRequest:
    return BadRequest(f"cannot submit job: {name} is {shown(value)}, give {wanted}")


def text(name: str, value: object, limit: int = MAX_TEXT) -> str:
    """Check a text: UTF-8, no NUL, not empty."""
    if type(value) is not str or not value or len(value) > limit or "\0" in value:
        raise _bad(name, value, f"a text of 1 to {limit} characters without NUL")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise _bad(name, value, "text in UTF-8") from None
    return value


def _number(low: float, high: float, what: str) -> Callable[[str, object], float]:
    def check(name: str, value: object) -> float:
        if type(value) not in (int, float) or not low <= value <= high:  # type: ignore[operator]  # NaN fails too
            raise _bad(name, value, what)
        return float(value)  # type: ignore[arg-type]

    return check


def _integer(low: int, high: int) -> Callable[[str, object], int]:
    def check(name: str, value: object) -> int:
        if type(value) is not int or not low <= value <= high:
            raise _bad(name, value, f"a whole number from {low} to {high}")
        return value

    return check


def _call(name: str, value: object) -> str:
    """Check what holds of every call; its form waits until its runtime's kind is known."""
    if type(value) is not str or len(value) > MAX_TEXT:
        raise _bad(name, value, f"the name of a function, up to {MAX_TEXT} characters")
    return value


def _refuse_form(call: str, kind: str) -> BadRequest:
    wanted = _CALLS[kind][1]
    others = [other for other in _CALLS if other != kind and _CALLS[other][0].fullmatch(call)]
    if others:
        wanted += f", since its runtime is {kind}, or a runtime of kind {others[0]}"
    return _bad("call", call, wanted)


def _setup(name: str, value: object) -> str:
    if type(value) is not str or len(value) > MAX_TEXT or not _TARGET.fullmatch(value):
        raise _bad(name, value, _CALLS["python"][1])
    return value


def _argv(name: str, value: object) -> list[str | bytes]:
    if type(value) is not list or not value:
        raise _bad(name, value, "a list that begins with the program; a shell line is never taken")
    for word in value:
        if type(word) not in (str, bytes) or (b"\0" if type(word) is bytes else "\0") in word:
            raise _bad(name, word, "texts without NUL as words")
    if not value[0]:
        raise _bad(name, value, "a program as first word")
    return value


def _document(kind: type) -> Callable[[str, object], bytes]:
    def check(name: str, value: object) -> bytes:
        if type(value) is bytes:
            return value
        if type(value) is str:  # PHP's extension has no bin
            return value.encode("utf-8", "surrogateescape")
        if type(value) is kind or value == []:
            return wire.pack(value if value else kind())
        raise _bad(name, value, f"a {'list' if kind is list else 'map'}, or one packed into a bin")

    return check


def _bytes(name: str, value: object) -> bytes:
    if type(value) is str:
        return value.encode("utf-8", "surrogateescape")
    if type(value) is not bytes:
        raise _bad(name, value, "bytes")
    return value


def environment(name: str, value: object) -> dict[str, str]:
    """Check a map of environment variables: names without '=', values without NUL."""
    if value == []:
        return {}
    if type(value) is not dict:
        raise _bad(name, value, "a map of texts")
    for key, item in value.items():
        text(f"{name} variable name", key)
        if "=" in key or type(item) is not str or "\0" in item:
            raise _bad(f"{name}[{shown(key)}]", item, "names without '=' and texts without NUL")
    return value


def _folder(name: str, value: object) -> str:
    if not text(name, value).startswith("/"):
        raise _bad(name, value, "an absolute path")
    return value  # type: ignore[return-value]


def _queue(name: str, value: object) -> str:
    if type(value) is not str or not _QUEUE.fullmatch(value):
        raise _bad(name, value, "1 to 64 letters, digits, '_', '-' or '.'")
    return value


def _backoff(name: str, value: object) -> object:
    seconds = _number(0, YEAR, "seconds from 0 to a year")
    if type(value) is list and value:
        return [seconds(name, item) for item in value]
    if type(value) is dict and value.keys() <= {"base", "cap"}:
        return {key: seconds(f"{name}.{key}", item) for key, item in value.items()}
    raise _bad(name, value, "a map with base and cap, or a list of delays")


def _flag(name: str, value: object) -> bool:
    if type(value) is not bool:
        raise _bad(name, value, "true or false")
    return value


def job_id(value: object, name: str = "id") -> bytes:
    """Check a whole job id: 16 bytes, or the usual text of a UUID. Returns the 16 bytes."""
    if type(value) is bytes and len(value) == 16:
        return value
    if type(value) is str and _UUID.fullmatch(value):
        return bytes.fromhex(value.replace("-", ""))
    raise _bad(name, value, "a UUID as 16 bytes or as text")


def show_id(id: bytes) -> str:
    """Return the usual text of an id."""
    digits = id.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


_instant = _number(0, 1e11, "Unix seconds")

FIELDS: dict[str, Callable[[str, Any], Any]] = {
    "id": lambda name, value: job_id(value, name),
    # the target: exactly one
    "call": _call,
    "argv": _argv,
    # what goes with it
    "args": _document(list),
    "kwargs": _document(dict),
    "stdin": _bytes,
    "env": environment,
    "cwd": _folder,
    "runtime": _document(dict),
    # when, how long, how often
    "timeout": _number(0.001, YEAR, "seconds over 0, at most a year"),
    "grace": _number(0, 3600, "seconds from 0 to 3600"),
    "delay": _number(0, 10 * YEAR, "seconds from 0 to ten years"),
    "run_at": _instant,
    "expires": _instant,
    "retries": _integer(0, 1000),
    "backoff": _backoff,
    "at_most_once": _flag,
    "priority": _integer(-100, 100),
    "queue": _queue,
}

_pack = wire.packer()  # one, kept: making one for each job costs more than packing it

# What stays in the packed body: the attempt and the retry read it, nobody searches it.
BODY = (
    "call", "argv", "args", "kwargs", "stdin", "env", "cwd", "timeout", "grace", "retries", "backoff", "at_most_once",
)  # fmt: skip


def parse_job(value: object, uid: int, now: float) -> Job:
    """Check one job as it came off the wire, submitted by `uid` at `now` (Unix seconds).

    Raises BadRequest naming the first field that is wrong and what it should be.
    """
    if type(value) is not dict:
        raise _bad("the job", value, "a map")
    fields: dict[str, Any] = {}
    for name, given in value.items():
        check = FIELDS.get(name)
        if check is None:
            raise BadRequest(f"cannot submit job: unknown option {shown(name)}, this version knows {', '.join(FIELDS)}")
        fields[name] = check(name, given)
    if "id" not in fields:
        raise BadRequest("cannot submit job: no id, make a UUID (version 7) before the hand-off")
    if ("call" in fields) + ("argv" in fields) != 1:
        raise BadRequest("cannot submit job: give exactly one target, call, argv or task")
    if "argv" in fields and ("args" in fields or "kwargs" in fields):
        raise BadRequest("cannot submit job: args and kwargs belong to a call, an argv carries its own words")
    if "delay" in fields and "run_at" in fields:
        raise BadRequest("cannot submit job: give delay or run_at, not both")
    if fields.get("at_most_once") and fields.get("retries"):
        raise BadRequest(
            "cannot submit job: retries would start it again, which at_most_once forbids: give one of them"
        )
    take = fields.pop
    runtime = take("runtime", None)
    kind = "python" if runtime is None else parse_runtime(runtime).get("kind", "python")
    call = fields.get("call")
    if call is not None and not _CALLS[kind][0].fullmatch(call):
        raise _refuse_form(call, kind)
    due = take("run_at", None)
    if due is None:
        due = now + take("delay", 0.0)
    return Job(
        take("id"),
        uid,
        take("queue", "default"),
        take("priority", 0),
        due,
        take("expires", None),
        None if call is None else runtime,
        _pack(fields),  # what is left is BODY
        call or _for_people(fields["argv"]),
    )


def _for_people(argv: list[str | bytes]) -> str:
    """Show a command as a person would type it, cut short."""
    words = [word.decode("utf-8", "replace") if type(word) is bytes else word for word in argv[:_SHOWN_WORDS]]
    text = shlex.join(words)[:_SHOWN_TARGET]  # type: ignore[arg-type]
    return text.encode("utf-8", "replace").decode()


def rejected_job(value: object, uid: int, now: float, reason: str) -> Job | None:
    """Make the record of a job that was refused, so that its id leads to the reason; None where no id can be read."""
    said = value if type(value) is dict else {}
    try:
        id = job_id(said.get("id"))
    except SidecarError:
        return None
    named = next((said[name] for name in ("task", "call") if type(said.get(name)) is str), "")
    target = named[:_SHOWN_TARGET].encode("utf-8", "replace").decode()
    kept = (
        reason[:MAX_TEXT].encode("utf-8", "backslashreplace").decode()
    )  # whatever it quotes: the store takes text alone
    return Job(id, uid, "default", 0, now, None, None, wire.pack({}), target, rejected=kept)


# The runtime record: what a call needs to find its code (design 5.1). One row a field, as for a job.
_RUNTIME: dict[str, Callable[[str, Any], Any]] = {
    "kind": lambda name, value: value if type(value) is str and value in _CALLS else _refuse_kind(value),
    "interpreter": _folder,
    "cwd": _folder,
    "env": environment,
    "path": lambda name, value: [_folder(name, item) for item in _list(name, value)],
    "setup": _setup,
    "worker": _folder,
    "bootstrap": _folder,
}
_OF_ONE_KIND = {"path": "python", "setup": "python", "worker": "php", "bootstrap": "php"}
_NEEDED = {"python": ("interpreter",), "php": ("interpreter", "worker")}
_runtimes: dict[bytes, dict[str, Any]] = {}  # the same few bytes come with every job of an application
_RUNTIMES_KEPT = 256


def _refuse_kind(value: object) -> str:
    raise _bad("runtime.kind", value, " or ".join(_CALLS))


def _list(name: str, value: object) -> list[Any]:
    if type(value) is not list:
        raise _bad(name, value, "a list")
    return value


def parse_runtime(packed: bytes) -> dict[str, Any]:
    """Check a packed runtime record and return it; the answer for the same bytes is remembered."""
    known = _runtimes.get(packed)
    if known is not None:
        return known
    if len(packed) > MAX_RUNTIME:
        raise BadRequest(f"cannot submit job: its runtime is {len(packed)} bytes, the limit is {MAX_RUNTIME}")
    try:
        value = wire.unpack(packed)
    except BadFrame as error:
        raise BadRequest(f"cannot submit job: its runtime is no msgpack map ({error})") from None
    if type(value) is not dict:
        raise _bad("runtime", value, "a map")
    for name, given in value.items():
        if name not in _RUNTIME:
            raise BadRequest(f"cannot submit job: unknown runtime field {shown(name)}, known are {', '.join(_RUNTIME)}")
        _RUNTIME[name](f"runtime.{name}", given)
    kind = value.get("kind", "python")
    for name in value:
        if _OF_ONE_KIND.get(name, kind) != kind:
            raise BadRequest(f"cannot submit job: runtime.{name} is for runtimes of kind {_OF_ONE_KIND[name]} alone")
    for name in _NEEDED[kind]:
        if name not in value:
            raise BadRequest(f"cannot submit job: its runtime names no {name}")
    if len(_runtimes) >= _RUNTIMES_KEPT:
        _runtimes.clear()
    _runtimes[packed] = value
    return value


def read_body(body: bytes) -> dict[str, Any]:
    """Return a stored job's options; none where its record was damaged, which its attempt comes upon and fails of."""
    try:
        options = wire.unpack(body)
    except BadFrame:
        return {}
    return options if type(options) is dict else {}
