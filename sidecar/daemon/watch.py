"""Who waits for a job's end, and who follows its output. Knows ids only; forgets at once who stopped waiting."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import trio

Output = Callable[[int, bytes, int], None]  # the attempt's number, what it wrote, its place in all of that


class Watch:
    """The waiting, by job id."""

    def __init__(self) -> None:
        self._ends: dict[bytes, list[trio.Event]] = {}
        self._outputs: dict[bytes, list[Output]] = {}

    @contextmanager
    def end_of(self, id: bytes) -> Iterator[trio.Event]:
        """Give an event that is set when the job is done. Take it before looking at the job: no end slips through."""
        event = trio.Event()
        self._ends.setdefault(id, []).append(event)
        try:
            yield event
        finally:
            _forget(self._ends, id, event)

    @contextmanager
    def output_of(self, id: bytes, receive: Output) -> Iterator[None]:
        """Call `receive` for everything that is written by the job's attempts."""
        self._outputs.setdefault(id, []).append(receive)
        try:
            yield
        finally:
            _forget(self._outputs, id, receive)

    def followed(self, id: bytes) -> bool:
        """Say whether somebody wants the output of this job."""
        return id in self._outputs

    def ended(self, id: bytes) -> None:
        """Wake whoever waits for this job."""
        for event in self._ends.get(id, ()):
            event.set()

    def wrote(self, id: bytes, number: int, data: bytes, place: int) -> None:
        """Pass on what an attempt wrote."""
        for receive in self._outputs.get(id, ()):
            receive(number, data, place)


def _forget(table: dict[bytes, list[Any]], key: bytes, value: object) -> None:
    table[key].remove(value)
    if not table[key]:
        del table[key]
