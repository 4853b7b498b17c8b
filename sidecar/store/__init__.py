"""The memory: every job and attempt, in one SQLite file. The only room with sqlite3; it knows no trio and no clock.

Verbs are few and plain: insert, claim, record, query, purge, stats. Each does its statements inside the transaction
that its caller opened with `transaction()`; the writer decides what is committed together. Blocking, one thread at a
time: the gate around every use, reads included, is the writer's.

    __init__.py   the verbs      file.py   the file: opened, committed, synced, checkpointed      schema.sql   its shape
"""

from __future__ import annotations

from collections.abc import Iterable

from ..job import Claim, Ending, Job, Outcome, State, after
from ..rows import Attempt, Conclusion, Lane, Running, Summary
from .file import CHECKPOINT_PAGES, NAME, File, StoreError, Unusable, check

__all__ = ["CHECKPOINT_PAGES", "NAME", "Store", "StoreError", "Unusable", "check"]

_SUMMARY = """
    SELECT job.seq, job.id, lane.uid, lane.queue, job.priority, job.state, job.outcome, job.submitted, job.due,
           job.expires, job.finished, job.attempts, job.failures, job.interruptions, job.cancel_wanted, job.reason,
           job.lane, job.target,
           (SELECT started FROM attempt WHERE attempt.job = job.seq AND attempt.number = job.attempts)
    FROM job JOIN lane ON lane.id = job.lane
"""


