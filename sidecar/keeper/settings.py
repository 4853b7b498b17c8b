"""What the command line told us: one JSON object, the keeper's only argument."""

from __future__ import annotations

import json
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_DEFAULTS: dict[str, Any] = {
    "config": None,
    "slots": None,
    "path": [],
    "heartbeat": 30.0,
    "tick": None,
    "daemon_module": "sidecar.daemon",
    "zygote_module": "sidecar.zygote",
}


class Settings:
    """The settings. Folders become absolute, since the keeper leaves the folder it was started from."""

    def __init__(self, given: str) -> None:
        found = _DEFAULTS | json.loads(given)
        config = found["config"]
        self.runtime_dir: str = os.path.abspath(found["runtime_dir"])
        self.state_dir: str = os.path.abspath(found["state_dir"])
        self.config: str = os.path.abspath(config) if config else ""
        self.slots: str = "" if found["slots"] is None else str(found["slots"])
        self.path: list[str] = [os.path.abspath(folder) for folder in found["path"]]
        self.heartbeat: float = found["heartbeat"]  # seconds of silence after which a daemon is killed
        self.tick: float | None = found["tick"]  # seconds after which to end by ourselves, None: never
        self.daemon_module: str = found["daemon_module"]
        self.zygote_module: str = found["zygote_module"]
