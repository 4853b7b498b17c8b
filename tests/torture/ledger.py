"""The set algebra: what was acknowledged, what ran, what the store says became of it.

    acknowledged ⊆ done       no ack was a lie
    succeeded    ⊆ ran        no success was invented
    ran                       no (id, attempt) twice: who runs a job again says so by a higher number; and no id twice
                              that was to start at most once
    lost                      only who went down with a zygote three times; once is enough for the latter
    done otherwise            none: these jobs do not fail

It reads files and nothing else.
"""

from __future__ import annotations

import sqlite3
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from sidecar.policy import MAX_CRASHES
from sidecar.store import NAME

ONCE = "once"  # the queue of jobs that are to start at most once


class Ack(NamedTuple):
    """One line of a client's journal."""

    word: str
    id: bytes
    stamp: int


class Balance(NamedTuple):
    """What the books say; the first five must be empty."""

    missing: list[bytes]  # acknowledged, and the store has never heard of it
    unfinished: list[bytes]  # in the store, and not done although everything has come to rest
    twice: list[bytes]  # an attempt of them ran more than once, or any second one where there was to be none
    invented: list[bytes]  # succeeded, and did not run
    wrong: list[Row]  # ended as these jobs do not end
    acked: int
    excused: int
    ran: int
    again: int  # runs with a number over 1
    lost: int  # by rule: three crashes

    @property
    def faults(self) -> int:
        """Return how many promises were broken."""
        return sum(len(found) for found in self[:5])


def read_acks(path: Path) -> list[Ack]:
    """Return a journal of acks."""
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return [Ack(word, uuid.UUID(id).bytes, int(stamp)) for word, id, stamp in map(str.split, lines)]


class Run(NamedTuple):
    """One line of the jobs' journal."""

    id: bytes
    number: int
    stamp: int


class Row(NamedTuple):
    """What the store says of one job."""

    id: bytes
    queue: str
    state: str
    outcome: str | None
    attempts: int
    crashes: int

    @property
    def is_lost_by_rule(self) -> bool:
        """Whether it may be called lost: it went down with its zygotes."""
        return self.outcome == "lost" and self.crashes >= (1 if self.queue == ONCE else MAX_CRASHES)


def read_runs(path: Path) -> list[Run]:
    """Return a journal of runs."""
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return [Run(uuid.UUID(id).bytes, int(number), int(stamp)) for id, number, stamp in map(str.split, lines)]


def read_store(folder: Path) -> dict[bytes, Row]:
    """Return all jobs by id, from the file of a sidecar that has ended. Raises sqlite3.Error when it is unsound."""
    db = sqlite3.connect(folder / NAME)
    try:
        if db.execute("PRAGMA integrity_check").fetchall() != [("ok",)]:
            raise sqlite3.DatabaseError("integrity check failed")
        columns = "job.id, queue, state, outcome, attempts, crashes"
        rows = [Row(*row) for row in db.execute(f"SELECT {columns} FROM job JOIN lane ON lane.id = job.lane")]
    finally:
        db.close()
    return {row.id: row for row in rows}


def balance(
    folder: Path, acks: Path, runs: Path, excused: Callable[[Ack], bool] = lambda ack: False, to_the_end: bool = True
) -> Balance:
    """Settle the books of one sidecar that has ended.

    `excused` says for which acks nothing is promised; without `to_the_end` jobs need not have come to theirs.
    """
    known, runs_made, given = read_store(folder), read_runs(runs), read_acks(acks)
    counted = [ack for ack in given if not excused(ack)]
    ran = {run.id for run in runs_made}
    succeeded = {row.id for row in known.values() if row.outcome == "succeeded"}
    lost = {row.id for row in known.values() if row.is_lost_by_rule}
    return Balance(
        missing=[ack.id for ack in counted if ack.id not in known],
        unfinished=[row.id for row in known.values() if to_the_end and row.state != "done"],
        twice=_twice(runs_made, known),
        invented=sorted(succeeded - ran),
        wrong=[row for row in known.values() if row.state == "done" and row.id not in succeeded | lost],
        acked=len(counted),
        excused=len(given) - len(counted),
        ran=len(runs_made),
        again=sum(run.number > 1 for run in runs_made),
        lost=len(lost),
    )


def _twice(runs: list[Run], known: dict[bytes, Row]) -> list[bytes]:
    attempts = Counter((run.id, run.number) for run in runs)
    starts = Counter(run.id for run in runs)
    once = {row.id for row in known.values() if row.queue == ONCE}
    again = {id for (id, _), times in attempts.items() if times > 1} | {id for id in once if starts[id] > 1}
    return sorted(again)


def shown(found: Balance) -> str:
    """Return what is wrong, in a line."""
    named = zip(Balance._fields[:5], found[:5], strict=True)
    return ", ".join(f"{len(some)} {name}: {some[:5]}" for name, some in named if some)  # type: ignore
