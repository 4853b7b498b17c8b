"""I/O faults: one life after the other whose disk refuses the N-th write or the N-th sync, for once or for a while.

The library between the daemon and its files (recorder.c) does that, from the first start or under load as the seed
decides. Whatever fails, and whenever:

    the books balance                   no ack was given that was not kept
    after EIO, and after any sync       the daemon ends: what the kernel calls clean from then on may never have been
    that failed                         written. The next one goes on
    after ENOSPC from a write           it goes on by itself, once there is room; that it began, before it served, is
                                        a reason to end
"""

from __future__ import annotations

import errno
import random
from contextlib import suppress
from typing import NamedTuple

from . import recorder
from .house import House, Restless
from .ledger import Balance, balance, shown

_JOBS = 40
_RATE = 150


class Fault(NamedTuple):
    """What fails, how, and from which to which time it may be the first to fail."""

    what: str
    error: int
    most: int
    times: tuple[int, ...]  # how many in a row may fail


FAULTS = (
    Fault("write", errno.ENOSPC, 150, (1, 3, 10)),
    Fault("write", errno.EIO, 150, (1, 1000)),
    Fault("sync", errno.EIO, 6, (1, 1000)),
    Fault("sync", errno.ENOSPC, 6, (1,)),
)


class Life(NamedTuple):
    """What became of one life."""

    failed: bool  # something did
    gone_on: bool  # the daemon that saw it was still there at the end
    under_load: bool
    books: Balance


class Tally(NamedTuple):
    """What all lives came to."""

    lives: int
    failed: int
    acked: int
    faults: int


class Control(NamedTuple):
    """A broken daemon, what has to fail for it to show, and whether it shows in the books or by going on."""

    broken: str
    fault: Fault
    acks: str
    in_books: bool


CONTROLS = (
    Control("errors-are-acks", Fault("write", errno.ENOSPC, 20, (3,)), "stored", True),
    Control("sync-errors-are-nothing", Fault("sync", errno.EIO, 3, (1,)), "synced", False),
)


def every_fault(lives: int, seed: int, acks: str) -> Tally:
    """Live so many lives, each fault in its turn; a broken promise is named."""
    failed = acked = faults = 0
    for number in range(lives):
        fault = FAULTS[number % len(FAULTS)]
        life = one_life(f"{seed}/{number}", fault, acks)
        failed += life.failed
        acked += life.books.acked
        wrong = shown(life.books) or wrong_end(fault, life)
        faults += bool(wrong)
        if wrong:
            print(f"faults: life {number} of seed {seed}, {named(fault)}: {wrong}", flush=True)
    return Tally(lives, failed, acked, faults)


def control(given: Control, seed: int, lives: int = 30) -> int:
    """Return the lives until a broken daemon showed, 0 for never."""
    for number in range(lives):
        with suppress(Restless):
            life = one_life(f"{seed}/{given.broken}/{number}", given.fault, given.acks, given.broken)
            if life.books.missing if given.in_books else wrong_end(given.fault, life):
                return number + 1
    return 0


def named(fault: Fault) -> str:
    """Return what fails how, for people."""
    return f"{fault.what} {errno.errorcode[fault.error]}"


def wrong_end(fault: Fault, life: Life) -> str:
    """Return what the daemon should not have done after the fault, "" where it did well."""
    to_go_on = fault.what == "write" and fault.error == errno.ENOSPC
    if life.failed and life.gone_on and not to_go_on:
        return "the daemon went on"
    if life.failed and not life.gone_on and to_go_on and life.under_load:
        return "the daemon ended"
    return ""


def one_life(seed: str, fault: Fault, acks: str, broken: str = "") -> Life:
    """Live one life with a fault in it."""
    dice = random.Random(seed)
    under_load = dice.random() < 0.7
    house = House(held=True, broken=broken)
    mark = house.folder / "mark"
    house.env.update(recorder.under(recorder.build(house.folder), house.daemon_module, house.state))
    rule = (fault.what, dice.randint(1, fault.most), fault.error, dice.choice(fault.times))
    house.env.update(RECORDER_FAIL=":".join(map(str, rule)), RECORDER_MARK=str(mark))
    try:
        if under_load:
            mark.touch()
            house.start()
        else:
            house.launch()
        house.load(2, dice, "--acks", acks, "--rate", str(_RATE), "--most", str(_JOBS // 2))
        house.until(lambda: house.acked() > _JOBS * 0.2)
        if under_load:
            mark.unlink()
        house.until(house.load_ended)
        house.end_load()
        house.calm()
        seen_by = int(mark.read_text()) if mark.exists() else 0
        gone_on = seen_by in house.kin("daemon")
        mark.touch()  # its end is to go well
        house.kill() if broken else house.stop()
        return Life(bool(seen_by), gone_on, under_load, balance(house.state, house.acks, house.runs))
    finally:
        house.close()
