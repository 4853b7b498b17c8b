"""The same, which receives hand-offs before it commits them: the negative control."""

from __future__ import annotations

from typing import Any

from sidecar.daemon.datagrams import Datagrams

from . import dying


def main() -> None:
    store, consume = Datagrams._store, Datagrams._consume

    async def nothing(self: Datagrams, jobs: list[Any]) -> None:
        pass

    async def consume_and_store(self: Datagrams, batch: Any) -> None:
        await consume(self, batch)
        await store(self, batch.jobs)

    Datagrams._store, Datagrams._consume = nothing, consume_and_store  # type: ignore[method-assign]
    dying.main()
