"""A daemon without limits on what one client makes it keep: the negative control."""

from __future__ import annotations

from typing import Any

from sidecar import daemon
from sidecar.daemon import connection, listener


def main() -> None:
    endless = 10**15
    connection._BRIEF = connection._QUEUED = connection._AT_ONCE = connection._SMALL = endless
    connection._REQUESTS = connection._STORING = connection.UNREAD = connection.SMALL = endless
    listener.Listener._owes = _nothing  # type: ignore[method-assign]
    listener.Listener._make_room = _nothing  # type: ignore[method-assign,assignment]
    daemon.main()


def _nothing(self: Any) -> None:
    pass
