"""Handles: the questions one may ask of a job, and the answers in Python's words."""

from __future__ import annotations

import concurrent.futures
from datetime import UTC, datetime
from time import monotonic
from typing import Any

import pytest

from sidecar import wire
from sidecar.client import Handle, JobFailed, NotFound, Options, SidecarError, Status, Unavailable, ids, status

from . import jobs
from .stub import SILENT, Stub

ID = ids.make()


def state(state: str, outcome: str | None = None, **more: Any) -> dict[str, Any]:
    return {"id": ids.show(ID), "state": state, "outcome": outcome, "attempts": [], **more}


def result(outcome: str, **more: Any) -> dict[str, Any]:
    empty = dict.fromkeys(("result", "result_error", "error", "status", "signal"))
    return {**state("done", outcome), **empty, **more}


def answering(stub: Stub, **answers: Any) -> Handle:
    stub.on_request = lambda method, params: answers[method]
    return Handle(ids.show(ID))


def test_a_handle_is_made_again_from_its_text(stub: Stub) -> None:
    handle = answering(stub, status=state("queued"))
    assert handle.id == ids.show(ID)
    assert handle.ack is None
    assert not handle.done()
    assert stub.asked == [("status", [ID])]
    with pytest.raises(ValueError, match="as a job id"):
        Handle("nonsense")


def test_a_status_has_attributes_and_aware_instants(stub: Stub) -> None:
    attempt = {"number": 1, "started": 5.5, "ended": None, "reason": None, "tree": "subreaper"}
    found = answering(stub, status=state("running", started=0.0, due=1, attempts=[attempt], newer="x")).status()
    assert isinstance(found, Status)
    assert found.state == "running"
    assert found.outcome is None
    assert found.started == datetime(1970, 1, 1, tzinfo=UTC)
    assert found.attempts[0].started == datetime(1970, 1, 1, 0, 0, 5, 500000, tzinfo=UTC)
    assert found.attempts[0].ended is None
    assert found.newer == "x"  # type: ignore[attr-defined]
    assert "state='running'" in repr(found)
    assert found == status.Status(state("running", started=0.0, due=1, attempts=[attempt], newer="x"))
    with pytest.raises(AttributeError):
        found.state = "done"


@pytest.mark.parametrize(
    ("answer", "done", "running", "cancelled"),
    [
        (state("queued"), False, False, False),
        (state("running"), False, True, False),
        (state("done", "succeeded"), True, False, False),
        (state("done", "cancelled"), True, False, True),
    ],
)
def test_the_questions_of_a_future(
    stub: Stub, answer: dict[str, Any], done: bool, running: bool, cancelled: bool
) -> None:
    handle = answering(stub, status=answer)
    assert (handle.done(), handle.running(), handle.cancelled()) == (done, running, cancelled)


def test_wait_returns_the_status_of_a_job_that_is_done(stub: Stub) -> None:
    assert answering(stub, wait=state("done", "failed")).wait(5).outcome == "failed"
    assert stub.asked == [("wait", [ID, 5])]
    answering(stub, wait=state("done", "failed")).wait()
    assert stub.asked[1] == ("wait", [ID, None])


def test_a_wait_that_ends_before_the_job_is_a_timeout(stub: Stub) -> None:
    handle = answering(stub, wait=state("running"))
    for ask in (handle.wait, handle.result, handle.exception):
        with pytest.raises(TimeoutError, match=r"is not done after 0\.1 s"):
            ask(0.1)


