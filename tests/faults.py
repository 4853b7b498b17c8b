"""A disk that is slow or fails on request, under a real daemon: a library that is preloaded into it (faults.c)."""

from __future__ import annotations

import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("faults.c")


class Faults:
    """The rules of one daemon; `env` is what it is to be started with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        library = folder / "faults.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library, SOURCE, "-ldl"], check=True)
        self.env = {"LD_PRELOAD": str(library), "FAULTS": str(folder)}

    def on(self, rule: str) -> None:
        """Switch a rule on."""
        (self.folder / rule).touch()

    def off(self, rule: str) -> None:
        """Switch it off."""
        (self.folder / rule).unlink()

    @property
    def syncs(self) -> int:
        """Return how often the store's log was synced, by SQLite or by us."""
        path = self.folder / "syncs"
        return path.stat().st_size if path.exists() else 0
