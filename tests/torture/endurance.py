"""Endurance: jobs without end, and nothing that grows by them.

No kills, no faults: one sidecar runs one job after the other, all slots busy. What every job leaves behind, be it one
descriptor, a zombie or a hundred bytes, is a leak in a daemon that is to run for years. Finished jobs are forgotten
after a few seconds, so that the file holds no more than the jobs of two minutes.

The first half is for caches and arenas to fill; from its most to the second half's most nothing may grow. Jobs carry
two kilobytes each, so that the store's cache of 4 MB is full after as many thousand of them.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from sidecar.client import Handle, connect

from ..waiting import eventually
from .house import House

KIB = 1024
_BATCH = 500  # jobs between two looks
_WEIGHT = bytes(2000)
_QUEUED = 2  # batches that are handed off ahead
_MORE_MEMORY = 1024 * KIB  # bytes that a process may have more in the second half
_MORE_DESCRIPTORS = 20  # that many come and go with the slots
_KEPT = 5  # seconds until a finished job may be forgotten
_WINDOW = 130.0  # seconds of jobs that the file may hold: what is kept, and two of the janitor's looks
_A_JOB = 8192  # bytes that it may hold of each: a page of its own, and as much again of pages that are half full
_LOG = 64 * KIB * KIB  # bytes that the log may have: what is above it SQLite cuts off
_CONTROL = 12_000  # jobs
CONTROLS = ("keep-memory", "keep-descriptors")
_CONFIG = f"retention.succeeded = {_KEPT}\nretention.others = {_KEPT}\n"


class Look(NamedTuple):
    """What there was at one moment: bytes of memory and open descriptors of each process, bytes on the disk."""

    after: float  # seconds
    jobs: int  # that have ended
    memory: dict[str, int]
    descriptors: dict[str, int]
    store: int
    log: int


class Tally(NamedTuple):
    """What it came to: growth from the first half's most to the second half's most."""

    jobs: int
    rate: int  # jobs a second
    memory_kib: int  # of the process that grew most
    descriptors: int
    zombies: int
    store_kib: int  # the file's size at the end
    log_kib: int
    grown: int  # of what must not grow, how much did


def run_through(jobs: int, broken: str = "") -> Tally:
    """Run so many jobs through one sidecar, and look at it all the while."""
    house = House(broken=broken, config=_CONFIG)
    try:
        house.start()
        began, looks = time.monotonic(), []
        for handle in _batches(house, jobs):
            handle.wait(timeout=120)
            looks.append(_look(house, time.monotonic() - began, (len(looks) + 1) * _BATCH))
        took = time.monotonic() - began
        zombies = _zombies_left(house)
        house.kill() if broken else house.stop()
        return _tally(jobs, took, looks, zombies)
    finally:
        house.close()


def control(broken: str) -> bool:
    """Say whether a daemon that keeps something of its jobs is found."""
    return run_through(_CONTROL, broken).grown > 0


def _batches(house: House, jobs: int) -> list[Handle]:
    """Yield the last job of each batch; the next ones are handed off by then."""
    way = connect(str(house.runtime)).options(ack="sent", deadline=60, timeout=60)
    lasts: list[Handle] = []
    for _ in range(0, jobs, _BATCH):
        handles = [way.submit("builtins:len", _WEIGHT) for _ in range(_BATCH)]
        lasts.append(handles[-1])
        if len(lasts) > _QUEUED:
            yield lasts.pop(0)
    yield from lasts


def _look(house: House, after: float, jobs: int) -> Look:
    store = house.state / "jobs.sqlite"
    pids = {"keeper": house.pid, **{kind: house.kin(kind)[0] for kind in ("daemon", "zygote")}}
    return Look(
        after,
        jobs,
        {name: _memory(pid) for name, pid in pids.items()},
        {name: len(os.listdir(f"/proc/{pid}/fd")) for name, pid in pids.items()},
        store.stat().st_size,
        Path(f"{store}-wal").stat().st_size,
    )


def _memory(pid: int) -> int:
    """Return the bytes that only this process has, so that what a fork shares is not counted twice."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Anonymous:"):
            return int(line.split()[1]) * KIB
    raise AssertionError("no Anonymous in smaps_rollup")


def _zombies_left(house: House) -> int:
    """Return how many zombies stay when nothing is to be done any more."""
    with suppress(AssertionError):
        eventually(lambda: not _zombies(house), 5)
    return _zombies(house)


def _zombies(house: House) -> int:
    found = 0
    for pid in (house.pid, *house.kin("zygote")):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            with suppress(OSError):
                found += Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return found


def _tally(jobs: int, took: float, looks: list[Look], zombies: int) -> Tally:
    half = len(looks) // 2
    first, second = looks[:half], looks[half:]
    memory = max(
        max(look.memory[name] for look in second) - max(look.memory[name] for look in first)
        for name in ("keeper", "daemon", "zygote")
    )
    descriptors = max(
        max(look.descriptors[name] for look in second) - max(look.descriptors[name] for look in first)
        for name in ("keeper", "daemon", "zygote")
    )
    store = max(look.store for look in looks) > _A_JOB * _most_in_a_window(looks)
    log = max(look.log for look in looks) > _LOG
    grown = (memory > _MORE_MEMORY) + (descriptors > _MORE_DESCRIPTORS) + (zombies > 0) + store + log
    return Tally(
        jobs, round(jobs / took), memory // KIB, descriptors, zombies,
        looks[-1].store // KIB, looks[-1].log // KIB, grown,
    )  # fmt: skip


def _most_in_a_window(looks: list[Look]) -> int:
    """Return the most jobs that ended within any _WINDOW seconds, and those that were ahead."""
    most = first = 0
    for look in looks:
        while look.after - looks[first].after > _WINDOW:
            first += 1
        most = max(most, look.jobs - looks[first].jobs)
    return most + (_QUEUED + 2) * _BATCH
