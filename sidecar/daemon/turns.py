"""Whose turn it is: the lanes that may have queued jobs, by priority, and in turns within a priority.

Names of queues are the clients', so there may be one for each customer of theirs: nothing here, and nothing in a claim,
looks at all lanes. A lane's rank is what its first job's priority may be at most: an insert can only raise it, and the
claim, which sees the job, puts the lane where it belongs.
"""

from __future__ import annotations

from collections.abc import Iterable

UNKNOWN = 1000  # above every priority: looked at first, then known


class Turns:
    """Lanes by number. True when there is one."""

    def __init__(self) -> None:
        self._ranks: dict[int, int] = {}
        self._lanes: dict[int, dict[int, None]] = {}  # by rank; in the order of their turns

    def __bool__(self) -> bool:
        return bool(self._ranks)

    def note(self, lane: int, rank: int = UNKNOWN) -> None:
        """Note that a lane may have such a job: it keeps its place, or goes behind the others of a higher rank."""
        known = self._ranks.get(lane)
        if known is None or known < rank:
            self.put(lane, rank)

    def note_all(self, lanes: Iterable[tuple[int, int]]) -> None:
        """Note lanes, each with a priority."""
        for lane, rank in lanes:
            self.note(lane, rank)

    def put(self, lane: int, rank: int) -> None:
        """Put a lane behind the others of a rank, from wherever it was."""
        self.remove(lane)
        self._ranks[lane] = rank
        self._lanes.setdefault(rank, {})[lane] = None

    def pop(self) -> tuple[int, int]:
        """Take away the lane whose turn it is; returns its rank too. There must be one."""
        rank = max(self._lanes)
        lane = next(iter(self._lanes[rank]))
        self.remove(lane)
        return lane, rank

    def remove(self, lane: int) -> None:
        """Forget a lane, if it is there."""
        rank = self._ranks.pop(lane, None)
        if rank is not None:
            lanes = self._lanes[rank]
            del lanes[lane]
            if not lanes:
                del self._lanes[rank]
