"""The store: verbs against a real file, and the rules that the schema says again."""

from __future__ import annotations

import re
import sqlite3
from importlib import resources
from pathlib import Path

import pytest

from sidecar.errors import NoSpace
from sidecar.job import Ending, Event, Job, Outcome, State
from sidecar.rows import Conclusion
from sidecar.store import Store, StoreError, Unusable

NOW = 1000.0
KEEP = 5000.0


def job(number: int, priority: int = 0, due: float = NOW, expires: float | None = None, **more: object) -> Job:
    return Job(number.to_bytes(16, "big"), 0, "default", priority, due, expires, None, b"\x80", **more)  # type: ignore[arg-type]


def ending(seq: int, number: int, reason: str = "exit") -> Ending:
    return Ending(seq, number, reason, 0, None, NOW, NOW + 1, 0.1, 0.1, 1024, b"", b"tail", 0, 0)


def concluded(event: Event, due: float | None = None) -> Conclusion:
    return Conclusion(event, due, KEEP, 0, 0, 0, None, b"\x01", None, None)


@pytest.fixture
def store(tmp_path: Path):  # type: ignore[no-untyped-def]
    opened = Store(str(tmp_path))
    yield opened
    opened.close()


def put(store: Store, *jobs: Job) -> None:
    with store.transaction():
        store.insert(jobs, NOW, KEEP)


def claim_all(store: Store, most: int = 10) -> list[tuple[int, int]]:
    with store.transaction():
        return [
            (claim.seq, claim.number)
            for lane in store.waiting_lanes()
            for _, seq, _ in store.peek_lane(lane, most, NOW)
            for claim in [store.claim(seq, 1, NOW)]
        ]


def states(store: Store) -> dict[int, str]:
    return {int.from_bytes(row.id, "big"): row.state for row in store.list_jobs(None, None, None, None, 100)}


def test_the_schema_knows_the_same_states_and_outcomes() -> None:
    sql = resources.files("sidecar.store").joinpath("schema.sql").read_text()
    for column, kind in (("state", State), ("outcome", Outcome)):
        words = re.search(rf"CHECK \(({column} = '\w+'(\s+OR {column} = '\w+')*)\)", sql)
        assert words is not None
        assert set(re.findall(r"'(\w+)'", words[1])) == set(kind)


def test_claims_go_by_priority_then_time_then_arrival(store: Store) -> None:
    put(store, job(1), job(2, priority=5), job(3, due=NOW - 5), job(4), job(5, priority=-1))
    claims = claim_all(store)
    order = {
        seq: int.from_bytes(row.id, "big") for row in store.list_jobs(None, None, None, None, 9) for seq in [row.seq]
    }
    assert [order[seq] for seq, _ in claims] == [2, 3, 1, 4, 5]


def test_the_same_id_twice_is_one_job(store: Store) -> None:
    put(store, job(1), job(1, priority=9))
    put(store, job(1))
    assert len(store.list_jobs(None, None, None, None, 9)) == 1


def test_a_job_in_a_transaction_that_fails_was_never_there(store: Store) -> None:
    with pytest.raises(RuntimeError), store.transaction():
        store.insert([job(1)], NOW, KEEP)
        raise RuntimeError
    assert states(store) == {}
    put(store, job(2))  # lanes that were made in vain are made again
    assert states(store) == {2: "queued"}


def test_an_attempt_is_counted_before_it_could_be_spawned(store: Store, tmp_path: Path) -> None:
    put(store, job(1))
    ((seq, number),) = claim_all(store)
    store.close()
    again = Store(str(tmp_path))
    (running,) = again.running()
    assert (running.seq, running.number, running.generation) == (seq, number, 1)
    again.close()


def test_a_claim_given_back_counts_for_nothing(store: Store) -> None:
    put(store, job(1))
    ((seq, number),) = claim_all(store)
    with store.transaction():
        assert store.give_back(seq, number) == (1, False)
        assert store.give_back(seq, number) is None
    assert states(store) == {1: "queued"}
    assert store.attempts(seq) == []
    assert claim_all(store) == [(seq, 1)]


def test_there_is_work_while_a_job_is_running_or_comes_due_in_time_and_where_lanes_wait(store: Store) -> None:
    put(store, job(1, due=NOW + 10))
    assert (store.has_work(NOW + 9), store.has_work(NOW + 10)) == (False, True)
    put(store, job(2))
    assert (store.has_work(NOW), len(store.waiting_lanes())) == (False, 1)
    ((seq, number),) = claim_all(store)
    assert store.has_work(NOW)
    running = store.get_running(seq, number)
    assert running is not None
    with store.transaction():
        store.record(running, ending(seq, number), concluded(Event.SUCCEED))
    assert not store.has_work(NOW)


