"""Crash points: every one of sidecar/crashpoints.py, each from several seeds, in one short life after the other.

A life has all that leads past the points: hand-offs by datagram, stream and spool, jobs that run, and the death of a
zygote, a daemon and the keeper, in any order. The seed decides when the point begins to be deadly (from the first
start, or under load) and at which passing. Whoever passes it then dies; the keeper restarts what it can, we restart
the keeper; when all is done the books must balance. A life goes on until its point was reached: one that never is would
be proof of nothing, and is a fault.
"""

from __future__ import annotations

import os
import random
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from sidecar.crashpoints import POINTS

from ..waiting import eventually
from .house import UP, House, Restless
from .ledger import Balance, balance, shown

_JOBS = 40
_RATE = 150
_MORE = 10  # loads, until the point is reached
_DEATHS = ("zygote", "daemon", "keeper")  # there are points that only a death, or a start, leads to
_RARE = ("keeper.", "open.", "checkpoint.")  # passed once in a process's life


class Tally(NamedTuple):
    """What all lives came to."""

    points: int
    lives: int
    acked: int
    unreached: int
    faults: int


class Control(NamedTuple):
    """A broken daemon, where it has to die for it to show, and what shows."""

    broken: str
    point: str
    ack: str
    shows: str


CONTROLS = (
    Control("plain-receive", "intake.peeked", "sent", "missing"),
    Control("ack-first", "commit.begun", "stored", "missing"),
    Control("start-first", "claim.told", "stored", "twice"),
)


def every_point(seeds: int, seed: int, acks: str, points: tuple[str, ...] = tuple(POINTS)) -> Tally:
    """Live `seeds` lives for each point; what was broken or not reached is named."""
    acked = unreached = faults = 0
    for point in points:
        for number in range(seeds):
            reached, found = one_life(f"{seed}/{point}/{number}", point, acks)
            acked += found.acked
            unreached += not reached
            faults += found.faults
            if found.faults or not reached:
                print(f"points: {point}, life {number} of seed {seed}: {shown(found) or 'not reached'}", flush=True)
    return Tally(len(points), seeds * len(points), acked, unreached, faults)


def control(given: Control, seed: int, lives: int = 30) -> int:
    """Return the lives until a broken daemon's loss was found, 0 for never."""
    for number in range(lives):
        with suppress(Restless):
            _, found = one_life(f"{seed}/{given.broken}/{number}", given.point, given.ack, given.broken)
            if getattr(found, given.shows):
                return number + 1
    return 0


def one_life(seed: str, point: str, acks: str, broken: str = "") -> tuple[bool, Balance]:
    """Live one life with a deadly point; whether anybody died of it, and the books."""
    dice = random.Random(seed)
    from_the_start = dice.random() < 0.3
    house = House(held=True, broken=broken)  # so that every ack counts whoever dies
    mark = house.folder / "mark"
    passing = 1 if point.startswith(_RARE) else dice.choice((1, 1, 2, 3, 6))
    house.env.update(SIDECAR_CRASH_AT=f"{point}:{passing}", SIDECAR_CRASH_MARK=str(mark))
    try:
        if not from_the_start:
            mark.touch()
        house.launch()
        house.load(2, dice, "--acks", acks, "--rate", str(_RATE), "--most", str(_JOBS // 2))
        house.until(lambda: house.acked() > _JOBS * 0.2)
        if not from_the_start:
            mark.unlink()
        house.until(lambda: house.acked() > _JOBS * dice.uniform(0.3, 0.6))
        _hurt(house, dice)
        _finish(house)
        for _ in range(_MORE):
            if mark.exists():
                break
            house.load(1, dice, "--acks", acks, "--rate", str(_RATE), "--most", str(_JOBS // 4))
            if point.startswith(_RARE):
                _hurt(house, dice)
            _finish(house)
        reached = mark.exists()
        mark.touch()  # nobody is to die of it any more
        house.stop()
        return reached, balance(house.state, house.acks, house.runs)
    finally:
        house.close()


def _finish(house: House) -> None:
    house.until(house.load_ended)
    house.end_load()
    house.calm()


def _hurt(house: House, dice: random.Random) -> None:
    for kind in dice.sample(_DEATHS, len(_DEATHS)):
        pid = house.until(partial(house.kill_one, kind, dice))
        if kind != "keeper":  # which is to come to reap it before it dies itself
            eventually(lambda pid=pid: not (house.running and pid in house.children()), UP)  # type: ignore[misc]


def passed(seed: int, acks: str) -> set[str]:
    """Return the points that one life passes, from start to end, with nobody dying of them."""
    dice = random.Random(seed)
    house = House(held=True)
    mark = house.folder / "mark"
    house.env.update(SIDECAR_CRASH_AT="?", SIDECAR_CRASH_MARK=str(mark))
    try:
        house.start()
        house.load(1, dice, "--acks", acks, "--rate", "500", "--most", str(_JOBS))
        house.until(lambda: house.acked() > _JOBS * 0.3)
        _hurt(house, dice)
        _finish(house)
        house.stop()
        return set(os.fsdecode(mark.read_bytes()).split())
    finally:
        house.close()
