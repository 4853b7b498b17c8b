"""One short function per verb: look at the params, ask the rooms below, give back the answer. No rules live here."""

from __future__ import annotations

import os
import re
import time
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import trio

from .. import __version__
from ..config import Config, load
from ..descriptor import show_id, text
from ..errors import BadRequest, NotAllowed, NotFound, Unavailable, shown
from ..job import Job, Outcome, State
from ..protocol import ACKS, VERSION, noticed, seconds_or_none
from ..rows import Summary
from ..store import Store
from . import views
from .attempts import Attempts
from .datagrams import Datagrams
from .intake import Intake
from .space import Space
from .spool import Spool
from .syncer import Syncer
from .warming import Warming
from .watch import Watch
from .writer import Writer
from .zygotes import Zygotes

if TYPE_CHECKING:
    from .connection import Connection
    from .keeper import Keeper

_PREFIX = re.compile(r"[0-9a-f]{4,32}")
_CATCH_UP = 1.0  # seconds that an unknown id waits for hand-offs that are on their way
_TAIL = 5.0  # seconds for a zygote to say what an attempt has written
_LIST = 50
_LIST_MOST = 1000


class Handlers:
    """What a verb may ask: the rooms of the daemon, each by its name."""

    config: Config
    writer: Writer
    watch: Watch
    attempts: Attempts
    zygotes: Zygotes
    warming: Warming
    intake: Intake
    datagrams: Datagrams
    spool: Spool
    syncer: Syncer
    space: Space
    keeper: Keeper

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._uid = os.getuid()
        self.reload_error: str | None = None  # why the last reload did not come about

    async def call(self, method: str, params: list[Any], client: Connection) -> object:
        """Answer a request; `method` is one of protocol.VERBS."""
        if method not in ("ping",):
            self.intake.admit(client.uid)
        return await _VERBS[method](self, params, client)

    def submitted(self, params: list[Any], uid: int, now: float) -> tuple[Job, str]:
        """Check a submit; the connection stores it, together with the others it has read. Returns job and ack."""
        job, ack = _params(params, "submit", 1, "stored")
        if ack not in ACKS:
            raise BadRequest(f"cannot submit job: ack is {shown(ack)}, give {' or '.join(ACKS)}")
        return self.intake.read_submit(job, uid, now), ack

    async def run(self, params: list[Any], client: Connection) -> object:
        """run [job] -> the job when it is done; before that the notices of `follow`, from the first byte on."""
        (given,) = _params(params, "run", 1)
        job = self.intake.read_submit(given, client.uid, time.time())
        with self._output_to(client, job.id):  # before the commit that may start it
            await self.intake.store([job])
            return await self.wait([job.id], client)

    def _output_to(self, client: Connection, id: bytes) -> AbstractContextManager[None]:
        name = show_id(id)

        def wrote(number: int, data: bytes, place: int) -> None:
            client.notify(noticed("output", [name, number, data, place]))

        return self.watch.output_of(id, wrote)

    # -- looking at jobs ------------------------------------------------------------------------------------------

    async def _find(self, id: object, uid: int) -> Summary:
        low, high = _range(id)
        found = await self.writer.read(lambda store: store.find(low, high))
        if not found:
            with trio.move_on_after(_CATCH_UP) as patience:
                await self.datagrams.caught_up()
                await self.spool.take_all()
            found = await self.writer.read(lambda store: store.find(low, high))
            if patience.cancelled_caught and not found:
                raise Unavailable(
                    f"cannot find job {_shown_id(id)} yet: hand-offs wait to be stored (is the disk full?), ask again"
                )
        found = [job for job in found if uid in (job.uid, self._uid)]
        if not found:
            raise NotFound(f"cannot find job {_shown_id(id)}: no job of yours has this id")
        if len(found) > 1:
            raise BadRequest(f"cannot find job {_shown_id(id)}: more than one id begins so, give more of it")
        return found[0]

    async def _status(self, id: bytes) -> dict[str, Any]:
        def read(store: Store) -> dict[str, Any]:
            (job,) = store.find(id, id)
            lane = store.get_lane(job.lane)
            waiting = self.zygotes.waiting(lane) if job.state == State.QUEUED else None
            if job.state == State.QUEUED and self.space.exhausted:
                waiting = f"the disk is full: {self.space.why}"
            key = self.zygotes.key_of(lane)
            cold = self.warming.why_cold(key, job.target) or self.zygotes.why_fresh(key)
            return views.status_view(job, store.attempts(job.seq), waiting, cold)

        return await self.writer.read(read)

    async def status(self, params: list[Any], client: Connection) -> object:
        """status [id] -> the job as it is now."""
        (id,) = _params(params, "status", 1)
        return await self._status((await self._find(id, client.uid)).id)

    async def wait(self, params: list[Any], client: Connection) -> object:
        """wait [id, timeout] -> the job when it is done, or as it is when the time is over."""
        id, given = _params(params, "wait", 1, None)
        timeout = seconds_or_none(given, "timeout")
        job = await self._find(id, client.uid)
        with self.watch.end_of(job.id) as over:
            if (await self.writer.read(lambda store: store.find(job.id, job.id)))[0].state != State.DONE:
                with trio.move_on_after(float("inf") if timeout is None else timeout):
                    await over.wait()
        return await self._status(job.id)

    async def result(self, params: list[Any], client: Connection) -> object:
        """result [id] -> how it ended and what it returned; nothing yet for a job that is not done."""
        (id,) = _params(params, "result", 1)
        job = await self._find(id, client.uid)
        return await self.writer.read(lambda store: views.result_view(job, store.attempts(job.seq)))

    async def logs(self, params: list[Any], client: Connection) -> object:
        """logs [id] -> the end of what the newest attempt wrote."""
        (id,) = _params(params, "logs", 1)
        job = await self._find(id, client.uid)
        output, dropped = await self._output(job)
        return {"id": show_id(job.id), "output": output, "dropped": dropped, "state": job.state}

    async def _output(self, job: Summary) -> tuple[bytes, int]:
        entry = self.attempts.find(job.id)
        zygote = entry and self.attempts.zygote_of(entry)
        if entry and zygote:
            live = None
            with trio.move_on_after(_TAIL):
                live = await zygote.tail(entry.key)
            if live is not None:
                return live
        attempts = await self.writer.read(lambda store: store.attempts(job.seq))
        written = [attempt for attempt in attempts if attempt.tail is not None]
        return (written[-1].tail or b"", written[-1].dropped or 0) if written else (b"", 0)

    async def follow(self, params: list[Any], client: Connection) -> object:
        """follow [id] -> notices with what it writes, then the job when it is done."""
        (id,) = _params(params, "follow", 1)
        job = await self._find(id, client.uid)
        with self._output_to(client, job.id):
            entry = self.attempts.find(job.id)
            zygote = entry and self.attempts.zygote_of(entry)
            if entry and zygote:
                zygote.send(["follow", list(entry.key)])
            return await self.wait([job.id], client)

    async def list_jobs(self, params: list[Any], client: Connection) -> object:
        """list [filter] -> jobs newest first, without their attempts."""
        (given,) = _params(params, "list", 0, {})
        wanted = _filter(given)
        uid = None if client.uid == self._uid else client.uid
        jobs = await self.writer.read(
            lambda store: store.list_jobs(uid, wanted["state"], wanted["outcome"], wanted["queue"], wanted["limit"])
        )
        return [views.job_view(job, None) for job in jobs]

    # -- changing jobs --------------------------------------------------------------------------------------------

    async def cancel(self, params: list[Any], client: Connection) -> object:
        """cancel [id] -> the job: done if it waited, on its way to its end if it ran, as it was if it was done."""
        (id,) = _params(params, "cancel", 1)
        job = await self._find(id, client.uid)
        now = time.time()
        ended = await self.writer.commit(lambda store: store.cancel(job.seq, now, now + self.config.retention.others))
        if ended:
            self.watch.ended(job.id)
        elif entry := self.attempts.find(job.id):
            self.attempts.stop(entry, "cancel")
        return await self._status(job.id)

    # -- the daemon itself ----------------------------------------------------------------------------------------

    async def stats(self, params: list[Any], client: Connection) -> object:
        """stats [] -> how many jobs are where, and what was counted since the daemon started."""
        _params(params, "stats", 0)
        size = await self.writer.read(lambda store: store.bytes())
        states: dict[str, int] = dict.fromkeys(State, 0)
        outcomes: dict[str, int] = dict.fromkeys(Outcome, 0)
        queues: dict[str, dict[str, int]] = {}
        at: int | None = 0
        while at is not None:  # others get their turn between two parts; the sum is of no one moment then
            rows, at = await self.writer.read(lambda store, at=at: store.stats(at))  # type: ignore[misc]
            for queue, state, outcome, count in rows:
                states[state] += count
                if outcome:
                    outcomes[outcome] += count
                lane = queues.setdefault(queue, {"scheduled": 0, "queued": 0, "running": 0})
                if state in lane:
                    lane[state] += count
            await trio.lowlevel.checkpoint()
        counters = {**self.intake.counters, **self.attempts.counters, "commits": self.writer.commits}
        counters["syncs"] = self.syncer.syncs
        return {
            "states": {str(key): value for key, value in states.items()},
            "outcomes": {str(key): value for key, value in outcomes.items()},
            "queues": queues,
            "counters": counters,
            "store": {"bytes": size},
            "modules": self.warming.view(),
        }

    async def ping(self, params: list[Any], client: Connection) -> object:
        """ping [] -> who is there, and whether the asker may submit."""
        _params(params, "ping", 0)
        size = await self.writer.read(lambda store: (store.path, store.bytes()))
        accepts = self.space.look()
        return {
            "version": __version__,
            "protocol": VERSION,
            "pids": {
                "keeper": os.getppid(),
                "daemon": os.getpid(),
                "zygotes": [
                    {"generation": zygote.generation, "key": zygote.key, "pid": zygote.pid}
                    for zygote in self.zygotes.all()
                ],
            },
            "uptime": time.monotonic() - self._started,
            "tree": views.TREE,
            "store": {
                "path": size[0],
                "bytes": size[1],
                "free": self.space.free,
                "reserve": self.space.reserve,
                "accepts": accepts,
                "ballast": self.space.ballast,
            },
            "slots": self.config.slots,
            "running": len(self.attempts.entries),
            "reload_error": self.reload_error,
            "user": client.uid,
            "allowed": self._allowed(client.uid),
        }

    def _allowed(self, uid: int) -> bool:
        try:
            self.intake.admit(uid)
        except NotAllowed:
            return False
        return True

    async def reload(self, params: list[Any], client: Connection) -> object:
        """reload [] -> a new daemon with new code and configuration takes over; running jobs do not notice."""
        _params(params, "reload", 0)
        load(os.environ.get("SIDECAR_CONFIG") or None)  # what cannot be used is said here, not in a log
        self.reload_error = None
        self.keeper.tell({"want": "reload"})
        return {"reloading": True}


