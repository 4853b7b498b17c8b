"""The one task that changes the store. What arrived while the last commit ran is the next commit.

A change is a function of the store; it is applied with all others that wait, in one transaction, together with the
claims for the slots that are free (so a job that arrives while a slot is free is stored and claimed in one commit).
Only after the commit are those told who wait for it: no answer ever claims more than is true.

The gate is held around every use of the store, reads included; while a checkpoint runs in its thread, changes gather.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import trio

from ..errors import Internal, NoSpace, SidecarError
from ..store import Store, StoreError

log = logging.getLogger("sidecar")
T = TypeVar("T")

_DISK_FULL_PAUSE = 0.5  # until what must not be lost is tried again


class Claims(Protocol):
    """Who fills free slots: asked inside every transaction, told after it."""

    def claim(self, store: Store) -> list[Any]: ...
    def start(self, claims: list[Any]) -> None: ...
    def reconsider(self) -> None: ...


class Change:
    """One change and who waits for it. Without `failed` it must not be lost, and is tried again when there is room."""

    __slots__ = ("apply", "done", "failed", "result")

    def __init__(
        self,
        apply: Callable[[Store], Any],
        done: Callable[[Any], None] | None,
        failed: Callable[[SidecarError], None] | None,
    ) -> None:
        self.apply = apply
        self.done = done
        self.failed = failed
        self.result: Any = None


class Writer:
    """Owns the store between its opening and its closing."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._gate = trio.Lock()
        self._changes: list[Change] = []
        self._wanted = trio.Event()
        self._closing = False
        self.commits = 0

    def put(
        self,
        apply: Callable[[Store], Any],
        done: Callable[[Any], None] | None = None,
        failed: Callable[[SidecarError], None] | None = None,
    ) -> None:
        """Queue a change for the next commit; `done` gets its result after the commit, `failed` the error."""
        self._changes.append(Change(apply, done, failed))
        self._wanted.set()

    def wake(self) -> None:
        """Have a cycle run although nothing changes: a slot or a zygote is free."""
        self._wanted.set()

    async def commit(self, apply: Callable[[Store], T]) -> T:
        """Apply a change and return its result once it is committed. Raises what made the commit fail."""
        over = trio.Event()
        box: list[Any] = [None, None]

        def done(result: Any) -> None:
            box[0] = result
            over.set()

        def failed(error: SidecarError) -> None:
            box[1] = error
            over.set()

        self.put(apply, done, failed)
        await over.wait()
        if box[1] is not None:
            raise box[1]
        return box[0]  # type: ignore[no-any-return]

    async def read(self, query: Callable[[Store], T]) -> T:
        """Ask the store something, behind the gate."""
        await self._pass_gate()
        try:
            return query(self._store)
        finally:
            self._gate.release()

    async def _pass_gate(self) -> None:
        try:
            self._gate.acquire_nowait()  # an open gate costs no turn of trio's loop
        except trio.WouldBlock:
            await self._gate.acquire()

    def close(self) -> None:
        """Commit what waits, then let `run` return."""
        self._closing = True
        self._wanted.set()

    async def run(self, claims: Claims) -> None:
        """Commit until closed. A store that cannot go on raises StoreError: the daemon ends, the next one recovers."""
        while True:
            await self._wanted.wait()
            self._wanted = trio.Event()
            full = False
            await self._pass_gate()
            try:
                self._cycle(claims)
                if self._store.checkpoint_due():
                    await trio.to_thread.run_sync(self._store.checkpoint)
            except NoSpace:
                full = True
            finally:
                self._gate.release()
            if full:
                await trio.sleep(_DISK_FULL_PAUSE)
            if self._closing and not self._changes:
                return

    def _cycle(self, claims: Claims) -> None:
        changes, self._changes = self._changes, []
        try:
            with self._store.transaction():
                for change in changes:
                    change.result = change.apply(self._store)
                claimed = claims.claim(self._store)
        except NoSpace as error:
            self._refuse(changes, error)
            claims.reconsider()
            raise
        except StoreError as error:
            self._refuse(changes, Internal(str(error)))
            raise
        self.commits += 1
        for change in changes:
            if change.done is not None:
                change.done(change.result)
        claims.start(claimed)

    def _refuse(self, changes: list[Change], error: SidecarError) -> None:
        log.error("%s", error)
        kept = [change for change in changes if change.failed is None]
        self._changes[:0] = kept
        if kept:
            self._wanted.set()
        for change in changes:
            if change.failed is not None:
                change.failed(error)
