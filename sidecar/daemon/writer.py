"""The one place that changes the store. What arrived while the store was in use is the next commit.

A change is a function of the store; it is applied with all others that wait, in one transaction, together with the
claims for the slots that are free (so a job that arrives while a slot is free, or whose slot comes free by an ending,
is claimed in the commit that stores it, or the ending). Only after the commit are those told who wait for it: no answer
ever claims more than is true.

A commit takes 20 µs, a turn of trio's loop as long: so whoever brings a change commits it there and then, with all that
waits, unless the store is in use; then the writer's task does. The gate is held around every use that may be waited in:
reads, and the checkpoint in its thread, during which changes gather.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import trio

from ..crashpoints import crash
from ..errors import Internal, NoSpace, SidecarError
from ..store import Store, StoreError
from .space import Space

log = logging.getLogger("sidecar")
T = TypeVar("T")

_DISK_FULL_PAUSE = 0.5  # until what must not be lost is tried again


class Claims(Protocol):
    """Who fills free slots: asked inside every transaction, told after it."""

    def claim(self, store: Store) -> list[Any]: ...
    def start(self, claims: list[Any]) -> None: ...
    def has_room(self) -> bool: ...
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

    def __init__(self, store: Store, space: Space | None = None) -> None:
        self._store = store
        self._space = space
        self._gate = trio.Lock()
        self._changes: list[Change] = []
        self._wanted = trio.Event()
        self._closing = False
        self._claims: Claims | None = None  # while it runs
        self._committing = False
        self._again = False
        self._trouble: SidecarError | None = None  # of a commit that was made outside of the task
        self.commits = 0

    def queue(
        self,
        apply: Callable[[Store], Any],
        done: Callable[[Any], None] | None = None,
        failed: Callable[[SidecarError], None] | None = None,
    ) -> None:
        """Queue a change; `flush` commits it. `done` gets its result after the commit, `failed` the error."""
        self._changes.append(Change(apply, done, failed))

    def put(
        self,
        apply: Callable[[Store], Any],
        done: Callable[[Any], None] | None = None,
        failed: Callable[[SidecarError], None] | None = None,
    ) -> None:
        """Commit a change, now if the store is free."""
        self.queue(apply, done, failed)
        self.flush()

    def flush(self) -> None:
        """Commit what waits: here and now, or by the task when the store is in use."""
        if self._claims is None or self._committing or self._trouble or self._gate.locked():
            return self._wanted.set()
        if self._changes:
            try:
                self._cycle(self._claims)
            except SidecarError as error:
                self._trouble = error
            if self._trouble or self._store.checkpoint_due():
                self._wanted.set()

    def wake(self) -> None:
        """Have a cycle run although nothing changes: a slot or a zygote is free."""
        if self._committing:
            self._again = True
        else:
            self._wanted.set()

    async def commit(self, apply: Callable[[Store], T], patient: bool = False) -> T:
        """Apply a change and return its result once it is committed. Raises what made the commit fail.

        Often that is at once, without a turn of trio's loop: who commits without end must let others run by himself.
        `patient`: as what must not be lost, waits for room on the disk instead.
        """
        over = trio.Event()
        box: list[Any] = [None, None]

        def done(result: Any) -> None:
            box[0] = result
            over.set()

        def failed(error: SidecarError) -> None:
            box[1] = error
            over.set()

        self.put(apply, done, None if patient else failed)
        if not over.is_set():
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
        self._claims = claims
        while True:
            await self._wanted.wait()
            self._wanted = trio.Event()
            full = False
            await self._pass_gate()
            try:
                if self._trouble:
                    raise self._trouble
                self._cycle(claims)
                if self._store.checkpoint_due():
                    await self._checkpoint()
            except NoSpace:
                self._trouble = None
                # Only what must not be lost is worth the ballast; with that it is tried again at once.
                full = not (self._changes and self._space and self._space.give_up())
            except StoreError as error:
                self._end(error)
                raise
            finally:
                self._gate.release()
            if full:
                await trio.sleep(_DISK_FULL_PAUSE)
            if self._changes or full:  # what it had claimed is to be claimed again
                self._wanted.set()
            if self._closing and not self._changes:
                return

    async def _checkpoint(self) -> None:
        try:
            await trio.to_thread.run_sync(self._store.checkpoint)
        except NoSpace as error:  # the log goes on growing; the next commit tries again
            log.warning("%s", error)

    def _cycle(self, claims: Claims) -> None:
        self._committing = True
        try:
            self._commit(claims)
        finally:
            self._committing = False
        if self._changes or (self._again and claims.has_room()):
            self._wanted.set()
        self._again = False

    def _commit(self, claims: Claims) -> None:
        changes, self._changes = self._changes, []
        try:
            with self._store.transaction():
                for change in changes:
                    change.result = change.apply(self._store)
                claimed = [] if self._space and self._space.exhausted else claims.claim(self._store)
                crash and crash("commit.begun")
        except NoSpace as error:
            self._refuse(changes, error)
            claims.reconsider()
            raise
        except StoreError:
            self._changes[:0] = changes
            raise
        crash and crash("commit.done")
        self.commits += 1
        for change in changes:
            if change.done is not None:
                change.done(change.result)
        claims.start(claimed)

    def _end(self, error: StoreError) -> None:
        """Tell all who wait, those too who came while a checkpoint ran in its thread."""
        changes, self._changes = self._changes, []
        for change in changes:
            if change.failed is not None:
                change.failed(Internal(str(error)))

    def _refuse(self, changes: list[Change], error: SidecarError) -> None:
        log.error("%s", error)
        kept = [change for change in changes if change.failed is None]
        self._changes[:0] = kept
        if kept:
            self._wanted.set()
        for change in changes:
            if change.failed is not None:
                change.failed(error)
