"""Real web servers with PHP, each in a folder of its own: nginx before PHP-FPM, `php -S`, and Apache with mod_php."""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from glob import glob
from pathlib import Path

import pytest

from ..waiting import eventually
from .script import PHP, source

FPM = next(iter(sorted(glob("/usr/sbin/php-fpm*"))), None)
NGINX = shutil.which("nginx") or ("/usr/sbin/nginx" if Path("/usr/sbin/nginx").exists() else None)
APACHE = "/usr/sbin/apache2"
MODULES = Path("/usr/lib/apache2/modules")
MOD_PHP = next(iter(sorted(MODULES.glob("libphp*.so"))), None)
# Apache refuses to be root. Where we are, it gets another number in a user namespace; to the kernel it is who we are.
NOT_ROOT = ["unshare", "--map-user=33", "--map-group=33"] if os.geteuid() == 0 else []


def _why_no_mod_php() -> str:
    if MOD_PHP is None:
        return "no libapache2-mod-php here"
    if subprocess.run([*NOT_ROOT, "true"], capture_output=True).returncode:
        return "Apache refuses to be root, and we may make no user namespace for it here"
    return ""


_LACKING = _why_no_mod_php()
needs_fpm = pytest.mark.skipif(not (FPM and NGINX), reason="no nginx or no php-fpm here: not tested under PHP-FPM")
needs_mod_php = pytest.mark.skipif(bool(_LACKING), reason=f"{_LACKING}: not tested under mod_php")
SERVERS = [
    pytest.param("fpm", marks=needs_fpm, id="fpm"),
    pytest.param("built_in", id="php-S"),
    pytest.param("mod_php", marks=needs_mod_php, id="mod_php"),
]

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
        {listen}
        root {root};
        location / {{
            include /etc/nginx/fastcgi_params;
            fastcgi_param SCRIPT_FILENAME {scripts}$fastcgi_script_name;
            fastcgi_pass unix:{folder}/fpm.sock;
        }}
    }}
}}
"""
# With mod_deflate, as in Debian's own configuration: it compresses for whoever takes it so.
_APACHE = """
ServerRoot {folder}
ServerName localhost
PidFile {folder}/apache.pid
ErrorLog {folder}/apache.log
DefaultRuntimeDir {folder}/tmp
Mutex file:{folder}/tmp
Listen 127.0.0.1:{port}
LoadModule mpm_prefork_module {modules}/mod_mpm_prefork.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule deflate_module {modules}/mod_deflate.so
LoadModule php_module {mod_php}
StartServers {workers}
MaxRequestWorkers {workers}
DocumentRoot {root}
SetHandler application/x-httpd-php
SetOutputFilter DEFLATE
php_admin_value error_log {folder}/php.log
php_admin_flag log_errors on
php_admin_flag display_errors on
php_admin_flag html_errors off
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


