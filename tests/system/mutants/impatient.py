"""A daemon that looks at an overdue attempt after half a second instead of half a minute."""

from __future__ import annotations

from sidecar import daemon
from sidecar.daemon import attempts, overdue


def main() -> None:
    attempts.MARGIN, overdue.ANSWER = 0.5, 1.0
    daemon.main()
