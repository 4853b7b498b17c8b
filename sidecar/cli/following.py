"""A job's output as it comes, then whatever of it did not come that way; and the exit code of a job.

The daemon sends pieces of output to whoever follows, beginning with the tail that is kept; pieces may be lost on the
way (a slow reader must not hold a job up), and a job may be done before anybody follows it. So bytes are counted for
each attempt, and when the job is done the missing end is taken from `logs`. What is gone is counted, not passed over.
A piece may say its place in the attempt's output. As long as it does not, nobody knows where the first one belongs when
the beginning was already gone; so where the tail goes on is found by what was written last.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .asking import ask
from .exits import NOT_SUCCEEDED, SIGNALLED, TIMED_OUT
from .showing import last_attempt

RECENT = 64 * 1024  # bytes, as many as a tail has
MARK = 4096  # bytes by which the end of what was written is known again


class Output:
    """The pieces of one job's output, in order and each once, given to `write`; `lost` counts what never came."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._attempt = 0
        self._seen = 0  # bytes of this attempt, lost ones included
        self._recent: bytes | None = b""  # the end of what was written; None once pieces say their place
        self.lost = 0

    def on_notice(self, method: str, params: list[Any]) -> None:
        """Take a notice `output [id, attempt, bytes]`; a fourth value is the place of its first byte."""
        if method != "output":
            return
        number, data, *place = params[1:]
        self._turn_to(number)
        if place:
            self._recent = None
        self._add(data, place[0] if place else self._seen)

    def finish(self, number: int, tail: bytes, dropped: int) -> None:
        """Take what attempt `number` has left behind: `tail`, before which `dropped` bytes are gone."""
        self._turn_to(number)
        after = _where_it_goes_on(self._recent, tail) if self._recent else None
        if after is None:
            self._add(tail, dropped)
        else:
            self._add(tail[after:], max(self._seen, dropped + after))

    def _turn_to(self, number: int) -> None:
        if number != self._attempt:
            self._attempt, self._seen, self._recent = number, 0, b""

    def _add(self, data: bytes, place: int) -> None:
        self.lost += max(0, place - self._seen)
        fresh = data[max(0, self._seen - place) :]
        if fresh:
            self._write(fresh)
            if self._recent is not None:
                self._recent = (self._recent + fresh)[-RECENT:]
        self._seen = max(self._seen, place + len(data))


def _where_it_goes_on(written: bytes, tail: bytes) -> int | None:
    """Return the index in `tail` behind what was written, None when it is not in there."""
    if tail.startswith(written):  # the usual case, and the one that repeated lines cannot deceive
        return len(written)
    mark = written[-MARK:]
    at = tail.rfind(mark)
    return None if at < 0 else at + len(mark)


def follow(id: str, write: Callable[[bytes], object]) -> tuple[dict[str, Any], int]:
    """Write a job's output until it is done; return its status map and how many bytes were not kept for us."""
    output = Output(write)
    status: dict[str, Any] = ask("follow", id, timeout=None, on_notice=output.on_notice)
    newest = last_attempt(status)
    if newest:
        kept = ask("logs", id)
        output.finish(newest["number"], kept["output"], kept["dropped"])
    return status, output.lost


def exit_status(status: dict[str, Any], is_call: bool) -> int:
    """Return the exit code of a job that is done, as if it had been run in its place.

    A command's own exit status, 128 and the signal that ended it, 124 when its time was up; 1 for a failed call and for
    every job that did not come to run.
    """
    outcome, newest = status["outcome"], last_attempt(status)
    if outcome == "succeeded":
        return 0
    if outcome == "timed_out":
        return TIMED_OUT
    if outcome != "failed":
        return NOT_SUCCEEDED
    if newest.get("signal"):
        return SIGNALLED + int(newest["signal"])
    return NOT_SUCCEEDED if is_call else int(newest.get("status") or NOT_SUCCEEDED)
