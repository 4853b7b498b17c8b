"""FastAPI under uvicorn: a handler awaits what a job returns, and the loop goes on meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.waiting import eventually

from .conftest import CopyApp, Serve
from .interpreter import Interpreter
from .server import Server


@pytest.fixture(scope="module")
def server(serve: Serve, copy_app: CopyApp, interpreter: Interpreter) -> Server:
    return serve([interpreter.script("uvicorn"), "--port", "{port}", "answers:app"], copy_app("fastapi"))


def test_a_handler_awaits_a_result(server: Server) -> None:
    assert server.post("/double/21") == (200, {"value": 42})
    assert server.post("/wrong") == (200, {"type": "TypeError"})


def test_other_requests_are_answered_while_one_awaits_its_job(server: Server, tmp_path: Path) -> None:
    started, go = tmp_path / "started", tmp_path / "go"
    slow = server.asked("POST", f"/slowly/4?started={started}&go={go}")
    eventually(started.exists, 20)
    assert server.post("/double/5") == (200, {"value": 10})
    go.touch()
    assert server.answer(slow) == (200, {"value": 8})
