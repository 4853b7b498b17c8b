"""A plain WSGI application, started as `python serve.py PORT` in the folder of its release."""

# mypy: disable-error-code="import-untyped, import-not-found"

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.simple_server import make_server

from letters import write

from sidecar.client import submit


def application(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    """Hand a letter off."""
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"job": submit(write).id}).encode()]


if __name__ == "__main__":
    make_server("127.0.0.1", int(sys.argv[1]), application).serve_forever()
