"""`cancel`: jobs that wait never start, jobs that run are ended."""

from __future__ import annotations

from typing import Any

import click

from ..errors import SidecarError
from .asking import ask, json_option
from .exits import NOT_SUCCEEDED, complain, exit_code
from .showing import ending, json_line


@click.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@json_option
@click.pass_context
def cancel(ctx: click.Context, ids: tuple[str, ...], as_json: bool) -> None:
    """Cancel jobs, waiting or running.

    One that waits never starts, one that runs is ended (SIGTERM, then SIGKILL). It does not wait for the end of one
    that runs, see `sidecar wait`. Exit code 1 when a job was done already.
    """
    answers, worst = _cancel_each(ids)
    if as_json:
        click.echo(json_line(answers))
    for each in answers:
        if _was_done(each):
            complain(f"cannot cancel {each['id']}: it is done already ({ending(each)})")
        elif not as_json:
            click.echo(f"{each['id']} {ending(each)}")
    ctx.exit(worst or (NOT_SUCCEEDED if any(map(_was_done, answers)) else 0))


def _cancel_each(ids: tuple[str, ...]) -> tuple[list[dict[str, Any]], int]:
    """Cancel all that can be; one wrong id must not keep the others alive."""
    answers, worst = [], 0
    for id in ids:
        try:
            answers.append(ask("cancel", id))
        except SidecarError as error:
            complain(str(error))
            worst = max(worst, exit_code(error))
    return answers, worst


def _was_done(status: dict[str, Any]) -> bool:
    return bool(status["state"] == "done" and status["outcome"] != "cancelled")
