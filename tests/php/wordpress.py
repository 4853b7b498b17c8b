"""A real WordPress of Debian's package, in a folder and a database of its own, as wp_install() leaves it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from ..daemon_process import Daemon
from ..waiting import eventually
from .mariadb import MariaDb, needs_mariadb
from .script import CLIENT, PHP, needs_php
from .web import Web, fpm, serving

Value = TypeVar("Value")
SOURCES = Path(os.environ.get("WORDPRESS", "/usr/share/wordpress"))  # another version may be given
EXAMPLE = CLIENT / "examples" / "wordpress"
needs_wordpress = [
    needs_php,
    needs_mariadb,
    pytest.mark.skipif(not (SOURCES / "wp-load.php").exists(), reason="no wordpress here: not tested with WordPress"),
]

_CONFIG = """<?php
define('DB_HOST', 'localhost:{socket}');
define('DB_USER', '{user}');
define('DB_PASSWORD', '');
define('DB_NAME', '{database}');
define('DB_CHARSET', 'utf8mb4');
define('WP_HOME', 'http://' . ($_SERVER['HTTP_HOST'] ?? 'localhost'));
define('WP_SITEURL', WP_HOME);
define('WP_HTTP_BLOCK_EXTERNAL', true); // but for itself
$table_prefix = 'wp_';
defined('ABSPATH') || define('ABSPATH', __DIR__ . '/');
require_once ABSPATH . 'wp-settings.php';
"""
_INSTALL = """
define('WP_INSTALLING', true);
require '{folder}/wp-load.php';
require ABSPATH . 'wp-admin/includes/upgrade.php';
wp_install('Shop', 'ann', 'ann@example.org', true, '', 'secret');
"""


class WordPress:
    """A site whose pages are in `folder`."""

    def __init__(self, folder: Path, server: MariaDb) -> None:
        self.folder = folder
        self.database = server.database()
        self.plugins = folder / "wp-content" / "mu-plugins"
        self.plugins.mkdir(parents=True)
        for file in SOURCES.glob("*.php"):  # those of the folder itself know the site by where they are
            shutil.copy(file, folder)
        for name in ("wp-includes", "wp-admin"):
            (folder / name).symlink_to(SOURCES / name)
        values = {"socket": server.socket, "user": server.user, "database": self.database}
        (folder / "wp-config.php").write_text(_CONFIG.format(**values))

    def install_sidecar(self) -> Path:
        """Do what the example's README says, and return the plugin's file."""
        client = self.plugins / "sidecar"
        client.mkdir()
        for name in ("autoload.php", "bin", "src"):
            (client / name).symlink_to(CLIENT / name)
        return Path(shutil.copy(EXAMPLE / "sidecar.php", self.plugins))

    def plugin(self, name: str, code: str) -> None:
        """Write a must-use plugin."""
        (self.plugins / f"{name}.php").write_text(f"<?php\n{code}")

    def page(self, name: str, code: str) -> None:
        """Write a page with WordPress loaded."""
        (self.folder / f"{name}.php").write_text(f"<?php require __DIR__ . '/wp-load.php';\n{code}")

    def run(self, code: str, load: bool = True) -> str:
        """Run a few lines on the command line, and return what they print."""
        assert PHP
        head = f"require '{self.folder}/wp-load.php';\n" if load else ""
        done = subprocess.run([PHP, "-r", head + code], capture_output=True, text=True, timeout=120, check=False)
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout


_SENDMAIL = """#!/bin/sh
until [ -e {folder}/open ]; do sleep 0.02; done
[ ! -e {folder}/away ] || exit 75
cat > {folder}/$$ && mv {folder}/$$ {folder}/mails/$$
"""


class Shop:
    """A WordPress before a mail server that waits until it is `open`, and takes nothing while `away`."""

    def __init__(self, site: WordPress, daemon: Daemon, folder: Path) -> None:
        self.site = site
        self.folder = folder
        self.plugin = site.install_sidecar()
        sendmail = folder / "sendmail"
        sendmail.write_text(_SENDMAIL.format(folder=folder))
        sendmail.chmod(0o755)
        for name in ("ini", "mails", "temp"):
            (folder / name).mkdir()
        (folder / "ini" / "mail.ini").write_text(f"sendmail_path = {sendmail}\nsys_temp_dir = {folder}/temp\n")
        self._sendmail = sendmail
        self._env = {
            **daemon.variables, "PHP_INI_SCAN_DIR": f":{folder}/ini", "SIDECAR_FORWARD_ENV": "PHP_INI_SCAN_DIR"
        }  # fmt: skip

    @contextmanager
    def served(self, by: str = "fpm") -> Iterator[Web]:
        """Serve its pages."""
        if by == "fpm":
            line = f"php_admin_value[sendmail_path] = {self._sendmail}"
            with fpm(self._env, 4, line, self.site.folder, plain=False) as web:
                yield web
        else:
            with serving(by, self._env, self.site.folder) as web:
                yield web

    def open(self) -> None:
        """Have the mail server take what comes."""
        (self.folder / "open").touch()

    def mails(self, clear: bool = False) -> list[str]:
        """Return what it has taken; `clear`: and forget it."""
        files = sorted((self.folder / "mails").iterdir())
        texts = [file.read_text().replace("\r\n", "\n") for file in files]
        for file in files if clear else ():
            file.unlink()
        return texts


def outcomes(daemon: Daemon) -> dict[str, int]:
    """Return how many jobs have ended how."""
    found: dict[str, int] = daemon.call("stats")["outcomes"]
    return found


def soon(condition: Callable[[], Value]) -> Value:
    """Wait for a condition: a job that loads WordPress takes a tenth of a second, and seconds where others compute."""
    return eventually(condition, 40)


@pytest.fixture(scope="session")
def installed(mariadb: MariaDb, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Install WordPress, which takes seconds, and return the database; what it has to do is done for the next hour."""
    site = WordPress(tmp_path_factory.mktemp("wordpress") / "site", mariadb)
    install(site)
    return site.database


def install(site: WordPress) -> None:
    """Do what a visit of wp-admin/install.php does, and what WordPress then has to do at once."""
    site.run(_INSTALL.format(folder=site.folder), load=False)
    # A first visit finds much to be scheduled, and must not ask in vain for somebody to run it.
    site.run(f"define('DISABLE_WP_CRON', true); require '{site.folder}/wp-load.php';", load=False)
    site.run(f"require '{site.folder}/wp-cron.php';", load=False)


@pytest.fixture(name="wordpress")
def a_wordpress(mariadb: MariaDb, installed: str, tmp_path: Path) -> WordPress:
    """Give a site of this test's own, without the plugin."""
    site = WordPress(tmp_path / "site", mariadb)
    tables = [table for (table,) in mariadb.run("SHOW TABLES", installed)]
    copied = "CREATE TABLE {0} LIKE {1}.{0}; INSERT {0} SELECT * FROM {1}.{0};"
    mariadb.run("".join(copied.format(table, installed) for table in tables), site.database)
    return site


@pytest.fixture(name="shop")
def a_shop(wordpress: WordPress, daemon: Daemon, tmp_path: Path) -> Shop:
    """Give a WordPress with the example's plugin."""
    return Shop(wordpress, daemon, tmp_path)
