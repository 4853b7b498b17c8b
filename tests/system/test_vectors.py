"""Every frame of clients/vectors.json to a live daemon: it answers as the file says, and goes on as if nothing was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .. import vectors
from ..daemon_process import Daemon

# `reload` replaces the daemon under the other vectors: it has tests of its own.
PLAYED = [vector for vector in vectors.load() if vector.get("meaning", [0, 0, ""])[2] != "reload"]


@pytest.fixture(scope="module")
def empty_daemon() -> Iterator[Daemon]:
    """Start one daemon for all vectors: each job in the file has an id of its own."""
    daemon = Daemon()
    try:
        yield daemon.start()
    finally:
        daemon.close()


@pytest.mark.parametrize("vector", PLAYED, ids=vectors.name_of)
def test_a_live_daemon_answers_as_the_file_says(vector: vectors.Vector, empty_daemon: Daemon) -> None:
    pid = empty_daemon.pids()["daemon"]
    vectors.play(vector, empty_daemon)
    assert empty_daemon.pids()["daemon"] == pid, "the daemon was replaced: the vector has ended it"


def test_a_vector_with_a_wrong_expectation_fails(empty_daemon: Daemon) -> None:
    """Negative control: playing can fail."""
    (vector,) = [one for one in PLAYED if one["name"] == "an unknown verb"]
    with pytest.raises(AssertionError):
        vectors.play({**vector, "error": "not_found"}, empty_daemon)
