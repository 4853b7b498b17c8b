"""A real `sidecar serve` with one part exchanged: what the keeper is told beside what the command line can say.

`heartbeat` is in seconds; `daemon_module` and `zygote_module` name modules whose `main` breaks or bends something and
then runs the real one (tests/system/mutants). So the product needs no switches for its own tests.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from sidecar import boot
from sidecar.cli.serve import own_path

from .daemon_process import Daemon

ROOT = str(Path(__file__).parents[1])


class Mutant(Daemon):
    """A daemon whose keeper got `settings`; everything else as `Daemon`."""

    def __init__(self, settings: dict[str, Any], config: str = "", slots: int = 4) -> None:
        super().__init__(config=config, slots=slots)
        given = {
            "runtime_dir": str(self.runtime),
            "state_dir": str(self.state),
            "config": str(self.folder / "sidecar.toml") if config else None,
            "slots": slots,
            "path": [*own_path(), ROOT],
            **settings,
        }
        self._give(given)
        self.env = {**self.env, "SIDECAR_TEST_FOLDER": str(self.folder)}  # where a mutant finds its orders

    def _give(self, settings: dict[str, Any]) -> None:
        self._settings = settings
        self._command = [*boot.command(sys.executable, "sidecar.keeper", [ROOT]), json.dumps(settings)]

    def mend(self) -> Mutant:
        """Have the next start be one of the real parts, on the same folders."""
        self._give({name: value for name, value in self._settings.items() if not name.endswith("_module")})
        return self
