"""A plain WSGI application as uWSGI loads it: once, before it forks its workers."""

# mypy: disable-error-code="import-untyped, import-not-found"

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable
from multiprocessing import Barrier
from typing import Any

from pictures import shrink

from sidecar.client import options, prepare

MEETING = Barrier(2)  # shared by both workers
FIRST = options(ack="stored").submit(shrink, "first.png").id  # opens both sockets in the process that forks


def application(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    """Hand a job off; /meet does so together with the other worker, /stored over the stream."""
    path = environ["PATH_INFO"]
    if path == "/meet":
        MEETING.wait(timeout=20)
    handle = options(ack="stored" if path == "/stored" else "sent").submit(shrink, "cat.png")
    start_response("200 OK", [("Content-Type", "application/json")])
    answer: dict[str, object] = {"job": handle.id, "ack": handle.ack, "first": FIRST, "worker": os.getpid()}
    if path == "/meet":
        answer["next"] = [prepare(shrink, "dog.png").id for _ in range(16)]
    return [json.dumps({**answer, "executable": sys.executable, "folder": os.getcwd()}).encode()]
