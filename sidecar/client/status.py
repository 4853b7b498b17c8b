"""What the daemon says of a job, for Python: attributes instead of keys, aware datetimes instead of Unix seconds.

A newer daemon may say more than is named here: whatever it says becomes an attribute.
"""

from __future__ import annotations

from datetime import UTC, datetime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, NoReturn

_INSTANTS = frozenset(("submitted", "due", "expires", "started", "finished", "ended"))


class _Record:
    """A frozen bundle of attributes."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self.__dict__.update((name, _value(name, value)) for name, value in fields.items())

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"cannot set {name}: a status is what was true when it was asked for")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.__dict__ == other.__dict__

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.__dict__.items() if value not in (None, (), 0))
        return f"{type(self).__name__}({shown})"


class Attempt(_Record):
    """One run of a job in one process tree."""

    number: int
    started: datetime | None
    ended: datetime | None
    reason: str | None  # exit, timeout, cancel, shutdown, crash
    outcome: str | None
    status: int | None
    signal: int | None
    user: float  # seconds of CPU
    system: float
    max_rss: int  # bytes
    dropped: int  # bytes of output that were not kept
    survivors: int  # processes it left behind, ended with it
    tree: str  # the mechanism that ended them


class Status(_Record):
    """A job as it was when it was asked for. Instants are aware datetimes in UTC, None where there is none yet."""

    id: str
    state: str  # scheduled, queued, running, done
    outcome: str | None  # with done: succeeded, failed, timed_out, cancelled, expired, rejected, lost
    queue: str
    priority: int
    target: str
    submitted: datetime
    due: datetime
    expires: datetime | None
    started: datetime | None
    finished: datetime | None
    attempts: tuple[Attempt, ...]
    failures: int
    interruptions: int
    cancel_wanted: bool
    waiting: str | None  # why a queued job cannot start
    cold: str | None  # why each job imports its module anew, where that takes long
    reason: str | None  # of rejected and lost
    error: dict[str, str] | None
    result_error: str | None


def _value(name: str, value: Any) -> Any:
    if name in _INSTANTS and type(value) in (int, float):
        return datetime.fromtimestamp(value, UTC)
    if name == "attempts":
        return tuple(Attempt(each) for each in value or ())
    return value
