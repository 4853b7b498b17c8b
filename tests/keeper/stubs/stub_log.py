"""What the stubs tell the tests: a line of JSON for each event, in the runtime folder."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import Any

RUNTIME = os.environ["SIDECAR_RUNTIME_DIR"]


def note(event: str, **about: Any) -> None:
    """Append one event; one write, so that lines of several processes do not mix."""
    line = {"event": event, "pid": os.getpid(), "at": time.monotonic(), **about}
    fd = os.open(f"{RUNTIME}/stub.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    os.write(fd, json.dumps(line).encode() + b"\n")
    os.close(fd)


def script(name: str) -> dict[str, Any]:
    """Read how to behave."""
    try:
        with open(f"{RUNTIME}/{name}.json") as file:
            return json.load(file)  # type: ignore[no-any-return]
    except FileNotFoundError:
        return {}


def descriptors() -> dict[str, str]:
    """Return what is open, and what it is."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[name] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            continue  # the look itself
    return found


def fds() -> dict[str, int]:
    """Return the descriptors passed by name."""
    return {name: 3 + at for at, name in enumerate(os.environ["LISTEN_FDNAMES"].split(":"))}


def exists(name: str) -> bool:
    """Return whether there is such a name in the runtime folder."""
    return os.path.lexists(f"{RUNTIME}/{name}")


def orphan() -> int:
    """Leave a grandchild that is in a session of its own; return its pid."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        if os.fork() == 0:
            os.setsid()
            os.write(writing, str(os.getpid()).encode())
            os.closerange(3, 100)
            while True:
                signal.pause()
        os._exit(0)
    os.wait()
    pid = int(os.read(reading, 100))
    os.close(reading)
    os.close(writing)
    return pid