_VERBS = {
    "run": Handlers.run,
    "status": Handlers.status,
    "wait": Handlers.wait,
    "result": Handlers.result,
    "logs": Handlers.logs,
    "follow": Handlers.follow,
    "cancel": Handlers.cancel,
    "list": Handlers.list_jobs,
    "stats": Handlers.stats,
    "ping": Handlers.ping,
    "reload": Handlers.reload,
}


def _params(params: list[Any], verb: str, needed: int, *defaults: Any) -> list[Any]:
    most = needed + len(defaults)
    if not needed <= len(params) <= most:
        wanted = f"{needed}" if needed == most else f"{needed} to {most}"
        raise BadRequest(f"cannot {verb}: {len(params)} params, give {wanted}")
    return [*params, *defaults[len(params) - needed :]]


def _shown_id(id: object) -> str:
    return show_id(id) if type(id) is bytes and len(id) == 16 else shown(id)


def _range(id: object) -> tuple[bytes, bytes]:
    """Return the lowest and highest id that begin so: 16 bytes, or at least four digits of the text."""
    if type(id) is bytes and len(id) == 16:
        return id, id
    digits = id.replace("-", "").lower() if type(id) is str else ""
    if not _PREFIX.fullmatch(digits):
        raise BadRequest(f"cannot find job {shown(id)}: give an id, or the first four or more digits of one")
    return bytes.fromhex(digits.ljust(32, "0")), bytes.fromhex(digits.ljust(32, "f"))


def _filter(given: object) -> dict[str, Any]:
    wanted: dict[str, Any] = {"state": None, "outcome": None, "queue": None, "limit": _LIST}
    if given == []:
        given = {}
    if type(given) is not dict or not given.keys() <= wanted.keys():
        raise BadRequest(f"cannot list: filter is {shown(given)}, give a map with {', '.join(wanted)}")
    wanted.update(given)
    for name, known in (("state", State), ("outcome", Outcome)):
        if wanted[name] is not None and wanted[name] not in list(known):
            raise BadRequest(f"cannot list: {name} is {shown(wanted[name])}, known are {', '.join(known)}")
    if wanted["queue"] is not None:
        text("queue", wanted["queue"])
    if type(wanted["limit"]) is not int or not 1 <= wanted["limit"] <= _LIST_MOST:
        raise BadRequest(f"cannot list: limit is {shown(wanted['limit'])}, give 1 to {_LIST_MOST}")
    return wanted
