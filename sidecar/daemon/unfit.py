"""The keys that have no zygote: why, and when each may be tried again."""

from __future__ import annotations

import math
from collections.abc import Container
from typing import NamedTuple

import trio

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0  # seconds


class _Rest(NamedTuple):
    reason: str
    pause: float  # seconds
    until: float  # trio's clock


class Unfit:
    """What was wrong with the last start of each key that could not start."""

    def __init__(self) -> None:
        self._rests: dict[str, _Rest] = {}

    def note(self, key: str, reason: str) -> bool:
        """Have it rest, twice as long as the last time; True when this reason is news."""
        before = self._rests.get(key)
        pause = min(before.pause * 2, _LONGEST_PAUSE) if before else _FIRST_PAUSE
        self._rests[key] = _Rest(reason, pause, trio.current_time() + pause)
        return before is None or before.reason != reason

    def mended(self, key: str) -> None:
        """Forget it: it has started."""
        self._rests.pop(key, None)

    def why(self, key: str) -> str | None:
        """Return what was wrong, None when nothing was."""
        rest = self._rests.get(key)
        return rest.reason if rest else None

    def rests(self, key: str) -> bool:
        """Say whether it is not to be tried yet."""
        rest = self._rests.get(key)
        return rest is not None and rest.until > trio.current_time()

    def next_try(self, under_way: Container[str]) -> float:
        """Return the next instant (trio's clock) at which one that is not under way may be tried again.

        Those that could have been tried before now are nobody's any more: who wants one has it tried.
        """
        now = trio.current_time()
        rests = [rest.until for key, rest in self._rests.items() if key not in under_way and rest.until > now]
        return min(rests, default=math.inf)
