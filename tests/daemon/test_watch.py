"""Waiting and following by id: told to everybody who waits, forgotten with the last."""

from __future__ import annotations

from sidecar.daemon.watch import Watch


def test_everybody_who_waits_is_woken_and_nobody_else() -> None:
    watch = Watch()
    with watch.end_of(b"a") as first, watch.end_of(b"a") as second, watch.end_of(b"b") as other:
        watch.ended(b"a")
        assert (first.is_set(), second.is_set(), other.is_set()) == (True, True, False)


def test_output_goes_to_all_who_follow_with_its_place() -> None:
    watch = Watch()
    heard: list[tuple[int, bytes, int]] = []
    with watch.output_of(b"a", lambda *said: heard.append(said)):
        assert watch.followed(b"a") and not watch.followed(b"b")
        watch.wrote(b"a", 1, b"x", 7)
        watch.wrote(b"b", 1, b"y", 0)
    watch.wrote(b"a", 1, b"z", 8)
    assert heard == [(1, b"x", 7)]


def test_who_stopped_waiting_leaves_nothing_behind() -> None:
    watch = Watch()
    with watch.end_of(b"a"), watch.output_of(b"a", lambda *said: None):
        pass
    assert (watch._ends, watch._outputs) == ({}, {})
