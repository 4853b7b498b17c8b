"""What the jobs compute."""

from __future__ import annotations

import os
import time


async def double(number: int) -> int:
    """Double a number, as a coroutine function."""
    return number * 2


def double_when(number: int, started: str, go: str) -> int:
    """Double a number when `go` is there."""
    open(started, "w").close()
    while not os.path.exists(go):
        time.sleep(0.005)
    return number * 2
