"""A little of each part, so that every test run goes through all of the torture's code; `make torture` is the whole.

Here too a check that cannot fail is a failure: each has its control, but for the random kills', which takes too long.
"""

from __future__ import annotations

import random
import shutil

import pytest

from sidecar.crashpoints import POINTS, armed

from . import endurance, faults, kills, points, power
from .disk import Disk, Entry
from .runner import ACKS

needs_a_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="the recorder is built with cc")


@pytest.fixture
def seed() -> int:
    """Choose a seed, which a failure shows with the fixtures' values."""
    return random.SystemRandom().randrange(1_000_000)


@pytest.mark.parametrize("kind", kills.KINDS)
def test_nothing_acknowledged_is_lost_by_random_kills(seed: int, kind: str) -> None:
    found = kills.one_round(f"{seed}", kind, 3, ACKS)
    assert (found.faults, found.acked > 0) == (0, True), found


def test_every_crash_point_is_passed_in_a_life(seed: int) -> None:
    assert points.passed(seed, ACKS) == set(POINTS)


def test_crash_points_are_off_unless_asked_for() -> None:
    assert armed({}) is None


@pytest.mark.parametrize("point", ["intake.stored", "commit.done", "spawn.forked", "keeper.swept"])
def test_nothing_is_lost_at_a_crash_point(seed: int, point: str) -> None:
    reached, found = points.one_life(f"{seed}", point, ACKS)
    assert (reached, found.faults) == (True, 0), found


@pytest.mark.parametrize("given", points.CONTROLS, ids=lambda given: given.broken)
def test_a_daemon_that_loses_at_a_crash_point_is_found(seed: int, given: points.Control) -> None:
    """Negative control."""
    assert points.control(given, seed)


@needs_a_compiler
def test_no_synced_job_is_lost_by_a_power_cut_and_a_lie_about_syncs_is_found(seed: int) -> None:
    """With the negative controls, since they need the same recording."""
    recording = power.record(1.5, seed, ACKS, kills=1)
    found = power.examine(recording, 80, seed)
    assert (found.faults, found.promised > 0) == (0, True), found
    for lie in power.LIES:
        assert power.control(recording, seed, lie), lie


@needs_a_compiler
@pytest.mark.parametrize("fault", faults.FAULTS, ids=faults.named)
def test_no_ack_is_given_that_an_io_fault_makes_a_lie(seed: int, fault: faults.Fault) -> None:
    life = faults.one_life(f"{seed}", fault, ACKS)
    assert (life.books.faults, faults.wrong_end(fault, life)) == (0, ""), life


@needs_a_compiler
@pytest.mark.parametrize("given", faults.CONTROLS, ids=lambda given: given.broken)
def test_a_daemon_that_lies_after_an_io_fault_is_found(seed: int, given: faults.Control) -> None:
    """Negative control."""
    assert faults.control(given, seed)


def test_what_grows_is_found_and_what_comes_and_goes_is_not() -> None:
    """The sums; jobs are run through by `make torture`, it takes too long here."""

    def grown(memory: int, descriptors: int, store: int, zombies: int = 0) -> int:
        """Look each ten seconds and 500 jobs, at a daemon that has so much more of each after every look."""
        looks = [
            endurance.Look(
                10.0 * n,
                500 * n,
                {"keeper": 5_000_000, "daemon": 20_000_000 + memory * n, "zygote": 4_000_000 - n % 7 * 4096},
                {"keeper": 16, "daemon": 20 + descriptors * n, "zygote": 17 + n % 16},
                30_000_000 + store * n,
                5_000_000,
            )
            for n in range(100)
        ]
        return endurance._tally(50_000, 1000.0, looks, zombies).grown

    assert grown(0, 0, 0) == 0
    assert [grown(30_000, 0, 0), grown(0, 1, 0), grown(0, 0, 500 * 4096), grown(0, 0, 0, 1)] == [1, 1, 1, 1]


def wrote(file: int, data: bytes, at: int = 0) -> Entry:
    return Entry("W", 0, "", data, file, at, 0)


def lives_of(disk: Disk) -> set[tuple[tuple[str, bytes], ...]]:
    """Return every state that a good many cuts leave."""
    dice = random.Random(1)
    return {
        tuple(sorted(disk.after_cut(way, dice).items()))
        for way in ("nothing", "some", "torn", "first", "all")
        for _ in range(200)
    }


def test_a_cut_may_take_what_was_not_synced_and_nothing_else() -> None:
    disk = Disk()
    disk.replay(Entry("O", 1, "/s", b"", 9, 0, 0))
    disk.replay(Entry("C", 0, "/s/a", b"", 1, 0, 0))
    disk.replay(wrote(1, b"1" * 512))
    disk.replay(Entry("S", 0, "", b"", 1, 1, 0))
    disk.replay(wrote(1, b"2" * 1024))  # while the sync runs: it may be on the disk or not
    disk.replay(Entry("E", 0, "", b"", 1, 1, 0))
    disk.replay(Entry("S", 1, "", b"", 9, 2, 0))
    disk.replay(Entry("E", 1, "", b"", 9, 2, 0))
    one, two = b"1" * 512, b"2" * 512
    assert {dict(state)["/s/a"] for state in lives_of(disk)} == {one, two, two + two, one + two}


def test_a_name_is_lost_until_its_folder_is_synced() -> None:
    disk = Disk()
    disk.replay(Entry("C", 0, "/s/a", b"", 1, 0, 0))
    disk.replay(wrote(1, b"x"))
    disk.replay(Entry("S", 0, "", b"", 1, 1, 0))
    disk.replay(Entry("E", 0, "", b"", 1, 1, 0))
    assert lives_of(disk) == {(), (("/s/a", b"x"),)}
    disk.replay(Entry("R", 0, "/s/a", b"/s/b", 0, 0, 0))
    assert lives_of(disk) == {(), (("/s/a", b"x"),), (("/s/b", b"x"),)}


def test_what_a_killed_writer_left_unrecorded_counts_as_not_synced() -> None:
    disk = Disk()
    disk.replay(Entry("O", 0, "/s/a", b"a" * 512, 1, 0, 0))
    disk.replay(Entry("S", 0, "", b"", 1, 1, 0))
    disk.replay(Entry("E", 0, "", b"", 1, 1, 0))
    disk.replay(Entry("O", 0, "/s/a", b"b" * 512, 1, 0, 0))
    assert {dict(state)["/s/a"][:1] for state in lives_of(disk)} == {b"a", b"b"}
