"""`submit`: what was typed becomes a job."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any

import click

from ..errors import Unavailable
from . import typed, watching
from .asking import ANSWER, json_option
from .exits import UNREACHABLE, USAGE, Refusal, complain
from .showing import json_line

if TYPE_CHECKING:
    from ..client import Prepared
    from ..client.target import Named

    Target = str | list[str] | Named

WITHOUT_DAEMON = {
    "spooled": "waits in the spool folder and runs when `sidecar serve` is started",
    "dropped": "was dropped",
    "inline": "was run here",
}
_SECONDS = click.FloatRange(min=0)
_OPTIONS = {"allow_interspersed_args": False}  # what comes after the program's name belongs to the program


@click.command(context_settings=_OPTIONS)
@click.argument("argv", nargs=-1, type=click.UNPROCESSED, metavar="[--] [PROGRAM [WORD]...]")
@click.option("--call", metavar="MODULE:FUNCTION", help="Run this Python function instead of a program.")
@click.option("--task", metavar="NAME", help="Run a task of the daemon's configuration.")
@click.option(
    "--args", callback=typed.document(list, "'[1, 2]'"), metavar="JSON", help="Its arguments, as a JSON array."
)
@click.option(
    "--kwargs",
    callback=typed.document(dict, """'{"a": 1}'"""),
    metavar="JSON",
    help="Its named arguments, as a JSON object.",
)
@click.option("--wait", is_flag=True, help="Show its output as it comes, and end with its exit status.")
@click.option(
    "--ack",
    type=click.Choice(["sent", "stored", "synced"]),
    show_default="$SIDECAR_ACK, else sent",
    help="Return when the kernel has it, when the daemon has stored it, or when it is on the disk.",
)
@click.option("--timeout", type=_SECONDS, metavar="SECONDS", show_default="600", help="End it when it runs longer.")
@click.option(
    "--grace", type=_SECONDS, metavar="SECONDS", show_default="5", help="From SIGTERM to SIGKILL when it has to end."
)
@click.option("--delay", type=_SECONDS, metavar="SECONDS", help="Start it after so long.")
@click.option(
    "--run-at", callback=typed.instant, metavar="TIME", help="Start it then: 2026-11-21T03:30, or Unix seconds."
)
@click.option("--expires", type=_SECONDS, metavar="SECONDS", help="Forget it when it has not started within so long.")
@click.option(
    "--retries",
    type=click.IntRange(0, 1000),
    show_default="0",
    metavar="N",
    help="How often to try again when it fails.",
)
@click.option(
    "--at-most-once",
    is_flag=True,
    default=None,
    help="Never start it a second time: after a crash in the middle it is lost.",
)
@click.option(
    "--priority",
    type=click.IntRange(-100, 100),
    show_default="0",
    metavar="N",
    help="From -100 to 100, higher ones first.",
)
@click.option("--queue", metavar="NAME", show_default="default", help="The queue it waits in.")
@click.option(
    "--env", multiple=True, callback=typed.variables, metavar="NAME=VALUE", help="Set a variable for it; repeatable."
)
@click.option("--cwd", type=click.Path(file_okay=False), show_default="this one", help="The folder it runs in.")
@click.option("--stdin", type=click.File("rb"), help="Give it this file as input, - for what comes in here.")
@click.option(
    "--on-unavailable",
    type=click.Choice(["spool", "raise", "drop", "inline"]),
    show_default="spool",
    help="When no daemon is there: leave it in a file for later, fail, forget it, or run it here.",
)
@json_option
@click.pass_context
def submit(
    ctx: click.Context,
    /,
    argv: tuple[str, ...],
    call: str | None,
    task: str | None,
    args: list[Any],
    kwargs: dict[str, Any],
    wait: bool,
    stdin: IO[bytes] | None,
    cwd: str | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Hand over a program, a function or a named task.

    A program with its words, with --call a Python function, or with --task what the configuration has under that name;
    --args or --kwargs is what a function or a task is given. Prints the job's id and returns at once; with --wait,
    shows the output and ends as the job ends (with 124 when its time was up, 128 and the number when a signal ended
    it).

    \b
    sidecar submit -- convert a.png b.jpg
    sidecar submit --wait --timeout 60 -- make -C docs html
    sidecar submit --call shop.mail:send --args '[42]' --retries 3
    sidecar submit --task thumbnail --args '["/srv/a.jpg"]'

    A program is found on the PATH of `sidecar serve` and started without a shell. A function is imported by the Python
    that runs this command, which looks in this folder first.
    """
    target = _target(argv, call, task, bool(args or kwargs))
    given["stdin"] = None if stdin is None else stdin.read()
    given["cwd"] = None if cwd is None else os.path.abspath(cwd)
    handle = _prepared(target, args, kwargs, given)
    if wait:
        with suppress(Unavailable):  # then as without --wait: the policy decides
            ctx.exit(watching.watch(handle, call is not None, as_json))
    handle.send()
    if handle.ack in WITHOUT_DAEMON:
        complain(f"no daemon is there: job {handle.id} {WITHOUT_DAEMON[handle.ack]}")
    if as_json or handle.ack != "dropped":  # of a job that is nowhere an id would only mislead
        click.echo(json_line({"id": handle.id, "ack": handle.ack}) if as_json else handle.id)
    if handle.ack == "inline":
        ctx.exit(watching.show_inline(handle))
    ctx.exit(UNREACHABLE if wait and handle.ack in WITHOUT_DAEMON else 0)


def _target(argv: tuple[str, ...], call: str | None, task: str | None, has_arguments: bool) -> Target:
    if bool(argv) + (call is not None) + (task is not None) != 1:
        raise click.UsageError("give one of: a program with its words, --call MODULE:FUNCTION, --task NAME")
    if argv and has_arguments:
        raise click.UsageError("--args and --kwargs belong to --call, a program takes its words after its name")
    if task is not None:
        from ..client import named

        return named(task)
    return call if call is not None else [*argv]


def _prepared(target: Target, args: list[Any], kwargs: dict[str, Any], given: dict[str, Any]) -> Prepared:
    from ..client import options

    if isinstance(target, str):
        given["runtime"] = _runtime()
        if given["on_unavailable"] == "inline":
            sys.path.insert(0, "")  # it may be us who import the function
    try:
        return options(deadline=ANSWER, **given).prepare(target, *args, **kwargs)
    except (TypeError, ValueError) as error:  # the client's checks, said at the caller's line
        raise Refusal(str(error), USAGE) from None


def _runtime() -> dict[str, Any]:
    """Return the runtime record of a call: it finds code as any Python program does, with this folder first.

    It is not put on our own path: what we import must not depend on the names of the files here.
    """
    from importlib.util import find_spec

    from ..client import runtime

    django = "DJANGO_SETTINGS_MODULE" in os.environ and find_spec("django") is not None
    return runtime.make(["", *sys.path], runtime.current().folder, os.environ, django)
