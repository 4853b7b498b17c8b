"""A job's output as it comes, then whatever of it did not come that way; and the exit code of a job.

The daemon sends pieces of output to whoever follows, beginning with the tail that is kept; pieces may be lost on the
way (a slow reader must not hold a job up), come twice, and a job may be done before anybody follows it. So bytes are
counted for each attempt, each piece says its place, and when the job is done the missing end is taken from `logs`. What
is gone is counted, not passed over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .asking import ask, ask_packed
from .exits import NOT_SUCCEEDED, SIGNALLED, TIMED_OUT
from .showing import last_attempt


class Output:
    """The pieces of one job's output, in order and each once, given to `write`; `lost` counts what never came."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._attempt = 0
        self._seen = 0  # bytes of this attempt, lost ones included
        self.lost = 0

    def on_notice(self, method: str, params: list[Any]) -> None:
        """Take a notice `output [id, attempt, bytes, place]`."""
        if method == "output":
            self.add(*params[1:])

    def add(self, number: int, data: bytes, place: int) -> None:
        """Write what is new of a piece that begins at byte `place` of what attempt `number` wrote."""
        if number != self._attempt:
            self._attempt, self._seen = number, 0
        self.lost += max(0, place - self._seen)
        fresh = data[max(0, self._seen - place) :]
        if fresh:
            self._write(fresh)
        self._seen = max(self._seen, place + len(data))


def follow(id: str, write: Callable[[bytes], object]) -> tuple[dict[str, Any], int]:
    """Write a job's output until it is done; return its status map and how many bytes were not kept for us."""
    return _written("follow", [id], write)


def run(job: bytes, write: Callable[[bytes], object]) -> tuple[dict[str, Any], int]:
    """Hand over a packed job and do the same, from the first byte on. Raises Unavailable where no daemon is."""
    return _written("run", b"\x91" + job, write)


def _written(verb: str, params: list[Any] | bytes, write: Callable[[bytes], object]) -> tuple[dict[str, Any], int]:
    output = Output(write)
    status: dict[str, Any] = ask_packed(verb, params, timeout=None, on_notice=output.on_notice)
    id, newest = status["id"], last_attempt(status)
    if newest:
        kept = ask("logs", id)
        output.add(newest["number"], kept["output"], kept["dropped"])
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
