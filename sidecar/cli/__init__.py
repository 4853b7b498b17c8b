"""The door for people: one verb a line, each in a module of its own that is loaded only when it is used.

It refuses to do work: a verb checks what was typed, asks the daemon or the client, and shows the answer. Loading late
keeps `sidecar submit` quick: it never pays for what `doctor` needs, and nothing here loads trio or sqlite3.
"""

from __future__ import annotations

import importlib

import click

from .. import __version__
from ..errors import SidecarError
from .exits import INTERRUPTED, refusal

# verb -> module and name; in the order of the help: begin, hand work over, look, mend.
VERBS = {
    "serve": "serve:serve",
    "tick": "tick:tick",
    "submit": "submit:submit",
    "status": "status:status",
    "wait": "wait:wait",
    "result": "result:result",
    "logs": "logs:logs",
    "cancel": "cancel:cancel",
    "list": "status:list_jobs",
    "stats": "ping:stats",
    "ping": "ping:ping",
    "reload": "reload:reload",
    "doctor": "doctor:doctor",
}


class Verbs(click.Group):
    """The group of all verbs; it turns an error of ours into one line and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module, _, name = VERBS[cmd_name].partition(":")
        found: click.Command = getattr(importlib.import_module(f".{module}", __package__), name)
        return found

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except SidecarError as error:
            raise refusal(error) from error
        except KeyboardInterrupt:
            raise click.exceptions.Exit(INTERRUPTED) from None


def _show_version(ctx: click.Context, param: click.Parameter, wanted: bool) -> None:
    if not wanted or ctx.resilient_parsing:
        return
    from importlib import metadata  # 20 ms that only this option needs

    try:
        version = metadata.version("sidecar-jobs")
    except metadata.PackageNotFoundError:  # run from a source tree
        version = __version__
    click.echo(f"sidecar {version}")
    ctx.exit()


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
def main() -> None:
    """Hand off slow work and go on at once.

    `sidecar serve` is the daemon of this machine. Any program there gives it a job, a command or a function,
    in microseconds; it runs the job in a process of its own, with a deadline, tries again where asked, and keeps
    the result and the output.

    \b
    Begin with these three:
      sidecar serve                          start it, in another terminal
      sidecar submit --wait -- echo hello    hand a command over and watch it
      sidecar doctor                         see what works, mend what does not

    A job's id may be shortened to any beginning that is unique. Exit codes: 0 all went well, 1 the job did not
    succeed, 2 typed wrongly, 3 no daemon there, 111 the system or the daemon refused.
    """
