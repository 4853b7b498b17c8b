"""A daemon that is none: a real Unix socket that gives the answers a test has written down, and keeps what was asked.

An answer is a value, an error to be refused with, or a function of the params that returns either; a list of notices in
front of it goes into `notices`. Verbs without an answer get what an idle daemon would say.
"""

from __future__ import annotations

import select
import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from sidecar import wire
from sidecar.descriptor import show_id
from sidecar.errors import SidecarError
from sidecar.protocol import noticed, refused, replied

ID = "01a1fc31-9353-7f3f-adba-f74d74a7ce4d"


def attempt(**fields: Any) -> dict[str, Any]:
    """Make an attempt that ended well; `fields` say what is different."""
    return {
        "number": 1, "started": 1000.0, "ended": 1002.5, "reason": "exit", "status": 0, "signal": None, "user": 0.25,
        "system": 0.25, "max_rss": 3 << 20, "dropped": 0, "survivors": 0, "tree": "subreaper", **fields,
    }  # fmt: skip


def job(**fields: Any) -> dict[str, Any]:
    """Make the status map of a job that succeeded; `fields` say what is different."""
    return {
        "id": ID, "state": "done", "outcome": "succeeded", "queue": "default", "priority": 0, "target": "echo hello",
        "submitted": 999.0, "due": 999.0, "expires": None, "started": 1000.0, "finished": 1002.5, "failures": 0,
        "interruptions": 0, "cancel_wanted": False, "waiting": None, "reason": None, "error": None,
        "result_error": None, "attempts": [attempt()], **fields,
    }  # fmt: skip


def failed(error: tuple[str, str], outcome: str = "failed", traceback: str = "", **fields: Any) -> dict[str, Any]:
    """Make the status map of a job that did not succeed; `fields` belong to its attempt."""
    told = {"type": error[0], "message": error[1], "traceback": traceback}
    return job(outcome=outcome, error=told, attempts=[attempt(**fields)])


def ended(status: dict[str, Any], result: object = None) -> dict[str, Any]:
    """Make the reply to `result` that goes with a status map."""
    last = (status["attempts"] or [{}])[-1]
    return {
        **{name: status[name] for name in ("id", "state", "outcome", "result_error", "error")},
        "result": None if result is None else wire.pack(result),
        "status": last.get("status"), "signal": last.get("signal"),
    }  # fmt: skip


PING = {
    "version": "0.1.0", "protocol": 1, "uptime": 61.0, "tree": "subreaper", "slots": 4, "running": 1, "user": 1000,
    "pids": {"keeper": 10, "daemon": 12, "zygotes": [{"generation": 1, "key": "default", "pid": 11}]},
    "store": {"path": "/var/lib/sidecar/jobs.sqlite", "bytes": 4096, "free": 1 << 30, "reserve": 1 << 26,
              "accepts": True, "ballast": True},
    "allowed": True,
}  # fmt: skip


class Stub:
    """The stub on the two sockets of `folder`; `answers` may be changed at any time."""

    def __init__(self, folder: Path) -> None:
        self.answers: dict[str, Any] = {"ping": PING, "submit": self._submitted}
        self.notices: dict[str, list[list[Any]]] = {}
        self.asked: list[tuple[str, list[Any]]] = []
        self._connections: list[socket.socket] = []
        self._handoff = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._handoff.bind(str(folder / "handoff.sock"))
        self._control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._control.bind(str(folder / "control.sock"))
        self._control.listen()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def answer(self, status: dict[str, Any], result: object = None, output: bytes = b"", dropped: int = 0) -> None:
        """Answer every question about a job as the daemon would for this one."""
        self.answers |= dict.fromkeys(("status", "wait", "cancel", "follow", "run"), status)
        self.answers["result"] = ended(status, result)
        self.answers["logs"] = {"id": ID, "output": output, "dropped": dropped, "state": status["state"]}

    def params(self, method: str) -> list[Any]:
        """Return the params of the one request of this verb."""
        (found,) = [params for name, params in self.asked if name == method]
        return found

    def handed_over(self) -> dict[str, Any]:
        """Return the job that came by datagram."""
        self._handoff.settimeout(5)
        job: dict[str, Any] = wire.unpack(self._handoff.recv(1 << 20))[2][0]
        return job

    def has_mail(self) -> bool:
        """Tell whether a datagram waits."""
        return bool(select.select([self._handoff], [], [], 0)[0])

    def close(self) -> None:
        """Hang up on everybody."""
        with suppress(OSError):  # it may have been closed before
            self._control.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        for each in (self._control, self._handoff, *self._connections):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                self._connections.append(self._control.accept()[0])
                threading.Thread(target=self._serve, args=(self._connections[-1],), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        framer = wire.Framer(1 << 24)
        with suppress(OSError):
            while data := connection.recv(65536):
                for body in framer.feed(data):
                    _, number, method, params = wire.unpack(body)
                    self.asked.append((method, params))
                    for notice in self.notices.get(method, []):
                        connection.sendall(wire.frame(noticed("output", notice)))
                    connection.sendall(wire.frame(self._reply(number, method, params)))

    def _reply(self, number: int, method: str, params: list[Any]) -> list[object]:
        found = self.answers.get(method)
        if callable(found):
            found = found(params)
        return refused(number, found) if isinstance(found, SidecarError) else replied(number, found)

    @staticmethod
    def _submitted(params: list[Any]) -> dict[str, Any]:
        return {"id": show_id(params[0]["id"]), "ack": params[1] if len(params) > 1 else "stored"}
