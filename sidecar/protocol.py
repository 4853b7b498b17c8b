"""The words: which verbs there are, how a message and an answer look. Values in, checked values out.

It refuses to know sockets, bytes (see `wire`), the clock, and what is in a job (see `descriptor`). The specification
for people is `clients/PROTOCOL.md`.
"""

from __future__ import annotations

import math
from typing import Any

from . import wire
from .errors import BadFrame, BadRequest, SidecarError, shown

REQUEST, REPLY, NOTICE = 0, 1, 2
VERSION = 1

VERBS = (
    "submit", "run", "status", "wait", "result", "logs", "follow", "cancel", "list", "stats", "ping", "reload",
)  # fmt: skip

_LONGEST_IMPORT = 86400.0  # seconds
_LONGEST_PAUSE = 366 * 86400.0  # seconds, as in a job's own backoff
ACKS = ("stored", "synced")  # what a submit on the stream may ask for


def parse_request(message: object) -> tuple[int, str, list[Any]]:
    """Check the outside of one request: `[0, id, method, params]`. Returns id, method and params.

    Raises BadFrame when it is no request at all, BadRequest (with `request_id`) when it is one for an unknown verb.
    """
    if type(message) is not list or len(message) != 4 or type(message[0]) is not int or message[0] != REQUEST:
        raise BadFrame("cannot read message: not a request, send [0, id, method, params]")
    _, number, method, params = message
    if type(number) is not int or not 0 <= number < 2**32:
        raise BadFrame(f"cannot read message: its id is {shown(number)}, give a whole number of 32 bits")
    if type(params) is not list:
        raise RequestError(number, BadRequest(f"cannot {shown(method)}: params is {shown(params)}, give a list"))
    if type(method) is not str or method not in VERBS:
        raise RequestError(number, BadRequest(f"cannot {shown(method)}: unknown verb, known are {', '.join(VERBS)}"))
    return number, method, params


class RequestError(BadRequest):
    """A bad request whose number is known, so that it can be answered."""

    def __init__(self, number: int, error: SidecarError) -> None:
        super().__init__(str(error))
        self.number = number


def parse_handoff(message: object) -> object:
    """Return the job map of a datagram or spool file, `[2, "submit", [job]]`, unchecked."""
    if (
        type(message) is not list
        or len(message) != 3
        or type(message[0]) is not int
        or message[:2] != [NOTICE, "submit"]
    ):
        raise BadFrame('cannot read datagram: not a hand-off, send [2, "submit", [job]]')
    params = message[2]
    if type(params) is not list or len(params) != 1:
        raise BadFrame("cannot read datagram: a hand-off carries one job")
    return params[0]


def replied(number: int, result: object) -> list[object]:
    """Make the reply that answers request `number`."""
    return [REPLY, number, None, result]


def refused(number: int | None, error: SidecarError) -> list[object]:
    """Make the error reply; number None where the request could not even be read."""
    return [REPLY, number, {"code": error.code, "message": str(error)}, None]


def noticed(method: str, params: list[object]) -> list[object]:
    """Make a notice, which nobody answers."""
    return [NOTICE, method, params]


def seconds_or_none(value: object, name: str) -> float | None:
    """Check an optional wait: seconds from 0, None for ever."""
    if value is None:
        return None
    if type(value) not in (int, float) or not value >= 0 or math.isinf(value):  # type: ignore[operator, arg-type]
        raise BadRequest(f"cannot wait: {name} is {shown(value)}, give seconds or nil")
    return float(value)  # type: ignore[arg-type]


def parse_report(data: bytes) -> dict[str, Any]:
    """Read what an attempt wrote on fd 3: `result` (bytes), `result_error` (text), or `error` (a map of texts),
    beside it `import` (seconds) where importing its module took long, and `retry` beside an error where the job itself
    says when to try again (seconds), or that nobody should (False).

    The bytes are the job's own and may be anything; what is not a report is none: an empty map.
    """
    if not data:
        return {}
    try:
        value = wire.unpack(data)
    except BadFrame:
        return {}
    if type(value) is not dict:
        return {}
    report: dict[str, Any] = {}
    error = value.get("error")
    if type(value.get("result")) is bytes:
        report["result"] = value["result"]
    elif type(value.get("result_error")) is str:
        report["result_error"] = value["result_error"]
    elif type(error) is dict:
        words = ("type", "message", "traceback")
        report["error"] = {key: error[key] if type(error.get(key)) is str else "" for key in words}
    took = value.get("import")
    if type(took) is float and 0 <= took < _LONGEST_IMPORT:
        report["import"] = took
    retry = value.get("retry")
    is_pause = type(retry) in (int, float) and 0 <= retry <= _LONGEST_PAUSE  # type: ignore[operator]
    if "error" in report and (is_pause or retry is False):
        report["retry"] = retry
    return report
