"""A web server under test: the real program as a process of its own, asked over HTTP, ended by its pid."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from tests.waiting import eventually

START = 20.0  # seconds until the port answers; Django under gunicorn takes about one
STOP = 10.0
ANSWER = 30.0

_THEIRS = ("PYTHON", "FLASK_", "DJANGO_", "GUNICORN_", "UWSGI_", "UVICORN_", "WEB_CONCURRENCY", "VIRTUAL_ENV")


class Server:
    """One server; a context that starts it in `folder`, waits for its port, and ends it.

    `command` has `{port}` where the number goes. PWD is as a shell would set it after `cd folder`.
    """

    def __init__(self, command: Sequence[str], folder: Path | str, env: Mapping[str, str], log: Path) -> None:
        self.port = free_port()
        self._command = [word.replace("{port}", str(self.port)) for word in command]
        self._folder = str(folder)
        # What this shell happens to hold must not help an application to find its code.
        self._env = {name: text for name, text in env.items() if not name.startswith(_THEIRS)}
        self._env["PWD"] = self._folder
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Server:
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=self._env, cwd=self._folder, start_new_session=True,
            )  # fmt: skip
        try:
            eventually(self._answers, START, f"the port of {self._command}")
        except BaseException:
            self.__exit__()
            raise
        return self

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"{self._command} ended:\n{self.log()}"
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            return True
        return False

    def __exit__(self, *exc_info: object) -> None:
        process = self._process
        assert process is not None
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # it is not reaped yet: the number is still its own
            process.wait()
            raise AssertionError(f"{self._command} did not end within {STOP} s:\n{self.log()}") from None

    def log(self) -> str:
        """Return what it wrote so far."""
        return self._log.read_text(errors="replace")

    def asked(self, method: str, path: str) -> HTTPConnection:
        """Send a request and do not wait for its answer: `answer(connection)` does."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=ANSWER)
        connection.request(method, path, headers={"Connection": "close"})
        return connection

    def answer(self, connection: HTTPConnection) -> tuple[int, Any]:
        """Return status and JSON document of what was asked for."""
        try:
            response = connection.getresponse()
            status, body = response.status, response.read()
        finally:
            connection.close()
        try:
            return status, json.loads(body)
        except ValueError:
            raise AssertionError(f"{status} with {body!r} from\n{self.log()}") from None

    def post(self, path: str) -> tuple[int, Any]:
        """POST and return status and JSON document."""
        return self.answer(self.asked("POST", path))


def free_port() -> int:
    """Return a TCP port that was free just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
