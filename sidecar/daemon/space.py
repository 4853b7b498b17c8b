"""Room on the disk for the store: a reserve that new jobs may not use, and a ballast for the day on which it is gone.

    enough ──free under the reserve──► short ──free above it again──► enough
                                         └──ENOSPC on an outcome: give up the ballast──► exhausted ──above it──► enough

Short: intake refuses, where there is an asker; datagrams wait in the kernel and files in the spool, which are safe
there. What was accepted goes on, since its outcomes need little, and the reserve is there for them. Exhausted: somebody
else has eaten the reserve as well. The ballast's room is then for the outcomes of what runs, and nothing is started,
since there might be no room for it to end in. A full disk can neither delete nor checkpoint: hence a file to give up.

The file system is asked at most every tenth of a second, never for each job. Nobody tells when room comes back, so as
long as something is missing it is looked for: the one thing here that polls.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable
from contextlib import suppress

import trio

from ..disk import MIB, room, sync_names
from ..errors import NoSpace

log = logging.getLogger("sidecar")

NAME = "ballast"
_LOOK = 0.1  # seconds that an answer of the file system holds
_SEARCH = 0.25  # seconds between two looks while room is missing
_TRY = 2.0  # the same while only the ballast is missing: there may be no room for it for long
_SHARE = 2  # the ballast is at most half of the reserve


class Space:
    """The room in one state folder."""

    def __init__(self, folder: str, reserve: int, ballast: int) -> None:
        self._folder = folder
        self._reserve = reserve
        self._path = os.path.join(folder, NAME)
        self._wanted = ballast
        self._looked = -_LOOK
        self._missing = trio.Event()
        self.free = self.reserve = 0
        self.short = False
        self.exhausted = False
        self.ballast = os.path.exists(self._path)

    def look(self) -> bool:
        """Return whether new jobs may be taken in; logs when that changes."""
        now = time.monotonic()
        if now - self._looked >= _LOOK:
            self._looked = now
            self.free, self.reserve = room(self._folder, self._reserve)
            self._note(self.free < self.reserve)
        return not self.short

    def check(self) -> None:
        """Raise NoSpace when no new job may be taken in."""
        if not self.look():
            raise NoSpace(f"cannot take the job: {self.why}, try again when there is room")

    @property
    def why(self) -> str:
        """Say what is missing, for people."""
        return (
            f"{self._folder} has {self.free / MIB:.1f} MiB left, the last {self.reserve / MIB:.1f} are for the "
            "outcomes of what was taken before"
        )

    def _note(self, short: bool) -> None:
        if short and not self.short:
            log.warning("refusing new jobs: %s", self.why)
            self._missing.set()
        elif self.short and not short:
            log.info("taking new jobs again: %s has %.1f MiB left", self._folder, self.free / MIB)
        self.short = short
        self.exhausted = self.exhausted and short

    def give_up(self) -> bool:
        """Note that a commit met a full disk, and make room for what must be recorded; False when none was left."""
        self._looked = -_LOOK
        self._note(True)
        self.exhausted = True
        if not self.ballast:
            return False
        log.warning("the disk is full: giving up the ballast to record outcomes, starting nothing until there is room")
        self.ballast = False
        with suppress(OSError):
            os.unlink(self._path)
            sync_names(self._folder)  # freed blocks are free once the file system has written that down
        return True

    async def keep(self, regained: Callable[[], None]) -> None:
        """Make the ballast, and make it again when there is room; tell whenever new attempts may start again."""
        while True:
            self._missing = trio.Event()
            await self._restore(regained)
            if self.short:
                await trio.sleep(_SEARCH)
            else:
                with trio.move_on_after(math.inf if self.ballast else _TRY):
                    await self._missing.wait()

    async def _restore(self, regained: Callable[[], None]) -> None:
        was_exhausted = self.exhausted
        self._looked = -_LOOK
        enough = self.look()
        if was_exhausted and not self.exhausted:
            regained()
        size = min(self._wanted, self.reserve // _SHARE)
        if enough and self.free >= self.reserve + size and not self._is_there(size):
            self.ballast = await trio.to_thread.run_sync(self._make, size)

    def _is_there(self, size: int) -> bool:
        with suppress(OSError):
            found = os.stat(self._path)
            return self.ballast and found.st_size == size and found.st_blocks * 512 >= size
        return False

    def _make(self, size: int) -> bool:
        """Fill the file with blocks of its own: blocks of a hole would be no room to give up."""
        try:
            fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(fd, 0, size)
            finally:
                os.close(fd)
        except OSError:
            with suppress(OSError):
                os.unlink(self._path)
            return False
        return True
