"""What the keeper says: lines on stderr for people, and notes to a service manager that listens.

Neither may ever stop it: a terminal that is gone, a pipe that nobody reads and a socket that is not there are ignored.
"""

from __future__ import annotations

import os
import select
import socket
import time
from contextlib import suppress


def say(text: str) -> None:
    """Write one line for people on stderr, or drop it when nobody reads there."""
    line = f"sidecar: {text}"[:2000].encode(errors="backslashreplace") + b"\n"
    ready = select.poll()
    ready.register(2, select.POLLOUT)  # writable means that a line this short fits as a whole
    try:
        if ready.poll(0):
            os.write(2, line)
    except OSError:
        pass


def announce(text: str) -> None:
    """Write the one line on stdout that says where we can be reached."""
    with suppress(OSError, AttributeError):  # AttributeError: started without a stdout
        print(text, flush=True)


class Notifier:
    """The service manager's socket, as `sd_notify` (3) describes it; does nothing where there is none."""

    def __init__(self, environ: dict[str, str]) -> None:
        self._watched = "WATCHDOG_USEC" in environ
        self._address = environ.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):
            self._address = "\0" + self._address[1:]

    def ready(self) -> None:
        """Say that we serve."""
        self._send("READY=1\nSTATUS=serving")

    def reloading(self) -> None:
        """Say that a new daemon is being started beside the old one."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}\nSTATUS=reloading")

    def stopping(self) -> None:
        """Say that we take nothing more and end when the running attempts have."""
        self._send("STOPPING=1\nSTATUS=finishing what runs")

    def beat(self) -> None:
        """Feed the watchdog; called only while the daemon beats, so that it stands for the whole service."""
        if self._watched:
            self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """Say in words how it goes."""
        self._send(f"STATUS={text}")

    def _send(self, note: str) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock, suppress(OSError):
            sock.sendto(note.encode(errors="replace"), socket.MSG_DONTWAIT, self._address)
