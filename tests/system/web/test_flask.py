"""Flask, run by `flask run`: the application is a file in a folder, and nothing else knows of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.client import JobFailed, Options
from tests.waiting import eventually

from .checks import handle_of
from .conftest import CopyApp, Serve
from .interpreter import Interpreter


def test_a_hook_is_answered_before_its_job_ends_and_the_job_finds_the_app(
    serve: Serve, copy_app: CopyApp, interpreter: Interpreter, client: Options, tmp_path: Path
) -> None:
    folder, started, go = copy_app("flask"), tmp_path / "started", tmp_path / "go"
    server = serve([interpreter.script("flask"), "--app", "webhooks", "run", "--port", "{port}"], folder)
    status, answer = server.post(f"/hook?started={started}&go={go}")
    assert (status, answer["ack"]) == (200, "sent")
    handle = handle_of(client, answer["job"])
    eventually(started.exists, 20)
    assert handle.status().state == "running"  # it waits for `go`: the answer was there first
    go.touch()
    told = handle.result(timeout=20)
    assert told == {"prefix": interpreter.prefix, "file": str(folder / "webhooks.py"), "folder": str(folder)}


def test_without_the_path_that_the_app_sent_its_module_is_not_found(client: Options, interpreter: Interpreter) -> None:
    runtime = {"kind": "python", "interpreter": interpreter.python, "path": []}
    with pytest.raises(JobFailed) as caught:
        client.options(runtime=runtime).submit("webhooks:work", "", "").result(timeout=20)
    assert caught.value.type == "ModuleNotFoundError"
