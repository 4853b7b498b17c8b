"""Waiting in tests: for a condition, with a deadline; never for a time to pass."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")

_PAUSE = 0.005


def eventually(condition: Callable[[], Value], seconds: float = 10.0, what: str = "") -> Value:
    """Return the first true value of `condition`; fail when there was none within `seconds`."""
    ends = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > ends:
            raise AssertionError(_too_late(condition, seconds, what, value))
        time.sleep(_PAUSE)


async def eventually_async(condition: Callable[[], Value], seconds: float = 10.0, what: str = "") -> Value:
    """Do the same inside trio, letting other tasks run in between."""
    import trio

    ends = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > ends:
            raise AssertionError(_too_late(condition, seconds, what, value))
        await trio.sleep(_PAUSE)


def _too_late(condition: Callable[[], object], seconds: float, what: str, value: object) -> str:
    name = what or getattr(condition, "__name__", "the condition")
    return f"{name} did not come true within {seconds} s, it is {value!r}"
