"""The fixture that starts daemons has to be believed when it says that nothing is left: negative controls."""

from __future__ import annotations

import os
import subprocess
import uuid

import pytest

from .daemon_process import Daemon, end_all, members_of
from .waiting import eventually


def test_a_process_that_was_left_behind_is_found_by_its_environment_and_ended() -> None:
    instance = uuid.uuid4().hex
    stray = subprocess.Popen(["sleep", "60"], env={**os.environ, "SIDECAR_INSTANCE": instance}, start_new_session=True)
    try:
        eventually(lambda: members_of(instance) == [(stray.pid, "sleep 60")], what="the stray was found")
        end_all(instance)
        assert stray.wait(10) == -9
        assert members_of(instance) == []
    finally:
        stray.kill()
        stray.wait()


def test_nothing_belongs_to_no_instance() -> None:
    assert members_of("") == []


def test_closing_a_daemon_fails_when_something_of_it_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.daemon_process.GONE", 0.2)
    daemon = Daemon().start()
    stray = subprocess.Popen(
        ["sleep", "60"], env={**os.environ, "SIDECAR_INSTANCE": daemon.instance()}, start_new_session=True
    )
    eventually(lambda: (stray.pid, "sleep 60") in daemon.family(), what="the stray was found")
    with pytest.raises(AssertionError, match=f"left running by sidecar: .*{stray.pid}"):
        daemon.close()
    assert stray.wait(10) == -9
    assert not daemon.folder.exists()


def test_a_daemon_that_does_not_get_ready_fails_with_its_log() -> None:
    daemon = Daemon(config="no_such_key = 1")
    try:
        with pytest.raises(AssertionError, match=r"not ready(?s:.*)no_such_key"):
            daemon.start()
    finally:
        daemon.close()


def test_a_condition_that_stays_false_fails_in_time_and_says_what() -> None:
    with pytest.raises(AssertionError, match=r"the moon did not come true within 0\.05 s, it is 0"):
        eventually(lambda: 0, 0.05, "the moon")