class Exchange:
    """One request and its response as it comes: what a browser has of it, and whether it waits for more."""

    def __init__(self, sock: socket.socket, path: str, headers: str) -> None:
        self._sock = sock
        self._come = b""
        self._closed = False
        sock.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n{headers}\r\n".encode())

    def ended(self, seconds: float) -> bool:
        """Say whether all of the response is here, for which each further part of it may take that long."""
        self._sock.settimeout(seconds)
        while not (self._closed or self._complete()):
            try:
                data = self._sock.recv(65536)
            except TimeoutError:
                return False
            self._come += data
            self._closed = not data
        return True

    def rest(self, seconds: float = 30) -> str:
        """Return the body once the server has hung up: with what came beyond its length, if any did."""
        self._sock.settimeout(seconds)
        while data := self._sock.recv(65536):
            self._come += data
        self._sock.close()
        return self.body

    @property
    def head(self) -> str:
        """The status and the header lines so far."""
        return self._come.partition(b"\r\n\r\n")[0].decode()

    @property
    def body(self) -> str:
        """The body so far."""
        return self._come.partition(b"\r\n\r\n")[2].decode(errors="replace")

    def _complete(self) -> bool:
        head, gap, body = self._come.partition(b"\r\n\r\n")
        lengths = [line[15:] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        return bool(gap and lengths) and len(body) >= int(lengths[0])


class Web:
    """Pages and whoever serves them: those written by `page`, or those of a given folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def page(self, name: str, code: str, whole: bool = False) -> None:
        """Write a page; `whole`: it is a script of its own, not a few lines with the client loaded."""
        (self.folder / "pages" / f"{name}.php").write_text(code if whole else source(code))

    def get(self, name: str) -> str:
        """Fetch a page; what PHP complains of is in it."""
        status, text = self.ask("GET", name)
        assert status == 200, (status, text, self.log())
        return text

    def ask(
        self, method: str, name: str, body: bytes = b"", headers: dict[str, str] | None = None, query: str = ""
    ) -> tuple[int, str]:
        """Ask for a page, and return the status and the body of the response."""
        connection = self.connection()
        try:
            connection.request(method, f"/{name}.php?{query}", body or None, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def begin(self, name: str, headers: str = "") -> Exchange:
        """Ask for a page, and leave the reading of its response to the caller."""
        connection = self.connection()
        connection.connect()
        return Exchange(connection.sock, f"/{name}.php", headers)

    def connection(self) -> http.client.HTTPConnection:
        """Return a connection that is still to be opened."""
        return Over(self.folder / "http.sock")

    def log(self) -> str:
        """Return what the servers have to say."""
        return "".join(path.read_text() for path in sorted(self.folder.glob("*.log")))


class Tcp(Web):
    """Pages on a port of this machine."""

    def __init__(self, folder: Path, port: int) -> None:
        super().__init__(folder)
        self.port = port

    def connection(self) -> http.client.HTTPConnection:
        """Return a connection that is still to be opened."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def is_up(self) -> bool:
        """Say whether it takes connections."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def serving(server: str, env: dict[str, str], pages: Path | None = None) -> AbstractContextManager[Web]:
    """Run one of SERVERS, with PHP as this machine has it configured."""
    if server == "fpm":
        return fpm(env, workers=2, pages=pages, plain=False)
    return built_in(env, pages, plain=False) if server == "built_in" else mod_php(env, pages)


@contextmanager
def fpm(
    env: dict[str, str],
    workers: int = 1,
    settings: str = "",
    pages: Path | None = None,
    plain: bool = True,
    port: int | None = None,
    scripts: str = "$document_root",
) -> Iterator[Web]:
    """Run nginx and PHP-FPM as this user.

    `settings` are further lines of the pool. `plain`: without php.ini and its extensions, which the client must not
    need. `port`: one of this machine on which nginx listens too. `scripts`: what PHP calls the folder of the pages.
    """
    assert FPM and NGINX
    with tempfile.TemporaryDirectory(prefix="sc-", dir="/tmp") as name:
        folder = _folder(name)
        lines = "\n".join([*(f"env[{key}] = {value}" for key, value in env.items()), settings])
        root = os.geteuid() == 0
        values = {"folder": name, "workers": workers, "env": lines, "user": "root" if root else "nobody",
                  "group": "root" if root else "nogroup", "root": pages or folder / "pages",
                  "scripts": scripts, "listen": f"listen 127.0.0.1:{port};" if port else ""}  # fmt: skip
        (folder / "fpm.conf").write_text(_POOL.format(**values))
        (folder / "nginx.conf").write_text(_NGINX.format(**values))
        commands = [
            [FPM, "-F", *(["-R"] if root else []), *(["-n"] if plain else []), "-y", f"{folder}/fpm.conf"],
            [NGINX, "-e", f"{folder}/nginx.log", "-c", f"{folder}/nginx.conf"],
        ]
        servers = [
            subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for command in commands
        ]
        try:
            web = Web(folder)  # PHP-FPM says when it listens: for a moment its socket is there and refuses
            eventually(lambda: (folder / "http.sock").is_socket() and "ready to handle connections" in web.log())
            yield web
        finally:
            for server in servers:
                server.terminate()
            for server in servers:
                server.wait(20)


@contextmanager
def built_in(env: dict[str, str], pages: Path | None = None, plain: bool = True) -> Iterator[Tcp]:
    """Run `php -S`, which takes one request at a time; `plain` as for `fpm`."""
    assert PHP
    with tempfile.TemporaryDirectory(prefix="sc-", dir="/tmp") as name:
        folder, port = _folder(name), free_port()
        command = [PHP, *(["-n"] if plain else []), "-d", "html_errors=0", "-S", f"127.0.0.1:{port}"]
        with _running([*command, "-t", str(pages or folder / "pages")], folder, port, env) as web:
            yield web


@contextmanager
def mod_php(env: dict[str, str], pages: Path | None = None, workers: int = 4) -> Iterator[Tcp]:
    """Run Apache with mod_php and mod_deflate, on a port of this machine."""
    with tempfile.TemporaryDirectory(prefix="sc-", dir="/tmp") as name:
        folder, port = _folder(name), free_port()
        values = {"folder": name, "port": port, "modules": MODULES, "mod_php": MOD_PHP, "workers": workers,
                  "root": pages or folder / "pages"}  # fmt: skip
        (folder / "apache.conf").write_text(_APACHE.format(**values))
        command = [*NOT_ROOT, APACHE, "-d", name, "-f", f"{folder}/apache.conf", "-DFOREGROUND"]
        with _running(command, folder, port, env) as web:
            yield web


@contextmanager
def _running(command: list[str], folder: Path, port: int, env: dict[str, str]) -> Iterator[Tcp]:
    with open(folder / "server.log", "w") as log:
        server = subprocess.Popen(  # in a session of its own: Apache ends by a signal to all of its process group
            command, stdout=log, stderr=log, env={**os.environ, **env}, start_new_session=True
        )
    web = Tcp(folder, port)
    try:
        eventually(lambda: web.is_up() or server.poll() is not None)
        assert server.poll() is None, web.log()
        yield web
    finally:
        server.terminate()
        server.wait(20)


def mailing(folder: Path, script: str) -> dict[str, str]:
    """Make a program that mail() runs on pages and in their jobs; returns the environment that has it so."""
    sendmail = folder / "sendmail"
    sendmail.write_text(script)
    sendmail.chmod(0o755)
    (folder / "ini").mkdir()
    (folder / "ini" / "mail.ini").write_text(f"sendmail_path = {sendmail}\n")
    return {"PHP_INI_SCAN_DIR": f":{folder}/ini", "SIDECAR_FORWARD_ENV": "PHP_INI_SCAN_DIR"}


def _folder(name: str) -> Path:
    folder = Path(name)
    (folder / "pages").mkdir()
    (folder / "tmp").mkdir()
    return folder


def free_port() -> int:
    """Return a port that nobody had a moment ago."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
