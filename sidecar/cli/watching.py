"""`submit --wait`: the command behaves as if the job had been run in its place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .asking import ask
from .exits import INTERRUPTED, NOT_SUCCEEDED, complain
from .following import exit_status, run
from .logs import write_out
from .result import decoded, show_traceback
from .showing import ending, json_line, printable_lines, size

if TYPE_CHECKING:
    from ..client import Handle, Prepared


def watch(handle: Prepared, is_call: bool, as_json: bool) -> int:
    """Hand over a job and show its output until it is done; return the exit code that stands for it.

    Raises Unavailable where there is no daemon.
    """
    id = handle.id
    try:
        status, lost = run(handle.packed, _pass_over if as_json else write_out)
        ended = ask("result", id)
        kept = ask("logs", id) if as_json else {}
    except KeyboardInterrupt:
        complain(f"no longer waiting, job {id} goes on; to end it: sidecar cancel {id}")
        return INTERRUPTED
    if as_json:
        output = {"output": kept["output"], "dropped": kept["dropped"]}
        click.echo(json_line({**decoded(ended), "ack": "stored", **output}))
    else:
        _explain(status, ended, lost, is_call)
    return exit_status(status, is_call)


def _pass_over(data: bytes) -> None:
    """With --json the output stands in the object."""


def _explain(status: dict[str, Any], ended: dict[str, Any], lost: int, is_call: bool) -> None:
    """Say on stderr what the exit code does not; a program's own exit status speaks for itself."""
    if lost:
        complain(f"cannot show all of its output: {size(lost)} were not kept")
    if status["outcome"] == "succeeded":
        if ended.get("result_error"):
            complain(f"cannot keep the result of {status['id']}: {ended['result_error']}")
    elif not show_traceback(ended) and (is_call or (ended.get("error") or {}).get("type") != "ExitStatus"):
        complain(f"cannot complete {status['id']}: {ending(status)}")


def show_inline(handle: Handle) -> int:
    """Show how a job ended that was run by this very process; its output goes to stderr, the id is on stdout."""
    click.echo(handle.output(), nl=False, err=True)
    failure = handle.exception()
    if failure is None:
        return 0
    if failure.type == "ExitStatus":
        return int(failure.message)
    if failure.traceback:
        click.echo(printable_lines(failure.traceback), err=True)
    else:
        complain(f"cannot complete {handle.id}: {failure}")
    return NOT_SUCCEEDED
