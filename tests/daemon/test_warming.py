"""Which modules become warm, when, and how many: the policy, with a clock of its own and real books."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from sidecar import wire
from sidecar.daemon import warming
from sidecar.daemon.warming import MOST, SETTLED, Warming
from sidecar.daemon.zygote import Events, Zygote
from sidecar.daemon.zygotes import PROTOCOL, Zygotes
from sidecar.rows import Lane

LANE = Lane(1, 1000, "default", wire.pack({"kind": "python", "interpreter": "/usr/bin/python3"}))


class House:
    """The daemon's books of zygotes, and a keeper that does what it is asked when `serve` is called."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.asked: list[dict[str, Any]] = []
        self.ends: list[socket.socket] = []
        self.zygotes = Zygotes(self.asked.append, Events(), {"result": 1, "output": 1})
        self.warming = self.zygotes.warming = Warming(self.zygotes, lambda: self.now)
        self.key = self.zygotes.key_of(LANE)
        self.cold = self.add(self.key)

    def add(self, key: str, **about: Any) -> Zygote:
        zygote = self.add_silent(key)
        self.hello(zygote, **about)
        return zygote

    def add_silent(self, key: str) -> Zygote:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.ends.append(theirs)
        zygote = Zygote(len(self.ends), key, 1, ours)
        self.zygotes.add(zygote, False)
        return zygote

    def hello(self, zygote: Zygote, **about: Any) -> None:
        hello = ["hello", self.zygotes._nonce, {"pid": 1, "protocol": PROTOCOL, "attempts": [], "cold": None, **about}]
        self.zygotes._hear(zygote, [hello])

    def wanted(self) -> list[str]:
        """Return and forget the keys that were asked for."""
        keys = [message["key"].partition("+")[2] for message in self.asked if message["want"] == "zygote"]
        self.asked.clear()
        return keys

    def warm(self, module: str) -> Zygote:
        """Make a module warm."""
        self.learn(module)
        self.learn(module)
        assert self.wanted() == [module]
        return self.add(f"{self.key}+{module}")

    def learn(self, module: str) -> None:
        self.warming.learn(self.key, f"{module}:f", 0.3)

    def pick(self, module: str, **plan: Any) -> Zygote:
        return self.warming.pick(self.cold, {"call": f"{module}:f", **plan})

    def state(self, module: str) -> str:
        return next(each["state"] for each in self.warming.view() if each["module"] == module)  # type: ignore[no-any-return]


@pytest.fixture
async def house() -> Any:
    made = House()
    yield made
    for end in made.ends:
        end.close()
    for zygote in made.zygotes.all():
        zygote.channel.close()


async def test_a_module_nobody_said_anything_of_runs_cold_for_ever(house: House) -> None:
    assert not house.warming.concerns(house.key)
    assert [house.pick("app") for _ in range(5)] == [house.cold] * 5
    assert house.wanted() == []


async def test_a_slow_module_is_warmed_when_it_is_asked_for_again(house: House) -> None:
    house.learn("app")
    assert (house.wanted(), house.state("app")) == ([], "cold")
    assert house.pick("app") is house.cold
    assert (house.wanted(), house.state("app")) == (["app"], "warming")
    assert house.pick("app") is house.cold and house.wanted() == []  # asked for once, and never waited for
    warm = house.add(f"{house.key}+app")
    assert house.pick("app") is warm
    assert house.pick("other") is house.cold
    assert house.state("app") == "warm"


async def test_a_job_with_an_environment_or_folder_of_its_own_runs_cold(house: House) -> None:
    warm = house.warm("app")
    assert house.pick("app", env={"DEBUG": "1"}) is house.cold
    assert house.pick("app", cwd="/srv") is house.cold
    assert house.pick("app") is warm


