"""What the demo prints: how long things took, how jobs ended, what is proven, and what to type next."""

from __future__ import annotations

import os
import sys
from collections import Counter
from datetime import datetime

from .benchmarks.table import percentile
from .demo_proof import Ended, Proof
from .demo_web import CLIENTS, FLOOD, TIMEOUT, Answer

_SHOWN = 3  # lines of what speaks against a claim


def show_table(ended: list[Ended]) -> None:
    """Print what took how long, and how it ended."""
    answers = [each.answer for each in ended]
    files = [each for each in ended if each.answer.hook.source]
    runs = [_seconds(each.status.attempts[0].started, each.status.attempts[0].ended) for each in files]
    waits = [_seconds(each.status.submitted, each.status.finished) for each in files]
    print(f"\n{'':<34}{'p50':>12}{'p99':>12}")
    _row("response time of a request", [answer.response for answer in answers], f"{CLIENTS} clients at once")
    _row("  of which the hand-off", [answer.handoff for answer in answers], _acks(answers))
    _row("time of a job that packs a file", runs, "in a process of its own")
    _row("  from its hand-off to its end", waits, "as many at once as there are slots")
    last = max(each.status.finished.timestamp() for each in ended if each.status.finished) - max(
        answer.at for answer in answers
    )
    print(f"{'the last job ended':<34}{_time(max(last, 0.0)):>12}{'':>15}after the last answer")
    outcomes = Counter(str(each.status.outcome) for each in ended)
    print(f"{'outcomes':<34}{', '.join(f'{number} {name}' for name, number in outcomes.most_common())}")
    for each in ended:
        if each.answer.hook.source is None:
            print(f"  {each.answer.hook.kind:<32}{_story(each)}")


def _row(name: str, seconds: list[float], remark: str) -> None:
    print(f"{name:<34}{_time(percentile(seconds, 0.5)):>12}{_time(percentile(seconds, 0.99)):>12}   {remark}")


def _time(seconds: float) -> str:
    return (
        f"{seconds * 1e6:.0f} µs"
        if seconds < 1e-3
        else f"{seconds * 1e3:.1f} ms"
        if seconds < 1
        else f"{seconds:.2f} s"
    )


def _seconds(start: datetime | None, end: datetime | None) -> float:
    return 0.0 if start is None or end is None else (end - start).total_seconds()


def _acks(answers: list[Answer]) -> str:
    counts = Counter(answer.ack for answer in answers)
    return "acks: " + ", ".join(f"{number} {ack}" for ack, number in counts.items())


def _story(each: Ended) -> str:
    attempt, error = each.status.attempts[0], (each.status.error or {}).get("message", "")
    if each.answer.hook.kind == "hang":
        took = _time(_seconds(attempt.started, attempt.ended))
        return f"timed_out: ended after {took} of {TIMEOUT:g} s, with {attempt.survivors} helper that ignored SIGTERM"
    if each.answer.hook.kind == "flood":
        return f"{each.status.outcome}: wrote {FLOOD >> 20} MiB, the last {len(each.output) >> 10} KiB are kept"
    return f"{each.status.outcome}: {error}"


def show_proofs(found: list[Proof]) -> None:
    """Print each claim, and what speaks against it."""
    print()
    for proof in found:
        print(f"{'FAILED' if proof.against else 'proven':<8}{proof.claim}")
        for line in proof.against[:_SHOWN]:
            print(f"{'':<8}  {line}")
        if len(proof.against) > _SHOWN:
            print(f"{'':<8}  and {len(proof.against) - _SHOWN} more")


def show_next() -> None:
    """Print what to type next."""
    sidecar = os.path.relpath(os.path.join(os.path.dirname(sys.executable), "sidecar"))
    print("\nType next:")
    print(f"  {sidecar} serve                          start it for yourself, Ctrl-C ends it; then in another terminal")
    print(f"  {sidecar} submit --wait -- echo hello    hand a command over and watch it")
    print(f"  {sidecar} doctor                         see what works from where you stand")
