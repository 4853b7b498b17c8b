"""The strays of an older life: what a killed keeper's jobs left running, found by the instance in their environment.

Only needed at start; while a keeper lives, orphans come to it as its children. No number read from a disk or a list is
ever signalled: a pidfd is opened first, the environment read after it, the signal sent through it. If the process ended
in between and its number was given away, the environment is the newcomer's and the pidfd is dead.
"""

from __future__ import annotations

import os
import select
import signal
import time
from contextlib import suppress


def end(instance: str, seconds: float) -> int:
    """Kill every process that carries `instance`, until a look finds none; return how many are left after `seconds`.

    More than one look, because a stray may fork while we search.
    """
    until = time.monotonic() + seconds
    while True:
        found = find(instance)
        left = until - time.monotonic()
        if found and left > 0:
            _kill(found, left)
        for fd in found:
            os.close(fd)
        if not found or left <= 0:
            return len(found)


def find(instance: str) -> list[int]:
    """Return a pidfd of every living process but ourselves that carries `instance`."""
    mark = f"SIDECAR_INSTANCE={instance}".encode()
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            fd = _open(int(name), mark)
            if fd is not None:
                found.append(fd)
    return found


def _open(pid: int, mark: bytes) -> int | None:
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return None
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            if mark in file.read().split(b"\0"):
                return fd
    except OSError:  # somebody else's, or gone
        pass
    os.close(fd)
    return None


def _kill(found: list[int], seconds: float) -> None:
    dying = select.poll()
    for fd in found:
        with suppress(ProcessLookupError, PermissionError):
            signal.pidfd_send_signal(fd, signal.SIGKILL)
        dying.register(fd, select.POLLIN)
    until = time.monotonic() + seconds
    alive = len(found)
    while alive and time.monotonic() < until:
        for fd, _ in dying.poll(max(1, int(1000 * (until - time.monotonic())))):
            dying.unregister(fd)
            alive -= 1
