"""How the command line ends: the few exit codes, and one line on stderr that says why.

    0 ok    1 the job did not succeed    2 usage    3 no daemon    111 refused    124 timed out    130 Ctrl-C

111 is what s6 and nq use when the system refuses, 124 is that of timeout(1), 128 and a signal's number the shell's.
"""

from __future__ import annotations

from typing import IO, Any

import click

from ..errors import SidecarError, Unavailable
from .showing import printable

NOT_SUCCEEDED = 1
USAGE = 2
UNREACHABLE = 3
REFUSED = 111
TIMED_OUT = 124
SIGNALLED = 128
INTERRUPTED = 130

# By their wire codes: the word of a class that is loaded only by those who need it (bad_config) stands here too.
_CODES = {
    "unavailable": UNREACHABLE,
    "not_found": NOT_SUCCEEDED,
    "job_failed": NOT_SUCCEEDED,
    "bad_request": USAGE,
    "too_large": USAGE,
    "bad_config": USAGE,
}


class Refusal(click.ClickException):
    """An end with one line on stderr."""

    def __init__(self, message: str, exit_code: int = REFUSED) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # click reads it from the instance

    def show(self, file: IO[Any] | None = None) -> None:
        complain(self.message)


def complain(message: str) -> None:
    """Say one thing on stderr, in one line."""
    click.echo("sidecar: " + printable(" ".join(message.split())), err=True)


def refusal(error: SidecarError) -> Refusal:
    """Make the end that belongs to an error of ours."""
    message = str(error)
    if isinstance(error, Unavailable):
        message += " See: sidecar doctor" if message.endswith("?") else ", see: sidecar doctor"
    return Refusal(message, exit_code(error))


def exit_code(error: SidecarError) -> int:
    """Return the exit code of an error of ours."""
    return _CODES.get(error.code, REFUSED)
