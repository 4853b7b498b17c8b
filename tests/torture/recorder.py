"""Building recorder.c, and the environment in which a daemon is under it."""

from __future__ import annotations

import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("recorder.c")


def build(folder: Path) -> Path:
    """Compile the library into `folder`."""
    library = folder / "recorder.so"
    subprocess.run(
        ["cc", "-Wall", "-Wextra", "-Werror", "-O1", "-fPIC", "-shared", "-o", str(library), str(SOURCE)], check=True
    )
    return library


def under(library: Path, daemon_module: str, state: Path, log: Path | None = None) -> dict[str, str]:
    """Return the variables that have the daemon's files in `state` looked at, and recorded in `log`."""
    found = {"LD_PRELOAD": str(library), "RECORDER_WHO": daemon_module, "RECORDER_FOLDER": str(state)}
    return found | ({"RECORDER_LOG": str(log)} if log else {})
