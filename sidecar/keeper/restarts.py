"""When to start again what died: at once, unless it keeps dying. Pure: it is given `now`, it has no clock.

More than 5 deaths in 10 seconds: pauses that double up to 5 seconds, until one life has lasted 10 seconds. A restart
loop must neither spin nor fill a disk, so what is said about it is rationed too.
"""

from __future__ import annotations

FAST, WINDOW = 5, 10.0  # deaths, seconds
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
SILENCE = 60.0  # seconds between two lines about the same loop


class Restarts:
    """The recent deaths of one thing that has to live."""

    def __init__(self) -> None:
        self.row = 0  # deaths since one was last proven well
        self._recent: list[float] = []
        self._pause = 0.0
        self._said = float("-inf")

    def died(self, now: float, lived: float) -> float:
        """Count a death after a life of `lived` seconds; return the pause before the next start."""
        self.row += 1
        if lived >= WINDOW:
            self._recent.clear()
            self._pause = 0.0
        self._recent = [at for at in self._recent if now - at < WINDOW] + [now]
        if self._pause or len(self._recent) > FAST:
            self._pause = min(LONGEST_PAUSE, max(FIRST_PAUSE, 2 * self._pause))
        return self._pause

    def proven(self) -> None:
        """Note that it is well: it has worked for a while, so the next death is the first of a new row.

        Living is no proof. A datagram that hangs its parser keeps a daemon alive until its silence is noticed.
        """
        self.row = 0

    def worth_saying(self, now: float) -> bool:
        """Return whether this death deserves a line: each without a pause does, then one in `SILENCE` seconds."""
        if now - self._said < SILENCE:
            return False
        self._said = now if self._pause else float("-inf")
        return True
