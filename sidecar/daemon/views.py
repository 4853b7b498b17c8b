"""How jobs look from outside: rows of the store as the maps of PROTOCOL.md. Pure."""

from __future__ import annotations

from typing import Any

from .. import wire
from ..descriptor import show_id
from ..rows import Attempt, Summary

TREE = "subreaper"  # the mechanism that ends trees


def job_view(job: Summary, waiting: str | None) -> dict[str, Any]:
    """Show a job without its attempts."""
    return {
        "id": show_id(job.id),
        "state": job.state,
        "outcome": job.outcome,
        "queue": job.queue,
        "priority": job.priority,
        "target": job.target,
        "submitted": job.submitted,
        "due": job.due,
        "expires": job.expires,
        "started": job.started,
        "finished": job.finished,
        "failures": job.failures,
        "interruptions": job.interruptions,
        "cancel_wanted": bool(job.cancel_wanted),
        "waiting": waiting if job.state == "queued" else None,
        "reason": job.reason,
    }


def status_view(job: Summary, attempts: list[Attempt], waiting: str | None, cold: str | None) -> dict[str, Any]:
    """Show a job with its attempts, and the error of the newest."""
    last = attempts[-1] if attempts else None
    view = job_view(job, waiting)
    view["attempts"] = [_attempt_view(attempt) for attempt in attempts]
    view["error"] = error(last)
    view["cold"] = cold
    view["result_error"] = last and last.result_error
    return view


def _attempt_view(attempt: Attempt) -> dict[str, Any]:
    hidden = ("generation", "result", "result_error", "error", "tail")
    view = {name: value for name, value in attempt._asdict().items() if name not in hidden}
    return {**view, "tree": TREE, "error": error(attempt)}


def result_view(job: Summary, attempts: list[Attempt]) -> dict[str, Any]:
    """Show how a job ended and what it returned."""
    last = attempts[-1] if attempts else None
    return {
        "id": show_id(job.id),
        "state": job.state,
        "outcome": job.outcome,
        "result": last and last.result,
        "result_error": last and last.result_error,
        "error": error(last) or _refusal(job),
        "status": last and last.status,
        "signal": last and last.signal,
    }


def error(attempt: Attempt | None) -> dict[str, str] | None:
    """Return type, message and traceback of an attempt that failed, None of one that did not."""
    return wire.unpack(attempt.error) if attempt is not None and attempt.error is not None else None


def _refusal(job: Summary) -> dict[str, str] | None:
    if job.reason is None:
        return None
    return {"type": (job.outcome or "").capitalize(), "message": job.reason, "traceback": ""}
