"""A zygote that speaks another protocol: its runtime waits, with the mending command, and is tried anew."""

from __future__ import annotations

from sidecar.daemon.zygotes import PROTOCOL
from tests.daemon.test_warming import LANE, House


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
    zygote = house.add(house.key, protocol=PROTOCOL - 1, attempts=[[7, 1]])
    house.zygotes._hear(zygote, [["exited", [7, 1], {"reason": "exit"}]])  # as the protocol before had it
    assert not house.asked and not zygote.ready
