"""Django under gunicorn, preloaded, with two workers: jobs belong to transactions and use the ORM."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from sidecar.client import JobFailed, NotFound, Options

from .checks import handle_of, random_parts, result_of
from .conftest import CopyApp, Serve
from .interpreter import Interpreter
from .server import Server


@pytest.fixture(scope="module")
def project(copy_app: CopyApp, interpreter: Interpreter) -> Path:
    folder = copy_app("django")
    migrate = [interpreter.python, "-m", "django", "migrate", "--run-syncdb", "--settings", "bookshop.settings"]
    subprocess.run(migrate, cwd=folder, check=True, timeout=60)
    return folder


@pytest.fixture(scope="module")
def server(serve: Serve, project: Path, interpreter: Interpreter) -> Server:
    words = ["--preload", "--workers", "2", "--bind", "127.0.0.1:{port}", "bookshop.wsgi"]
    return serve([interpreter.script("gunicorn"), *words], project)


def test_a_committed_transaction_sends_its_job_which_uses_the_orm(
    server: Server, client: Options, interpreter: Interpreter
) -> None:
    status, answer = server.post("/place")
    assert status == 200
    told = result_of(client, answer["job"])
    assert told == {"job": answer["job"], "prefix": interpreter.prefix, "settings": "bookshop.settings"}


def test_a_transaction_that_is_rolled_back_sends_no_job(server: Server, client: Options) -> None:
    status, answer = server.post("/place?card=declined")
    assert status == 402
    with pytest.raises(NotFound):
        handle_of(client, answer["job"]).status()
    # The same with `send()` in the place of `on_commit(send)`: a job for an order that does not exist.
    status, answer = server.post("/place?card=declined&carelessly")
    with pytest.raises(JobFailed, match="DoesNotExist"):
        result_of(client, answer["job"])


def test_workers_that_were_forked_from_one_app_hand_off_jobs_of_their_own(server: Server, client: Options) -> None:
    both = [server.asked("POST", "/meet") for _ in range(2)]
    one, other = (server.answer(connection)[1] for connection in both)
    assert one["worker"] != other["worker"]
    jobs = [one["first"], one["job"], other["job"]]
    assert random_parts(one).isdisjoint(random_parts(other))
    assert [result_of(client, text) for text in jobs] == ["sqlite"] * 3


def test_without_the_setup_that_the_app_sent_the_orm_is_not_ready(
    client: Options, project: Path, interpreter: Interpreter
) -> None:
    runtime = {
        "kind": "python", "interpreter": interpreter.python, "path": [str(project)],
        "env": {"DJANGO_SETTINGS_MODULE": "bookshop.settings"},
    }  # fmt: skip
    with pytest.raises(JobFailed, match="AppRegistryNotReady"):
        client.options(runtime=runtime).submit("orders.jobs:database").result(timeout=20)
    whole = {**runtime, "setup": "django:setup"}
    assert client.options(runtime=whole).submit("orders.jobs:database").result(timeout=20) == "sqlite"
