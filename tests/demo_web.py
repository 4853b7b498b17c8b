"""The demo's web server: takes a webhook, hands one job off, answers 200. And the client threads that POST to it.

`python -m tests.demo_web FOLDER` says its port on stdout and serves until its stdin ends, so it never outlives whoever
started it. Each answer carries the job's id, and how long the hand-off took as a Server-Timing header.
"""

from __future__ import annotations

import http.client
import json
import sys
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, unquote

from sidecar.client import Handle, options, submit

from . import demo_jobs

FLOOD = 64 * 1024 * 1024  # bytes
TIMEOUT = 2.0  # seconds that the job which hangs is given
CLIENTS = 4
_PATIENCE = 20.0  # seconds a client waits for an answer


class Webhooks(BaseHTTPRequestHandler):
    """Answers POST /KIND/NAME."""

    folder: str

    def do_POST(self) -> None:
        kind, _, name = self.path.lstrip("/").partition("/")
        body = self.rfile.read(int(self.headers["Content-Length"]))
        before = time.perf_counter()
        handle = self.hand_off(kind, unquote(name).replace("/", "."), body)
        took = time.perf_counter() - before
        self.send_response(200)
        self.send_header("Server-Timing", f"handoff;dur={took * 1000:.6f}")
        self.end_headers()
        self.wfile.write(json.dumps({"job": handle.id, "ack": handle.ack}).encode())

    def hand_off(self, kind: str, name: str, body: bytes) -> Handle:
        """Give the work away: this, and nothing else, is what the web server waits for."""
        if kind == "crash":
            return submit(demo_jobs.crash)
        if kind == "hang":
            return options(timeout=TIMEOUT, grace=1).submit(demo_jobs.hang)
        if kind == "flood":
            return submit(demo_jobs.flood, FLOOD)
        return submit(demo_jobs.pack, self.folder, name, body)

    def log_message(self, *_: object) -> None:
        """Keep the terminal for the table."""


class Hook(NamedTuple):
    """One webhook to send; `source` is the file that is its body, None for a kind without one."""

    kind: str
    name: str
    source: Path | None = None


class Answer(NamedTuple):
    """What came back for it; durations are seconds."""

    hook: Hook
    code: int
    id: str
    ack: str
    response: float
    handoff: float
    at: float  # Unix seconds


def post_all(port: int, hooks: Iterable[Hook]) -> list[Answer]:
    """POST every webhook, a few at a time, each over a connection of its own as senders of webhooks do."""
    with ThreadPoolExecutor(CLIENTS) as clients:
        return list(clients.map(partial(post, port), hooks))


def post(port: int, hook: Hook) -> Answer:
    """POST one webhook and time it from the connect to the last byte of the answer."""
    body = hook.source.read_bytes() if hook.source else b""
    before = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE)
    try:
        connection.request("POST", f"/{hook.kind}/{quote(hook.name)}", body)
        response = connection.getresponse()
        told = json.loads(response.read()) if response.status == 200 else {"job": "", "ack": ""}
        took = time.perf_counter() - before
        handoff = float((response.headers["Server-Timing"] or "=0").rpartition("=")[2]) / 1000
        return Answer(hook, response.status, told["job"], told["ack"], took, handoff, time.time())
    finally:
        connection.close()


def main() -> None:
    """Serve until stdin ends."""
    Webhooks.folder = sys.argv[1]
    server = ThreadingHTTPServer(("127.0.0.1", 0), Webhooks)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
