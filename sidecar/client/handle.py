"""What a submit returns: the job's id, how far it got, and the questions one may ask about it.

Names and errors are those of `concurrent.futures.Future`. A handle holds no connection: it may be kept, made again
from its id's text in another process (`Handle(text)`), or forgotten.
"""

from __future__ import annotations

from msgpack import unpackb

from ..errors import JobFailed, NotFound, SidecarError, Unavailable
from .door import Door, door_of
from .ids import parse, show
from .status import Status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from concurrent.futures import CancelledError
    from typing import Any

    from .inline import Ended
    from .plan import Parcel

ANSWER = 10.0  # seconds for an answer that the daemon has at hand
MARGIN = 1.0  # seconds after a wait's own time until the daemon counts as silent


class Handle:
    """One job. `ack` says what is known of the hand-off: "sent", "stored", "spooled", "dropped", "inline"; None for a
    job that is prepared and not sent, or known by its id alone.
    """

    __slots__ = ("_door", "_id", "ack")

    def __init__(self, id: str | bytes, ack: str | None = None, door: Door | None = None) -> None:
        self._id = id if type(id) is bytes else parse(id)  # type: ignore[arg-type]
        self.ack = ack
        self._door = door

    @property
    def id(self) -> str:
        """The job's id as text; valid from the beginning, before anything is sent."""
        return show(self._id)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id}{f' {self.ack}' if self.ack else ''}>"

    def status(self) -> Status:
        """Ask where the job is and how it got there. Raises NotFound, Unavailable."""
        return Status(self._ask("status"))

    def wait(self, timeout: float | None = None) -> Status:
        """Wait until the job is done, at most `timeout` seconds (None: for ever), through restarts of the daemon.

        Raises TimeoutError when it is not done by then; the job itself goes on.
        """
        return Status(self._wait(timeout))

    def result(self, timeout: float | None = None) -> Any:
        """Wait as `wait` does, then return what the function returned; the exit status (0) of a command.

        Raises JobFailed, concurrent.futures.CancelledError, TimeoutError, and SidecarError when the job succeeded but
        its value could not be kept.
        """
        self._wait(timeout)
        return value_of(self._ask("result"))

    def exception(self, timeout: float | None = None) -> JobFailed | None:
        """Wait as `wait` does, then return the error that `result` would raise, None when the job succeeded."""
        self._wait(timeout)
        return failure_of(self._ask("result"))

    def done(self) -> bool:
        """Tell whether the job has ended, however it ended."""
        return bool(self._ask("status")["state"] == "done")

    def running(self) -> bool:
        """Tell whether an attempt is under way."""
        return bool(self._ask("status")["state"] == "running")

    def cancelled(self) -> bool:
        """Tell whether the job ended by being cancelled."""
        return bool(self._ask("status")["outcome"] == "cancelled")

    def cancel(self) -> bool:
        """Cancel the job, running or not; False when it has already ended otherwise.

        A running one is being ended when this returns (its `timeout`'s way: SIGTERM, `grace`, SIGKILL).
        """
        return is_cancelled(self._ask("cancel"))

    def output(self) -> bytes:
        """Return the end of what the newest attempt wrote to stdout and stderr."""
        return bytes(self._ask("logs")["output"])

    def _wait(self, timeout: float | None) -> dict[str, Any]:
        total = None if timeout is None else timeout + MARGIN
        try:
            status: dict[str, Any] = self._ask("wait", [self._id, timeout], total)
        except Unavailable as error:
            if type(error) is Unavailable:
                raise
            raise unfinished(self.id, timeout) from None
        if status["state"] != "done":
            raise unfinished(self.id, timeout)
        return status

    def _ask(self, method: str, params: list[Any] | None = None, timeout: float | None = ANSWER) -> Any:
        door = self._door or door_of()
        return door.control.request(method, params or [self._id], timeout)


class Prepared(Handle):
    """A job that has its id and its bytes, and is handed over by `send`."""

    __slots__ = ("_ended", "_parcel")

    def __init__(self, parcel: Parcel, door: Door) -> None:
        super().__init__(parcel.id, None, door)
        self._parcel = parcel
        self._ended: Ended | None = None

    def __repr__(self) -> str:
        return super().__repr__() if self.ack else f"<Prepared {self.id} not sent>"

    @property
    def packed(self) -> bytes:
        """The packed job map, for who talks to the daemon directly."""
        return self._parcel.job

    def send(self) -> Prepared:
        """Hand the job over; again is no second job. Raises what submit raises; then it may be tried again."""
        if self.ack in (None, "dropped"):
            assert self._door is not None
            self.ack, self._ended = self._door.deliver(self._parcel)
        return self

    def _ask(self, method: str, params: list[Any] | None = None, timeout: float | None = ANSWER) -> Any:
        if self._ended is not None:
            return self._ended.answer(method)
        if self.ack in (None, "dropped"):
            raise never_sent(self.id, self.ack)
        return super()._ask(method, params, timeout)


def never_sent(id: str, ack: str | None) -> NotFound:
    """Make the error for asking about a job that nobody has."""
    why = "not been sent, call handle.send() first" if ack is None else "been dropped, as on_unavailable says"
    return NotFound(f"cannot find job {id}: it has {why}")


def unfinished(id: str, timeout: float | None) -> TimeoutError:
    """Make the error for a wait that ended before the job."""
    return TimeoutError(f"job {id} is not done after {timeout} s")


def is_cancelled(status: dict[str, Any]) -> bool:
    """Tell from a reply to `cancel` whether the job is cancelled, or being ended."""
    if status["state"] == "done":
        return bool(status["outcome"] == "cancelled")
    return True


def value_of(reply: dict[str, Any]) -> Any:
    """Return the value in a reply to `result`. Raises what `Handle.result` says."""
    failure = failure_of(reply)
    if failure is not None:
        raise failure
    if reply.get("result_error"):
        raise SidecarError(f"job {reply['id']} succeeded, but there is no result: {reply['result_error']}")
    if reply.get("result") is None:
        return reply.get("status")
    return unpackb(reply["result"], unicode_errors="surrogateescape", strict_map_key=False)


def failure_of(reply: dict[str, Any]) -> JobFailed | None:
    """Return the failure in a reply to `result`, None for a job that succeeded. Raises CancelledError."""
    outcome = reply["outcome"]
    if outcome == "succeeded":
        return None
    if outcome == "cancelled":
        raise _cancelled(reply["id"])
    error = reply.get("error") or _exit_of(reply)
    message = error.get("message") or reply.get("reason") or f"see `sidecar status {reply['id']}`"
    return JobFailed(outcome, error.get("type", ""), message, error.get("traceback", ""))


def _exit_of(reply: dict[str, Any]) -> dict[str, str]:
    """Put the end of a command, which raises nothing, into the words of an error."""
    if reply.get("signal"):
        return {"type": "Signal", "message": str(reply["signal"])}
    return {"type": "ExitStatus", "message": str(reply["status"])} if reply.get("status") else {}


def _cancelled(id: str) -> CancelledError:
    from concurrent.futures import CancelledError

    return CancelledError(f"job {id} was cancelled")
