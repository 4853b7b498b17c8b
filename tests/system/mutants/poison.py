"""A daemon whose parser dies, without a word, of a hand-off that holds the marker; or hangs of another."""

from __future__ import annotations

import os
import signal
from typing import Any

from sidecar import daemon, wire

DEADLY, ENDLESS = b"\xa0kills-the-parser", b"\xa0hangs-the-parser"


def main() -> None:
    real = wire.unpack

    def unpack(data: bytes | memoryview) -> Any:
        if DEADLY in bytes(data):
            os.abort()
        if ENDLESS in bytes(data):
            while True:
                signal.pause()
        return real(data)

    wire.unpack = unpack  # intake and connection look it up in the module with each message
    daemon.main()
