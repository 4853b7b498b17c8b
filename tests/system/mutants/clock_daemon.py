"""A daemon whose clock of day can be set, and which looks at it twice a second instead of twice a minute."""

from __future__ import annotations

from . import clock  # isort: skip

from sidecar import daemon
from sidecar.daemon import dispatcher

__all__ = ["clock", "main"]


def main() -> None:
    dispatcher._CLOCK_CHECK = 0.5
    daemon.main()