async def test_the_least_recently_used_goes_when_it_has_settled(house: House) -> None:
    warm = [house.warm(f"app{number}") for number in range(MOST)]
    for each in range(1, MOST):
        house.now += 1
        assert house.pick(f"app{each}") is warm[each]
    house.learn("late")
    house.now += SETTLED
    assert house.pick("late") is house.cold
    assert house.wanted() == ["late"]
    assert [zygote.old for zygote in warm] == [True] + [False] * (MOST - 1)
    assert house.pick("app0") is house.cold  # it has to be asked for twice again


async def test_busy_modules_are_not_driven_out(house: House) -> None:
    for number in range(MOST):
        house.warm(f"app{number}")
    for _ in range(10):
        house.learn("late")
        assert house.pick("late") is house.cold
    assert house.wanted() == []


async def test_what_fails_is_tried_again_after_pauses_that_grow(house: House) -> None:
    house.learn("app")
    pauses = []
    for _ in range(8):
        house.pick("app")
        assert house.wanted() == ["app"]
        house.add(f"{house.key}+app", cold="it starts 1 threads")
        assert [message["want"] for message in house.asked] == ["retire", "kill"]
        house.asked.clear()
        assert house.warming.why_cold(house.key, "app:f") == "it starts 1 threads"
        before = house.now
        while not house.wanted():
            house.now += 1
            assert house.pick("app") is house.cold
        house.zygotes._wanted.clear()
        pauses.append(house.now - before)
    assert pauses == [2, 8, 32, 128, 512, 600, 600, 600]


async def test_one_that_died_under_its_jobs_is_cold(house: House) -> None:
    warm = house.warm("app")
    house.zygotes.dead(warm.generation)
    assert house.pick("app") is house.cold
    assert house.wanted() == []
    assert "died" in (house.warming.why_cold(house.key, "app:f") or "")


async def test_one_whose_code_has_changed_is_made_anew_at_once(house: House) -> None:
    warm = house.warm("app")
    house.zygotes._hear(warm, [["stale", 1, 1]])
    assert house.pick("app") is house.cold
    assert house.wanted() == ["app"]
    newer = house.add(f"{house.key}+app")
    assert house.pick("app") is newer


async def test_one_whose_code_changes_all_the_time_is_left_alone(house: House) -> None:
    warm = house.warm("app")
    for _ in range(warming.RESTLESS):
        for _ in range(3):  # it says so for each job that it had been given
            house.zygotes._hear(warm, [["stale", 1, 1]])
        assert house.pick("app") is house.cold and house.wanted() == ["app"]
        warm = house.add(f"{house.key}+app")
    house.zygotes._hear(warm, [["stale", 1, 1]])
    assert house.pick("app") is house.cold and house.wanted() == []
    assert "change all the time" in (house.warming.why_cold(house.key, "app:f") or "")


async def test_edits_now_and_then_are_no_reason(house: House) -> None:
    warm = house.warm("app")
    for _ in range(3 * warming.RESTLESS):
        house.now += SETTLED
        house.zygotes._hear(warm, [["stale", 1, 1]])
        assert house.pick("app") is house.cold and house.wanted() == ["app"]
        warm = house.add(f"{house.key}+app")


async def test_one_that_an_earlier_daemon_had_made_is_used(house: House) -> None:
    house.add(f"{house.key}+app")
    assert house.warming.concerns(house.key)
    assert house.pick("app").module == "app"


async def test_the_cold_zygote_stays_while_there_are_warm_ones(house: House) -> None:
    warm = house.warm("app")
    assert house.zygotes.retire_idle(house.cold.idle_since + 1e4) != 0
    kept = house.zygotes.all()
    assert warm not in kept and house.cold in kept
    house.zygotes.retire_idle(house.cold.idle_since + 1e4)
    assert house.zygotes.all() == []


async def test_what_is_remembered_is_bounded(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warming, "_KNOWN", 10)
    for number in range(100):
        house.learn(f"app{number}")
    assert [each["module"] for each in house.warming.view()] == [f"app{number}" for number in range(90, 100)]
