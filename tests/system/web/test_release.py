"""Plain WSGI in releases: `current` is a link, a deploy is its flip, and the server that runs is still the old one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.client import Options

from .checks import result_of
from .conftest import CopyApp, Serve
from .interpreter import Interpreter

Deploy = Callable[[int], Path]


@pytest.fixture
def deploy(copy_app: CopyApp, tmp_path: Path) -> Deploy:
    """Give a function that makes a release and flips the link to it, in one step as deploy tools do."""

    def make_and_flip(number: int) -> Path:
        folder, current = copy_app("release", tmp_path / f"release-{number}"), tmp_path / "current"
        letters = folder / "letters.py"
        letters.write_text(letters.read_text().replace("RELEASE = 1", f"RELEASE = {number}"))
        os.symlink(folder, f"{current}.new")
        os.rename(f"{current}.new", current)
        return current

    return make_and_flip


@pytest.mark.parametrize(
    "words",
    [
        ["python", "serve.py", "{port}"],  # these two have the folder in sys.path with every link resolved
        ["python", "-m", "serve", "{port}"],
        ["gunicorn", "--bind", "127.0.0.1:{port}", "serve:application"],
    ],
    ids=" ".join,
)
def test_the_first_job_after_a_deploy_runs_the_new_code(
    serve: Serve, deploy: Deploy, client: Options, interpreter: Interpreter, words: list[str]
) -> None:
    program = interpreter.python if words[0] == "python" else interpreter.script(words[0])
    current = deploy(1)
    server = serve([program, *words[1:]], current)
    assert result_of(client, server.post("/")[1]["job"])["release"] == 1
    deploy(2)
    told = result_of(client, server.post("/")[1]["job"])
    assert (told["release"], told["folder"]) == (2, str(current.resolve()))


def test_a_server_whose_first_job_comes_after_the_deploy_does_not_mix_two_releases(
    serve: Serve, deploy: Deploy, client: Options, interpreter: Interpreter
) -> None:
    current = deploy(1)
    words = ["--preload", "--bind", "127.0.0.1:{port}", "serve:application"]  # loaded, then the port is there
    server = serve([interpreter.script("gunicorn"), *words], current)
    deploy(2)
    told = result_of(client, server.post("/")[1]["job"])
    assert told["folder"] == str(current.with_name(f"release-{told['release']}"))


def test_a_server_that_never_heard_of_the_link_keeps_its_release(
    serve: Serve, deploy: Deploy, client: Options, interpreter: Interpreter
) -> None:
    current = deploy(1)
    server = serve([interpreter.python, "serve.py", "{port}"], current.resolve())
    deploy(2)
    told = result_of(client, server.post("/")[1]["job"])
    assert (told["release"], told["folder"]) == (1, str(current.with_name("release-1")))
