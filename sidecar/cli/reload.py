"""`reload`: a new daemon takes over; jobs that run are not touched."""

from __future__ import annotations

import time
from typing import Any

import click

from ..errors import Unavailable
from .asking import ask
from .exits import Refusal

DEADLINE = 30.0  # seconds a new daemon may take until it answers
LOOK = 0.1  # seconds between two looks: only the answer of `ping` says that it is another one


@click.command()
def reload() -> None:
    """Replace the daemon; running jobs go on.

    The new one has the new code and the new configuration. When the new one cannot start, the old one stays.
    """
    before = ask("ping")["pids"]["daemon"]
    ask("reload")
    after = _wait_other(before)
    click.echo(f"reloaded: daemon {after['pids']['daemon']} ({after['version']}) follows {before}")


def _wait_other(before: int) -> dict[str, Any]:
    """Return the ping of another daemon than `before`; its absence in between is part of the change."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        try:
            found: dict[str, Any] = ask("ping", timeout=max(0.1, end - time.monotonic()))
        except Unavailable as error:
            reason = str(error)
        else:
            if found["pids"]["daemon"] != before:
                return found
            reason = found.get("reload_error") or "the old one still runs"
            if found.get("reload_error"):
                break
        time.sleep(LOOK)
    raise Refusal(f"cannot reload: {reason}; what kept the new one from starting is in the log of `sidecar serve`")
