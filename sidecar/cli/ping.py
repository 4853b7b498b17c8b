"""`ping` and `stats`: the daemon about itself."""

from __future__ import annotations

from typing import Any

import click

from .asking import ask, json_option
from .showing import columns, duration, json_line, size


@click.command()
@json_option
def ping(as_json: bool) -> None:
    """Ask the daemon who it is, and who you are.

    Version, processes, uptime, store, and as whom the kernel shows you to it.
    """
    found = ask("ping")
    click.echo(json_line(found) if as_json else "\n".join(columns(_rows(found))))


@click.command()
@json_option
def stats(as_json: bool) -> None:
    """Count jobs by state, outcome and queue.

    And show what the daemon has counted since it started.
    """
    found = ask("stats")
    click.echo(json_line(found) if as_json else "\n".join(_sections(found)))


def _rows(ping: dict[str, Any]) -> list[tuple[str, str]]:
    pids, store = ping["pids"], ping["store"]
    zygotes = ", ".join(f"{each['pid']} ({each['key']})" for each in pids["zygotes"]) or "none"
    return [
        ("version", f"{ping['version']}, protocol {ping['protocol']}"),
        ("uptime", duration(ping["uptime"])),
        ("keeper", str(pids["keeper"])),
        ("daemon", str(pids["daemon"])),
        ("zygotes", zygotes),
        ("running", f"{ping['running']} of {ping['slots']} slots"),
        ("ends trees by", ping["tree"]),
        ("store", f"{store['path']}, {size(store['bytes'])}"),
        ("disk", f"{size(store['free'])} free{'' if store['accepts'] else ', too little: refuses new jobs'}"),
        ("you are", f"uid {ping['user']}, {'allowed' if ping['allowed'] else 'not allowed'}"),
    ]


def _sections(stats: dict[str, Any]) -> list[str]:
    """Return one block of aligned lines for each part; parts with nothing in them are left out."""
    queues = [
        (name, f"{each['queued']} queued", f"{each['running']} running") for name, each in stats["queues"].items()
    ]
    blocks: list[tuple[str, list[tuple[Any, ...]]]] = [
        ("states", [*stats["states"].items()]),
        ("outcomes", [*stats["outcomes"].items()]),
        ("queues", [*queues]),
        ("counters", [*stats["counters"].items()]),
        ("store", [*stats["store"].items()]),
        ("modules", [(each["module"], each["state"], each["reason"] or "") for each in stats.get("modules") or []]),
    ]
    return [line for name, rows in blocks if rows for line in (name, *("  " + row for row in columns(rows)))]
