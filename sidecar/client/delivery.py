"""Giving a job away: datagram, else stream, else what the caller's policy says; all of it within one deadline.

    datagram --taken--> sent
        | no room in time, too large, or a stronger ack wanted
    stream ----reply--> what the reply says
        | nobody there, or no answer in time
    policy: spool | raise | drop | inline

The job carries its id from the start, so a stream that did not answer in time may be followed by a spool file: were
both taken in, the second is the first. `delivering` decides and never waits: it yields what to wait for, and is told
how it went, so that the blocking and the async clients are the same client.
"""

from __future__ import annotations

from time import monotonic

from ..errors import Unavailable
from .handoff import FULL, TAKEN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from .door import Door
    from .plan import Parcel

# What a driver may be asked for, each with its seconds (0 where they mean nothing). It answers with
ROOM = "room"  # whether the datagram socket became writable in time
STREAM = "stream"  # the reply to a submit on the stream, or the error thrown in
SPOOL = "spool"  # nothing; the error thrown in
INLINE = "inline"  # nothing


def delivering(parcel: Parcel, door: Door) -> Generator[tuple[str, float], Any, str]:
    """Decide step by step how to hand over one job; returns the ack that is true in the end.

    Raises NotAllowed, NoSpace, TooLarge, BadRequest as they come, Unavailable as the policy says.
    """
    ends = monotonic() + parcel.deadline
    try:
        if parcel.ack == "sent" and (yield from _by_datagram(parcel, door, monotonic() + parcel.deadline / 2)):
            return "sent"
        reply = yield STREAM, ends - monotonic()
        return str(reply["ack"])
    except Unavailable as error:
        return (yield from _without_daemon(parcel, door, error))


def _by_datagram(parcel: Parcel, door: Door, until: float) -> Generator[tuple[str, float], Any, bool]:
    while True:
        outcome = door.handoff.push(parcel.message)
        if outcome != FULL:
            return outcome == TAKEN
        seconds = until - monotonic()
        if seconds <= 0 or not (yield ROOM, seconds):
            return False


def _without_daemon(parcel: Parcel, door: Door, error: Unavailable) -> Generator[tuple[str, float], Any, str]:
    policy = parcel.on_unavailable
    if policy == "spool":
        try:
            yield SPOOL, 0.0
        except Unavailable as second:
            raise Unavailable(f"{error}; {second}") from None
    elif policy == "inline":
        yield INLINE, 0.0
    elif policy != "drop":
        raise error
    outcome = {"spool": "spooled", "inline": "inline", "drop": "dropped"}[policy]
    door.count(outcome)
    return outcome
