"""Functions that the client's tests submit; they run only where a test says inline."""

from __future__ import annotations

from typing import Any

from sidecar.client import task

calls: list[tuple[Any, ...]] = []


def add(one: Any, other: Any = 0) -> Any:
    """Add."""
    calls.append((one, other))
    return one + other


def fail(word: str) -> None:
    """Raise."""
    raise ValueError(word)


async def double(number: int) -> int:
    """Double, in a coroutine."""
    return 2 * number


class Shop:
    """A class with what can and what cannot be submitted."""

    def sell(self) -> None:
        """A method of an object."""

    @classmethod
    def audit(cls) -> str:
        """A class method."""
        return cls.__name__

    @staticmethod
    def price() -> int:
        """A static method."""
        return 3


class Branch(Shop):
    """Inherits the class method."""


@task(queue="mail", timeout=30)
def send(order_id: int, to: str = "") -> str:
    """Send an order."""
    return f"{order_id} to {to}"


@task
def bare(word: str) -> str:
    """Say it."""
    return word
