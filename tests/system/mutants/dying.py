"""A daemon that is killed when it is about to commit hand-offs: each third time, in five lives at most."""

from __future__ import annotations

import os
import signal
from typing import Any

from sidecar import daemon
from sidecar.daemon.intake import Intake

_EACH, _LIVES = 3, 5


def main() -> None:
    real, calls = Intake.store, 0

    async def store(self: Intake, jobs: list[Any]) -> None:
        nonlocal calls
        calls += 1
        if calls == _EACH and _die_once_more():
            os.kill(os.getpid(), signal.SIGKILL)
        await real(self, jobs)

    Intake.store = store  # type: ignore[method-assign]
    daemon.main()


def _die_once_more() -> bool:
    for number in range(_LIVES):
        try:
            os.close(os.open(f"{os.environ['SIDECAR_TEST_FOLDER']}/death-{number}", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            continue
        return True
    return False
