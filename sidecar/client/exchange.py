"""One conversation with the daemon's stream, without I/O: requests to bytes, bytes to replies and notices.

The number of a request is what its reply is known by. The answer to a request that somebody gave up on comes later,
on the same connection, and must never be taken for the answer to the next.
Shared by the blocking and the async client; imported with the first use of the stream, not with the package.
"""

from __future__ import annotations

from typing import Any

from .. import wire
from ..errors import BadFrame, from_code

REPLY, NOTICE = 1, 2
LIMIT = 64 * 1024 * 1024  # bytes in one reply; the largest is a page of `list`

# Those that change nothing more when they are said twice (submit: because the id is the client's).
REPEATABLE = frozenset(
    ("submit", "run", "status", "wait", "result", "logs", "follow", "cancel", "list", "stats", "ping"),
)
LASTING = frozenset(("wait", "follow", "run"))


class Exchange:
    """The state of one connection."""

    def __init__(self) -> None:
        self._framer = wire.Framer(LIMIT)
        self._number = 0

    def ask(self, method: str, params: list[Any] | bytes) -> tuple[int, bytes]:
        """Return the number and the bytes of a request; `params` may be an array that is packed already."""
        self._number = number = (self._number + 1) % 2**32
        packed = params if isinstance(params, bytes) else wire.pack(params)
        name = method.encode()
        body = b"\x94\x00\xce%b%c%b%b" % (number.to_bytes(4), 0xA0 | len(name), name, packed)  # [0, number, method, …]
        return number, wire.PREFIX.pack(len(body)) + body

    def feed(self, data: bytes) -> list[list[Any]]:
        """Return the messages that these bytes complete. Raises BadFrame: the connection is of no more use."""
        messages = []
        for body in self._framer.feed(data):
            message = wire.unpack(body)
            if type(message) is not list or message[:1] not in ([REPLY], [NOTICE]):
                raise BadFrame("cannot read answer: no reply and no notice, is this sidecar's socket?")
            if len(message) != (4 if message[0] == REPLY else 3):
                raise BadFrame("cannot read answer: its array has the wrong length, is this sidecar's socket?")
            messages.append(message)
        return messages


def is_answer(message: list[Any], number: int) -> bool:
    """Tell whether a message ends request `number`; a reply to nobody says why the connection is being closed."""
    return message[0] == REPLY and message[1] in (number, None)


def result_of(message: list[Any]) -> Any:
    """Return a reply's result. Raises the error that it names."""
    _, _, error, result = message
    if error is None:
        return result
    if type(error) is not dict:
        raise BadFrame(f"cannot read answer: its error is {error!r}")
    raise from_code(error.get("code"), str(error.get("message", "")))


def submission(job: bytes, ack: str | None) -> bytes:
    """Return the packed params of a submit, around a job that is packed already."""
    return b"\x91" + job if ack is None else b"\x92" + job + wire.pack(ack)
