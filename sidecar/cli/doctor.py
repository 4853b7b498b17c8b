"""`doctor`: a dozen looks at what works from where one stands, each with its cure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from ..errors import SidecarError
from . import checks, surroundings
from .asking import ask, json_option
from .checks import Finding
from .exits import NOT_SUCCEEDED, UNREACHABLE
from .showing import json_line


@click.command()
@json_option
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """See what works, and how to mend what does not.

    It looks from where you stand: as this user, with this environment, and runs two jobs that do nothing. Exit code 0
    when all is well, 3 when no daemon answers, 1 when something else is wrong.
    """
    ping = _ping()
    findings = []
    for finding in _examine(ping):
        findings.append(finding)
        if not as_json:
            click.echo(checks.as_line(finding))
    well = all(finding.ok for finding in findings)
    if as_json:
        click.echo(json_line({"ok": well, "checks": [finding._asdict() for finding in findings]}))
    ctx.exit(0 if well else UNREACHABLE if isinstance(ping, SidecarError) else NOT_SUCCEEDED)


def _ping() -> dict[str, Any] | SidecarError:
    try:
        found: dict[str, Any] = ask("ping")
    except SidecarError as error:
        return error
    return found


def _examine(ping: dict[str, Any] | SidecarError) -> Iterator[Finding]:
    """Look at one thing after the other, so that each line is there as soon as it is known."""
    folder = checks.runtime_folder()
    yield folder
    if folder.ok:  # else that line has said it all
        yield checks.handoff_socket()
        yield checks.daemon_answers(ping)
    if not isinstance(ping, SidecarError):
        yield checks.admission(ping)
        yield checks.versions(ping)
    yield surroundings.interpreter()
    if not isinstance(ping, SidecarError) and ping["allowed"]:
        yield checks.call_runs()
        yield checks.command_runs()
    yield surroundings.kernel_queue()
    yield surroundings.spool()
    if not isinstance(ping, SidecarError):
        yield checks.disk(ping)
        if ping["allowed"]:
            yield checks.modules()
    yield surroundings.environment()
