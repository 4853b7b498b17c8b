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


def random_part(text: str) -> str:
    """Return what of a job's id is not its time."""
    return text.replace("-", "")[12:]
