"""What a job is, where it can be, how it can end, and which steps lead from one to the other.

Three questions are kept apart: where it is (`State`), how it ended (`Outcome`, only with DONE), and what is wanted of
it (`cancel_wanted`, a flag in the store). Every legal step stands in `TRANSITIONS`; an absent entry is an illegal step.
`schema.sql` says the same again as CHECKs. This room knows no clock, no file and no wire.

    submit --> scheduled --due--> queued --claim--> running --> done: succeeded
                   ^                ^                |   |
                   +---- retry <----+----------------+   +--> done: failed | timed_out | lost
                                    +- interrupt, giveback
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from .errors import SidecarError


class State(StrEnum):
    """Where a job is. In brackets: who moves it on."""

    SCHEDULED = "scheduled"  # waits for an instant (the dispatcher's alarm)
    QUEUED = "queued"  # may start at once (the dispatcher's claim)
    RUNNING = "running"  # an attempt is counted and may be under way (the zygote's report)
    DONE = "done"  # ended (the janitor, by age)


class Outcome(StrEnum):
    """How a job ended; meaningful only with State.DONE."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    REJECTED = "rejected"
    LOST = "lost"


class Event(StrEnum):
    """What can happen to a job."""

    DUE = "due"  # its instant has come
    CLAIM = "claim"  # a slot is free: the attempt is counted, then spawned
    GIVE_BACK = "give_back"  # claimed, but the attempt was never spawned: as if it had not been claimed
    RETRY = "retry"  # failed or timed out, and tries are left
    INTERRUPT = "interrupt"  # ended by us, not by itself: runs again, costs no retry
    SUCCEED = "succeed"
    FAIL = "fail"
    TIME_OUT = "time_out"
    CANCEL = "cancel"
    EXPIRE = "expire"
    LOSE = "lose"  # interrupted too often, or not to be started twice
    REJECT = "reject"  # never accepted; kept so that whoever holds the id can learn why


OUTCOME_OF: dict[Event, Outcome] = {
    Event.SUCCEED: Outcome.SUCCEEDED,
    Event.FAIL: Outcome.FAILED,
    Event.TIME_OUT: Outcome.TIMED_OUT,
    Event.CANCEL: Outcome.CANCELLED,
    Event.EXPIRE: Outcome.EXPIRED,
    Event.LOSE: Outcome.LOST,
    Event.REJECT: Outcome.REJECTED,
}

TRANSITIONS: dict[State, dict[Event, State]] = {
    State.SCHEDULED: {
        Event.DUE: State.QUEUED,
        Event.CANCEL: State.DONE,
        Event.EXPIRE: State.DONE,
        Event.REJECT: State.DONE,
    },
    State.QUEUED: {
        Event.CLAIM: State.RUNNING,
        Event.CANCEL: State.DONE,
        Event.EXPIRE: State.DONE,
        Event.REJECT: State.DONE,
    },
    State.RUNNING: {
        Event.GIVE_BACK: State.QUEUED,
        Event.RETRY: State.SCHEDULED,
        Event.INTERRUPT: State.QUEUED,
        Event.SUCCEED: State.DONE,
        Event.FAIL: State.DONE,
        Event.TIME_OUT: State.DONE,
        Event.CANCEL: State.DONE,
        Event.LOSE: State.DONE,
    },
    State.DONE: {},
}


class IllegalTransition(SidecarError):
    """A bug of ours: a step was asked for that the table does not have."""


def after(state: State, event: Event) -> tuple[State, Outcome | None]:
    """Return the state after `event`, and the outcome if that state is DONE."""
    try:
        following = TRANSITIONS[state][event]
    except KeyError:
        raise IllegalTransition(f"cannot {event.value} a job that is {state.value}") from None
    return following, OUTCOME_OF[event] if following is State.DONE else None


class Job(NamedTuple):
    """A submitted job, checked: what intake gives to the store.

    `due` and `expires` are Unix seconds (expires None: never). `runtime` is the packed runtime record, None for
    what needs none. `body` is the packed map of everything only the attempt or a retry needs (see descriptor.BODY),
    `target` what it runs, for people. `rejected` names why it was refused; None for a job that was accepted.
    """

    id: bytes
    uid: int
    queue: str
    priority: int
    due: float
    expires: float | None
    runtime: bytes | None
    body: bytes
    target: str = ""
    rejected: str | None = None


class Claim(NamedTuple):
    """A job taken from the queue, its attempt counted: what the store gives to the dispatcher.

    `failures` are those of the attempts before.
    """

    seq: int
    number: int
    id: bytes
    lane: int
    body: bytes
    failures: int


class Ending(NamedTuple):
    """How one attempt ended, as its zygote saw it: what the zygote gives to the store.

    `reason` is why it ended: "exit" (by itself), "timeout", "cancel", "shutdown", or "crash" (its zygote died).
    `status` is the exit status, `signal` the signal that ended it; one of them is None, both when nobody could see.
    `report` is what the attempt wrote on fd 3, b"" when nothing came.
    """

    seq: int
    number: int
    reason: str
    status: int | None
    signal: int | None
    started: float | None
    ended: float
    user: float
    system: float
    max_rss: int
    report: bytes
    tail: bytes
    dropped: int
    survivors: int
