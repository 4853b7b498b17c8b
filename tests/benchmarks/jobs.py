"""What the benchmarks run."""

from __future__ import annotations

import time


def noop(*_: object) -> None:
    """Do nothing."""


def write_instant(path: str) -> None:
    """Write the monotonic clock, which all processes share, as the first line of a job."""
    now = time.monotonic_ns()
    with open(path, "w") as file:
        file.write(str(now))
