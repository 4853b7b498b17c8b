"""The same, whose deadlines follow the clock of day: the negative control."""

from __future__ import annotations

from . import clock  # isort: skip

import time

time.monotonic = time.time

from sidecar.zygote import main  # noqa: E402

__all__ = ["clock", "main"]
