"""From an order to a process: pipe, report file, fork; and spares, processes forked ahead of their jobs.

A spare has done what all jobs have alike and waits on a pipe for its order: half of what lies between a submit and the
job's first line. They are made when nothing else is to be done; under load a fork costs the same, early or late. One
that takes its order wipes a mark in its report file, so that of a spare which was killed it is known whether anything
of the job has run. (Reading alone proves nothing: the kernel hands data even to a process that a SIGKILL awaits.)
"""

from __future__ import annotations

from errno import ENOMEM
from os import (
    O_CLOEXEC,
    O_RDWR,
    close,
    devnull,
    fork,
    getpid,
    kill,
    pidfd_open,
    pipe2,
    pwrite,
    set_blocking,
    waitpid,
    write,
)  # fmt: skip
from os import open as open_fd

from .attempt import UNBEGUN, Attempt
from .channel import pack
from .child import MOST_PIPED, ORDER_AT, Order, run_attempt
from .kernel import report_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

SPARES = 2
_SIGKILL = 9
_REPORT_ROOM = 80 * 1024  # beside a result: an error with its message and traceback


class Ends:
    """What lies between an attempt's process and us: output, report and, for a spare, the pipe of its order.

    Raises OSError with nothing left open when the kernel refuses.
    """

    __slots__ = ("orders", "output", "reading", "report", "report_limit", "writing")

    def __init__(self, report_limit: int, is_spare: bool) -> None:
        self.report_limit = report_limit
        self.report = self.output = self.writing = self.orders = self.reading = -1
        try:
            self.report = report_file(4 + report_limit)
            self.output, self.writing = pipe2(O_CLOEXEC)
            set_blocking(self.output, False)
            if is_spare:
                pwrite(self.report, UNBEGUN, 0)
                self.reading, self.orders = pipe2(O_CLOEXEC)
        except OSError:
            self.close()
            raise

    def give(self) -> None:
        """Close the ends that are the process's, now that it has them."""
        for fd in (self.reading, self.writing):
            if fd >= 0:
                close(fd)
        self.reading = self.writing = -1

    def close(self) -> None:
        """Close all: there is no process."""
        self.give()
        for fd in (self.report, self.output, self.orders):
            if fd >= 0:
                close(fd)


class Forks:
    """Makes the processes of attempts, for one runtime and its limits."""

    def __init__(self) -> None:
        self.pid = getpid()
        self.null = open_fd(devnull, O_RDWR | O_CLOEXEC)
        self.runtime: dict[str, Any] | None = None  # the record; no process before it is known
        self.result_limit = self.output_limit = 0
        self.report_limit = 0  # bytes of report that a job may leave
        self.spares: list[Attempt] = []
        self.ahead = SPARES  # of our own; none where a template makes them
        self.wanted = 0  # spares to be there, when there is time
        self.pack_order: Callable[[Order], bytes] = pack

    def begin(self, runtime: dict[str, Any]) -> None:
        """Fork for this runtime from now on."""
        self.runtime = runtime
        self.wanted = self.ahead

    def limit(self, result: int, output: int) -> None:
        """Set the bytes of a packed result and of output kept, for processes to come."""
        if (result, output) != (self.result_limit, self.output_limit):
            self.end_spares()
            self.result_limit, self.output_limit = result, output
            self.report_limit = result + _REPORT_ROOM

    def fork(self, order: Order | None) -> Attempt:
        """Make what lies between us, and the process; without an order it is a spare, told later.

        Raises OSError with nothing left open when the kernel refuses.
        """
        ends = Ends(self.report_limit, order is None)
        try:
            pid = fork()
            if pid == 0:
                reading, writing, report, runtime = ends.reading, ends.writing, ends.report, self.runtime or {}
                run_attempt(order, reading, self.pid, self.null, writing, report, runtime, self.result_limit)
            ends.give()  # so that there is a descriptor left: who was forked must not be called unborn
            try:
                pidfd = pidfd_open(pid)
            except OSError:  # what we cannot watch must not run
                kill(pid, _SIGKILL)
                waitpid(pid, 0)
                raise
        except OSError:
            ends.close()
            raise
        if order is not None:
            self.wanted = self.ahead
        return self.attempt(pid, pidfd, ends)

    def attempt(self, pid: int, pidfd: int, ends: Ends) -> Attempt:
        """Return the attempt of a process that has its ends."""
        attempt = Attempt(pid, pidfd, ends.output, ends.report, self.output_limit, ends.report_limit)
        attempt.orders = ends.orders
        return attempt

    def fork_ahead(self) -> Attempt | None:
        """Fork a process ahead of its job; None when the kernel refuses."""
        try:
            spare = self.fork(None)
        except OSError:  # out of processes or descriptors: tried again when an attempt could be forked
            self.wanted = 0
            return None
        self.spares.append(spare)
        return spare

    def take_spare(self, order: Order) -> Attempt | None:
        """Give an order to a spare; None when there is none, or the order is too long for one.

        Raises OSError where there is no memory for a long order; the spare is still one then.
        """
        if not self.spares or self.spares[-1].orders < 0:
            return None
        spare = self.spares[-1]
        packed = self.pack_order(order)
        if ORDER_AT + len(packed) > spare.report_limit:
            return None
        if len(packed) > MOST_PIPED:
            if pwrite(spare.report, packed, ORDER_AT) < len(packed):
                raise OSError(ENOMEM, "no room for an order")
            packed = pack(len(packed))
        try:
            write(spare.orders, packed)
        except BrokenPipeError:  # somebody has killed it: its pidfd says so next
            return None
        self.spares.pop()
        spare.order = order
        close(spare.orders)
        spare.orders = -1
        return spare

    def end_spares(self) -> None:
        """End the processes that have no job: what they were set up with is no longer so."""
        for spare in self.spares:
            if spare.orders >= 0:
                kill(spare.pid, _SIGKILL)
                close(spare.orders)
                spare.orders = -1
