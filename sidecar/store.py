"""The memory: every job and attempt, in one SQLite file. The only room with sqlite3; it knows no trio and no clock.

Verbs are few and plain: insert, claim, record, query, purge, stats. Each does its statements inside the transaction
that its caller opened with `transaction()`; the writer decides what is committed together. Blocking, one thread at a
time: the gate around every use, reads included, is the writer's.

Exactly one connection writes and checkpoints (SQLite before 3.51.3 can corrupt with two), so the file is locked
exclusively for as long as we run; everybody else asks the daemon.

Which system call stands behind what, and what its failure does:

    open      any of them                     the daemon does not serve; the keeper tries again, less and less often
              write, fdatasync (checkpoint)   the same; ENOSPC: once more without the ballast
              fsync of the folders' names     the same
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
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import resources

from .crashpoints import crash
from .disk import SyncedFile, sync_names
from .errors import NoSpace, SidecarError
from .job import Claim, Ending, Job, Outcome, State, after
from .rows import Attempt, Conclusion, Lane, Running, Summary

VERSION = 1
NAME = "jobs.sqlite"
CHECKPOINT_PAGES = 1000
_PAGE = 4096
_PRAGMAS = (
    "locking_mode=EXCLUSIVE",
    "journal_mode=WAL",
    "synchronous=NORMAL",
    "wal_autocheckpoint=0",
    "journal_size_limit=67108864",
    "temp_store=MEMORY",
    "cache_size=-4000",
)
_SUMMARY = """
    SELECT job.seq, job.id, lane.uid, lane.queue, job.priority, job.state, job.outcome, job.submitted, job.due,
           job.expires, job.finished, job.attempts, job.failures, job.interruptions, job.cancel_wanted, job.reason,
           job.lane, job.target,
           (SELECT started FROM attempt WHERE attempt.job = job.seq AND attempt.number = job.attempts)
    FROM job JOIN lane ON lane.id = job.lane
