"""PHP scripts for tests: a few lines with the client loaded, whose last word is a value as JSON."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

CLIENT = Path(__file__).parents[2] / "clients" / "php"
PHP = shutil.which("php")
needs_php = pytest.mark.skipif(PHP is None, reason="no php on this machine: the PHP client is not tested")


def _has(extension: str) -> bool:
    asked = [PHP or "php", "-r", f"exit((int) !extension_loaded('{extension}'));"]
    return PHP is not None and subprocess.run(asked, capture_output=True).returncode == 0


needs_sqlite = pytest.mark.skipif(
    not _has("pdo_sqlite"), reason="no php-sqlite3 here: examples with a database not run"
)

# Every notice, warning and deprecation is an exception, as in the strictest of frameworks, even behind an `@`.
_HEAD = """<?php
declare(strict_types=1);
set_error_handler(static function (int $level, string $message, string $file, int $line): bool {
    throw new ErrorException($message, 0, $level, $file, $line);
});
require '%s/autoload.php';
use Sidecar\\{Bytes, Client, Deferred, Map, Response};
use Sidecar\\Exception\\{ConnectionFailed, JobFailed, ProtocolViolation, Rejected, SidecarException, TimedOut};
function say(mixed $value): void { echo json_encode($value, JSON_THROW_ON_ERROR), "\\n"; }
"""


def source(code: str) -> str:
    """Return a whole script around a few lines."""
    return _HEAD % CLIENT + code


class Script:
    """A running script; `say($value)` in it is `heard()` here, and `fgets(STDIN)` waits for `go`."""

    def __init__(self, code: str, env: dict[str, str], flags: tuple[str, ...] = ()) -> None:
        assert PHP is not None
        self._process = subprocess.Popen(
            [PHP, *flags, "-r", source(code).removeprefix("<?php")], env={**os.environ, **env}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def heard(self) -> Any:
        """Return the next value that it says."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            _, problems = self._process.communicate(timeout=30)
            raise AssertionError(f"the script ended with {self._process.returncode}: {problems}")
        return json.loads(line)

    def go(self) -> None:
        """Let it go on."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def close(self) -> None:
        """Wait for its end, which must be without a complaint."""
        output, problems = self._process.communicate(timeout=60)
        assert (self._process.returncode, output, problems) == (0, "", "")


def said(code: str, env: dict[str, str], flags: tuple[str, ...] = ()) -> Any:
    """Run a script that says one thing, and return it."""
    script = Script(code, env, flags)
    value = script.heard()
    script.close()
    return value
