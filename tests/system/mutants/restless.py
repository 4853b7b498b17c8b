"""A daemon that starts jobs while it is to end: the negative control."""

from __future__ import annotations

from typing import Any

from sidecar import daemon
from sidecar.daemon.dispatcher import Dispatcher
from sidecar.store import Store


def main() -> None:
    real = Dispatcher.claim

    def claim(self: Dispatcher, store: Store) -> list[Any]:
        self.draining = False
        return real(self, store)

    Dispatcher.claim = claim  # type: ignore[method-assign]
    daemon.main()
