"""A zygote whose clock of day can be set."""

from __future__ import annotations

from . import clock  # isort: skip

from sidecar.zygote import main

__all__ = ["clock", "main"]
