"""What is asked of the disk beside SQLite: that a file is on it, that a name is, how much room there is.

Plain blocking calls that raise OSError; what a failure means, and in which thread they run, is decided above.
"""

from __future__ import annotations

import os

MIB = 1024 * 1024
RESERVE = 64 * MIB  # bytes of a file system that stay free of new jobs
_SHARE = 10  # of a small one: no more than a tenth


class SyncedFile:
    """A file that somebody else writes, open for `sync` alone.

    A descriptor of our own: the kernel tells a failed write-back once to each, so what SQLite hears does not make
    us deaf. It takes no lock and loses none, as a second descriptor of the database itself would when it is closed.
    """

    def __init__(self, path: str) -> None:
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115  # closed by close

    def sync(self) -> None:
        """Return when what was written to the file before this call is on the disk."""
        os.fdatasync(self._file.fileno())

    def close(self) -> None:
        """Close our descriptor; again is nothing."""
        self._file.close()


def sync_names(folder: str) -> None:
    """Put the names in a folder on the disk, and that of the folder itself up to the root of its file system.

    A file that is synced and whose name is not is gone after a power cut. The way up ends at a folder that is not ours
    to open, or that cannot be synced: that one is older than we are.
    """
    device = os.stat(folder).st_dev
    _sync_folder(folder)
    above = os.path.dirname(os.path.abspath(folder))
    while os.stat(above).st_dev == device:
        try:
            _sync_folder(above)
        except OSError:
            return
        if above == "/":
            return
        above = os.path.dirname(above)


def _sync_folder(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def room(folder: str, reserve: int = RESERVE) -> tuple[int, int]:
    """Return the bytes that are free in a folder's file system, and how many of them are not for new jobs.

    The reserve is at most a tenth of the whole: on a small file system 64 MiB would be everything.
    """
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize, min(reserve, found.f_blocks * found.f_frsize // _SHARE)
