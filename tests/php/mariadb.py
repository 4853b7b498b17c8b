"""A real MariaDB of Debian's package in a folder of its own: a Unix socket, no network, gone with its folder.

One for a session of tests (`mariadb`, a fixture for the modules that import it) and one database for each test
(`server.database()`), so that tests see nothing of each other.
"""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ..waiting import eventually
from .script import PHP

_SERVER = shutil.which("mariadbd") or "/usr/sbin/mariadbd"
_INSTALL = shutil.which("mariadb-install-db")
_USER = pwd.getpwuid(os.geteuid()).pw_name
_START, _STOP = 60.0, 60.0  # seconds; it takes 0.4 where nobody else computes


def _why_none() -> str:
    if _INSTALL is None or not Path(_SERVER).exists():
        return "no mariadb-server here"
    has = [PHP or "php", "-r", "exit((int) !extension_loaded('pdo_mysql'));"]
    return "" if PHP and subprocess.run(has, capture_output=True).returncode == 0 else "no php-mysql here"


_LACKING = _why_none()
needs_mariadb = pytest.mark.skipif(bool(_LACKING), reason=f"{_LACKING}: not tested with a MariaDB")


class MariaDb:
    """A server that runs. Its user is root, without a password; nobody but this system's user and root come to it."""

    def __init__(self, folder: Path) -> None:
        self.socket = str(folder / "mysql.sock")
        self.user = "root"
        self._folder = folder
        self._numbers = itertools.count(1)

    def database(self) -> str:
        """Make an empty database and return its name."""
        name = f"test_{next(self._numbers)}"
        self.run(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        return name

    def dsn(self, database: str) -> str:
        """Return the address of a database for PDO, which takes the user's name beside it."""
        return f"mysql:unix_socket={self.socket};dbname={database};charset=utf8mb4"

    def run(self, sql: str, database: str = "") -> list[list[str]]:
        """Run statements and return the rows of their answers, each value as text."""
        command = [
            "mariadb",
            "--no-defaults",
            f"--socket={self.socket}",
            "--user=root",
            "--batch",
            "--skip-column-names",
        ]
        done = subprocess.run([*command, "-e", sql, database], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return [line.split("\t") for line in done.stdout.splitlines()]

    def log(self) -> str:
        """Return what the server has to say."""
        return (self._folder / "log").read_text(errors="replace")


@contextmanager
def serving_mariadb() -> Iterator[MariaDb]:
    """Run a server until the end of the block."""
    assert _INSTALL
    with tempfile.TemporaryDirectory(prefix="sc-", dir="/tmp") as name:  # short: a socket's path has 107 bytes
        folder = Path(name)
        # To each its own: a server that starts removes what looks like the temporary tables of one that died.
        data = [f"--datadir={folder}/data", f"--tmpdir={folder}", f"--user={_USER}", "--innodb-log-file-size=4M"]
        install = [_INSTALL, "--no-defaults", *data, "--auth-root-authentication-method=normal", "--skip-test-db"]
        done = subprocess.run(install, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        command = [
            _SERVER, "--no-defaults", *data, f"--socket={folder}/mysql.sock", f"--pid-file={folder}/pid",
            "--skip-networking", "--innodb-buffer-pool-size=16M", "--innodb-flush-log-at-trx-commit=2",
            "--performance-schema=off",
        ]  # fmt: skip
        with open(folder / "log", "w") as log:
            server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        made = MariaDb(folder)
        try:
            eventually(lambda: "ready for connections" in made.log() or server.poll() is not None, _START)
            assert server.poll() is None, made.log()
            yield made
        finally:
            server.terminate()
            server.wait(_STOP)


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDb]:
    """Run one server for all tests of this process."""
    with serving_mariadb() as server:
        yield server
