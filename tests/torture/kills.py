"""The kill loop: clients load it over every ack, and at random moments its processes get SIGKILL.

Each round is a sidecar of its own. It loses daemons and zygotes, and by the kind of the round more:

    held     the keeper too; its sockets are held from outside, as by systemd: every ack counts
    own      not the keeper: every ack counts
    bound    the keeper too, with its own sockets: `sent` is only promised while the keeper lives, so that of a life
             that ended by SIGKILL is excused
    storm    held, and hardly anything but daemons dies, under a flood of jobs that do not run: as many chances to lose
             one as can be. So this is the control's kind too

A killed keeper is started again at once, and some kills do not wait until all is well again: they hit a sidecar that is
still coming up. Now and then a reload is asked for in between: then there are two daemons, and old zygotes beside new
ones.
"""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress
from typing import NamedTuple

from .house import House, Restless
from .ledger import Ack, Balance, balance, shown

KILLS_A_ROUND = 20
CLIENTS = 4
_WEIGHTS = {
    "held": {"daemon": 5, "zygote": 3, "keeper": 2},
    "own": {"daemon": 5, "zygote": 3},
    "bound": {"daemon": 5, "zygote": 3, "keeper": 2},
    "storm": {"daemon": 5, "keeper": 1},
}
KINDS = tuple(_WEIGHTS)
_CONTROL_ROUNDS = 6
_SEARCH = 30.0  # seconds to find something to kill: all may be in the pause before their next start
_IN_WORK = 0.8  # of the kills wait until the last one is got over and hand-offs are taken again; the others do not
_RELOADS = 0.1  # for each kill


class Tally(NamedTuple):
    """What all rounds came to."""

    kills: int
    acked: int
    excused: int
    ran: int
    again: int
    lost: int
    faults: int


def kill_loop(kills: int, seed: int, acks: str) -> Tally:
    """Run rounds until there were so many kills; one that broke a promise is named, and can be had again alone."""
    total = Tally(*[0] * len(Tally._fields))
    number = 0
    while total.kills < kills:
        kind = KINDS[number % len(KINDS)]
        wanted = min(KILLS_A_ROUND, kills - total.kills)
        found = one_round(f"{seed}/{number}", kind, wanted, acks)
        if found.faults:
            print(f"kills: round {number} of seed {seed} ({kind}): {shown(found)}", flush=True)
        total = Tally(*(a + b for a, b in zip(total, (wanted, *found[5:], found.faults), strict=True)))
        number += 1
    return total


def control(seed: int) -> int:
    """Do the same to a daemon that receives before it stores; return the kills until a loss was found, 0 for never."""
    for number in range(_CONTROL_ROUNDS):
        with suppress(Restless):
            if one_round(f"{seed}/control/{number}", "storm", KILLS_A_ROUND, "sent", "plain-receive").missing:
                return KILLS_A_ROUND * (number + 1)
    return 0


def one_round(seed: str, kind: str, kills: int, acks: str, broken: str = "") -> Balance:
    """Load one sidecar, kill so often, let it come to rest, and settle its books."""
    dice = random.Random(seed)
    storm = kind == "storm"
    house = House(held=kind in ("held", "storm"), broken=broken)
    sockets_died = 0
    try:
        house.start()
        house.load(CLIENTS, dice, "--acks", acks, *(("--rate", "2000", "--later") if storm else ("--rate", "60")))
        for _ in range(kills):
            if dice.random() < _IN_WORK:
                acked = house.acked()
                house.until(lambda acked=acked: house.acked() > acked)  # type: ignore[misc]
            time.sleep(dice.uniform(0.0, 0.3))  # the moment is what is random here
            if dice.random() < _RELOADS and house.kin("daemon"):  # it would end a keeper that has not begun yet
                house.signal(signal.SIGHUP)
            if _kill(house, kind, dice) == "keeper":
                sockets_died = _begin_again(house, kind)
        house.end_load()
        house.calm(to_the_end=not storm)
        house.stop()

        def excused(ack: Ack) -> bool:
            return kind == "bound" and ack.word == "sent" and ack.stamp <= sockets_died

        return balance(house.state, house.acks, house.runs, excused, to_the_end=not storm)
    finally:
        house.close()


def _begin_again(house: House, kind: str) -> int:
    """Start a killed keeper again; returns when the last was sent that may have gone down with its sockets.

    Those live on in a daemon that has not seen yet that its keeper is dead: until there are others.
    """
    if kind != "bound":
        house.launch()
        return 0
    before = os.stat(house.handoff).st_ino
    house.launch()
    house.until(lambda: os.stat(house.handoff).st_ino != before)
    return time.monotonic_ns()


def _kill(house: House, kind: str, dice: random.Random) -> str:
    """Kill one that lives; which one was killed."""
    weights = _WEIGHTS[kind]
    until = time.monotonic() + _SEARCH
    while True:
        victim = dice.choices(list(weights), list(weights.values()))[0]
        if house.kill_one(victim, dice):
            return victim
        assert time.monotonic() < until, f"nothing to kill: {house.log()[-3000:]}"
        time.sleep(0.01)