def test_a_daemon_that_says_nothing_is_a_timeout_too(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.client.handle.MARGIN", 0.05)
    began = monotonic()
    with pytest.raises(TimeoutError):
        answering(stub, wait=SILENT).wait(0.05)
    assert monotonic() - began < 5


def test_nobody_to_ask_is_unavailable_not_a_timeout(client: Options) -> None:
    with pytest.raises(Unavailable, match="sidecar serve"):
        Handle(ids.show(ID), "sent", client.door).wait(0.1)


@pytest.mark.parametrize("value", [None, 0, "ü", b"\xff", [1, {"a": None}], {5: 6}])
def test_a_result_is_what_the_function_returned(stub: Stub, value: Any) -> None:
    reply = result("succeeded", result=wire.pack(value), status=0)
    assert answering(stub, wait=state("done", "succeeded"), result=reply).result(5) == value


def test_the_result_of_a_command_is_its_exit_status(stub: Stub) -> None:
    assert answering(stub, wait=state("done", "succeeded"), result=result("succeeded", status=0)).result() == 0


def test_a_job_that_failed_raises_what_is_known_of_its_error(stub: Stub) -> None:
    error = {"type": "ValueError", "message": "no", "traceback": "Traceback ..."}
    handle = answering(stub, wait=state("done", "failed"), result=result("failed", error=error, status=1))
    with pytest.raises(JobFailed, match="failed: ValueError: no") as caught:
        handle.result()
    assert (caught.value.outcome, caught.value.type) == ("failed", "ValueError")
    assert caught.value.traceback == "Traceback ..."
    assert isinstance(handle.exception(), JobFailed)


@pytest.mark.parametrize("outcome", ["timed_out", "expired", "rejected", "lost"])
def test_every_other_end_raises_with_its_name(stub: Stub, outcome: str) -> None:
    handle = answering(stub, wait=state("done", outcome), result=result(outcome))
    with pytest.raises(JobFailed) as caught:
        handle.result()
    assert caught.value.outcome == outcome
    assert "sidecar status" in str(caught.value)


@pytest.mark.parametrize(("end", "words"), [({"status": 3}, "ExitStatus: 3"), ({"signal": 9}, "Signal: 9")])
def test_a_command_that_failed_tells_how_it_ended(stub: Stub, end: dict[str, int], words: str) -> None:
    handle = answering(stub, wait=state("done", "failed"), result=result("failed", **end))
    with pytest.raises(JobFailed, match=f"failed: {words}"):
        handle.result()


def test_a_cancelled_job_raises_as_a_future_does(stub: Stub) -> None:
    handle = answering(stub, wait=state("done", "cancelled"), result=result("cancelled"))
    for ask in (handle.result, handle.exception):
        with pytest.raises(concurrent.futures.CancelledError):
            ask(5)


def test_a_result_that_could_not_be_kept_is_told_without_calling_the_job_failed(stub: Stub) -> None:
    handle = answering(
        stub, wait=state("done", "succeeded"), result=result("succeeded", result_error="over 1 MiB", status=0)
    )
    with pytest.raises(SidecarError, match="succeeded, but there is no result: over 1 MiB") as caught:
        handle.result()
    assert not isinstance(caught.value, JobFailed)
    assert handle.exception() is None


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        (state("done", "cancelled"), True),
        (state("running", cancel_wanted=True), True),
        (state("done", "succeeded"), False),
    ],
)
def test_cancel_tells_whether_it_is(stub: Stub, answer: dict[str, Any], wanted: bool) -> None:
    assert answering(stub, cancel=answer).cancel() is wanted


def test_output_is_what_was_kept_of_it(stub: Stub) -> None:
    reply = {"id": "x", "output": b"hello\xff", "dropped": 3, "state": "done"}
    assert answering(stub, logs=reply).output() == b"hello\xff"


def test_what_was_never_sent_is_not_found_and_says_why(client: Options) -> None:
    prepared = client.prepare(jobs.add, 1)
    with pytest.raises(NotFound, match=r"has not been sent, call handle\.send"):
        prepared.status()
    dropped = client.options(on_unavailable="drop").submit(jobs.add, 1)
    with pytest.raises(NotFound, match="has been dropped"):
        dropped.status()


def test_a_handle_shows_what_it_knows(client: Options) -> None:
    prepared = client.prepare(jobs.add, 1)
    assert repr(prepared) == f"<Prepared {prepared.id} not sent>"
    assert repr(Handle(prepared.id, "sent")) == f"<Handle {prepared.id} sent>"
