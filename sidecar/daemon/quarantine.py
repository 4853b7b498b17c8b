"""The quarantine: what may have killed the daemons before us is put on file before it is looked at.

A datagram that kills the parser would kill every next daemon, since none comes to consuming it. So the keeper tells a
new daemon how many in a row have died of something that they may have read. From the second on, each door takes one
hand-off at a time:

    suspect   write its bytes to `quarantine/<digest>`; then parse, store, consume
    acquit    that went well: the file goes
    condemn   the file is there already: a daemon died of it. Consumed unread; the file stays, and a line is logged

Nothing is lost by it: a file here is what a client would spool, and moved into `spool/new` it is handed off again. A
door is at ease again once it was empty, or has taken more than a queue of datagrams can hold.
"""

from __future__ import annotations

import hashlib
import logging
import os
from contextlib import suppress

log = logging.getLogger("sidecar")

WARY_FROM = 2  # deaths: the first may be chance, and costs nobody his speed
_PATIENCE = 1024  # hand-offs: more than were waiting when the last daemon died
_MODE = 0o600


class Quarantine:
    """The files of hand-offs that are being looked at, or that nobody lived to look at twice."""

    def __init__(self, folder: str, deaths: int) -> None:
        self._folder = folder
        self._left = dict.fromkeys(("datagrams", "spool"), _PATIENCE) if deaths >= WARY_FROM else {}
        self._held: dict[str, str] = {}  # door -> the file of what it is looking at
        if self._left:
            log.warning("%d daemons have died in a row: taking hand-offs one by one, each on file first", deaths)

    def wary(self, door: str) -> bool:
        """Say whether this door is to take one hand-off at a time."""
        return door in self._left

    def suspect(self, door: str, data: bytes | memoryview) -> bool:
        """Put on file what is about to be parsed; False when it must not be: a daemon has died of it already."""
        path = os.path.join(self._folder, hashlib.sha256(data).hexdigest()[:32])
        if os.path.exists(path):
            log.error("a hand-off has killed a daemon and is not looked at again, it is kept in %s", path)
            return False
        try:
            os.makedirs(self._folder, _MODE | 0o100, exist_ok=True)
            with open(f"{path}.new", "wb", opener=_private) as file:
                file.write(data)
            os.rename(f"{path}.new", path)
        except OSError as error:
            log.error("cannot put a hand-off on file: %s; it is looked at all the same", error)
            return True
        self._held[door] = path
        self._left[door] -= 1
        return True

    def acquit(self, door: str) -> None:
        """Note that what this door was looking at has done no harm."""
        path = self._held.pop(door, None)
        if path is not None:
            with suppress(FileNotFoundError):
                os.unlink(path)
            if self._left.get(door, 1) <= 0:
                self.ease(door)

    def ease(self, door: str) -> None:
        """Note that this door was empty: what killed the others is not there any more."""
        self._left.pop(door, None)

    def close(self) -> None:
        """Acquit all: we end in good order, or of something that was no fault of theirs."""
        for door in list(self._held):
            self.acquit(door)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE)
