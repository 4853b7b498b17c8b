"""The same, and nobody puts on file what is about to be parsed: the negative control."""

from __future__ import annotations

from sidecar.daemon import quarantine

from . import poison


def main() -> None:
    quarantine.WARY_FROM = 10**9
    poison.main()
