"""What may be said about a job besides its target: every option checked at once, and turned into wire values.

One row an option in `_CHECKS`; an option without a row is a TypeError, never ignored. The limits are the protocol's
(a test holds them against `descriptor.FIELDS`), repeated here because they must not cost an import of it.
It knows no clock: `delay` and `expires` in seconds stay relative until a job is made.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from os import PathLike
    from typing import Any, Literal, TypedDict

    Seconds = float | timedelta

    class Given(TypedDict, total=False):
        """The options as a caller writes them; None is the same as not given."""

        timeout: Seconds | None
        grace: Seconds | None
        queue: str | None
        priority: int | None
        retries: int | None
        at_most_once: bool | None
        backoff: list[Seconds] | tuple[Seconds, ...] | dict[str, Seconds] | None
        delay: Seconds | None
        run_at: float | datetime | None
        expires: Seconds | datetime | None
        stdin: bytes | str | None
        env: Mapping[str, str] | None
        cwd: str | PathLike[str] | None
        ack: Literal["sent", "stored", "synced"] | None
        on_unavailable: Literal["spool", "raise", "drop", "inline"] | None
        deadline: Seconds | None
        runtime: Mapping[str, Any] | None


ACKS = ("sent", "stored", "synced")
POLICIES = ("spool", "raise", "drop", "inline")
DEADLINE = 0.25  # seconds for the whole hand-off
LOCAL = ("ack", "on_unavailable", "deadline", "runtime", "delay", "expires")  # not copied to the wire as they are

_YEAR = 366 * 86400.0
_QUEUE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-")


def check(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that are set, checked, in wire form: seconds, Unix seconds, bytes.

    Raises TypeError for an unknown option or a wrong type, ValueError for a value out of range.
    """
    checked = {}
    for name, value in given.items():
        row = _CHECKS.get(name)
        if row is None:
            raise TypeError(f"cannot use option {name!r}: unknown, known are {', '.join(_CHECKS)}")
        if value is not None:
            checked[name] = row(name, value)
    if "delay" in checked and "run_at" in checked:
        raise ValueError("cannot use options: give delay or run_at, not both")
    refuse_twice(checked)
    return checked


def refuse_twice(checked: Mapping[str, Any]) -> None:
    """Raise ValueError for options that promise one start at most and ask for what could be a second."""
    if not checked.get("at_most_once"):
        return
    if checked.get("retries"):
        raise ValueError("cannot use options: retries would start it again, which at_most_once forbids")
    if checked.get("on_unavailable") == "inline":  # a daemon that did not answer in time may have the job all the same
        raise ValueError("cannot use options: run inline, it might run twice, which at_most_once forbids")


def default_ack(environ: Mapping[str, str]) -> str:
    """Return the ack of jobs that ask for none: SIDECAR_ACK, else "sent"."""
    return str(_one_of(*ACKS)("SIDECAR_ACK", environ.get("SIDECAR_ACK") or "sent"))


def _wrong(kind: type[Exception], name: str, value: object, wanted: str) -> Exception:
    shown = repr(value)
    return kind(f"cannot use option {name}={shown if len(shown) < 80 else shown[:77] + '...'}: give {wanted}")


def _seconds(low: float, high: float) -> Callable[[str, object], float]:
    wanted = f"seconds from {low:g} to {high:g}, or a timedelta"

    def row(name: str, value: object) -> float:
        if isinstance(value, timedelta):
            value = value.total_seconds()
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise _wrong(TypeError, name, value, wanted)
        if not low <= value <= high:  # NaN fails too
            raise _wrong(ValueError, name, value, wanted)
        return float(value)

    return row


