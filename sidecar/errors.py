"""Everything that can go wrong, once. A class exists only where a caller would react differently.

Each class carries its wire code; `clients/PROTOCOL.md` lists the same codes with their cure. Messages read
"cannot <verb> <object>: <cause>, <cure>" with the offending value as `repr` shows it.
This module imports nothing.
"""

from __future__ import annotations


class SidecarError(Exception):
    """Any error of ours; `code` is the word that stands for it on the wire."""

    code = "internal"


class BadFrame(SidecarError):
    """The bytes are no message: the peer is confused, the connection is closed after this answer."""

    code = "bad_frame"


class BadRequest(SidecarError):
    """The message is readable and wrong: fix the call, repeating it will not help."""

    code = "bad_request"


class TooLarge(SidecarError):
    """The job is over the size limit: hand over a path instead of the bytes, or raise `limits.job`."""

    code = "too_large"


class NotAllowed(SidecarError):
    """The kernel says who asks, and the rules say no. Never spooled, never retried."""

    code = "not_allowed"


class NotFound(SidecarError):
    """No job has this id, or none that the asker may see."""

    code = "not_found"


class NoSpace(SidecarError):
    """The disk is full: nothing was accepted, try again later."""

    code = "no_space"


class Unavailable(SidecarError):
    """Nobody is there to take the job, or not in time: is `sidecar serve` running?"""

    code = "unavailable"


class Internal(SidecarError):
    """The daemon failed at something it should have managed: report a bug with the daemon's log line."""

    code = "internal"


class JobFailed(SidecarError):
    """The job ended otherwise than by success; raised by `handle.result()`.

    `outcome` is the wire word (failed, timed_out, expired, rejected, lost). `type`, `message` and `traceback` are
    texts: of the exception for a call, "ExitStatus" or "Signal" for a command. No class named by a job is ever made.
    """

    code = "job_failed"

    def __init__(self, outcome: str, type: str, message: str, traceback: str = "") -> None:
        super().__init__(f"{outcome}: {type}: {message}" if type else f"{outcome}: {message}")
        self.outcome = outcome
        self.type = type
        self.message = message
        self.traceback = traceback


class GiveUp(Exception):
    """Raised by a job that need not be tried again, however many tries it has left: `raise GiveUp("no such address")`.

    With `raise GiveUp() from error` the job's error is that one.
    """

    retry: bool | float = False


class TryAgain(Exception):
    """Raised by a job that knows better than its backoff when to be tried again: `raise TryAgain(60)`.

    `seconds` are from the end of this try, 0 up to 366 days. It uses up a retry as any failure does; when none is left
    the job has failed. With `from error` the job's error is that one. Raises ValueError for other seconds.
    """

    def __init__(self, seconds: float, message: str = "") -> None:
        if not 0 <= seconds <= 366 * 86400:
            raise ValueError(f"cannot try again in {seconds!r} seconds, give 0 up to a year")
        super().__init__(message or f"to be tried again in {seconds:g} s")
        self.retry = float(seconds)


UNUSABLE = 78  # a daemon's exit status: no daemon can open this store, so none need follow (EX_CONFIG of sysexits.h)

_SHOWN = 80


def shown(value: object) -> str:
    """Return a value for a message, cut short: what was sent to us may be megabytes, an answer must not be."""
    if isinstance(value, (str, bytes, list, tuple)) and len(value) > _SHOWN:
        value = value[:_SHOWN]
    text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


BY_CODE: dict[str, type[SidecarError]] = {
    cls.code: cls for cls in (BadFrame, BadRequest, TooLarge, NotAllowed, NotFound, NoSpace, Unavailable, Internal)
}


def from_code(code: object, message: str) -> SidecarError:
    """Make the error that a reply names; an unknown code is `Internal`, so that a newer daemon still makes sense."""
    return BY_CODE.get(str(code), Internal)(message)
