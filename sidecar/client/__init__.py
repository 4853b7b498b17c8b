"""The client: what a web application imports. Stdlib and msgpack; no trio, no click, no sqlite3.

    submit(send, 42, to="x")                          hand off, about 3 µs, never longer than the deadline
    options(retries=5, ack="stored").submit(send, 42)
    options(retries=5).prepare(send, 42).send()       an id before the hand-off
    @task(queue="mail")                               send.submit(42)
    submit(named("thumbnail"), path="/srv/a.jpg")     a task of the daemon's configuration
    Handle(text).result(timeout=5)                    from another process, by the id's text
    connect("/run/other")                             another daemon than the usual one

A job goes   target, pack, terms, runtime -> plan -> options -> delivery -> handoff | control | spool | inline
and comes back as   handle -> control -> exchange, status.   `aio` is the same for asyncio and trio.
What most processes never need (the stream, the spool) is imported when it is needed: importing this must stay cheap.
"""

from __future__ import annotations

from ..errors import (
    BadFrame,
    BadRequest,
    GiveUp,
    Internal,
    JobFailed,
    NoSpace,
    NotAllowed,
    NotFound,
    SidecarError,
    TooLarge,
    TryAgain,
    Unavailable,
)
from .door import Statistics, door_of
from .handle import Handle, Prepared
from .options import Options
from .status import Attempt, Status
from .target import Named
from .task import Task, task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Unpack

    from .terms import Given

__all__ = [
    "Attempt", "BadFrame", "BadRequest", "GiveUp", "Handle", "Internal", "JobFailed", "NoSpace", "NotAllowed",
    "NotFound", "Options", "Prepared", "SidecarError", "Statistics", "Status", "Task", "TooLarge", "TryAgain",
    "Unavailable",
    "connect", "named", "options", "prepare", "statistics", "submit", "task",
]  # fmt: skip


def connect(runtime_dir: str | None = None) -> Options:
    """Return the way to the daemon of one runtime folder (None: where everybody looks); `submit` and `options` of it
    are like those of this module. Opens nothing yet.
    """
    return Options(door_of(runtime_dir), {})


def options(**given: Unpack[Given]) -> Options:
    """Return options for jobs: `options(timeout=30, queue="mail").submit(fn, ...)`. Checked here and now.

    timeout, grace, delay: seconds or timedelta · run_at: aware datetime or Unix seconds · expires: seconds from the
    submit, or an aware datetime · queue · priority: -100 to 100 · retries · backoff: list of delays, or dict with base
    and cap · at_most_once: never start it twice, rather lose it · stdin, env, cwd · ack: "sent", "stored" or "synced" ·
    on_unavailable: "spool", "raise", "drop" or "inline" · deadline: seconds for the whole hand-off (0.25) · runtime: a
    record instead of this process's own.
    Raises TypeError for an unknown option or a wrong type, ValueError for a value out of range.
    """
    return Options(door_of(), given)


def named(name: str) -> Named:
    """Return a task of the daemon's configuration, for `submit`: `submit(named("thumbnail"), path="/srv/a.jpg")`.

    Keywords are its payload as a map, positional arguments as a list. Of options it takes delay, run_at, expires, ack,
    on_unavailable (not "inline") and deadline: all else is the configuration's.
    """
    return Named(name)


def statistics() -> Statistics:
    """Return how often jobs of this process went another way than to the usual daemon."""
    return door_of().statistics()


_usual = connect()
submit = _usual.submit
prepare = _usual.prepare
