"""`status` and `list`: what is known of one job, and of many."""

from __future__ import annotations

import time
from typing import Any

import click

from ..job import Outcome, State
from .asking import ask, id_argument, json_option
from .showing import ago, columns, duration, ending, json_line, printable, size, when

_ERROR = 200  # characters of an error in the line of its attempt
HEAD = ("ID", "STATE", "QUEUE", "SUBMITTED", "ENDED", "TARGET")


@click.command()
@id_argument
@json_option
def status(id: str, as_json: bool) -> None:
    """Show one job: where it is, how it ended, its attempts."""
    found = ask("status", id)
    click.echo(json_line(found) if as_json else "\n".join(_sheet(found, time.time())))


@click.command("list")
@click.option("--state", type=click.Choice([each.value for each in State]), help="Only jobs that are there.")
@click.option("--outcome", type=click.Choice([each.value for each in Outcome]), help="Only jobs that ended so.")
@click.option("--queue", metavar="NAME", help="Only jobs of this queue.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="At most so many.")
@json_option
def list_jobs(state: str | None, outcome: str | None, queue: str | None, limit: int, as_json: bool) -> None:
    """List jobs, newest first."""
    wanted = {"state": state, "outcome": outcome, "queue": queue, "limit": limit}
    found = ask("list", {name: value for name, value in wanted.items() if value is not None})
    if as_json:
        click.echo(json_line(found))
    elif found:
        now = time.time()
        click.echo("\n".join(columns([HEAD, *(_row(each, now) for each in found)])))
    else:
        click.echo("no jobs", err=True)


def _row(status: dict[str, Any], now: float) -> tuple[object, ...]:
    where = status.get("outcome") or status["state"]
    submitted, finished = ago(status["submitted"], now), ago(status.get("finished"), now)
    return status["id"], where, status["queue"], submitted, finished, status["target"]


def _sheet(status: dict[str, Any], now: float) -> list[str]:
    """Return the lines about one job; what there is nothing to say about is left out."""
    rows = [
        ("id", status["id"]),
        ("state", ending(status)),
        ("target", status["target"]),
        ("queue", f"{status['queue']}, priority {status['priority']}"),
        ("submitted", when(status["submitted"], now)),
    ]
    if status["state"] == "scheduled":
        rows.append(("due", when(status["due"], now)))
    for name in ("expires", "started", "finished"):
        if status.get(name) is not None:
            rows.append((name, when(status[name], now)))
    rows += [(name, status[name]) for name in ("waiting", "cold", "result_error") if status.get(name)]
    rows += [(f"attempt {each['number']}", _attempt(each, now)) for each in status.get("attempts") or []]
    return columns(rows)


def _attempt(attempt: dict[str, Any], now: float) -> str:
    started, ended = attempt.get("started"), attempt.get("ended")
    if ended is None:
        return "is starting" if started is None else f"runs for {duration(max(0.0, now - started))}"
    words = [_end(attempt)]
    error = attempt.get("error") or {}
    if error.get("type") not in (None, "ExitStatus", "Signal", "Timeout"):  # those say what stands there already
        words.append(printable(f"{error['type']}: {error['message']}"[:_ERROR]))
    if started is not None:
        words.append(f"took {duration(max(0.0, ended - started))}")
    words.append(f"cpu {duration((attempt.get('user') or 0) + (attempt.get('system') or 0))}")
    if attempt.get("max_rss"):
        words.append(f"memory {size(attempt['max_rss'])}")
    if attempt.get("dropped"):
        words.append(f"{size(attempt['dropped'])} of output not kept")
    if attempt.get("survivors"):
        words.append(f"left behind and ended: {attempt['survivors']}")
    return ", ".join(words)


def _end(attempt: dict[str, Any]) -> str:
    if attempt.get("signal") is not None:
        how = f"signal {attempt['signal']}"
    elif attempt.get("status") is not None:
        how = f"exit status {attempt['status']}"
    else:
        how = "end not seen"
    return how if attempt.get("reason") in (None, "exit") else f"{attempt['reason']}, {how}"