def _whole(low: int, high: int) -> Callable[[str, object], int]:
    wanted = f"a whole number from {low} to {high}"

    def row(name: str, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise _wrong(TypeError, name, value, wanted)
        if not low <= value <= high:
            raise _wrong(ValueError, name, value, wanted)
        return int(value)

    return row


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise _wrong(TypeError, name, value, "True or False")
    return value


def _one_of(*words: str) -> Callable[[str, object], str]:
    wanted = " or ".join(repr(word) for word in words)

    def row(name: str, value: object) -> str:
        if value not in words:
            raise _wrong(ValueError, name, value, wanted)
        return str(value)

    return row


def _instant(name: str, value: object) -> float:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise _wrong(ValueError, name, value, "an aware datetime, as datetime.now(timezone.utc) is")
        value = value.timestamp()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _wrong(TypeError, name, value, "an aware datetime, or Unix seconds")
    if not 0 <= value <= 1e11:
        raise _wrong(ValueError, name, value, "an aware datetime, or Unix seconds")
    return float(value)


_lifetime = _seconds(0, 10 * _YEAR)


def _expires(name: str, value: object) -> tuple[str, float]:
    if isinstance(value, datetime):
        return "at", _instant(name, value)
    return "in", _lifetime(name, value)


def _queue(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise _wrong(TypeError, name, value, "a text")
    if not 0 < len(value) <= 64 or not _QUEUE.issuperset(value):
        raise _wrong(ValueError, name, value, "1 to 64 letters, digits, '_', '-' or '.'")
    return value


_pause = _seconds(0, _YEAR)


def _backoff(name: str, value: object) -> object:
    if isinstance(value, (list, tuple)) and value:
        return [_pause(name, item) for item in value]
    if isinstance(value, dict) and value.keys() <= {"base", "cap"}:
        return {key: _pause(f"{name}.{key}", item) for key, item in value.items()}
    raise _wrong(TypeError, name, value, "a list of delays, or a dict with base and cap, in seconds")


def _stdin(name: str, value: object) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    raise _wrong(TypeError, name, value, "bytes, or a text")


def _env(name: str, value: object) -> dict[str, str]:
    if not hasattr(value, "items"):
        raise _wrong(TypeError, name, value, "a dict of texts")
    made = dict(value.items())
    for key, item in made.items():
        if not isinstance(key, str) or not isinstance(item, str):
            raise _wrong(TypeError, f"{name}[{key!r}]", item, "texts: str(...) of it")
        if not key or "=" in key or "\0" in key or "\0" in item:
            raise _wrong(ValueError, f"{name}[{key!r}]", item, "names without '=', and nothing with NUL")
    return made


def _cwd(name: str, value: object) -> str:
    try:
        folder = os.fspath(value)  # type: ignore[call-overload]
    except TypeError:
        raise _wrong(TypeError, name, value, "a path") from None
    if not isinstance(folder, str) or not folder.startswith("/") or "\0" in folder:
        raise _wrong(ValueError, name, value, "an absolute path: os.path.abspath(...) of it")
    return folder


RUNTIMES = {
    "python": ("kind", "interpreter", "path", "cwd", "env", "setup"),
    "php": ("kind", "interpreter", "worker", "bootstrap", "cwd", "env"),
}


def _runtime(name: str, value: object) -> dict[str, Any]:
    if not hasattr(value, "items"):
        raise _wrong(TypeError, name, value, f"a dict with {', '.join(RUNTIMES['python'])}")
    record = dict(value.items())
    kind = record.get("kind", "python")
    if not isinstance(kind, str) or kind not in RUNTIMES:
        raise _wrong(ValueError, f"{name}['kind']", kind, " or ".join(map(repr, RUNTIMES)))
    if not record.keys() <= set(RUNTIMES[kind]):
        raise _wrong(ValueError, name, value, f"only {', '.join(RUNTIMES[kind])} as keys")
    if kind == "php" and not {"interpreter", "worker"} <= record.keys():
        raise _wrong(ValueError, name, value, "interpreter and worker, absolute paths of php and sidecar-php-worker")
    return record


_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "timeout": _seconds(0.001, _YEAR),
    "grace": _seconds(0, 3600),
    "queue": _queue,
    "priority": _whole(-100, 100),
    "retries": _whole(0, 1000),
    "at_most_once": _flag,
    "backoff": _backoff,
    "delay": _seconds(0, 10 * _YEAR),
    "run_at": _instant,
    "expires": _expires,
    "stdin": _stdin,
    "env": _env,
    "cwd": _cwd,
    "ack": _one_of(*ACKS),
    "on_unavailable": _one_of(*POLICIES),
    "deadline": _seconds(0, 3600),
    "runtime": _runtime,
}
