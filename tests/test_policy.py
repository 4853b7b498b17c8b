"""When the next try comes, and what an ended attempt means for its job."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.job import Ending, Event
from sidecar.policy import BACKOFF_CAP, MAX_CRASHES, after_attempt, conclude, retry_delay


@pytest.mark.parametrize(
    ("failures", "backoff", "dice", "seconds"),
    [
        (1, None, 1.0, 1.0),
        (2, None, 1.0, 2.0),
        (3, None, 1.0, 4.0),
        (3, None, 0.5, 2.0),  # full jitter: anything from 0
        (3, None, 0.0, 0.0),
        (11, None, 1.0, BACKOFF_CAP),
        (5000, None, 1.0, BACKOFF_CAP),  # no overflow
        (1, {"base": 10.0}, 1.0, 10.0),
        (3, {"base": 10.0, "cap": 15.0}, 1.0, 15.0),
        (4, {"cap": 3.0}, 1.0, 3.0),
        (1, {"base": 0.0}, 1.0, 0.0),
        (1, [5.0, 60.0], 0.1, 5.0),  # an own list is taken as it is, without dice
        (2, [5.0, 60.0], 0.1, 60.0),
        (9, [5.0, 60.0], 0.1, 60.0),  # its last one repeats
        (1, [], 0.9, 0.0),
    ],
)
def test_the_delay_before_the_next_try(failures: int, backoff: object, dice: float, seconds: float) -> None:
    assert retry_delay(failures, backoff, dice) == seconds


def ending(reason: str) -> Ending:
    """Make the end of an attempt for a reason; the rest does not matter here."""
    return Ending(1, 1, reason, 0, None, 0.0, 1.0, 0.0, 0.0, 0, b"", b"", 0, 0)


CASES: list[tuple[str, str, dict[str, Any], Event]] = [
    # reason, verdict, what else there is, what follows
    ("exit", "succeeded", {}, Event.SUCCEED),
    ("exit", "succeeded", {"cancel_wanted": True}, Event.SUCCEED),  # it ended by itself before the cancel came
    ("exit", "failed", {}, Event.FAIL),
    ("exit", "failed", {"retries": 1}, Event.RETRY),
    ("exit", "failed", {"retries": 1, "failures": 2}, Event.FAIL),
    ("exit", "failed", {"retries": 5, "failures": 5}, Event.RETRY),
    ("exit", "failed", {"retries": 5, "cancel_wanted": True}, Event.CANCEL),  # what is cancelled is not tried again
    ("timeout", "failed", {}, Event.TIME_OUT),
    ("timeout", "succeeded", {}, Event.TIME_OUT),  # it caught SIGTERM and returned: too late all the same
    ("timeout", "failed", {"retries": 1}, Event.RETRY),
    ("timeout", "failed", {"retries": 1, "failures": 2}, Event.TIME_OUT),
    ("cancel", "failed", {}, Event.CANCEL),
    ("cancel", "succeeded", {"retries": 3}, Event.CANCEL),
    ("shutdown", "failed", {}, Event.INTERRUPT),
    ("shutdown", "failed", {"failures": 9}, Event.INTERRUPT),  # an interruption uses up no retry
    ("shutdown", "failed", {"cancel_wanted": True}, Event.CANCEL),
    ("crash", "failed", {"crashes": 1}, Event.INTERRUPT),
    ("crash", "failed", {"crashes": MAX_CRASHES - 1}, Event.INTERRUPT),
    ("crash", "failed", {"crashes": MAX_CRASHES}, Event.LOSE),
    ("crash", "failed", {"crashes": MAX_CRASHES, "cancel_wanted": True}, Event.CANCEL),
    ("exit", "succeeded", {"at_most_once": True}, Event.SUCCEED),
    ("exit", "failed", {"at_most_once": True, "retries": 5}, Event.FAIL),  # no client may ask for both; if one could
    ("timeout", "failed", {"at_most_once": True, "retries": 5}, Event.TIME_OUT),
    ("shutdown", "failed", {"at_most_once": True}, Event.LOSE),
    ("crash", "failed", {"at_most_once": True, "crashes": 1}, Event.LOSE),
    ("crash", "failed", {"at_most_once": False, "crashes": 1}, Event.INTERRUPT),
    ("crash", "failed", {"at_most_once": True, "cancel_wanted": True}, Event.CANCEL),
]


@pytest.mark.parametrize(("reason", "verdict", "given", "event"), CASES)
def test_what_an_ended_attempt_means(reason: str, verdict: str, given: dict[str, Any], event: Event) -> None:
    options = {name: given[name] for name in ("retries", "at_most_once") if name in given}
    failures, crashes = given.get("failures", 1), given.get("crashes", 0)
    assert after_attempt(ending(reason), verdict, options, failures, crashes, "cancel_wanted" in given) is event


def test_a_job_with_n_retries_is_tried_n_plus_one_times() -> None:
    for retries in range(4):
        tries = 1
        while after_attempt(ending("exit"), "failed", {"retries": retries}, tries, 0, False) is Event.RETRY:
            tries += 1
        assert tries == retries + 1


ERROR = {"type": "E", "message": "", "traceback": ""}


@pytest.mark.parametrize(
    ("reason", "retry", "options", "event", "due"),
    [
        ("exit", None, {"retries": 1, "backoff": [9.0]}, Event.RETRY, 10.0),
        ("exit", 5, {"retries": 1, "backoff": [9.0]}, Event.RETRY, 6.0),
        ("exit", 0.0, {"retries": 1, "backoff": [9.0]}, Event.RETRY, 1.0),
        ("exit", False, {"retries": 1}, Event.FAIL, None),
        ("timeout", False, {"retries": 1}, Event.TIME_OUT, None),
        ("exit", 5, {}, Event.FAIL, None),  # it may not ask for more than its submitter allowed
        ("exit", 5, {"at_most_once": True}, Event.FAIL, None),
        ("shutdown", False, {}, Event.INTERRUPT, None),  # that was not the job's failure
    ],
)
def test_a_job_may_say_when_to_try_again_or_not_to(
    reason: str, retry: object, options: dict[str, Any], event: Event, due: float | None
) -> None:
    report = {"error": ERROR} if retry is None else {"error": ERROR, "retry": retry}
    assert conclude(ending(reason), report, options, (0, 0, 0), False, 0.5)[:2] == (event, due)
