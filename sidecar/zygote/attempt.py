"""One attempt as its zygote sees it: main process, pipe, report file, deadline, and how it came to end.

Plain data and the few sums on it; the loop decides. A stage only goes forward:

    RUNNING --timeout, stop--> TERMINATED --grace--> KILLED        any of them --main process gone--> SWEEPING --> over
"""

from __future__ import annotations

from math import inf
from os import pread, read, urandom, waitstatus_to_exitcode
from time import time

TYPE_CHECKING = False  # as typing's: importing that here would make every fork dearer
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

RUNNING, TERMINATED, KILLED, SWEEPING = range(4)
_SIGTERM, _SIGKILL = 15, 9
ESCALATION = {RUNNING: (_SIGTERM, TERMINATED), TERMINATED: (_SIGKILL, KILLED)}

Key = tuple[int, int]  # the job's number in the store, the number of the attempt

# At the head of a spare's report file until it takes its order. Random: what a job writes on its fd 3 must not look as
# if it had never begun. As a length it is nonsense.
UNBEGUN = b"\xff" + urandom(7)
SPARE: Key = (0, 0)  # of a process that has no job yet; the store's numbers begin at 1

_CHUNK = 60 * 1024  # with its envelope it fits into one packet of the channel
_DRAIN = 32  # reads at the end: a pipe holds 64 KiB, a survivor may go on writing
_MOST_REPORTS = 4096  # bytes


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
        "deadline", "ended", "followed", "grace", "key", "order", "orders", "output", "output_limit", "pid", "pidfd",
        "reason", "report", "report_limit", "rusage", "stage", "started", "status", "survivors", "tail",
    )  # fmt: skip

    def __init__(self, pid: int, pidfd: int, output: int, report: int, output_limit: int, report_limit: int) -> None:
        self.key: Key = SPARE
        self.pid = pid
        self.orders = -1  # the end of the pipe on which a spare is told what to do
        self.order: Any = None  # what a spare was told
        self.pidfd = pidfd
        self.output = output  # the read end of the pipe that is its stdout and stderr; -1 once closed
        self.output_limit = output_limit
        self.report = report
        self.report_limit = report_limit  # as it was when the process was made
        self.tail: Tail | None = None  # nothing written yet
        self.stage = RUNNING
        self.reason = "exit"
        self.followed = False
        self.survivors: set[int] | None = None  # pids that had to be killed after its end
        self.started = self.ended = 0.0  # Unix seconds
        self.deadline = inf  # of the present stage, on the monotonic clock
        self.grace = 0.0
        self.status = 0  # as wait4 gives it
        self.rusage: Any = None

    def read_output(self) -> bytes | None:
        """Read once. b"" means there is nothing now, None that every writer is gone."""
        try:
            data = read(self.output, _CHUNK)
        except BlockingIOError:
            return b""
        if not data:
            return None
        if self.tail is None:
            self.tail = Tail(self.output_limit)
        self.tail.add(data)
        return data

    def drain_output(self, tell: Callable[[Attempt, bytes], None]) -> None:
        """Read what the pipe still holds, bounded: nobody is waited for."""
        for _ in range(_DRAIN):
            data = self.read_output()
            if not data:
                return
            tell(self, data)

    def written(self) -> tuple[bytes, int]:
        """Return the tail of what was written, and how many bytes were dropped before it."""
        return (b"", 0) if self.tail is None else (self.tail.value(), self.tail.dropped)

    def begun(self) -> bool:
        """Say whether a spare has taken its order: it wipes the mark before anything of the job runs."""
        return pread(self.report, len(UNBEGUN), 0) != UNBEGUN

    def exited(self) -> list[Any]:
        """Make the message that tells all of it: the fields of job.Ending, in their order."""
        start = pread(self.report, _MOST_REPORTS, 0)  # what the job wrote on fd 3 after its four bytes of length
        size = int.from_bytes(start[:4], "big")
        if size > self.report_limit:
            size = 0  # nonsense
        report = start[4 : 4 + size] if size <= _MOST_REPORTS - 4 else pread(self.report, size, 4)
        number = waitstatus_to_exitcode(self.status)
        usage = self.rusage
        tail, dropped = (b"", 0) if self.tail is None else self.written()
        return [
            "exited", *self.key, self.reason, None if number < 0 else number, -number if number < 0 else None,
            self.started, self.ended, usage.ru_utime, usage.ru_stime, usage.ru_maxrss * 1024, report, tail, dropped,
            0 if self.survivors is None else len(self.survivors),
        ]  # fmt: skip


def stillborn(key: Key, error: OSError) -> list[Any]:
    """Make the ending of an attempt that could not be forked: nothing of it ever ran."""
    return ["exited", *key, "unborn", None, None, None, time(), 0.0, 0.0, 0, b"", str(error).encode(), 0, 0]


def unbegun(key: Key, reason: str) -> list[Any]:
    """Make the ending of an attempt that was stopped before it had a process."""
    return ["exited", *key, reason, None, None, None, time(), 0.0, 0.0, 0, b"", b"", 0, 0]
