"""What a zygote says before it has answered, and one that speaks another protocol than this daemon."""

from __future__ import annotations

import math
import time
from typing import Any

import trio

from sidecar.daemon.zygote import Zygote
from sidecar.daemon.zygotes import PROTOCOL
from sidecar.job import Ending
from sidecar.zygote.channel import Channel
from tests.daemon.test_warming import LANE, House

ENDING = Ending(7, 1, "exit", 0, None, 1.0, time.time(), 0.0, 0.0, 0, b"", b"", 0, 0)


def overheard(house: House) -> list[Ending]:
    """Return the list of endings that the book of attempts will be told."""
    told: list[Ending] = []
    house.zygotes._events.exited = lambda ending, generation: told.append(ending)  # type: ignore[method-assign]
    return told


def unanswered(house: House) -> Zygote:
    """Add a zygote whose answer to the hello has not come yet."""
    return house.add_silent(house.key)


async def test_what_it_said_to_the_daemon_before_counts_though_it_dies_before_it_answers() -> None:
    house = House()
    told = overheard(house)
    zygote = unanswered(house)
    theirs = Channel(house.ends[-1])
    theirs.send(["exited", *ENDING])
    theirs.flush()
    house.zygotes.dead(zygote.generation)
    assert told == [ENDING]


async def test_another_protocol_is_a_reason_to_wait_and_to_try_again() -> None:
    house = House()
    house.zygotes.dead(house.cold.generation)
    house.add(house.key, protocol=PROTOCOL - 1)
    told = [(message["want"], message.get("generation")) for message in house.asked]
    assert told == [("retire", 2), ("kill", 2)]
    assert "/usr/bin/python3 -m pip install sidecar-jobs" in (house.zygotes.waiting(LANE) or "")
    assert house.zygotes.next_try() < float("inf")


async def test_one_that_runs_attempts_is_left_to_them_and_not_heard() -> None:
    house = House()
    told = overheard(house)
    zygote = unanswered(house)
    as_before: list[Any] = ["exited", [7, 1], {"reason": "exit"}]  # the protocol before this one
    house.zygotes._hear(zygote, [as_before])
    house.hello(zygote, protocol=PROTOCOL - 1, attempts=[[7, 1]])
    house.zygotes._hear(zygote, [as_before, ["exited", *ENDING]])
    assert not told and not house.asked and not zygote.ready


async def test_a_runtime_that_nobody_asks_for_any_more_keeps_none_from_being_tried_again(autojump_clock: Any) -> None:
    house = House()
    house.zygotes.refused("gone", "it cannot start")
    await trio.sleep(house.zygotes.next_try() - trio.current_time() + 1)
    house.zygotes.refused("wanted", "it cannot start")
    assert trio.current_time() < house.zygotes.next_try() < math.inf
    await trio.sleep(100)
    assert house.zygotes.next_try() == math.inf
