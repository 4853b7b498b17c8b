"""One daemon as this process sees it: its two sockets and its spool, opened when first needed, dropped in a fork.

`connect` in the package makes one for each runtime folder and keeps it. It knows no options and no targets.
"""

from __future__ import annotations

import os
from _thread import allocate_lock
from collections import namedtuple

from ..errors import SidecarError
from .delivery import INLINE, ROOM, SPOOL, STREAM, delivering
from .handoff import Handoff

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NamedTuple

    from .control import Control
    from .inline import Ended
    from .plan import Parcel

    class Statistics(NamedTuple):
        """How often a job of this process went another way than to a daemon, since the process began."""

        spooled: int
        dropped: int
        inline: int
else:
    Statistics = namedtuple("Statistics", ("spooled", "dropped", "inline"))


class Door:
    """The way to the daemon of one runtime folder (None: the first in which there is one)."""

    def __init__(self, runtime_dir: str | None) -> None:
        self.runtime_dir = runtime_dir
        self.handoff = Handoff(runtime_dir)
        self._control: Control | None = None
        self._counts = {"spooled": 0, "dropped": 0, "inline": 0}
        self._lock = allocate_lock()

    @property
    def control(self) -> Control:
        """The stream; imported with its first use, which most processes never come to."""
        if self._control is None:
            from .control import Control

            self._control = Control(None, self.runtime_dir)
        return self._control

    def forget(self) -> None:
        """Start afresh in a forked child: with sockets, and a lock, of its own."""
        self.handoff.forget()
        self._lock = allocate_lock()

    def count(self, what: str) -> None:
        """Count a job that went another way."""
        with self._lock:
            self._counts[what] += 1

    def statistics(self) -> Statistics:
        """Return the counts."""
        return Statistics(**self._counts)

    def deliver(self, parcel: Parcel) -> tuple[str, Ended | None]:
        """Hand over one job, waiting no longer than its deadline.

        Returns the ack, and how the job ended when it was run here. Raises what `delivering` says.
        """
        steps = delivering(parcel, self)
        answer: Any = None
        problem: SidecarError | None = None
        ended: Ended | None = None
        while True:
            try:
                step, seconds = steps.throw(problem) if problem is not None else steps.send(answer)
            except StopIteration as stop:
                return stop.value, ended
            problem = None
            try:
                answer = self._take(step, parcel, seconds)
            except SidecarError as error:
                problem = error
            else:
                ended = answer if step == INLINE else None

    def _take(self, step: str, parcel: Parcel, seconds: float) -> Any:
        if step == ROOM:
            return self.handoff.wait_writable(seconds)
        if step == STREAM:
            from .exchange import submission

            asked = submission(parcel.job, None if parcel.ack == "sent" else parcel.ack)
            return self.control.request("submit", asked, seconds)
        return self.aside(step, parcel)

    def aside(self, step: str, parcel: Parcel) -> Ended | None:
        """Do without a daemon: write a spool file, or run the job here."""
        if step == SPOOL:
            from . import spool

            spool.write(self.runtime_dir, parcel.id, parcel.message)
            return None
        from .inline import run

        return run(parcel.id, parcel.job)


_doors: dict[str | None, Door] = {}


def door_of(runtime_dir: str | None = None) -> Door:
    """Return the door of a runtime folder, the same one each time."""
    if runtime_dir is not None:
        runtime_dir = os.path.abspath(runtime_dir)
    return _doors.get(runtime_dir) or _doors.setdefault(runtime_dir, Door(runtime_dir))


def _forget_all() -> None:
    for door in list(_doors.values()):
        door.forget()


os.register_at_fork(after_in_child=_forget_all)
