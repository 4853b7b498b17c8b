"""uWSGI: its working folder is /, the application is only on `sys.path`, and `sys.executable` is uWSGI itself.

Two processes forked from one loaded application, no threads: no Python thread could run in them.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.client import Options

from .checks import random_parts, result_of
from .conftest import CopyApp, Serve
from .interpreter import Interpreter, program
from .server import Server


@pytest.fixture(scope="module")
def folder(copy_app: CopyApp) -> Path:
    return copy_app("uwsgi")


@pytest.fixture(scope="module")
def server(serve: Serve, folder: Path, interpreter: Interpreter) -> Server:
    words = ["--master", "--die-on-term", "--need-app", "--processes", "2", "--http-socket", "127.0.0.1:{port}"]
    words += ["--virtualenv", interpreter.prefix, "--pythonpath", str(folder), "--module", "thumbnails"]
    return serve([program("uwsgi"), *words], "/")


def test_a_job_runs_in_the_python_that_is_inside_of_uwsgi(
    server: Server, folder: Path, client: Options, interpreter: Interpreter
) -> None:
    status, answer = server.post("/")
    assert (status, answer["ack"]) == (200, "sent")
    assert (answer["executable"], answer["folder"]) == (program("uwsgi"), "/")
    told = result_of(client, answer["job"])
    assert told["executable"].startswith(f"{interpreter.prefix}/bin/python")
    assert (told["prefix"], told["folder"]) == (interpreter.prefix, "/")
    assert (told["name"], told["file"]) == ("cat.png", str(folder / "pictures.py"))


def test_a_job_is_stored_over_a_stream_of_the_worker_itself(server: Server, client: Options) -> None:
    status, answer = server.post("/stored")
    assert (status, answer["ack"]) == (200, "stored")
    assert result_of(client, answer["job"])["name"] == "cat.png"
    assert result_of(client, answer["first"])["name"] == "first.png"


def test_workers_that_were_forked_from_one_app_hand_off_jobs_of_their_own(server: Server, client: Options) -> None:
    both = [server.asked("POST", "/meet") for _ in range(2)]
    one, other = (server.answer(connection)[1] for connection in both)
    assert one["worker"] != other["worker"]
    jobs = [one["first"], one["job"], other["job"]]
    assert random_parts(one).isdisjoint(random_parts(other))
    assert [result_of(client, text)["name"] for text in jobs] == ["first.png", "cat.png", "cat.png"]
