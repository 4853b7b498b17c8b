"""`wait`: until a job is done, or for so long."""

from __future__ import annotations

import click

from .asking import ANSWER, ask, id_argument, json_option
from .exits import NOT_SUCCEEDED, complain
from .showing import ending, json_line


@click.command()
@id_argument
@click.option("--timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="Give up after this; the job goes on.")
@json_option
@click.pass_context
def wait(ctx: click.Context, id: str, timeout: float | None, as_json: bool) -> None:
    """Wait until a job is done.

    Exit code 0 when it succeeded, 1 when it did not or when the time was up first.
    """
    found = ask("wait", id, timeout, timeout=None if timeout is None else timeout + ANSWER)
    if as_json:
        click.echo(json_line(found))
    elif found["state"] == "done":
        click.echo(f"{found['id']} {ending(found)}")
    if found["state"] != "done":
        complain(f"cannot wait any longer for {found['id']}: it is {found['state']} after {timeout:g} s and goes on")
    ctx.exit(0 if found.get("outcome") == "succeeded" else NOT_SUCCEEDED)