def test_what_is_left_is_counted_by_state_and_what_has_ended_by_outcome(store: Store) -> None:
    put(store, *(job(number) for number in range(6)), job(7, due=NOW + 10), job(8, due=NOW + 10))
    for (seq, number), event in zip(claim_all(store, 4), (Event.SUCCEED, Event.FAIL, Event.SUCCEED), strict=False):
        running = store.get_running(seq, number)
        assert running is not None
        with store.transaction():
            store.record(running, ending(seq, number), concluded(event))
    assert store.left() == {"running": 1, "queued": 2, "scheduled": 2}
    ended = NOW + 1  # see `ending`; they may be forgotten at KEEP
    assert store.ended(ended, KEEP - ended) == {"succeeded": 2, "failed": 1}
    assert store.ended(ended + 0.5, KEEP - ended - 0.5) == {}


@pytest.mark.parametrize(
    ("event", "state", "outcome"),
    [
        (Event.SUCCEED, "done", "succeeded"),
        (Event.FAIL, "done", "failed"),
        (Event.TIME_OUT, "done", "timed_out"),
        (Event.CANCEL, "done", "cancelled"),
        (Event.LOSE, "done", "lost"),
        (Event.RETRY, "scheduled", None),
        (Event.INTERRUPT, "queued", None),
    ],
)
def test_an_ending_takes_the_step_of_its_event(store: Store, event: Event, state: str, outcome: str | None) -> None:
    put(store, job(1))
    ((seq, number),) = claim_all(store)
    running = store.get_running(seq, number)
    assert running is not None
    with store.transaction():
        store.record(running, ending(seq, number), concluded(event, NOW + 9 if event is Event.RETRY else None))
    (found,) = store.list_jobs(None, None, None, None, 9)
    assert (found.state, found.outcome) == (state, outcome)
    (attempt,) = store.attempts(seq)
    assert (attempt.reason, attempt.tail, attempt.result) == ("exit", b"tail", b"\x01")
    assert store.get_running(seq, number) is None, "a second report of the same ending finds nothing to do"


def test_an_illegal_state_is_refused_by_the_schema_too(store: Store) -> None:
    put(store, job(1))
    for wrong in ("state = 'asleep'", "state = 'done'", "outcome = 'failed'"):
        with pytest.raises(StoreError), store.transaction():
            store._db.execute(f"UPDATE job SET {wrong}")


def test_time_moves_jobs_on(store: Store) -> None:
    put(store, job(1, due=NOW + 10), job(2, due=NOW + 20), job(3, due=NOW + 30, expires=NOW + 15))
    assert store.next_instant() == NOW + 10
    with store.transaction():
        assert len(store.wake(NOW + 10)) == 1
        assert store.expire(NOW + 15, KEEP) == [job(3).id]
    assert states(store) == {1: "queued", 2: "scheduled", 3: "done"}
    assert store.next_instant() == NOW + 20


def test_what_has_expired_is_not_claimed_even_before_it_is_marked(store: Store) -> None:
    put(store, job(1, expires=NOW - 1), job(2, expires=NOW + 100))
    assert len(claim_all(store)) == 1
    assert states(store) == {1: "queued", 2: "running"}


def test_a_cancel_ends_what_waits_and_marks_what_runs(store: Store) -> None:
    put(store, job(1), job(2, due=NOW + 50))
    ((seq, number),) = claim_all(store)
    waiting = next(row.seq for row in store.list_jobs(None, "scheduled", None, None, 9))
    with store.transaction():
        assert store.cancel(waiting, NOW, KEEP) is True
        assert store.cancel(seq, NOW, KEEP) is False
    running = store.get_running(seq, number)
    assert running is not None and running.cancel_wanted
    assert states(store) == {1: "running", 2: "done"}


def test_a_rejected_job_does_not_take_the_id_of_one_that_is_fine(store: Store) -> None:
    put(store, job(1), job(1, rejected="no target"), job(2, rejected="no target"), job(2))
    assert states(store) == {1: "queued", 2: "queued"}


def test_a_rejected_job_is_done_from_the_start(store: Store) -> None:
    put(store, job(1, rejected="no target"))
    (found,) = store.list_jobs(None, None, "rejected", None, 9)
    assert (found.state, found.reason) == ("done", "no target")


