"""The ground we stand on: the two folders, the locks that make us the only one, the instance's name.

Three locks, because three things can be in the way. `keeper.lock` says that a keeper serves this state folder.
`life.lock` is inherited by daemon and zygotes (jobs never hold it): free means that nothing of an earlier keeper lives,
so after a keeper was killed the next one waits for its remains to end. The lock on the runtime folder keeps two keepers
with different state folders from taking each other's sockets away.
"""

from __future__ import annotations

import fcntl
import os
import signal
import stat
from contextlib import suppress

from ..errors import SidecarError

ORDERLY = 5.0  # seconds in which what a killed keeper left ends by itself
REMAINS = 10.0  # seconds in which it must have ended when it was killed


class CannotServe(SidecarError):
    """The keeper cannot start, and has changed nothing for anybody else."""

    code = "cannot_serve"


class Served(CannotServe):
    """Somebody serves this state folder already; `who` says so in words."""

    def __init__(self, who: str, state: str) -> None:
        super().__init__(f"cannot serve: {who} serves {state}, stop it first or give another --state-dir")
        self.who = who


def state_folder(path: str) -> None:
    """Make the state folder and the spool in it, for our user alone."""
    for folder in (path, *(f"{path}/spool/{name}" for name in ("tmp", "new", "corrupt"))):
        _make(folder, "--state-dir")


def runtime_folder(path: str) -> None:
    """Make the runtime folder. Where everybody may create (/tmp), one that is there must be ours alone."""
    _make(path, "--runtime-dir")
    found = os.lstat(path)
    if os.stat(os.path.dirname(path)).st_mode & stat.S_ISVTX:
        ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077
        if not ours:
            raise CannotServe(
                f"cannot use {path!r}: it is not a folder of this user with mode 0700, remove it or give --runtime-dir"
            )


def _make(path: str, option: str) -> None:
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
    except OSError as error:
        raise CannotServe(f"cannot make folder {path!r}: {error.strerror}, give another {option}") from None
    found = os.stat(path)
    if found.st_mode & 0o022 or found.st_uid not in (os.geteuid(), 0):
        raise CannotServe(
            f"cannot use {path!r}: others may write in it, and could put their own sockets and jobs there, "
            f"chmod 700 it or give another {option}"
        )


def keeper_lock(state: str, verb: str) -> int:
    """Become the only keeper of this state folder, until this process ends. Raises Served.

    What the file says is for people; the lock alone decides.
    """
    fd = _open_lock(f"{state}/keeper.lock", os.O_RDWR | os.O_CREAT)
    if not _lock(fd):
        raise Served(_holder(fd), state)
    with suppress(OSError):  # the disk may be full
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{verb} {os.getpid()}".encode(), 0)
    return fd


def _holder(fd: int) -> str:
    verb, _, pid = os.pread(fd, 100, 0).decode(errors="replace").partition(" ")
    if pid.isdecimal() and os.path.exists(f"/proc/{pid}"):  # else one that was killed, and was not yet written over
        return f"another sidecar (`sidecar {verb}`, process {pid})"
    return "another sidecar"


def runtime_lock(runtime: str) -> int:
    """Become the only keeper with sockets in this runtime folder, until this process ends."""
    fd = _open_lock(runtime, os.O_RDONLY | os.O_DIRECTORY)
    if not _lock(fd):
        raise CannotServe(
            f"cannot serve: another sidecar has its sockets in {runtime}, stop it first or give another --runtime-dir"
        )
    return fd


def is_still(lock: int, runtime: str) -> bool:
    """Say whether the folder at that path is the one that `runtime_lock` has locked."""
    try:
        return os.path.samestat(os.fstat(lock), os.stat(runtime))
    except OSError:
        return False


def life_lock(state: str) -> int:
    """Return the lock that daemon and zygotes inherit: as long as one of an earlier keeper lives, it is not ours."""
    return _open_lock(f"{state}/life.lock", os.O_RDWR | os.O_CREAT)


def is_ours(life: int, seconds: float) -> bool:
    """Wait until nothing of an earlier keeper lives; False when something still does after `seconds`."""
    return _lock(life) or _lock_in_time(life, seconds)


def insist(life: int, state: str) -> None:
    """Take the lock now that all were ended whom we know. Raises CannotServe."""
    if not is_ours(life, ORDERLY):
        raise CannotServe(
            f"cannot serve: processes of an earlier sidecar still hold {state}/life.lock, "
            "end them (fuser shows which) and start again"
        )


def _open_lock(path: str, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CannotServe(f"cannot open {path!r}: {error.strerror}, it must be writable for this user") from None


def _lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lock_in_time(fd: int, seconds: float) -> bool:
    """Wait for the lock in the kernel; the alarm ends the wait, by an exception since Python repeats the call."""

    def late(number: int, frame: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
    except TimeoutError:
        return False
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return True


def instance(state: str) -> str:
    """Return the name of this state folder's instance: 32 hex digits, made once. Every process of ours carries it."""
    path = f"{state}/instance"
    try:
        with open(path) as file:
            name = file.read().strip()
    except FileNotFoundError:
        name = ""
    if len(name) == 32 and all(digit in "0123456789abcdef" for digit in name):
        return name
    name = os.urandom(16).hex()
    with open(f"{path}.new", "w") as file:
        file.write(name + "\n")
    os.rename(f"{path}.new", path)
    return name


def link_spool(state: str, runtime: str) -> None:
    """Let `<runtime>/spool` lead to the spool, so that clients who know only the sockets find it.

    The link stays when we end: hand-offs between a stop and the next start are what the spool is for.
    """
    link = f"{runtime}/spool"
    fresh = f"{runtime}/.{os.getpid()}"
    _remove(fresh)
    os.symlink(f"{state}/spool", fresh)
    os.rename(fresh, link)


def _remove(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)
