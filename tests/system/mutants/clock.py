"""What the clock of day says, plus what the file `offset` in the test's folder holds: for daemon and zygote."""

from __future__ import annotations

import os
import time

_FILE = os.path.join(os.environ.get("SIDECAR_TEST_FOLDER", "/nowhere"), "offset")
_real = time.time


def _bent() -> float:
    try:
        with open(_FILE) as file:
            return _real() + float(file.read() or 0)
    except FileNotFoundError:
        return _real()


time.time = _bent  # before anybody takes it by name
