"""One attempt as its zygote sees it: main process, pipe, report file, deadline, and how it came to end.

Plain data and the few sums on it; the loop decides. A stage only goes forward:

    RUNNING --timeout, stop--> TERMINATED --grace--> KILLED        any of them --main process gone--> SWEEPING --> over
"""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable
from typing import Any

RUNNING, TERMINATED, KILLED, SWEEPING = range(4)

Key = tuple[int, int]  # the job's number in the store, the number of the attempt

_CHUNK = 60 * 1024  # with its envelope it fits into one packet of the channel
_DRAIN = 32  # reads at the end: a pipe holds 64 KiB, a survivor may go on writing


class Tail:
    """The last `limit` bytes of what was written, and a count of what was dropped before them."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept = bytearray()
        self.dropped = 0

    def add(self, data: bytes) -> None:
        """Append; memory stays within twice the limit and one chunk."""
        self._kept += data
        if len(self._kept) > 2 * self._limit:
            self._trim()

    def _trim(self) -> None:
        over = len(self._kept) - self._limit
        if over > 0:
            self.dropped += over
            del self._kept[:over]

    def value(self) -> bytes:
        """Return what is kept; its first byte is byte `dropped` of all that was written."""
        self._trim()
        return bytes(self._kept)

    @property
    def written(self) -> int:
        """Return how many bytes were written in all."""
        return self.dropped + len(self._kept)


class Attempt:
    """What the zygote keeps for one attempt between fork and the end of its tree."""

    __slots__ = (
        "deadline", "ended", "followed", "grace", "key", "output", "pid", "pidfd", "reason", "report", "rusage",
        "stage", "started", "status", "survivors", "tail",
    )  # fmt: skip

    def __init__(self, key: Key, pid: int, pidfd: int, output: int, report: int, limit: int) -> None:
        self.key = key
        self.pid = pid
        self.pidfd = pidfd
        self.output = output  # the read end of the pipe that is its stdout and stderr; -1 once closed
        self.report = report
        self.tail = Tail(limit)
        self.stage = RUNNING
        self.reason = "exit"
        self.followed = False
        self.survivors: set[int] = set()  # pids that had to be killed after its end
        self.started = self.ended = 0.0  # Unix seconds
        self.deadline = math.inf  # of the present stage, on the monotonic clock
        self.grace = 0.0
        self.status = 0  # as wait4 gives it
        self.rusage: Any = None

    def read_output(self) -> bytes | None:
        """Read once. b"" means there is nothing now, None that every writer is gone."""
        try:
            data = os.read(self.output, _CHUNK)
        except BlockingIOError:
            return b""
        if not data:
            return None
        self.tail.add(data)
        return data

    def drain_output(self, tell: Callable[[bytes], None]) -> None:
        """Read what the pipe still holds, bounded: nobody is waited for."""
        for _ in range(_DRAIN):
            data = self.read_output() if self.output >= 0 else None
            if not data:
                return
            tell(data)

    def read_report(self, limit: int) -> bytes:
        """Return what the job wrote on fd 3 after its four bytes of length; b"" for nothing or nonsense."""
        size = int.from_bytes(os.pread(self.report, 4, 0), "big")
        return os.pread(self.report, size, 4) if 0 < size <= limit else b""

    def exited(self, report_limit: int) -> list[Any]:
        """Make the message that tells all of it."""
        number = os.waitstatus_to_exitcode(self.status)
        usage = self.rusage
        return [
            "exited",
            list(self.key),
            {
                "reason": self.reason,
                "status": number if number >= 0 else None,
                "signal": -number if number < 0 else None,
                "started": self.started,
                "ended": self.ended,
                "user": usage.ru_utime,
                "system": usage.ru_stime,
                "max_rss": usage.ru_maxrss * 1024,
                "report": self.read_report(report_limit),
                "tail": self.tail.value(),
                "dropped": self.tail.dropped,
                "survivors": len(self.survivors),
            },
        ]


ESCALATION = {RUNNING: (signal.SIGTERM, TERMINATED), TERMINATED: (signal.SIGKILL, KILLED)}