def test_an_id_is_found_by_a_prefix_that_only_it_has(store: Store) -> None:
    put(
        store,
        Job(b"\x01" * 16, 0, "default", 0, NOW, None, None, b""),
        Job(b"\x01\x02" * 8, 0, "q", 0, NOW, None, None, b""),
    )
    assert len(store.find(b"\x01\x01" + b"\0" * 14, b"\x01\x01" + b"\xff" * 14)) == 1
    assert len(store.find(b"\x01" + b"\0" * 15, b"\x01" + b"\xff" * 15)) == 2


def test_only_what_may_be_forgotten_is_purged(store: Store) -> None:
    put(store, job(1, rejected="x"), job(2))
    with store.transaction():
        assert store.purge(KEEP - 1) == 0
        assert store.purge(KEEP) == 1
        assert store.purge(None) == 0
    assert states(store) == {2: "queued"}


def test_lanes_keep_users_queues_and_runtimes_apart(store: Store) -> None:
    put(store, job(1), job(2)._replace(queue="mail"), job(3)._replace(runtime=b"r"), job(4)._replace(uid=7))
    lanes = [store.get_lane(number) for number in store.waiting_lanes()]
    assert {(lane.uid, lane.queue, lane.runtime) for lane in lanes} == {
        (0, "default", b""), (0, "mail", b""), (0, "default", b"r"), (7, "default", b""),
    }  # fmt: skip
    assert [row.uid for row in store.list_jobs(7, None, None, None, 9)] == [7]


def test_a_second_process_cannot_open_it(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="locked"):
        Store(str(tmp_path))


def test_a_file_of_a_later_version_is_refused_and_untouched(tmp_path: Path) -> None:
    Store(str(tmp_path)).close()
    with sqlite3.connect(tmp_path / "jobs.sqlite") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    before = (tmp_path / "jobs.sqlite").read_bytes()
    with pytest.raises(Unusable, match=r"version 99.*begin without jobs"):
        Store(str(tmp_path))
    assert (tmp_path / "jobs.sqlite").read_bytes()[100:] == before[100:]  # the head notes the kind of log


@pytest.mark.parametrize("damage", [slice(0, 16), slice(100, 4096)], ids=["no database", "a damaged one"])
def test_a_file_that_is_no_store_is_refused(tmp_path: Path, damage: slice) -> None:
    Store(str(tmp_path)).close()
    data = bytearray((tmp_path / "jobs.sqlite").read_bytes())
    data[damage] = b"\xa5" * len(data[damage])
    (tmp_path / "jobs.sqlite").write_bytes(data)
    with pytest.raises(Unusable, match="begin without jobs"):
        Store(str(tmp_path))
    assert (tmp_path / "jobs.sqlite").read_bytes() == data


def test_a_full_disk_is_no_space_and_the_store_goes_on(store: Store) -> None:
    store._db.execute("PRAGMA max_page_count = 1")
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count = {pages + 5}")
    with pytest.raises(NoSpace):
        for number in range(1000):
            put(store, job(number)._replace(body=bytes(1000)))
    store._db.execute("PRAGMA max_page_count = 1000000")
    put(store, job(5000))
    assert states(store)[5000] == "queued"


def test_a_checkpoint_is_due_after_enough_changes_and_then_no_more(store: Store) -> None:
    assert not store.checkpoint_due()
    for number in range(600):
        put(store, job(number))
    assert store.checkpoint_due()
    store.checkpoint()
    assert not store.checkpoint_due()


def test_large_jobs_are_moved_out_of_the_log_too(store: Store) -> None:
    put(store, job(1)._replace(body=bytes(5 * 1024 * 1024)))
    assert store.checkpoint_due(), "one change, and more than a thousand pages"
    store.checkpoint()
    assert not store.checkpoint_due()


@pytest.mark.parametrize("queues", [["default"], ["default", "mail"]])
def test_stats_count_by_queue_state_and_outcome(store: Store, queues: list[str]) -> None:
    put(store, *[job(number)._replace(queue=queue) for number, queue in enumerate(queues)], job(9, rejected="x"))
    rows, after = store.stats(0)
    assert set(rows) == {
        *((queue, "queued", None, 1) for queue in queues), ("default", "done", "rejected", 1),
    }  # fmt: skip
    assert after is not None and store.stats(after) == ([], None)


def test_stats_come_in_parts_that_skip_what_is_deleted(store: Store) -> None:
    put(store, *[job(number) for number in range(10)])
    with store.transaction():
        store._db.execute("DELETE FROM job WHERE seq BETWEEN 3 AND 8")
    parts, at = [], 0
    while at is not None:
        rows, at = store.stats(at, 2)
        parts += [count for *_, count in rows]
    assert parts == [2, 2]
