"""A zygote that hangs at the first deadline it should keep. Whoever makes `hung` in the test's folder is the last."""

from __future__ import annotations

import os
import signal

from sidecar import zygote
from sidecar.zygote import loop
from sidecar.zygote.attempt import Attempt


def main() -> None:
    real = loop.Zygote.escalate

    def escalate(self: loop.Zygote, attempt: Attempt) -> None:
        try:
            os.close(os.open(FLAG, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return real(self, attempt)
        while True:
            signal.pause()

    loop.Zygote.escalate = escalate  # type: ignore[method-assign]
    zygote.main()


FLAG = os.path.join(os.environ.get("SIDECAR_TEST_FOLDER", "/nowhere"), "hung")  # before the environment is cleaned
