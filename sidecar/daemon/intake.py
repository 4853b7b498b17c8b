"""From what came in to jobs in the store: the one way in that all three doors share.

The doors (datagrams, connections, spool files) know how their bytes arrive and what to do once they are stored; here a
message becomes a job: parsed, admitted, checked. What is refused where nobody waits for an answer is stored as a
rejected job when its id can be read, so that whoever holds the id can learn why; else it is counted and logged.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable

from .. import wire
from ..config import Config
from ..descriptor import rejected_job
from ..errors import BadFrame, BadRequest, NoSpace, NotAllowed, SidecarError
from ..job import Job
from ..protocol import parse_handoff
from ..store import Store
from ..tasks import parse
from .dispatcher import Dispatcher
from .quarantine import Quarantine
from .space import Space
from .watch import Watch
from .writer import Writer

log = logging.getLogger("sidecar")

NOBODY = 65534  # what the kernel says when it does not know who sent it
_LOG_PAUSE = 10.0  # seconds between two log lines about refused hand-offs


class Intake:
    """Checks and stores jobs, and counts what came."""

    def __init__(
        self,
        config: Config,
        writer: Writer,
        dispatcher: Dispatcher,
        watch: Watch,
        space: Space,
        quarantine: Quarantine,
    ) -> None:
        self._config = config
        self._writer = writer
        self._dispatcher = dispatcher
        self._watch = watch
        self._space = space
        self._uid = os.getuid()
        self.quarantine = quarantine
        self._quiet_until = 0.0
        self.counters = {"datagrams": 0, "stream": 0, "spool": 0, "rejected": 0, "unreadable": 0}

    def admit(self, uid: int | None) -> None:
        """Raise NotAllowed unless the kernel says that it is somebody who may hand off jobs here."""
        if uid is None or uid == NOBODY:
            raise NotAllowed("cannot serve you: the kernel does not say who asks")
        if uid != self._uid:
            raise NotAllowed(
                f"cannot serve user {uid}: this daemon serves user {self._uid} alone, do it as that user, or run a"
                " `sidecar serve` of your own"
            )

    def read_submit(self, value: object, uid: int, now: float) -> Job:
        """Turn the job map of a request into a job. Raises NotAllowed or BadRequest."""
        self.counters["stream"] += 1
        return self._check(value, uid, now)

    def _check(self, value: object, uid: int | None, now: float) -> Job:
        self.admit(uid)
        assert uid is not None
        return parse(value, uid, now, self._config.task)

    def read_handoff(self, data: bytes | memoryview, uid: int | None, door: str) -> Job | None:
        """Turn a datagram or a spool file into a job, a rejected one where it is refused; None where nobody can ask."""
        now, value = time.time(), None
        self.counters[door] += 1
        if self.quarantine.wary(door) and not self.quarantine.suspect(door, data):
            self.unreadable(f"{door}: a daemon has died of it")
            return None
        try:
            value = parse_handoff(wire.unpack(data))
            return self._check(value, uid, now)
        except NotAllowed as error:
            self.unreadable(f"{door}: {error}")
        except (BadFrame, BadRequest) as error:
            job = rejected_job(value, self._uid if uid is None else uid, now, str(error))
            if job is not None:
                self.counters["rejected"] += 1
                return job
            self.unreadable(f"{door}: {error}")
        return None

    def unreadable(self, why: str) -> None:
        """Count what leads to no job; one log line at most every ten seconds, lest a flood fills the disk."""
        self.counters["unreadable"] += 1
        now = time.monotonic()
        if now >= self._quiet_until:
            self._quiet_until = now + _LOG_PAUSE
            log.warning("refused a hand-off (%d so far): %s", self.counters["unreadable"], why)

    def insert(self, jobs: list[Job], store: Store) -> None:
        """Put jobs into the open transaction, and have the dispatcher know."""
        now = time.time()
        lanes = store.insert(jobs, now, now + self._config.retention.others)
        instants = [job.due for job in jobs if job.due > now]
        instants += [job.expires for job in jobs if job.expires is not None]  # it may have been so when it came
        self._dispatcher.inserted(lanes, min(instants, default=math.inf))

    async def store(self, jobs: list[Job]) -> None:
        """Commit jobs. Raises NoSpace, and what made the commit fail."""
        self._space.check()
        await self._writer.commit(lambda store: self.insert(jobs, store))
        self._tell_rejected(jobs)

    def put(self, jobs: list[Job], done: Callable[[object], None], failed: Callable[[SidecarError], None]) -> None:
        """Commit jobs with the next batch and call back."""
        try:
            self._space.check()
        except NoSpace as error:
            return failed(error)
        self._writer.put(lambda store: self.insert(jobs, store), done, failed)

    def _tell_rejected(self, jobs: list[Job]) -> None:
        for job in jobs:
            if job.rejected is not None:
                self._watch.ended(job.id)
