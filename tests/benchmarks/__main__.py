"""Run every benchmark: `python -m tests.benchmarks [--json FILE]`."""

from __future__ import annotations

import argparse
import os

from ..daemon_process import Daemon
from .table import show, write_json

_SLOTS = 4


def main() -> None:
    """Measure in an order in which nothing disturbs what comes after it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", metavar="FILE", help="write the table as JSON too")
    given = parser.parse_args()
    daemon = Daemon(slots=_SLOTS).start()
    os.environ.update(daemon.variables)
    # Only now: the client looks where the environment says.
    from . import durable, execution, handoff, idle, intake, packing, pages, php, warming

    try:
        rows = [*idle.memory(daemon), idle.cpu(daemon), handoff.import_time(), execution.latency(daemon)]
        rows += [*execution.throughputs(daemon, _SLOTS), execution.commands(daemon, _SLOTS)]
        rows += [handoff.stored(daemon), *durable.acks(), handoff.sent(daemon), handoff.first(daemon)]
        rows += [handoff.sent_beside_work(daemon), *intake.intake(daemon), intake.beside_a_flood(daemon)]
        rows += [*php.handoff(daemon), *packing.rows(daemon), *php.jobs(daemon, _SLOTS)]
        rows += [*warming.rows(daemon, _SLOTS), *pages.rows()]
    finally:
        daemon.close()
    show(rows)
    if given.json:
        write_json(rows, given.json)


if __name__ == "__main__":
    main()
