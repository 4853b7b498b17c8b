"""Applications of PHP frameworks as Debian has them: the example in a project of its own, beside a real daemon."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from ..daemon_process import Daemon
from ..waiting import eventually
from .script import CLIENT, PHP

HERE = Path(__file__).parent
LIBRARIES = Path("/usr/share/php")

_AUTOLOAD = """<?php
declare(strict_types=1);
require_once '{first}';
require_once '{client}/autoload.php';
spl_autoload_register(static function (string $class): void {{
    $file = dirname(__DIR__) . '/{source}/' . strtr(substr($class, 4), '\\\\', '/') . '.php';
    if (str_starts_with($class, 'App\\\\') && is_file($file)) {{
        require $file;
    }}
}});
"""


class Application:
    """A project in a folder of its own, and scripts in it: each says one thing."""

    def __init__(self, folder: Path, daemon: Daemon, name: str, source: str, libraries: list[str], head: str) -> None:
        """`source` is the folder of namespace App, `head` what a script begins with: it boots the application."""
        self.folder = folder
        self.daemon = daemon
        self._head = head
        shutil.copytree(HERE / name, folder)
        shutil.copytree(CLIENT / "examples" / name, folder, dirs_exist_ok=True)
        (folder / "vendor" / "composer").mkdir(parents=True)
        first, *others = libraries
        text = _AUTOLOAD.format(first=LIBRARIES / first, client=CLIENT, source=source)
        text += "".join(f"require_once '{LIBRARIES / other}';\n" for other in others)
        (folder / "vendor" / "autoload.php").write_text(text)
        about = {**json.loads((CLIENT / "composer.json").read_text()), "version": "1"}  # as Composer notes it
        (folder / "vendor" / "composer" / "installed.json").write_text(json.dumps({"packages": [about]}))

    def say(self, code: str, **env: str) -> Any:
        """Run a script in the project, and return what it gives to `say`."""
        assert PHP is not None
        done = subprocess.run(
            [PHP, "-d", "display_errors=stderr", "-r", self._head + code], cwd=self.folder, text=True,
            env={**os.environ, **self.daemon.variables, **env}, capture_output=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    def lines(self, name: str = "steps") -> list[str]:
        """Return the lines of a file that jobs write; none while there is no such file."""
        file = self.folder / name
        return file.read_text().splitlines() if file.exists() else []

    def change(self, name: str, old: str, new: str) -> None:
        """Replace some text in a file of the project, which must be there."""
        text = (self.folder / name).read_text()
        assert old in text
        (self.folder / name).write_text(text.replace(old, new))

    def status(self, id: str) -> dict[str, Any]:
        """Ask about a job."""
        status: dict[str, Any] = self.daemon.call("status", id)
        return status

    def ended(self, id: str) -> dict[str, Any]:
        """Wait for a job's end, and return its status."""
        status: dict[str, Any] = self.daemon.call("wait", id, 30)
        assert status["state"] == "done", status
        return status

    def jobs(self) -> list[dict[str, Any]]:
        """Return all jobs of the daemon, newest first."""
        found: list[dict[str, Any]] = self.daemon.call("list", {})
        return found

    def handed_off(self) -> int:
        """Count the jobs that the daemon has, or had."""
        return len(self.jobs())

    def run_of_one_boot(self, one: str, many: str) -> list[str]:
        """Run jobs that scripts dispatch, as soon as there is a php that has booted the application, and return the
        lines that they left in `steps`; each boot leaves one in `boots`, and the only one is the script's.
        """

        def boots(code: str) -> int:
            before = len(self.lines("boots"))
            ids = self.say(code)
            assert all(self.ended(id)["outcome"] == "succeeded" for id in ids)
            return len(self.lines("boots")) - before

        eventually(lambda: boots(one) == 1, 60)
        (self.folder / "steps").unlink()
        assert boots(many) == 1
        return self.lines()

    def waits(self, id: str) -> dict[str, Any]:
        """Wait until a job is to be tried again later, and return its status; `in` is the pause in seconds."""
        status = eventually(lambda: found if (found := self.status(id))["state"] == "scheduled" else None, 30)
        last = max([attempt["ended"] for attempt in status["attempts"]], default=time.time())
        return {**status, "in": status["due"] - last}