"""


class StoreError(SidecarError):
    """The store cannot go on; the daemon ends, and the next one opens the file anew."""


class Store:
    """The open file. Close it; nobody else can open it meanwhile."""

    def __init__(self, folder: str) -> None:
        """Open, or make, the store in `folder`; what is in its log is in the file, and on the disk, afterwards.

        Raises NoSpace when the disk is full, StoreError when the file is somebody else's or newer, or on any failure.
        """
        self.path = os.path.join(folder, NAME)
        try:
            self._db = sqlite3.connect(
                self.path, timeout=0, isolation_level=None, cached_statements=128, check_same_thread=False
            )
            for pragma in _PRAGMAS:
                self._db.execute(f"PRAGMA {pragma}").fetchall()
            self._prepare()
            crash and crash("open.opened")
            self._checkpoint("TRUNCATE")
            self._log = SyncedFile(f"{self.path}-wal")
            sync_names(folder)
        except (sqlite3.Error, OSError) as error:
            raise self._trouble("open", error) from None
        self._lanes: dict[tuple[int, str, bytes], int] = {
            (uid, queue, runtime): id
            for id, uid, queue, runtime in self._db.execute("SELECT id, uid, queue, runtime FROM lane")
        }
        self._changes_at_checkpoint = self._db.total_changes
        self._pages_per_change = 2.0
        self._large = 0  # bytes since then, of what fills pages of its own: arguments, results, output

    def _prepare(self) -> None:
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version == 0:
            script = resources.files(__package__).joinpath("schema.sql").read_text("utf-8")
            self._db.executescript(f"BEGIN IMMEDIATE; {script} COMMIT;")
        elif version != VERSION:
            raise StoreError(f"cannot open store {self.path}: version {version}, this sidecar reads {VERSION}")

    def close(self) -> None:
        """Close the file; SQLite checkpoints it, and removes the log when that went well."""
        self._log.close()
        self._db.close()

    def sync(self) -> None:
        """Return when all that is committed is on the disk; blocks, call it in a thread. No gate is needed.

        Raises StoreError: the store cannot go on, nothing may be called synced any more.
        """
        crash and crash("sync.begun")
        try:
            self._log.sync()
        except OSError as error:
            raise self._trouble("sync", error) from error
        crash and crash("sync.done")

    def _trouble(self, doing: str, error: Exception) -> SidecarError:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
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

    def _roll_back(self) -> None:
        self._lanes_made_in_vain()
        if self._db.in_transaction:
            try:
                self._db.execute("ROLLBACK")
            except sqlite3.Error:  # SQLite has rolled back by itself
                pass

    def _lanes_made_in_vain(self) -> None:
        self._lanes.clear()  # rare; each is looked up again when it is used

    # -- insert ---------------------------------------------------------------------------------------------------

    def insert(self, jobs: Iterable[Job], now: float, forget: float) -> set[int]:
        """Insert jobs; one whose id is there already changes nothing. Returns the lanes that have queued jobs now.

        `forget` is when a rejected job may be deleted.
        """
        lanes, rows = set(), []
        for job in jobs:
            lane = self.lane(job.uid, job.queue, job.runtime or b"")
            if job.rejected is not None:
                state, outcome, finished, until = "done", "rejected", now, forget
            else:
                state, outcome, finished, until = ("queued" if job.due <= now else "scheduled"), None, None, None
                if job.due <= now:
                    lanes.add(lane)
            self._large += len(job.body)
            rows.append((job.id, lane, job.priority, state, outcome, now, job.due, job.expires, finished, until,
                         job.rejected, job.target, job.body))  # fmt: skip
        self._db.executemany(
            "INSERT INTO job (id, lane, priority, state, outcome, submitted, due, expires, finished, forget, reason,"
            " target, body) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT (id) DO NOTHING",
            rows,
        )
        return lanes

    def lane(self, uid: int, queue: str, runtime: bytes) -> int:
        """Return the number of a lane; the first time it is made."""
        key = (uid, queue, runtime)
        known = self._lanes.get(key)
        if known is None:
            self._db.execute("INSERT INTO lane (uid, queue, runtime) VALUES (?,?,?) ON CONFLICT DO NOTHING", key)
            known = self._db.execute("SELECT id FROM lane WHERE uid=? AND queue=? AND runtime=?", key).fetchone()[0]
            self._lanes[key] = known
        return known

    def lanes(self) -> list[int]:
        """Return every lane's number."""
        return [id for (id,) in self._db.execute("SELECT id FROM lane")]

    def get_lane(self, id: int) -> Lane:
        """Return a lane by its number."""
        return Lane(*self._db.execute("SELECT id, uid, queue, runtime FROM lane WHERE id=?", (id,)).fetchone())

    # -- claim ----------------------------------------------------------------------------------------------------

    def waiting_lanes(self) -> list[int]:
        """Return the lanes that have a queued job: one look into the index for each lane there is."""
        return [
            id
            for (id,) in self._db.execute(
                "SELECT id FROM lane WHERE EXISTS (SELECT 1 FROM job WHERE lane = lane.id AND state = 'queued')"
            )
        ]

    def peek_lane(self, lane: int, most: int, now: float) -> list[tuple[int, int, int]]:
        """Return (-priority, seq, crashes) of the first queued jobs of a lane, in the order of claiming."""
        return self._db.execute(
            "SELECT -priority, seq, crashes FROM job WHERE state = 'queued' AND lane = ?"
            " AND (expires IS NULL OR expires > ? OR attempts > 0) ORDER BY priority DESC, due, seq LIMIT ?",
            (lane, now, most),
        ).fetchall()

    def body(self, seq: int) -> bytes:
        """Return a job's packed body."""
        return self._db.execute("SELECT body FROM job WHERE seq = ?", (seq,)).fetchone()[0]  # type: ignore[no-any-return]

    def claim(self, seq: int, generation: int, now: float) -> Claim:
        """Count a new attempt of a queued job, before anything is spawned."""
        row = self._db.execute(
            "UPDATE job SET state = 'running', attempts = attempts + 1 WHERE seq = ? AND state = 'queued'"
            " RETURNING seq, attempts, id, lane, body",
            (seq,),
        ).fetchone()
        claim = Claim(*row)
        self._db.execute(
            "INSERT INTO attempt (job, number, generation, started) VALUES (?,?,?,?)",
            (seq, claim.number, generation, now),
        )
        return claim

    def give_back(self, seq: int, number: int) -> bool:
        """Undo a claim whose attempt was never spawned: the job keeps its place. Returns whether a cancel is wanted."""
        row = self._db.execute(
            "UPDATE job SET state = 'queued', attempts = attempts - 1"
            " WHERE seq = ? AND attempts = ? AND state = 'running' RETURNING cancel_wanted",
            (seq, number),
        ).fetchone()
        if row is not None:
            self._db.execute("DELETE FROM attempt WHERE job = ? AND number = ?", (seq, number))
        return bool(row and row[0])

    # -- time -----------------------------------------------------------------------------------------------------

    def wake(self, now: float, most: int = 1000) -> set[int]:
        """Queue what has come due; returns the lanes it is in."""
        rows = self._db.execute(
            "UPDATE job SET state = 'queued' WHERE seq IN"
            " (SELECT seq FROM job WHERE state = 'scheduled' AND due <= ? ORDER BY due LIMIT ?) RETURNING lane",
            (now, most),
        ).fetchall()
        return {lane for (lane,) in rows}

    def expire(self, now: float, forget: float, most: int = 1000) -> list[bytes]:
        """End what has not started in time; returns the ids."""
        rows = self._db.execute(
            "UPDATE job SET state = 'done', outcome = 'expired', finished = ?, forget = ? WHERE seq IN"
            " (SELECT seq FROM job WHERE expires <= ? AND expires IS NOT NULL AND attempts = 0 AND outcome IS NULL"
            " LIMIT ?) RETURNING id",
            (now, forget, now, most),
        ).fetchall()
        return [id for (id,) in rows]

    def next_instant(self) -> float | None:
        """Return when `wake` or `expire` has something to do next, None for never."""
        due, expires = self._db.execute(
            "SELECT (SELECT min(due) FROM job WHERE state = 'scheduled'), (SELECT min(expires) FROM job"
            " WHERE expires IS NOT NULL AND attempts = 0 AND outcome IS NULL)"
        ).fetchone()
        return min((instant for instant in (due, expires) if instant is not None), default=None)

    # -- record ---------------------------------------------------------------------------------------------------

    def running(self) -> list[Running]:
        """Return all running jobs."""
        return [Running(*row) for row in self._db.execute(_RUNNING + " WHERE job.state = 'running'")]

    def get_running(self, seq: int, number: int) -> Running | None:
        """Return a running job, None when that attempt is recorded already."""
        row = self._db.execute(
            _RUNNING + " WHERE job.seq = ? AND job.attempts = ? AND job.state = 'running'", (seq, number)
        ).fetchone()
        return Running(*row) if row else None

    def record(self, running: Running, ending: Ending, done: Conclusion) -> tuple[State, Outcome | None]:
        """Write down how an attempt ended, and the step its job takes by that."""
        state, outcome = after(State.RUNNING, done.event)
        self._large += len(done.result or b"") + len(ending.tail)
        over = state is State.DONE
        self._db.execute(
            "UPDATE job SET state = ?, outcome = ?, due = coalesce(?, due), finished = ?, forget = ?, failures = ?,"
            " interruptions = ?, crashes = ?, reason = ? WHERE seq = ? AND state = 'running'",
            (state.value, outcome and outcome.value, done.due, ending.ended if over else None,
             done.forget if over else None, done.failures, done.interruptions, done.crashes, done.reason,
             running.seq),
        )  # fmt: skip
        self._db.execute(
            "UPDATE attempt SET started = coalesce(?, started), ended = ?, reason = ?, status = ?, signal = ?,"
            " user = ?, system = ?, max_rss = ?, result = ?, result_error = ?, error = ?, tail = ?, dropped = ?,"
            " survivors = ? WHERE job = ? AND number = ?",
            (ending.started, ending.ended, ending.reason, ending.status, ending.signal, ending.user, ending.system,
             ending.max_rss, done.result, done.result_error, done.error, ending.tail, ending.dropped,
             ending.survivors, running.seq, running.number),
        )  # fmt: skip
        return state, outcome

    def cancel(self, seq: int, now: float, forget: float) -> bool:
        """End a job that waits; note the wish on one that runs. Returns whether it ended here."""
        ended = self._db.execute(
            "UPDATE job SET state = 'done', outcome = 'cancelled', finished = ?, forget = ?, cancel_wanted = 1"
            " WHERE seq = ? AND state IN ('scheduled', 'queued')",
            (now, forget, seq),
        ).rowcount
        if not ended:
            self._db.execute("UPDATE job SET cancel_wanted = 1 WHERE seq = ? AND state = 'running'", (seq,))
        return bool(ended)

    # -- query ----------------------------------------------------------------------------------------------------

    def find(self, low: bytes, high: bytes) -> list[Summary]:
        """Return up to two jobs with low <= id <= high: enough to know whether a prefix is unique."""
        rows = self._db.execute(_SUMMARY + " WHERE job.id BETWEEN ? AND ? LIMIT 2", (low, high))
        return [Summary(*row) for row in rows]

    def attempts(self, seq: int) -> list[Attempt]:
        """Return the attempts of a job, first to last."""
        columns = ", ".join(Attempt._fields)
        rows = self._db.execute(f"SELECT {columns} FROM attempt WHERE job = ? ORDER BY number", (seq,))
        return [Attempt(*row) for row in rows]

    def list_jobs(
        self, uid: int | None, state: str | None, outcome: str | None, queue: str | None, most: int
    ) -> list[Summary]:
        """Return jobs newest first; None leaves a filter out."""
        wanted = {"lane.uid": uid, "job.state": state, "job.outcome": outcome, "lane.queue": queue}
        given = {column: value for column, value in wanted.items() if value is not None}
        where = " AND ".join(f"{column} = ?" for column in given) or "1"
        rows = self._db.execute(
            f"{_SUMMARY} WHERE {where} ORDER BY job.seq DESC LIMIT ?",
            (*given.values(), most),
        )
        return [Summary(*row) for row in rows]

    def stats(self, beyond: int, most: int = 10_000) -> tuple[list[tuple[str, str, str | None, int]], int | None]:
        """Return (queue, state, outcome, jobs) of the next jobs in the order of arrival, and where to go on after them.

        Reads each of them, a million in half a second: so a part at a time, from 0 until it says None.
        """
        (first,) = self._db.execute("SELECT min(seq) FROM job WHERE seq > ?", (beyond,)).fetchone()
        if first is None:
            return [], None
        last = first + most - 1
        rows = self._db.execute(
            "SELECT queue, state, outcome, count(*) FROM job JOIN lane ON lane.id = job.lane"
            " WHERE seq BETWEEN ? AND ? GROUP BY 1, 2, 3",
            (first, last),
        ).fetchall()
        return rows, last

    def bytes(self) -> int:
        """Return the size of what is kept, without what was freed."""
        pages, free, size = (
            self._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)

    # -- purge ----------------------------------------------------------------------------------------------------

    def next_forget(self) -> float | None:
        """Return when the next finished job may be deleted, None when there is none."""
        return self._db.execute("SELECT min(forget) FROM job WHERE forget IS NOT NULL").fetchone()[0]  # type: ignore[no-any-return]

    def purge(self, before: float | None, most: int = 500) -> int:
        """Delete up to `most` finished jobs that may be forgotten by `before` (None: whatever goes first)."""
        seqs = self._db.execute(
            "SELECT seq FROM job WHERE forget IS NOT NULL AND forget <= ? ORDER BY forget LIMIT ?",
            (9e99 if before is None else before, most),
        ).fetchall()
        self._db.executemany("DELETE FROM attempt WHERE job = ?", seqs)
        self._db.executemany("DELETE FROM job WHERE seq = ?", seqs)
        return len(seqs)

    # -- the file -------------------------------------------------------------------------------------------------

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


_RUNNING = """
    SELECT job.seq, job.attempts, job.id, job.lane, attempt.generation, job.failures, job.interruptions, job.crashes,
           job.cancel_wanted, job.body
    FROM job JOIN attempt ON attempt.job = job.seq AND attempt.number = job.attempts
"""
