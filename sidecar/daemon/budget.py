"""How many bytes all clients together may have in our memory: who would bring a large message waits for his share.

The whole length is taken before any of it is read, so whoever has begun can finish: shares taken piece by piece would
let a hundred half messages wait for each other. First come, first served.
"""

from __future__ import annotations

from collections import deque

import trio


class Budget:
    """A number of bytes, and the queue of those who wait for some of them."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._free = most
        self._queue: deque[tuple[int, trio.Event]] = deque()

    async def take(self, size: int) -> int:
        """Wait for `size` bytes, or for all that there are; returns what is to be given back."""
        size = min(size, self.most)
        if not self._queue and size <= self._free:
            self._free -= size
            return size
        turn = (size, trio.Event())
        self._queue.append(turn)
        try:
            await turn[1].wait()
        except trio.Cancelled:
            if turn[1].is_set():
                self.give(size)
            else:
                self._queue.remove(turn)
                self.give(0)  # who came after may need less
            raise
        return size

    def give(self, size: int) -> None:
        """Give bytes back."""
        self._free += size
        while self._queue and self._queue[0][0] <= self._free:
            taken, event = self._queue.popleft()
            self._free -= taken
            event.set()
