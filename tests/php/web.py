"""A real nginx before a real PHP-FPM, in a folder of their own, on Unix sockets; and `php -S` beside them."""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from glob import glob
from pathlib import Path

import pytest

from ..waiting import eventually
from .script import PHP, source

FPM = next(iter(sorted(glob("/usr/sbin/php-fpm*"))), None)
NGINX = shutil.which("nginx") or ("/usr/sbin/nginx" if Path("/usr/sbin/nginx").exists() else None)
needs_fpm = pytest.mark.skipif(not (FPM and NGINX), reason="no nginx or no php-fpm here: not tested under PHP-FPM")

_POOL = """
[global]
error_log = {folder}/fpm.log
daemonize = no
[www]
user = {user}
group = {group}
listen = {folder}/fpm.sock
pm = static
pm.max_children = {workers}
catch_workers_output = yes
php_admin_value[error_log] = {folder}/php.log
php_admin_flag[log_errors] = on
php_admin_flag[display_errors] = on
{env}
"""
_NGINX = """
user {user} {group};
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
daemon off;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/tmp; fastcgi_temp_path {folder}/tmp; proxy_temp_path {folder}/tmp;
    uwsgi_temp_path {folder}/tmp; scgi_temp_path {folder}/tmp;
    server {{
        listen unix:{folder}/http.sock;
        root {folder}/pages;
        location / {{
            include /etc/nginx/fastcgi_params;
            fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;
            fastcgi_pass unix:{folder}/fpm.sock;
        }}
    }}
}}
"""


class Over(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=30)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(str(self._path))


class Web:
    """Pages and whoever serves them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def page(self, name: str, code: str, whole: bool = False) -> None:
        """Write a page; `whole`: it is a script of its own, not a few lines with the client loaded."""
        (self.folder / "pages" / f"{name}.php").write_text(code if whole else source(code))

    def get(self, name: str) -> str:
        """Fetch a page; what PHP complains of is in it."""
        connection = Over(self.folder / "http.sock")
        try:
            connection.request("GET", f"/{name}.php")
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        assert answer.status == 200, (answer.status, text, self.log())
        return text

    def log(self) -> str:
        """Return what the servers have to say."""
        return "".join(path.read_text() for path in sorted(self.folder.glob("*.log")))


@contextmanager
def fpm(env: dict[str, str], workers: int = 1, settings: str = "") -> Iterator[Web]:
    """Run nginx and PHP-FPM as this user; `settings` are further lines of the pool."""
    assert FPM and NGINX
    with tempfile.TemporaryDirectory(prefix="sc-", dir="/tmp") as name:
        folder = Path(name)
        (folder / "pages").mkdir()
        (folder / "tmp").mkdir()
        lines = "\n".join([*(f"env[{key}] = {value}" for key, value in env.items()), settings])
        root = os.geteuid() == 0
        values = {"folder": name, "workers": workers, "env": lines, "user": "root" if root else "nobody",
                  "group": "root" if root else "nogroup"}  # fmt: skip
        (folder / "fpm.conf").write_text(_POOL.format(**values))
        (folder / "nginx.conf").write_text(_NGINX.format(**values))
        commands = [  # -n: without a php.ini and its extensions, which the client must not need
            [FPM, "-F", *(["-R"] if root else []), "-n", "-y", f"{folder}/fpm.conf"],
            [NGINX, "-e", f"{folder}/nginx.log", "-c", f"{folder}/nginx.conf"],
        ]
        servers = [
            subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for command in commands
        ]
        try:
            eventually(lambda: all((folder / f"{part}.sock").is_socket() for part in ("fpm", "http")))
            yield Web(folder)
        finally:
            for server in servers:
                server.terminate()
            for server in servers:
                server.wait(20)


@contextmanager
def built_in(env: dict[str, str]) -> Iterator[Web]:
    """Run `php -S`, which takes one request at a time; its pages are fetched over TCP on this machine."""
    assert PHP
    with tempfile.TemporaryDirectory(prefix="sc-", dir="/tmp") as name:
        (Path(name) / "pages").mkdir()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        with open(f"{name}/server.log", "w") as log:
            server = subprocess.Popen(
                [PHP, "-n", "-S", f"127.0.0.1:{port}", "-t", f"{name}/pages"], stdout=log, stderr=log,
                env={**os.environ, **env},
            )  # fmt: skip
        try:
            web = BuiltIn(Path(name), port)
            eventually(web.is_up)
            yield web
        finally:
            server.terminate()
            server.wait(20)


class BuiltIn(Web):
    """Pages under `php -S`."""

    def __init__(self, folder: Path, port: int) -> None:
        super().__init__(folder)
        self.port = port

    def is_up(self) -> bool:
        """Say whether it takes connections."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
