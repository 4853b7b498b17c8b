"""A daemon that takes every attempt before this one for a failure."""

from __future__ import annotations

from sidecar import daemon
from sidecar.store import Store

_claim = Store.claim


def main() -> None:
    def claim(self, seq, generation, now):  # type: ignore[no-untyped-def]
        claimed = _claim(self, seq, generation, now)
        return claimed._replace(failures=claimed.number - 1)

    Store.claim = claim  # type: ignore[method-assign]
    daemon.main()
