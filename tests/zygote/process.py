"""A real zygote as a process, and the daemon's end of its channel in the test's hands."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
import sys
import time
from typing import Any

import msgpack

from sidecar.boot import command
from sidecar.job import Ending
from sidecar.zygote.channel import Channel
from tests.waiting import eventually

LIMITS = {"result": 1024 * 1024, "output": 64 * 1024}
_HIGH = 500  # above what dup2 of one could overwrite of the other
HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))


def order(job: int, timeout: float = 20.0, grace: float = 5.0, **plan: Any) -> list[Any]:
    """Make the message that starts attempt 1 of a job."""
    for name in ("args", "kwargs"):
        if name in plan:
            plan[name] = msgpack.packb(plan[name])
    return ["start", job, 1, timeout, grace, msgpack.packb(plan), "0", "default", "0"]


class ZygoteProcess:
    """Starts a zygote as the keeper does; `start` jobs, `wait` for their endings."""

    def __init__(self, record: dict[str, Any] | None = None, broken: str = "", in_spares: bool = False) -> None:
        """Start one of runtime `record`; `broken` names the promise that it shall break.

        `in_spares`: wait for a spare before each attempt, so that the attempt begins in it.
        """
        self.in_spares = in_spares
        self.has_plans = True  # whether a PHP job has its plan on fd 4
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        life, self.lifeline = os.pipe2(os.O_CLOEXEC)
        interpreter, module = sys.executable, "tests.zygote.broken" if broken else "sidecar.zygote"
        path = [ROOT, *(entry for entry in sys.path if entry.startswith("/"))]
        moved = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _HIGH) for fd in (theirs.fileno(), life)]
        environ = {**os.environ, "LISTEN_FDS": "2", "LISTEN_FDNAMES": "daemon:lifeline", "BROKEN": broken}
        actions = [(os.POSIX_SPAWN_DUP2, fd, 3 + number) for number, fd in enumerate(moved)]
        argv = command(interpreter, module, path)
        self.pid = os.posix_spawn(interpreter, argv, environ, setsid=True, file_actions=actions)
        for fd in (*moved, life):
            os.close(fd)
        theirs.close()
        self.channel = Channel(ours)
        self.number = 0
        self.said: list[list[Any]] = []
        self.tell("hello", 7, record or {}, LIMITS)
        self.hello = self.wait_for("hello", 7)[2]

    def tell(self, *message: Any) -> None:
        """Say something to it."""
        self.channel.send(list(message))
        assert self.channel.flush()

    def start(self, **plan: Any) -> int:
        """Start an attempt; returns its job's number."""
        self.number += 1
        if self.in_spares:
            eventually(self.spares, 10)
        self.tell(*order(self.number, **plan))
        return self.number

    def children(self) -> list[int]:
        """Return the pids of its children, dead or alive."""
        with open(f"/proc/{self.pid}/task/{self.pid}/children") as file:
            return [int(pid) for pid in file.read().split()]

    def spares(self) -> list[int]:
        """Return the pids of its spares: where a job has four descriptors, they have a fifth."""
        return [pid for pid in self.children() if _waits_for_orders(pid) and _in_own_session(pid)]

    def run(self, **plan: Any) -> dict[str, Any]:
        """Run an attempt and return its ending."""
        return self.ending(self.start(**plan))

    def ending(self, number: int, seconds: float = 20.0) -> dict[str, Any]:
        """Wait for the ending of an attempt."""
        return Ending(*self.wait_for("exited", number, 1, seconds=seconds)[1:])._asdict()

    def wait_for(self, *start: Any, seconds: float = 20.0) -> list[Any]:
        """Wait for a message that begins so, keeping the others."""
        return self.wait_for_one(list(start), seconds=seconds)

    def wait_for_one(self, *starts: list[Any], seconds: float = 20.0) -> list[Any]:
        """Wait for a message that begins in one of these ways, keeping the others."""
        deadline = time.monotonic() + seconds
        while True:
            for message in self.said:
                if any(message[: len(start)] == start for start in starts):
                    self.said.remove(message)
                    return message
            left = deadline - time.monotonic()
            assert left > 0, f"the zygote did not say {starts} in {seconds} s, but {self.said}"
            select.select([self.channel.sock], [], [], left)
            messages, _ = self.channel.receive()
            self.said += messages

    def stop(self) -> None:
        """End it as the death of its keeper would, and reap it."""
        os.close(self.lifeline)
        self.lifeline = -1
        os.waitpid(self.pid, 0)
        self.channel.close()

    def kill(self) -> None:
        """SIGKILL it."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self.channel.close()
        os.close(self.lifeline)


def _waits_for_orders(pid: int) -> bool:
    try:
        return os.readlink(f"/proc/{pid}/fd/4").startswith("pipe:")  # the template has a socket there
    except OSError:
        return False


def _in_own_session(pid: int) -> bool:
    try:
        return os.getsid(pid) == pid and len(set(os.listdir(f"/proc/{pid}/fd")) - {"5"}) == 5  # 5: a php's script
    except OSError:
        return False


def report(ending: dict[str, Any]) -> dict[str, Any]:
    """Unpack what an attempt wrote on fd 3."""
    return msgpack.unpackb(ending["report"]) if ending["report"] else {}


def result(ending: dict[str, Any]) -> Any:
    """Return what the call returned."""
    return msgpack.unpackb(report(ending)["result"])
