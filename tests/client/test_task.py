"""Tasks: functions that stay functions."""

from __future__ import annotations

import pytest

from sidecar.client import Options, Task, options, task

from . import jobs
from .stub import Stub


def test_calling_it_runs_it_here_and_now() -> None:
    assert jobs.send(7, to="me") == "7 to me"
    assert jobs.bare("x") == "x"


def test_it_keeps_the_functions_name_and_docstring() -> None:
    assert isinstance(jobs.send, Task)
    assert jobs.send.__name__ == "send"  # type: ignore[attr-defined]
    assert jobs.send.__module__ == "tests.client.jobs"
    assert jobs.send.__doc__ == "Send an order."
    assert repr(jobs.send) == "<task tests.client.jobs:send>"


def test_submit_goes_with_its_options(stub: Stub) -> None:
    for _ in range(2):
        assert jobs.send.submit(7, to="me").ack == "sent"
        job = stub.job()
        assert job["call"] == "tests.client.jobs:send"
        assert (job["queue"], job["timeout"]) == ("mail", 30.0)
        assert (job["args"], job["kwargs"]) == ([7], {"to": "me"})
    jobs.bare.submit("x")
    assert set(stub.job()) == {"id", "call", "args", "runtime"}


def test_other_options_go_on_top(stub: Stub) -> None:
    jobs.send.options(timeout=5, retries=1).submit(7)
    job = stub.job()
    assert (job["queue"], job["timeout"], job["retries"]) == ("mail", 5.0, 1)


def test_submitting_it_as_a_function_keeps_its_options_under_those_given(stub: Stub, client: Options) -> None:
    client.options(timeout=5).submit(jobs.send, 7)
    job = stub.job()
    assert (job["call"], job["queue"], job["timeout"]) == ("tests.client.jobs:send", "mail", 5.0)


def test_prepare_sends_nothing(stub: Stub) -> None:
    handle = jobs.send.prepare(7)
    assert handle.ack is None
    handle.send()
    assert stub.job()["args"] == [7]


def test_options_made_elsewhere_are_a_base(stub: Stub) -> None:
    made = task(options(queue="slow", retries=3), timeout=9)(jobs.send.__wrapped__)
    made.submit(1)
    job = stub.job()
    assert (job["queue"], job["retries"], job["timeout"]) == ("slow", 3, 9.0)


def test_wrong_options_are_told_where_they_stand() -> None:
    with pytest.raises(TypeError, match="unknown"):
        task(timeot=3)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="cannot make a task of 'mail'"):
        task("mail")  # type: ignore[call-overload]
