"""`logs`: what a job wrote, as bytes, untouched."""

from __future__ import annotations

import sys
from typing import Any

import click

from .asking import ask, id_argument, json_option
from .exits import complain
from .following import follow
from .showing import json_line, size


@click.command()
@id_argument
@click.option("--follow", "-f", "follow_it", is_flag=True, help="Go on showing what it writes, until it is done.")
@json_option
def logs(id: str, follow_it: bool, as_json: bool) -> None:
    """Show what a job wrote to stdout and stderr.

    The end of it, of the newest attempt: both together, in the order of writing. The last 64 KiB are kept, unless
    the configuration says otherwise.
    """
    if follow_it and as_json:
        raise click.UsageError("give --follow or --json, not both")
    lost = follow(id, write_out)[1] if follow_it else _show(ask("logs", id), as_json)
    if lost:
        complain(f"cannot show all of it: {size(lost)} of output were not kept")


def _show(kept: dict[str, Any], as_json: bool) -> int:
    if as_json:
        click.echo(json_line(kept))
        return 0
    write_out(kept["output"])
    return int(kept["dropped"])


def write_out(data: bytes) -> None:
    """Write bytes to stdout at once: who follows wants to see them now."""
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
