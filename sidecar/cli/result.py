"""`result`: what a function returned, or why there is nothing."""

from __future__ import annotations

import sys
from typing import Any

import click

from .asking import ask, id_argument, json_option
from .exits import NOT_SUCCEEDED, Refusal, complain
from .showing import json_line, plain, printable_lines


@click.command()
@id_argument
@json_option
@click.pass_context
def result(ctx: click.Context, id: str, as_json: bool) -> None:
    """Show what a function returned.

    A text and bytes as they are, anything else as JSON (bytes in it become text). Exit code 1, and the traceback on
    stderr, when the job did not succeed or is not done yet.
    """
    ended = ask("result", id)
    if as_json:
        click.echo(json_line(decoded(ended)))
    else:
        _show(ended)
    ctx.exit(0 if ended.get("outcome") == "succeeded" else NOT_SUCCEEDED)


def _show(ended: dict[str, Any]) -> None:
    id, error = ended["id"], ended.get("error") or {}
    if ended["state"] != "done":
        show_traceback(ended)  # of the last try, while the next one is due
        raise Refusal(f"cannot show the result of {id}: it is {ended['state']}, see: sidecar wait {id}", NOT_SUCCEEDED)
    if ended["outcome"] != "succeeded":
        show_traceback(ended)
        why = f"{error['type']}: {error['message']}" if error else ""
        complain(f"cannot show the result of {id}: {ended['outcome']}{', ' if why else ''}{why}")
    elif ended.get("result_error"):
        raise Refusal(f"cannot show the result of {id}: it succeeded, but {ended['result_error']}", NOT_SUCCEEDED)
    elif ended.get("result") is None:
        complain(f"job {id} succeeded; a program returns no value, see: sidecar logs {id}")
    else:
        value = decoded(ended)["result"]
        if isinstance(value, bytes) and not sys.stdout.isatty():
            click.echo(value, nl=False)  # for a file or a program; a terminal gets what it can show
        else:
            click.echo(plain(value) if isinstance(value, (str, bytes)) else json_line(value))


def show_traceback(ended: dict[str, Any]) -> bool:
    """Write the traceback of a failed call to stderr; tell whether there was one."""
    traceback = (ended.get("error") or {}).get("traceback")
    if traceback:
        click.echo(printable_lines(traceback), err=True)
    return bool(traceback)


def decoded(ended: dict[str, Any]) -> dict[str, Any]:
    """Return a result reply with its `result` opened."""
    if ended.get("result") is None:
        return ended
    from ..client.handle import value_of

    return {**ended, "result": value_of(ended)}
