"""The way round: a file in the daemon's spool folder when nobody answers, taken in when somebody is there again.

The maildir way: written under a name of its own in `tmp/`, then renamed into `new/`, so that a reader never sees half
a job. The same bytes as a datagram, named by the job's id: a job that is spooled twice is one file, and one that was
also sent is told apart by its id. Not synced to the disk: a submit must not wait for one.
Imported when it is needed.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress

from ..disk import room
from ..errors import NoSpace, Unavailable
from . import where

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MODE = 0o640  # the daemon may read it through the folder's group, whatever the umask
_FULL = (errno.ENOSPC, errno.EDQUOT)


def write(runtime_dir: str | None, id: bytes, message: bytes) -> str:
    """Put one message into the spool and return the file's path.

    Raises NoSpace when the disk is full but for its reserve (64 MiB, or a tenth of a small one), Unavailable when there
    is no spool that takes it.
    """
    folders = where.spool_folders(runtime_dir)
    for folder in folders:
        if os.access(f"{folder}/tmp", os.W_OK | os.X_OK) and os.access(f"{folder}/new", os.W_OK | os.X_OK):
            return _write(folder, id.hex(), message)
    raise Unavailable(
        f"cannot spool job: no folder takes it ({' or '.join(folders)}), "
        "start `sidecar serve` once, it makes the folder"
    )


def _write(folder: str, name: str, message: bytes) -> str:
    draft, path = f"{folder}/tmp/{name}.{os.getpid()}.{os.urandom(4).hex()}", f"{folder}/new/{name}"
    try:
        free, reserve = room(folder)
        if free - len(message) < reserve:  # what fills the last of the disk keeps the daemon from coming up again
            raise OSError(errno.ENOSPC, "No space left but the reserve")
        _write_file(draft, message)
        os.rename(draft, path)
    except OSError as error:
        with suppress(OSError):
            os.unlink(draft)
        if error.errno in _FULL:
            raise NoSpace(f"cannot spool job: {folder}: {error.strerror}, free some space and submit again") from None
        raise Unavailable(f"cannot spool job: {folder}: {error.strerror}, is `sidecar serve` running?") from None
    return path


def _write_file(path: str, message: bytes) -> None:
    file = os.open(path, _FLAGS, _MODE)
    try:
        os.fchmod(file, _MODE)
        rest = memoryview(message)
        while rest:
            rest = rest[os.write(file, rest) :]
    finally:
        os.close(file)
