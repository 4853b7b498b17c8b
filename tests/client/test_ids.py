"""Ids: UUIDv7, distinct, across threads and forks."""

from __future__ import annotations

import os
import threading
import time
import uuid

import pytest

from sidecar import descriptor
from sidecar.client import ids


def test_an_id_is_a_uuid_of_version_7_with_the_time_in_front() -> None:
    before = time.time_ns() // 1_000_000
    made = [uuid.UUID(bytes=ids.make()) for _ in range(1000)]
    after = time.time_ns() // 1_000_000
    assert {one.version for one in made} == {7}
    assert {one.variant for one in made} == {uuid.RFC_4122}
    assert all(before <= one.int >> 80 <= after for one in made)


def test_the_random_bits_are_all_used() -> None:
    tails = [int.from_bytes(ids.make()) & (1 << 74) - 1 for _ in range(2000)]
    ever, always = 0, (1 << 74) - 1
    for tail in tails:
        ever |= tail
        always &= tail
    fixed = 0b11 << 62  # the variant
    assert ever | fixed == (1 << 74) - 1
    assert always & ~fixed == 0


def test_the_text_is_the_usual_one_and_leads_back() -> None:
    id = ids.make()
    assert ids.show(id) == str(uuid.UUID(bytes=id)) == descriptor.show_id(id)
    assert ids.parse(ids.show(id)) == id
    assert ids.parse(id.hex().upper()) == id


@pytest.mark.parametrize("text", ["", "12", "zz" * 16, "01" * 17, None, 5, b"x"])
def test_what_is_no_id_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="as a job id"):
        ids.parse(text)  # type: ignore[arg-type]


def test_threads_make_distinct_ids() -> None:
    made: list[list[bytes]] = []

    def work() -> None:
        made.append([ids.make() for _ in range(5000)])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id for each in made for id in each}) == 20000


def tails_of_a_child_and_its_parent(restore_pool: bool) -> tuple[set[bytes], set[bytes]]:
    ids._pool.clear()
    ids.make()  # fills the pool: it lasts for what both make of it
    pool = list(ids._pool)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if restore_pool:
                ids._pool[:], ids._owner = pool, os.getpid()
            os.write(write, b"".join(ids.make()[6:] for _ in range(50)))
        finally:
            os._exit(0)
    os.close(write)
    with open(read, "rb") as pipe:
        data = pipe.read()
    os.waitpid(child, 0)
    return {data[at : at + 10] for at in range(0, 500, 10)}, {ids.make()[6:] for _ in range(50)}


def test_a_forked_child_makes_other_ids_than_its_parent() -> None:
    child, parent = tails_of_a_child_and_its_parent(restore_pool=False)
    assert len(child) == len(parent) == 50
    assert not child & parent


def test_control_a_child_that_keeps_the_pool_would_repeat_ids() -> None:
    child, parent = tails_of_a_child_and_its_parent(restore_pool=True)
    assert child == parent
