"""The file: opened and recovered, committed, synced, checkpointed, closed.

Exactly one connection writes and checkpoints (SQLite before 3.51.3 can corrupt with two), so the file is locked
exclusively for as long as we run; everybody else asks the daemon.

Which system call stands behind what, and what its failure does:

    open      any of them                     the daemon does not serve; the keeper tries again, less and less often
              write, fdatasync (checkpoint)   the same; ENOSPC: once more without the ballast
              fsync of the folders' names     the same
              what is read is no store        Unusable: the keeper ends too, with status 1. The same when the files are
                                              no longer where they were (looked at before each sync, and now and then)
    commit    pwrite to the -wal              ENOSPC: rolled back; who hands off hears no_space, we go on, and outcomes
                                              are tried again, at once if there is ballast to give up
              fdatasync of its header, or     all who wait hear `internal`, nobody an ack; the daemon ends with
              pwrite with EIO, anything else  status 1 and is restarted
    sync      fdatasync of the -wal           the same: a second one might succeed and prove nothing
    checkpoint  pwrite to the file            ENOSPC: tried again after the next commit, the log grows meanwhile
              fdatasync of either, EIO        the same as for a sync

A restart after any of these is sound because the log is still whole: opening moves all of it into the file again
(TRUNCATE), and syncs that, before anybody is answered; whatever pages the kernel has called clean meanwhile.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import resources

from ..crashpoints import crash
from ..disk import SyncedFile, sync_names
from ..errors import NoSpace, SidecarError

VERSION = 1
NAME = "jobs.sqlite"
CHECKPOINT_PAGES = 1000
_PAGE = 4096
_HEAD = 100  # bytes of SQLite's header
_BEYOND_HELP = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR)  # the last: no such table
_CURE = "put a backup in its place, or move it and its -wal away to begin without jobs"
_PRAGMAS = (
    "locking_mode=EXCLUSIVE",
    "journal_mode=WAL",
    "synchronous=NORMAL",
    "wal_autocheckpoint=0",
    "journal_size_limit=67108864",
    "temp_store=MEMORY",
    "cache_size=-4000",
)


class StoreError(SidecarError):
    """The store cannot go on; the daemon ends, and the next one opens the file anew."""


class Unusable(StoreError):
    """The file is none of ours, or damaged: trying again does not help, a person has to look."""


def check(folder: str) -> None:
    """Raise Unusable when the file in `folder` is, by its head, none that a File can open; touches nothing.

    What is newer in the log alone is found out when it is opened.
    """
    path = os.path.join(folder, NAME)
    try:
        with open(path, "rb") as file:
            head = file.read(_HEAD)
    except (IsADirectoryError, PermissionError) as error:
        raise Unusable(f"cannot open store {path}: {error.strerror}, look at what it is and whose") from None
    except OSError:  # not there yet; or what opening it will say
        return
    if not head:
        return
    if not head.startswith(b"SQLite format 3\0") or len(head) < _HEAD:
        raise Unusable(f"cannot open store {path}: file is not a database; {_CURE}")
    _check_version(path, int.from_bytes(head[60:64], "big"))


def _check_version(path: str, version: int) -> None:
    if version not in (0, VERSION):
        raise Unusable(f"cannot open store {path}: version {version}, this sidecar reads {VERSION}; {_CURE}")


class File:
    """The open file. Close it; nobody else can open it meanwhile."""

    def __init__(self, folder: str) -> None:
        """Open, or make, the store in `folder`; what is in its log is in the file, and on the disk, afterwards.

        Raises NoSpace when the disk is full, Unusable when the file is no store, or a newer one's, StoreError on any
        other failure.
        """
        self.path = os.path.join(folder, NAME)
        with ExitStack() as undo:
            self._open(folder, undo)
            undo.pop_all()
        self._changes_at_checkpoint = self._db.total_changes
        self._pages_per_change = 2.0
        self._large = 0  # bytes since then, of what fills pages of its own: arguments, results, output

    def _open(self, folder: str, undo: ExitStack) -> None:
        check(folder)
        try:
            self._db = sqlite3.connect(
                self.path, timeout=0, isolation_level=None, cached_statements=128, check_same_thread=False
            )
            undo.callback(self._db.close)
            for pragma in _PRAGMAS:
                self._db.execute(f"PRAGMA {pragma}").fetchall()
            self._prepare()
            crash and crash("open.opened")
            self._checkpoint("TRUNCATE")
            self._log = SyncedFile(f"{self.path}-wal")
            self._files = [(name, os.stat(name)) for name in (self.path, f"{self.path}-wal")]
            sync_names(folder)
        except (sqlite3.Error, OSError) as error:
            raise self._trouble("open", error) from None

    def _prepare(self) -> None:
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        _check_version(self.path, version)
        if version == 0:
            (others,) = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if others:
                raise Unusable(f"cannot open store {self.path}: it is another program's database; {_CURE}")
            script = resources.files(__package__).joinpath("schema.sql").read_text("utf-8")
            self._db.executescript(f"BEGIN IMMEDIATE; {script} COMMIT;")

    def close(self) -> None:
        """Close the file; SQLite checkpoints it, and removes the log when that went well."""
        self._log.close()
        self._db.close()

    def sync(self) -> None:
        """Return when all that is committed is on the disk; blocks, call it in a thread. No gate is needed.

        Raises StoreError: the store cannot go on, nothing may be called synced any more.
        """
        crash and crash("sync.begun")
        self.check_in_place()
        try:
            self._log.sync()
        except OSError as error:
            raise self._trouble("sync", error) from error
        crash and crash("sync.done")

    def check_in_place(self) -> None:
        """Raise Unusable when our files are not where the next daemon would look for them.

        What is committed from then on would be gone with us, so no ack would be true.
        """
        for name, ours in self._files:
            try:
                if os.path.samestat(os.stat(name), ours):
                    continue
            except FileNotFoundError:
                pass
            raise Unusable(
                f"cannot go on with store {self.path}: {os.path.basename(name)} was taken away while it was in use; "
                "put it back, with its -wal, or start again without the jobs that it held"
            )

    def _trouble(self, doing: str, error: Exception) -> SidecarError:
        code = getattr(error, "sqlite_errorcode", None)
        if doing == "open" and code is not None and code & 0xFF in _BEYOND_HELP:
            return Unusable(f"cannot open store {self.path}: {error}; {_CURE}")
        if code == sqlite3.SQLITE_FULL:
            return NoSpace(f"cannot {doing} store {self.path}: the disk is full, try again when there is room")
        return StoreError(f"cannot {doing} store {self.path}: {error}")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what is done inside together, or nothing of it.

        Raises NoSpace when the disk is full (nothing was kept, the store can go on), StoreError for any other failure.
        """
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            raise self._trouble("write", error) from error
        except BaseException:
            self._roll_back()
            raise

    def _rolled_back(self) -> None:
        """Forget what was remembered of a transaction that was not kept; the verbs do."""

    def _roll_back(self) -> None:
        self._rolled_back()
        if self._db.in_transaction:
            try:
                self._db.execute("ROLLBACK")
            except sqlite3.Error:  # SQLite has rolled back by itself
                pass

    def bytes(self) -> int:
        """Return the size of what is kept, without what was freed."""
        pages, free, size = (
            self._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)

    def checkpoint_due(self) -> bool:
        """Say whether about CHECKPOINT_PAGES pages wait in the log (estimated from the rows changed since)."""
        changes = self._db.total_changes - self._changes_at_checkpoint
        return changes * self._pages_per_change + self._large / _PAGE > CHECKPOINT_PAGES

    def checkpoint(self) -> None:
        """Move the log into the file; takes 6 to 23 ms per 1,000 pages, so call it in a thread, behind the gate.

        Raises NoSpace when the file cannot grow (the log keeps what it has), StoreError for any other failure.
        """
        try:
            pages = self._checkpoint("PASSIVE")
        except sqlite3.Error as error:
            raise self._trouble("checkpoint", error) from error
        changes = self._db.total_changes - self._changes_at_checkpoint
        if changes > 100 and pages > 0:
            self._pages_per_change = max(0.1, (pages - self._large / _PAGE) / changes)
        self._large = 0
        self._changes_at_checkpoint = self._db.total_changes

    def _checkpoint(self, mode: str) -> int:
        crash and crash("checkpoint.begun")
        busy, pages, moved = self._db.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
        crash and crash("checkpoint.done")
        if busy or pages != moved:  # nobody else can have it open: it did not do what it was asked
            raise StoreError(f"cannot checkpoint store {self.path}: {moved} of {pages} pages moved")
        return int(pages)
