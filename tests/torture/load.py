"""One client process: hands off jobs until its stdin ends, and writes down each ack the moment it has it.

The journal has one line for each job that was acknowledged: the ack, the id, and a stamp: when its hand-off began, in
monotonic nanoseconds; where a recorder runs, the size of its record by now, which says what had reached the disk.

A submit that failed is tried again with the same id, as a web application would. One that never came through was never
acknowledged, and counts for nothing.
"""

from __future__ import annotations

import argparse
import os
import random
import select
import sys
import time
from typing import Any

from sidecar.client import Prepared, connect, spool
from sidecar.errors import SidecarError

from . import heavy, jobs
from .ledger import ONCE

_PAUSE = 0.1  # seconds after a refusal: there may be no room just now
_TRIES = 30
_DEADLINE = 5.0


def main() -> None:
    """Load one sidecar."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runtime")
    parser.add_argument("journal", help="of acks")
    parser.add_argument("runs", help="journal of runs, for the jobs")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--acks", default="sent,stored", help="any of sent, stored, synced, spooled")
    parser.add_argument("--rate", type=float, default=60.0, help="jobs a second, about")
    parser.add_argument("--most", type=int, default=1 << 30, help="jobs in all")
    parser.add_argument("--record", help="the recorder's file")
    parser.add_argument("--later", action="store_true", help="hand off jobs that are not to run yet")
    given = parser.parse_args()
    Client(given).run()


class Client:
    """The dice, the journal, and the way to the daemon."""

    def __init__(self, given: argparse.Namespace) -> None:
        self._given = given
        self._dice = random.Random(given.seed)
        self._journal = os.open(given.journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._acks = given.acks.split(",")
        self._way = connect(given.runtime)

    def run(self) -> None:
        """Submit in bursts with pauses between them, until stdin ends or there were enough."""
        ended = select.poll()
        ended.register(0, select.POLLIN | select.POLLHUP)
        left = self._given.most
        while left > 0:
            burst = min(left, self._dice.choice((1, 1, 2, 5, 20)))
            for _ in range(burst):
                self.submit(self._dice.choice(self._acks))
            left -= burst
            if ended.poll(burst / self._given.rate * 2 * self._dice.random() * 1000):
                return
        sys.stdout.write("all handed off\n")
        sys.stdout.flush()

    def submit(self, ack: str) -> None:
        """Hand off one job and write down what is known of it."""
        prepared, began = self._prepare(ack), time.monotonic_ns()
        for _ in range(_TRIES):
            try:
                word = self._hand_off(prepared, ack)
            except SidecarError as error:
                sys.stderr.write(f"load: {error}\n")
                time.sleep(_PAUSE)
                continue
            os.write(self._journal, f"{word} {prepared.id} {self._stamp(began)}\n".encode())
            return

    def _hand_off(self, prepared: Prepared, ack: str) -> str:
        if ack == "spooled":  # what the client does when nobody answers, without waiting for that
            spool.write(self._given.runtime, prepared._id, prepared._parcel.message)
            return ack
        return str(prepared.send().ack)

    def _prepare(self, ack: str) -> Prepared:
        given: dict[str, Any] = {
            "deadline": _DEADLINE,
            "ack": "sent" if ack == "spooled" else ack,
            "on_unavailable": "spool",
        }
        if self._given.later:
            given["run_at"] = time.time() + 1e6
        if self._dice.random() < 0.15:
            given |= {"at_most_once": True, "queue": ONCE}
        way = self._way.options(**given)
        if self._dice.random() < 0.1:
            return way.prepare(jobs.command(self._given.runs))
        pause = self._dice.choices((0.0, 0.03, 0.5), (88, 10, 2))[0]
        job = heavy.note_warmly if self._dice.random() < 0.3 else jobs.note
        return way.prepare(job, self._given.runs, pause, self._given.record)

    def _stamp(self, began: int) -> int:
        return os.stat(self._given.record).st_size if self._given.record else began


if __name__ == "__main__":
    main()
