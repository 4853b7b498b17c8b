"""A tick: a keeper that ends by itself, when nothing is left to do now or its time is over, and says what was done.

Either end is the same stop as SIGTERM's. Numbers come from the daemon: what it took from the spool as it goes, so that
none is missing when it is killed, and what ended and what is left from the last one, which reads them off the store.
`serve` has a tick without end that says nothing.
"""

from __future__ import annotations

import os
import time
from math import inf

from .notify import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Tick:
    """When it ends, and what is known of it; `seconds` None: it is none."""

    def __init__(self, seconds: float | None) -> None:
        self.is_one = seconds is not None
        self._began, self._since = time.time(), time.monotonic()
        self.ends = inf if seconds is None else self._since + seconds
        # For daemons: from when to when, as they know time.
        self.term = "" if seconds is None else f"{self._began!r} {self._began + seconds!r}"
        self._taken = 0
        self._ended: dict[str, int] | None = None
        self._left: dict[str, int] = {}

    def hear(self, message: dict[str, Any]) -> None:
        """Note what a daemon has done."""
        self._taken += message["taken"]
        if "ended" in message:
            self._ended, self._left = message["ended"], message["left"]

    def report(self, spool: str) -> None:
        """Say in one line what this run did."""
        if not self.is_one:
            return
        begin = time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(self._began))
        files = _files(f"{spool}/new")
        left = self._left | ({"in the spool": files} if files else {})
        did = f"ended: {_listed(self._ended or {})}; left: {_listed(left)}"
        if self._ended is None:
            did = f"what ended is not known, the daemon did not come to say it; {files} left in the spool"
        say(f"tick of {begin}, {time.monotonic() - self._since:.1f} s: {self._taken} taken from the spool; {did}")


def _files(folder: str) -> int:
    try:
        return len(os.listdir(folder))
    except OSError:  # somebody has taken the state folder away
        return 0


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {word}" for word, count in counts.items()) or "none"
