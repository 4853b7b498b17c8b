"""As slow to import as a small application: its jobs get a warm zygote, which is one more that can be killed."""

from __future__ import annotations

import time

from .jobs import note

time.sleep(0.01)


def note_warmly(path: str, pause: float, record: str | None = None) -> None:
    """Write down that this attempt ran."""
    note(path, pause, record)
