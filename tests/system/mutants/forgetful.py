"""A daemon that takes over no zygote from the one before it: the negative control."""

from __future__ import annotations

from typing import Any

from sidecar import daemon
from sidecar.daemon import life


def main() -> None:
    real = life.Daemon.recover

    def recover(self: life.Daemon, store: Any, inherited: list[dict[str, Any]]) -> None:
        real(self, store, [about for about in inherited if about["key"] == "default"])

    life.Daemon.recover = recover  # type: ignore[method-assign]
    daemon.main()
