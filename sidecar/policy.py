"""What follows from a job's options: pure arithmetic, no clock, no dice (the caller brings both).

It answers two questions: how long until the next try, and which step an ended attempt leads to.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .job import Ending, Event

TIMEOUT = 600.0  # no job is without a deadline
GRACE = 5.0  # from SIGTERM to SIGKILL
BACKOFF_BASE = 1.0
BACKOFF_CAP = 600.0
MAX_CRASHES = 3  # an attempt that took its zygote with it, or was taken, this often: lost


def retry_delay(failures: int, backoff: object, dice: float) -> float:
    """Return the seconds until the next try after the `failures`-th failure (from 1).

    `backoff` is the job's own list of delays (its last one repeats), or a map with `base` and `cap`, or None.
    Without a list: full jitter, `dice` (0..1) times min(cap, base * 2**(failures - 1)), so that a thousand jobs
    that failed together do not come back together (AWS Architecture Blog, "Exponential Backoff And Jitter").
    """
    if isinstance(backoff, list):
        return float(backoff[min(failures, len(backoff)) - 1]) if backoff else 0.0
    given: Mapping[str, float] = backoff if isinstance(backoff, dict) else {}
    base, cap = given.get("base", BACKOFF_BASE), given.get("cap", BACKOFF_CAP)
    return dice * float(min(cap, base * 2.0 ** min(failures - 1, 60)))


def after_attempt(
    ending: Ending, verdict: str, options: Mapping[str, Any], failures: int, crashes: int, cancel_wanted: bool
) -> Event:
    """Return what an ended attempt means for its job.

    `verdict` is "succeeded" or "failed" as the attempt's own report and status say; `failures` and `crashes` include
    this attempt. A wish to cancel wins over an interruption, so that what is cancelled is not started again. A job
    that ended by itself before a cancel reached it keeps its own outcome. With at_most_once nothing is started again.
    """
    if ending.reason == "cancel":
        return Event.CANCEL
    if ending.reason in ("shutdown", "crash"):
        if cancel_wanted:
            return Event.CANCEL
        return Event.LOSE if options.get("at_most_once") or crashes >= MAX_CRASHES else Event.INTERRUPT
    if ending.reason == "exit" and verdict == "succeeded":
        return Event.SUCCEED
    if cancel_wanted:
        return Event.CANCEL
    if failures <= options.get("retries", 0) and not options.get("at_most_once"):
        return Event.RETRY
    return Event.TIME_OUT if ending.reason == "timeout" else Event.FAIL


def why_lost(ending: Ending, options: Mapping[str, Any], crashes: int) -> str:
    """Return the reason to keep with a lost job; `crashes` includes this attempt."""
    if options.get("at_most_once"):
        how = "was ended by a shutdown" if ending.reason == "shutdown" else "went down with its zygote or the machine"
        return f"it {how}, how far it had come is not known, and at_most_once forbids a second start"
    return f"its zygote or the machine died under it {crashes} times"


def conclude(
    ending: Ending,
    report: Mapping[str, Any],
    options: Mapping[str, Any],
    before: tuple[int, int, int],
    cancel_wanted: bool,
    dice: float,
) -> tuple[Event, float | None, tuple[int, int, int], Mapping[str, str] | None]:
    """Decide what an ending means: the step, when to try again, the new counts, and the error to keep.

    `report` is what the attempt told on fd 3 (see protocol.parse_report), `options` the job's body, `before` its
    failures, interruptions and crashes so far. Returns (event, due or None, counts, error or None).
    """
    failures, interruptions, crashes = before
    error = what_went_wrong(ending, report, "argv" in options)
    if ending.reason in ("shutdown", "crash"):
        interruptions += 1
        crashes += ending.reason == "crash"
    elif error is not None and ending.reason != "cancel":
        failures += 1
    verdict = "succeeded" if error is None else "failed"
    event = after_attempt(ending, verdict, options, failures, crashes, cancel_wanted)
    due = None
    if event is Event.RETRY:
        pause = report.get("retry")  # the job's own word; it may ask for less than its submitter allowed, not for more
        if pause is False:
            event = Event.TIME_OUT if ending.reason == "timeout" else Event.FAIL
        else:
            due = ending.ended + (retry_delay(failures, options.get("backoff"), dice) if pause is None else pause)
    return event, due, (failures, interruptions, crashes), error


def what_went_wrong(ending: Ending, report: Mapping[str, Any], command: bool) -> Mapping[str, str] | None:
    """Return type, message and traceback of what an attempt failed with; None when it did its work."""
    if ending.reason == "timeout":
        return _error("Timeout", "did not end in time and was ended")
    if ending.reason == "cancel":
        return _error("Cancelled", "was ended on request")
    if ending.reason == "shutdown":
        return _error("Interrupted", "the daemon was shut down")
    if ending.reason == "crash":
        return _error("Interrupted", "its zygote died")
    if report.get("error") is not None:
        return report["error"]  # type: ignore[no-any-return]
    if ending.signal is not None:
        return _error("Signal", f"was killed by signal {ending.signal}")
    if ending.status != 0:
        return _error("ExitStatus", f"ended with status {ending.status}")
    if not command and not report:
        return _error("NoResult", "the process ended with status 0 before the function had returned")
    return None


def _error(kind: str, message: str) -> dict[str, str]:
    return {"type": kind, "message": message, "traceback": ""}
