"""The spool folder: what clients wrote while nobody was there, taken in exactly once.

A file in `new/` is complete (it was renamed there). It is read, stored, and only then unlinked; killed in between, the
next daemon stores it again, which its id makes a no-op. Whose job it is, the file's owner says. A file that cannot be
read as a hand-off goes to `corrupt/`, it is never deleted. inotify wakes us, nothing is polled.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import stat
import time

import trio

from ..crashpoints import crash
from ..errors import NoSpace
from ..job import Job
from .intake import Intake

log = logging.getLogger("sidecar")

_IN_MOVED_TO, _IN_CLOSE_WRITE = 0x80, 0x08
_BATCH, _BATCH_BYTES = 16, 8 * 1024 * 1024  # of one commit: files, and bytes over which no further one is read
_FULL_PAUSE = 0.5
_OUT_OF = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # says nothing about the file


class Spool:
    """Takes in the files of one spool folder."""

    def __init__(self, folder: str, limit: int, intake: Intake) -> None:
        self._new = os.path.join(folder, "new")
        self._corrupt = os.path.join(folder, "corrupt")
        self._limit = limit
        self._intake = intake
        self._notices = _watch(self._new)
        self._taking = trio.Lock()
        self._left: set[str] = set()  # names of what can be neither read nor moved

    async def run(self) -> None:
        """Take in what is there, and whatever comes, until cancelled."""
        while True:
            await self.take_all()
            self._intake.quarantine.ease("spool")
            await trio.lowlevel.wait_readable(self._notices)
            os.read(self._notices, 65536)

    async def take_all(self) -> None:
        """Take in what is there, however long the disk is full or nothing can be opened: it is safe where it is."""
        async with self._taking:
            while True:
                try:
                    names = sorted(set(os.listdir(self._new)) - self._left)[: self._most()]
                    if not names:
                        return
                    await self._take(names)
                    await trio.lowlevel.checkpoint()
                except NoSpace:
                    await trio.sleep(_FULL_PAUSE)
                except OSError as error:
                    if error.errno not in _OUT_OF:
                        raise
                    await trio.sleep(_FULL_PAUSE)

    def _most(self) -> int:
        return 1 if self._intake.quarantine.wary("spool") else _BATCH

    async def _take(self, names: list[str]) -> None:
        taken, size = [], 0
        for name in names:
            job, length = self._read(name)
            size += length
            if job is not None:
                taken.append((name, job))
            if size >= _BATCH_BYTES:
                break
        if taken:
            await self._intake.store([job for _, job in taken])
            crash and crash("intake.spooled")
        for name, _ in taken:
            os.unlink(os.path.join(self._new, name))
        self._intake.quarantine.acquit("spool")

    def _read(self, name: str) -> tuple[Job | None, int]:
        path = os.path.join(self._new, name)
        try:
            data, uid = _read_plain(path, self._limit)
        except OSError as error:
            if error.errno in _OUT_OF:
                raise
            self._put_aside(name, error.strerror or "cannot be read")
            return None, 0
        job = self._intake.read_handoff(data, uid, "spool")
        if job is None:
            self._put_aside(name, "is no hand-off of a user who may submit")
        return job, len(data)

    def _put_aside(self, name: str, why: str) -> None:
        log.warning("spool file %s %s: put into %s", name, why, self._corrupt)
        kept = f"{name[:200]}.{time.time_ns()}"  # a name of its own: nothing that was put aside before is replaced
        try:
            os.rename(os.path.join(self._new, name), os.path.join(self._corrupt, kept))
        except OSError as error:
            log.error("cannot put spool file %s aside: %s; it is left where it is", name, error.strerror)
            self._left.add(name)


def _read_plain(path: str, limit: int) -> tuple[bytes, int]:
    """Read a regular file with one name, and its owner: no link, no device, nothing that could block."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        about = os.fstat(fd)
        if not stat.S_ISREG(about.st_mode) or about.st_nlink != 1:
            raise OSError(0, "is no plain file")
        if about.st_size > limit:
            raise OSError(0, f"is over {limit} bytes")
        return os.read(fd, about.st_size), about.st_uid
    finally:
        os.close(fd)


def _watch(folder: str) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    fd: int = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
    if fd < 0 or libc.inotify_add_watch(fd, os.fsencode(folder), _IN_MOVED_TO | _IN_CLOSE_WRITE) < 0:
        raise OSError(ctypes.get_errno(), f"cannot watch {folder}: {os.strerror(ctypes.get_errno())}")
    return fd
