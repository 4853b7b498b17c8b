"""The parts one after the other, each followed by its controls, and the verdict.

A part is green when nothing was broken *and* every control found what its broken daemon loses. How much is tried is a
Size; more of it is more time and nothing else. What is random comes from the seed, but for the moments that the machine
itself chooses: the same seed hurts in the same way, not at the same instruction.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from . import endurance, faults, kills, points, power

ACKS = "sent,stored,synced,spooled"
_STATES_A_RECORDING = 500


class Size(NamedTuple):
    """How much is tried."""

    kills: int
    lives: int  # for each crash point
    recording: float  # seconds
    states: int
    faults: int  # lives with an I/O fault
    jobs: int  # that are run through


SIZES = {
    "usual": Size(
        kills=200, lives=6, recording=8.0, states=1_000, faults=80, jobs=12_000
    ),  # what CI does: about ten minutes
    "long": Size(kills=10_000, lives=100, recording=20.0, states=20_000, faults=3_000, jobs=1_000_000),  # hours
}


class Outcome(NamedTuple):
    """What a part came to: its counts by name, how many promises were broken, which controls showed nothing."""

    counts: dict[str, int]
    faults: int
    blind: list[str]


def run_kills(size: Size, seed: int) -> Outcome:
    """Kill processes at random moments."""
    found = kills.kill_loop(size.kills, seed, ACKS)
    blind = [] if kills.control(seed) else ["plain-receive"]
    return Outcome(found._asdict(), found.faults, blind)


def run_points(size: Size, seed: int) -> Outcome:
    """Have processes die at every crash point."""
    found = points.every_point(size.lives, seed, ACKS)
    blind = [one.broken for one in points.CONTROLS if not points.control(one, seed)]
    return Outcome(found._asdict(), found.faults + found.unreached, blind)


def run_power(size: Size, seed: int) -> Outcome:
    """Cut the power."""
    total = power.Tally(*[0] * len(power.Tally._fields))
    blind: list[str] = []
    for first in range(0, size.states, _STATES_A_RECORDING):
        recording = power.record(size.recording, seed + first, ACKS)
        found = power.examine(recording, min(_STATES_A_RECORDING, size.states - first), seed + first)
        total = power.Tally(*(a + b for a, b in zip(total, found, strict=True)))
        if first == 0:
            blind = [lie for lie in power.LIES if not power.control(recording, seed, lie)]
    return Outcome(total._asdict(), total.faults + (not total.promised), blind)


def run_faults(size: Size, seed: int) -> Outcome:
    """Have writes and syncs fail."""
    found = faults.every_fault(size.faults, seed, ACKS)
    blind = [one.broken for one in faults.CONTROLS if not faults.control(one, seed)]
    return Outcome(found._asdict(), found.faults + (not found.failed), blind)


def run_endurance(size: Size, seed: int) -> Outcome:
    """Run many jobs and look at what grows."""
    found = endurance.run_through(size.jobs)
    blind = [broken for broken in endurance.CONTROLS if not endurance.control(broken)]
    return Outcome(found._asdict(), found.grown, blind)


PARTS: dict[str, Callable[[Size, int], Outcome]] = {
    "kills": run_kills,
    "points": run_points,
    "power": run_power,
    "faults": run_faults,
    "endurance": run_endurance,
}


def run(parts: list[str], size: Size, seed: int) -> bool:
    """Run parts and print a line for each, and the verdict last; returns whether all is green."""
    red, counts = [], []
    for part in parts:
        started = time.monotonic()
        found = PARTS[part](size, seed)
        shown = ", ".join(f"{name} {count}" for name, count in found.counts.items())
        controls = f"controls that showed nothing: {', '.join(found.blind)}" if found.blind else "every control lost"
        print(f"{part}: {shown}; {controls}; {time.monotonic() - started:.0f} s", flush=True)
        counts.append(f"{part} {next(iter(found.counts.values()))}")
        if found.faults or found.blind:
            red.append(part)
    verdict = f"RED: {', '.join(red)}" if red else "nothing lost"
    print(f"torture: {verdict}; {', '.join(counts)}; seed {seed}", flush=True)
    return not red