class Store(File):
    """The verbs on the open file."""

    def _prepare(self) -> None:
        super()._prepare()
        self._touched: set[int] = set()
        self._lanes: dict[tuple[int, str, bytes], int] = {
            (uid, queue, runtime): id
            for id, uid, queue, runtime in self._db.execute("SELECT id, uid, queue, runtime FROM lane")
        }

    def _rolled_back(self) -> None:
        self._lanes.clear()  # rare; each is looked up again when it is used

    # -- insert ---------------------------------------------------------------------------------------------------

    def insert(self, jobs: Iterable[Job], now: float, forget: float) -> dict[int, int]:
        """Insert jobs; one whose id is there already changes nothing.

        Returns the lanes that have queued jobs now, with the highest priority among them. `forget` is when a rejected
        job may be deleted.
        """
        rows, rejected = [], []
        lanes: dict[int, int] = {}
        for job in jobs:
            lane = self.lane(job.uid, job.queue, job.runtime or b"")
            self._large += len(job.body)
            if job.rejected is not None:
                rejected.append((job.id, lane, job.priority, now, job.due, now, forget, job.rejected, job.target,
                                 job.body))  # fmt: skip
                continue
            state = "scheduled"
            if job.due <= now:
                state = "queued"
                lanes[lane] = max(job.priority, lanes.get(lane, job.priority))
            rows.append((job.id, lane, job.priority, state, now, job.due, job.expires, job.target, job.body))
        self._db.executemany(
            "INSERT INTO job (id, lane, priority, state, submitted, due, expires, target, body)"
            " VALUES (?,?,?,?,?,?,?,?,?) ON CONFLICT (id) DO NOTHING",
            rows,
        )
        if rejected:  # after the others: it must not take the id of one that is fine
            self._db.executemany(
                "INSERT INTO job (state, outcome, id, lane, priority, submitted, due, finished, forget, reason, target,"
                " body) VALUES ('done', 'rejected', ?,?,?,?,?,?,?,?,?,?) ON CONFLICT (id) DO NOTHING",
                rejected,
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
        self._touched.add(known)
        return known

    def lanes(self) -> list[int]:
        """Return every lane's number."""
        return [id for (id,) in self._db.execute("SELECT id FROM lane")]

    def get_lane(self, id: int) -> Lane:
        """Return a lane by its number."""
        return Lane(*self._db.execute("SELECT id, uid, queue, runtime FROM lane WHERE id=?", (id,)).fetchone())

    def used_lanes(self, beyond: int, most: int = 10_000) -> tuple[set[int], int | None]:
        """Return the lanes of the next jobs in the order of arrival, and where to go on after them; None: no more.

        From 0 on, lanes of jobs that are inserted meanwhile are noted, for `drop_lanes`: of a deleted job the number
        may come again, so what is looked at later does not show them all.
        """
        if beyond == 0:
            self._touched.clear()
        rows = self._db.execute(
            "SELECT seq, lane FROM job WHERE seq > ? ORDER BY seq LIMIT ?", (beyond, most)
        ).fetchall()
        return {lane for _, lane in rows}, rows[-1][0] if len(rows) == most else None

    def drop_lanes(self, lanes: Iterable[int]) -> list[int]:
        """Delete lanes, but for those that `used_lanes` has noted; returns the numbers that are free now."""
        unused = [number for number in lanes if number not in self._touched]
        for number in unused:
            for key in self._db.execute("DELETE FROM lane WHERE id = ? RETURNING uid, queue, runtime", (number,)):
                self._lanes.pop(key, None)
        return unused

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
        """Return (priority, seq, crashes) of the first queued jobs of a lane, in the order of claiming."""
        return self._db.execute(
            "SELECT priority, seq, crashes FROM job WHERE state = 'queued' AND lane = ?"
            " AND (expires IS NULL OR expires > ? OR attempts > 0) ORDER BY priority DESC, due, seq LIMIT ?",
            (lane, now, most),
        ).fetchall()

    def is_queued(self, seq: int) -> bool:
        """Return whether a job is still there to be claimed."""
        return self._db.execute("SELECT 1 FROM job WHERE seq = ? AND state = 'queued'", (seq,)).fetchone() is not None

    def body(self, seq: int) -> bytes:
        """Return a job's packed body."""
        return self._db.execute("SELECT body FROM job WHERE seq = ?", (seq,)).fetchone()[0]  # type: ignore[no-any-return]

    def claim(self, seq: int, generation: int, now: float) -> Claim:
        """Count a new attempt of a queued job, before anything is spawned."""
        row = self._db.execute(
            "UPDATE job SET state = 'running', attempts = attempts + 1 WHERE seq = ? AND state = 'queued'"
            " RETURNING seq, attempts, id, lane, body, failures",
            (seq,),
        ).fetchone()
        claim = Claim(*row)
        self._db.execute(
            "INSERT INTO attempt (job, number, generation, started) VALUES (?,?,?,?)",
            (seq, claim.number, generation, now),
        )
        return claim

    def give_back(self, seq: int, number: int) -> tuple[int, bool] | None:
        """Undo a claim whose attempt was never spawned: the job keeps its place.

        Returns its lane and whether a cancel is wanted, None when there was no such claim.
        """
        row = self._db.execute(
            "UPDATE job SET state = 'queued', attempts = attempts - 1"
            " WHERE seq = ? AND attempts = ? AND state = 'running' RETURNING lane, cancel_wanted",
            (seq, number),
        ).fetchone()
        if row is None:
            return None
        self._db.execute("DELETE FROM attempt WHERE job = ? AND number = ?", (seq, number))
        return row[0], bool(row[1])

    # -- time -----------------------------------------------------------------------------------------------------

    def wake(self, now: float, most: int = 1000) -> dict[int, int]:
        """Queue what has come due; returns the lanes it is in, with the highest priority among it."""
        rows = self._db.execute(
            "UPDATE job SET state = 'queued' WHERE seq IN"
            " (SELECT seq FROM job WHERE state = 'scheduled' AND due <= ? ORDER BY due LIMIT ?)"
            " RETURNING lane, priority",
            (now, most),
        ).fetchall()
        return dict(sorted(rows))  # of a lane the last, so the highest, stays

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

    def has_work(self, until: float) -> bool:
        """Return whether a job is running, or comes due by then; two looks into indexes."""
        (found,) = self._db.execute(
            "SELECT EXISTS (SELECT 1 FROM job WHERE state = 'running')"
            " OR EXISTS (SELECT 1 FROM job WHERE state = 'scheduled' AND due <= ?)",
            (until,),
        ).fetchone()
        return bool(found)

    def left(self) -> dict[str, int]:
        """Return how many jobs are not done, by state, without those states that have none."""
        counts = {
            state: self._db.execute(f"SELECT count(*) FROM job WHERE state = '{state}'").fetchone()[0]
            for state in (State.RUNNING, State.QUEUED, State.SCHEDULED)  # no parameter: each has a partial index
        }
        return {str(state): count for state, count in counts.items() if count}

    def ended(self, since: float, kept: float) -> dict[str, int]:
        """Return how many jobs have ended since then, by outcome; none of them may be forgotten sooner than `kept` s
        after its end. That there is an index on, so it is no walk through all that ever ended.
        """
        return dict(
            self._db.execute(
                "SELECT outcome, count(*) FROM job WHERE forget >= ? AND finished >= ? GROUP BY 1 ORDER BY 2 DESC",
                (since + kept, since),
            ).fetchall()
        )

    # -- purge ----------------------------------------------------------------------------------------------------

    def purge(self, before: float | None, most: int = 500) -> int:
        """Delete up to `most` finished jobs that may be forgotten by `before` (None: whatever goes first)."""
        seqs = self._db.execute(
            "SELECT seq FROM job WHERE forget IS NOT NULL AND forget <= ? ORDER BY forget LIMIT ?",
            (9e99 if before is None else before, most),
        ).fetchall()
        self._db.executemany("DELETE FROM attempt WHERE job = ?", seqs)
        self._db.executemany("DELETE FROM job WHERE seq = ?", seqs)
        return len(seqs)


_RUNNING = """
    SELECT job.seq, job.attempts, job.id, job.lane, attempt.generation, job.failures, job.interruptions, job.crashes,
           job.cancel_wanted, job.body
    FROM job JOIN attempt ON attempt.job = job.seq AND attempt.number = job.attempts
"""
