"""Daemons that break one promise each, on purpose: the negative controls. `TORTURE_BROKEN` names which.

Each is the daemon as it is but for one step in the wrong order, the kind of change that all other tests would let pass.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from sidecar.daemon import main as sidecar_main
from sidecar.daemon import writer
from sidecar.daemon.attempts import Attempts
from sidecar.daemon.datagrams import Batch, Datagrams
from sidecar.daemon.dispatcher import Dispatcher
from sidecar.daemon.intake import Intake
from sidecar.errors import SidecarError
from sidecar.job import Job
from sidecar.store import Store


def plain_receive() -> None:
    """Take datagrams out of the kernel first, and store them then."""
    peek = Datagrams._peek

    def receive(self: Datagrams) -> Batch:
        batch = peek(self)
        self._receive(batch.size)
        return batch._replace(size=-1 if batch.size else 0)  # true, and nothing left to drop

    Datagrams._peek = receive  # type: ignore[method-assign]


def ack_first() -> None:
    """Acknowledge what came by stream, and commit it then."""
    put = Intake.put

    def hasty(
        self: Intake, jobs: list[Job], done: Callable[[object], None], failed: Callable[[SidecarError], None]
    ) -> None:
        done(None)
        put(self, jobs, lambda _: None, lambda _: None)

    Intake.put = hasty  # type: ignore[method-assign]


def start_first() -> None:
    """Have attempts started, and commit their claims then."""
    claim = Dispatcher.claim

    def eager(self: Dispatcher, store: Store) -> list[Any]:
        self.start(claim(self, store))
        return []

    Dispatcher.claim = eager  # type: ignore[method-assign]


def errors_are_acks() -> None:
    """Tell those whose commit failed that it went well."""

    refuse = writer.Writer._refuse

    def call_it_done(self: writer.Writer, changes: list[writer.Change], error: SidecarError) -> None:
        for change in changes:
            if change.failed is not None and change.done is not None:
                change.failed = partial(_done, change)
        refuse(self, changes, error)

    writer.Writer._refuse = call_it_done  # type: ignore[method-assign]


def _done(change: writer.Change, error: SidecarError) -> None:
    assert change.done is not None
    change.done(change.result)


def sync_errors_are_nothing() -> None:
    """Go on after a sync that failed, as if the next one could make up for it."""
    sync = Store.sync

    def deaf(self: Store) -> None:
        with suppress(SidecarError):
            sync(self)

    Store.sync = deaf  # type: ignore[method-assign]


def keep_memory() -> None:
    """Keep a little of every job."""
    over, kept = Attempts._over, []

    def keep(self: Attempts, *given: Any) -> None:
        kept.append(bytearray(400))
        over(self, *given)

    Attempts._over = keep  # type: ignore[method-assign]


def keep_descriptors() -> None:
    """Keep a descriptor open now and then."""
    over, count = Attempts._over, itertools.count(1)

    def keep(self: Attempts, *given: Any) -> None:
        if next(count) % 50 == 0:
            os.dup(2)
        over(self, *given)

    Attempts._over = keep  # type: ignore[method-assign]


MUTATIONS = {
    "plain-receive": plain_receive,
    "ack-first": ack_first,
    "start-first": start_first,
    "errors-are-acks": errors_are_acks,
    "sync-errors-are-nothing": sync_errors_are_nothing,
    "keep-memory": keep_memory,
    "keep-descriptors": keep_descriptors,
}


def main() -> None:
    """Be the daemon, broken."""
    MUTATIONS[os.environ["TORTURE_BROKEN"]]()
    sidecar_main()
