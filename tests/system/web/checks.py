"""What the tests of all stacks ask a job."""

from __future__ import annotations

from typing import Any

from sidecar.client import Handle, Options


def handle_of(client: Options, text: str) -> Handle:
    """Return the handle of a job whose id came over HTTP."""
    return Handle(text, door=client.door)


def result_of(client: Options, text: str) -> Any:
    """Wait for a job and return its result."""
    return handle_of(client, text).result(timeout=20)


def random_parts(answer: dict[str, Any]) -> set[str]:
    """Return what is not time in the ids that a worker made: two workers that share some will one day share an id,
    which is one job to the daemon. Several ids, because one worker may have served more requests than the other.
    """
    return {text.replace("-", "")[12:] for text in (answer["job"], *answer["next"])}
