"""The end of attempts: the main process is reaped, what it left behind is swept, and then the attempt is over.

Nothing here waits. What was killed and is not gone at once is looked at again, after 0.5 ms and then less and less
often: waiting for it, even by a pidfd, would let a debugger that holds it stop or spin us, and a thousand strays would
want a thousand descriptors. How a stray is told from a main process, and killed, is said in tree.py.
"""

from __future__ import annotations

from math import inf
from os import WNOHANG, getsid, wait4
from time import monotonic, sleep

from ..crashpoints import crash
from . import tree
from .attempt import SWEEPING, Attempt, Key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .template import Template

_FIRST_LOOK, _LAST_LOOK = 0.0005, 0.05  # seconds


class Reaper:
    """What has ended and is not over yet. `over` is called with each attempt of which nothing is left."""

    def __init__(self, running: dict[Key, Attempt], spares: list[Attempt], over: Callable[[Attempt], None]) -> None:
        self.running = running  # the loop's books, by reference: their main processes are no strays
        self.spares = spares
        self.over = over
        self.children = tree.Children()
        self.template: Template | None = None  # a child that is no attempt, and makes children of ours
        self.sweeping: list[Attempt] = []
        self.unreaped: list[Attempt] = []  # ended, and held by somebody who traces it
        self.beyond: set[int] = set()  # strays that became somebody else: not ours to end
        self.look_at = inf  # when strays and the unreaped are looked at again, on the monotonic clock
        self.pause = _FIRST_LOOK

    def take(self, attempt: Attempt) -> None:
        """Take over an attempt whose main process has ended."""
        self.reap(attempt)
        self.sweep()

    def look(self) -> None:
        """Look again at what did not go at once."""
        self.look_at = inf
        for attempt in self.unreaped[:]:
            self.reap(attempt)
        self.sweep()

    def look_again(self) -> None:
        """Come back soon, then less soon: killed processes go in less than a millisecond, most of them."""
        self.look_at = monotonic() + self.pause
        self.pause = min(self.pause * 2, _LAST_LOOK)

    def reap(self, attempt: Attempt) -> None:
        """Take its exit status. Never waits: who traces a process holds its zombie as long as he likes."""
        pid, attempt.status, attempt.rusage = wait4(attempt.pid, WNOHANG)
        if pid == 0:
            if attempt not in self.unreaped:
                self.unreaped.append(attempt)
            return self.look_again()
        if attempt in self.unreaped:
            self.unreaped.remove(attempt)
        crash and crash("reap.reaped")
        attempt.stage = SWEEPING
        del self.running[attempt.key]
        self.sweeping.append(attempt)

    def sweep(self) -> None:
        """Kill what ended trees left behind; when nothing is left, their attempts are over."""
        if not self.sweeping:
            return
        pids = self.children.pids()
        known = len(self.running) + len(self.spares)
        if (self.beyond or len(pids) != known) and self.kill_strays(pids):
            return self.look_again()
        self.pause = _FIRST_LOOK
        for attempt in self.sweeping:
            self.over(attempt)
        self.sweeping.clear()

    def kill_strays(self, pids: list[int]) -> bool:
        """Kill those of our children that are no attempt's main process; say whether some are not gone yet."""
        mains = {attempt.pid for attempt in (*self.running.values(), *self.spares)}
        self.beyond = tree.still_there(self.beyond)
        while strays := self.without_template(set(pids) - mains - self.beyond):
            alive, beyond = tree.kill_strays(strays)
            self.beyond |= beyond
            if alive:
                for attempt in self.sweeping:
                    attempt.survivors = (attempt.survivors or set()) | alive
                return True
            pids = self.children.pids()
        return False

    def without_template(self, pids: set[int]) -> set[int]:
        """Leave out the template, and its children that it has not named yet: they are in its session, no job is."""
        if self.template is None or self.template.reason is not None:
            return pids
        return {pid for pid in pids if getsid(pid) != self.template.pid}

    def end_all(self) -> None:
        """Kill every child we may kill, and return when none is left."""
        while left := set(self.children.pids()) - self.beyond:
            self.beyond |= tree.kill_strays(left)[1]
            sleep(0.001)  # dying takes the kernel a moment, and there is nothing else left to wait for
