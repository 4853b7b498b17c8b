"""What the system tests run. Each run leaves a line in a file (one O_APPEND write, so runs cannot tear each other)."""

from __future__ import annotations

import os
import signal
import time


def leave_line(path: str, line: object) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(fd, f"{line}\n".encode())
    os.close(fd)


def square(path: str, number: int) -> int:
    leave_line(path, number)
    return number * number


def note_attempt(path: str, number: int, seconds: float = 0.0) -> None:
    """Say which job and attempt this is, then work for a while."""
    leave_line(path, f"{number} {os.environ['SIDECAR_ATTEMPT']}")
    time.sleep(seconds)


def wait_for_file(started: str, go: str) -> str:
    """Say that we run, then wait until `go` is there."""
    leave_line(started, f"{os.getpid()} {os.environ['SIDECAR_ATTEMPT']}")
    while not os.path.exists(go):
        time.sleep(0.005)
    print("went on")
    return "went on"


def fail_its_own_way(path: str, how: str, seconds: float = 0) -> None:
    from sidecar.client import GiveUp, TryAgain

    leave_line(path, how)
    try:
        raise LookupError("the cause")
    except LookupError as cause:
        if how == "give up":
            raise GiveUp("no such address") from None
        if how == "give up for a cause":
            raise GiveUp from cause
        if how == "again":
            raise TryAgain(seconds, "not yet") from None
        raise TryAgain(seconds) from cause


def fail_until(path: str, tries: int) -> int:
    """Fail until it was tried so often."""
    leave_line(path, time.time())
    with open(path) as file:
        count = len(file.readlines())
    if count < tries:
        raise ValueError(f"try {count}")
    return count


def kill_parent(path: str) -> None:
    """Take the zygote down."""
    leave_line(path, os.environ["SIDECAR_ATTEMPT"])
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)


def stubborn(path: str) -> None:
    """Ignore SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    leave_line(path, os.getpid())
    while True:
        time.sleep(60)


def wait_and_return(started: str, go: str, size: int) -> bytes:
    """Wait until `go` is there, then return so many bytes."""
    wait_for_file(started, go)
    return b"x" * size


def count_until(started: str, go: str) -> int:
    """Write numbers, a line each few milliseconds, until `go` is there."""
    leave_line(started, os.getpid())
    number = 0
    while not os.path.exists(go):
        print(number, flush=True)
        number += 1
        time.sleep(0.005)
    return number
