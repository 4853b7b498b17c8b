"""`tick`: a `serve` that ends by itself, for cron."""

from __future__ import annotations

import math
from typing import Any

import click

from .serve import become_keeper, keeper_options


def _finite(ctx: click.Context, param: click.Parameter, value: float) -> float:
    if not math.isfinite(value):
        raise click.BadParameter(f"{value} is no time that ends, see `sidecar serve` for one without")
    return value


@click.command()
@click.option(
    "--for",
    "seconds",
    type=click.FloatRange(min=0, min_open=True),
    callback=_finite,
    metavar="SECONDS",
    default=50,
    show_default=True,
    help="How long new jobs are started.",
)
@keeper_options
def tick(seconds: float, **given: Any) -> None:
    """Work off what is there, then end; for cron, each minute.

    It is `sidecar serve` with an end, for hosts where no daemon may stay. It takes in what was spooled, runs what is
    queued or comes due in time, and ends when nothing of that is left, or when the time is over. Then no job is
    started any more; those that run get `drain` seconds (25, see the configuration) to finish, and are interrupted:
    the next tick runs them again from their beginning, which costs no retry. So a tick lasts as long as both
    together, and a job that needs longer than that never ends: give more seconds, ticks do not overlap.

    When a serve or another tick is at work on the same state folder it says so and ends at once. One line on stderr
    says what was done. Exit code 0 in all these cases.
    """
    become_keeper(tick=seconds, **given)
