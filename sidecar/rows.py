"""What the store takes and gives beside jobs: its rows as records. Pure; schema.sql tells what a column means."""

from __future__ import annotations

from typing import NamedTuple

from .job import Event


class Lane(NamedTuple):
    """Jobs of one user, queue and runtime (packed; b"" for none)."""

    id: int
    uid: int
    queue: str
    runtime: bytes


class Summary(NamedTuple):
    """A job without its attempts: one row of `list`."""

    seq: int
    id: bytes
    uid: int
    queue: str
    priority: int
    state: str
    outcome: str | None
    submitted: float
    due: float
    expires: float | None
    finished: float | None
    attempts: int
    failures: int
    interruptions: int
    cancel_wanted: int
    reason: str | None
    lane: int
    target: str
    started: float | None  # of the newest attempt


class Attempt(NamedTuple):
    """One attempt as it was recorded; what is not known yet is None."""

    number: int
    generation: int
    started: float
    ended: float | None
    reason: str | None
    status: int | None
    signal: int | None
    user: float | None
    system: float | None
    max_rss: int | None
    result: bytes | None
    result_error: str | None
    error: bytes | None
    tail: bytes | None
    dropped: int | None
    survivors: int | None


class Running(NamedTuple):
    """A job that an attempt is counted for: what is needed to adopt it, and to decide what its ending means."""

    seq: int
    number: int
    id: bytes
    lane: int
    generation: int
    failures: int
    interruptions: int
    crashes: int
    cancel_wanted: int
    body: bytes


class Conclusion(NamedTuple):
    """What an attempt's ending means for its job: decided elsewhere, written here."""

    event: Event
    due: float | None  # for RETRY: when it may run again
    forget: float
    failures: int
    interruptions: int
    crashes: int
    reason: str | None
    result: bytes | None
    result_error: str | None
    error: bytes | None
