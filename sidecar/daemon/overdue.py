"""Zygotes that do not keep their deadlines: asked whether they live, and ended by the keeper when they do not say so.

A deadline is the zygote's own affair, this is what is left for us: it may hang (in a kernel call, in a debugger, by a
bug of ours). An ending that is overdue by `MARGIN` is no proof of that, a process can be impossible to kill as well,
and its zygote's other jobs must not pay for it. So the zygote is asked something that it always answers. Without an
answer the keeper kills it; what it ran is interrupted, and each of that runs alone next time.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any

import trio

from ..descriptor import show_id
from .attempts import Attempts, Entry
from .zygote import Zygote

log = logging.getLogger("sidecar")

ANSWER = 10.0  # seconds for a zygote to answer


class Overdue:
    """Looks at attempts that should have ended. Wakes at the instant at which the first one is overdue."""

    def __init__(self, attempts: Attempts, keeper: Callable[[dict[str, Any]], None]) -> None:
        self._attempts = attempts
        self._tell_keeper = keeper

    async def watch(self) -> None:
        """Look until cancelled."""
        attempts = self._attempts
        while True:
            attempts.look_sooner = trio.Event()
            with trio.move_on_at(attempts.look_at):
                await attempts.look_sooner.wait()
                continue
            for entry in [entry for entry in attempts.entries.values() if entry.overdue <= trio.current_time()]:
                await self._look_at(entry)
            attempts.look_at = min((entry.overdue for entry in attempts.entries.values()), default=math.inf)

    async def _look_at(self, entry: Entry) -> None:
        zygote = self._attempts.zygote_of(entry)
        if zygote is None or await self._answers(zygote, entry):
            if entry.key in self._attempts.entries:
                log.warning("job %s does not end: nothing can kill what it runs, or who traces it", show_id(entry.id))
                self._attempts.expect(entry, 0.0)
            return
        log.error("zygote %d does not keep its deadlines and does not answer: ending it", zygote.generation)
        self._tell_keeper({"want": "kill", "generation": zygote.generation})
        for other in list(self._attempts.entries.values()):
            if other.generation == entry.generation:
                self._attempts.expect(other, 0.0)

    async def _answers(self, zygote: Zygote, entry: Entry) -> bool:
        with trio.move_on_after(ANSWER):
            await zygote.tail(entry.key)
            return True
        return False
