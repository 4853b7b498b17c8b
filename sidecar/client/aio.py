"""The client for asyncio and trio: the same jobs, the same steps, with awaits where the blocking client waits.

    from sidecar.client import aio
    handle = await aio.submit(send, 42)
    value = await handle.result(timeout=5)

Which library runs is looked at with each call; neither is imported here. The `sent` path never blocks: a full queue is
awaited on a socket of one's own, because the libraries allow one waiter a descriptor. It is no checkpoint either: a
job that is handed over must not lose its handle to a cancellation. Cancelling a wait leaves the job alone.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

from ..errors import JobFailed, SidecarError, Unavailable
from . import lines
from .adapters import Adapter, running
from .delivery import ROOM, STREAM, delivering
from .door import Door, door_of
from .exchange import submission
from .handle import ANSWER, MARGIN, failure_of, is_cancelled, never_sent, unfinished, value_of
from .ids import parse, show
from .inline import Ended
from .options import Options as Blocking
from .status import Status

if TYPE_CHECKING:
    from typing import Unpack

    from .options import Target
    from .plan import Parcel
    from .terms import Given


class Handle:
    """One job; `Handle(text)` makes it from an id. As `sidecar.client.Handle`, to be awaited."""

    __slots__ = ("_door", "_ended", "_id", "_parcel", "ack")

    def __init__(self, id: str | bytes, door: Door | None = None, parcel: Parcel | None = None) -> None:
        self._id = id if isinstance(id, bytes) else parse(id)
        self.ack: str | None = None
        self._door = door or door_of()
        self._parcel = parcel
        self._ended: Ended | None = None

    @property
    def id(self) -> str:
        """The job's id as text."""
        return show(self._id)

    def __repr__(self) -> str:
        return f"<aio {type(self).__name__} {self.id} {self.ack or 'not sent'}>"

    async def send(self) -> Handle:
        """Hand a prepared job over; again is no second job."""
        if self._parcel is not None and self.ack in (None, "dropped"):
            self.ack, self._ended = await _deliver(self._door, self._parcel)
        return self

    async def status(self) -> Status:
        """Ask where the job is and how it got there."""
        return Status(await self._ask("status"))

    async def wait(self, timeout: float | None = None) -> Status:
        """Wait until the job is done, at most `timeout` seconds. Raises TimeoutError."""
        return Status(await self._wait(timeout))

    async def result(self, timeout: float | None = None) -> Any:
        """Wait, then return what the function returned. Raises as the blocking `result` does."""
        await self._wait(timeout)
        return value_of(await self._ask("result"))

    async def exception(self, timeout: float | None = None) -> JobFailed | None:
        """Wait, then return the error that `result` would raise, None when the job succeeded."""
        await self._wait(timeout)
        return failure_of(await self._ask("result"))

    async def done(self) -> bool:
        """Tell whether the job has ended."""
        return bool((await self._ask("status"))["state"] == "done")

    async def running(self) -> bool:
        """Tell whether an attempt is under way."""
        return bool((await self._ask("status"))["state"] == "running")

    async def cancelled(self) -> bool:
        """Tell whether the job ended by being cancelled."""
        return bool((await self._ask("status"))["outcome"] == "cancelled")

    async def cancel(self) -> bool:
        """Cancel the job, running or not; False when it has already ended otherwise."""
        return is_cancelled(await self._ask("cancel"))

    async def output(self) -> bytes:
        """Return the end of what the newest attempt wrote."""
        return bytes((await self._ask("logs"))["output"])

    async def _wait(self, timeout: float | None) -> dict[str, Any]:
        try:
            total = None if timeout is None else timeout + MARGIN
            status: dict[str, Any] = await self._ask("wait", [self._id, timeout], total)
        except Unavailable as error:
            if type(error) is Unavailable:
                raise
            raise unfinished(self.id, timeout) from None
        if status["state"] != "done":
            raise unfinished(self.id, timeout)
        return status

    async def _ask(self, method: str, params: list[Any] | None = None, timeout: float | None = ANSWER) -> Any:
        if self._ended is not None:
            return self._ended.answer(method)
        if self._parcel is not None and self.ack in (None, "dropped"):
            raise never_sent(self.id, self.ack)
        return await lines.request(running(), self._door.runtime_dir, method, params or [self._id], timeout)


class Options:
    """Options whose `submit` is awaited; made by `aio.options(...)`."""

    __slots__ = ("_blocking",)

    def __init__(self, blocking: Blocking) -> None:
        self._blocking = blocking

    async def submit(self, fn: Target, /, *args: Any, **kwargs: Any) -> Handle:
        """Hand a job over and return its handle. Raises as the blocking `submit` does."""
        return await self.prepare(fn, *args, **kwargs).send()

    def prepare(self, fn: Target, /, *args: Any, **kwargs: Any) -> Handle:
        """Make a job and hand nothing over; `await handle.send()` does."""
        parcel = self._blocking.parcel(fn, args, kwargs)
        return Handle(parcel.id, self._blocking.door, parcel)

    def options(self, **given: Unpack[Given]) -> Options:
        """Return these options with others on top."""
        return Options(self._blocking.over(given))


def connect(runtime_dir: str | None = None) -> Options:
    """Return the way to the daemon of one runtime folder."""
    return Options(Blocking(door_of(runtime_dir), {}))


def options(**given: Unpack[Given]) -> Options:
    """Return options for jobs, as `sidecar.client.options` does."""
    return Options(Blocking(door_of(), given))


_usual = connect()
submit = _usual.submit
prepare = _usual.prepare


async def _deliver(door: Door, parcel: Parcel) -> tuple[str, Ended | None]:
    adapter = running()
    steps = delivering(parcel, door)
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
            answer = await _take(adapter, door, parcel, step, seconds)
        except SidecarError as error:
            problem = error
        else:
            ended = answer if isinstance(answer, Ended) else None


async def _take(adapter: Adapter, door: Door, parcel: Parcel, step: str, seconds: float) -> Any:
    if step == ROOM:
        return await _room(adapter, door, monotonic() + seconds)
    if step == STREAM:
        asked = submission(parcel.job, None if parcel.ack == "sent" else parcel.ack)
        return await lines.request(adapter, door.runtime_dir, "submit", asked, seconds)
    return await adapter.in_thread(door.aside, step, parcel)


async def _room(adapter: Adapter, door: Door, ends: float) -> bool:
    try:
        own = door.handoff.connected()
    except OSError:
        return True  # it changed meanwhile: sending again tells
    return await adapter.writable(own.fileno(), ends)
